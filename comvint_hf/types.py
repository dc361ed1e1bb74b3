"""The records that the package works on: the annotations of one image (`Scene`) and one instruction sample (`Sample`).

All records are frozen. Boxes are fractions of the image, xyxy, from the top left corner.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    from PIL.Image import Image

Task = Literal[
    "conversation", "complex_reasoning", "referring_qa", "detail_description", "cross_modal", "outside_knowledge", "vlit"
]
TASKS: tuple[str, ...] = get_args(Task)
Format = Literal["open", "bool", "choice"]
FORMATS: tuple[str, ...] = get_args(Format)


class Record(BaseModel):
    """A frozen record that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


R = TypeVar("R", bound=BaseModel)
_set = object.__setattr__


def construct_unchecked(kind: type[R], /, **fields: Any) -> R:
    """Make a record without validation: `model_construct` in a fraction of its time. Every field must be given and valid."""
    record = kind.__new__(kind)
    _set(record, "__dict__", fields)
    _set(record, "__pydantic_fields_set__", _field_names(kind))  # shared: a frozen record never changes it, and copies copy it
    _set(record, "__pydantic_extra__", None)
    _set(record, "__pydantic_private__", None)
    return record


@cache
def _field_names(kind: type[BaseModel]) -> set[str]:
    return set(kind.model_fields)


class Box(Record):
    """A rectangle in fractions of the image: 0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1.

    >>> Box(x1=0.1, y1=0.2, x2=0.5, y2=0.6).centre
    (0.3, 0.4)
    """

    x1: float
    y1: float
    x2: float
    y2: float

    @model_validator(mode="after")
    def _check_order(self) -> Box:
        if not (0 <= self.x1 <= self.x2 <= 1 and 0 <= self.y1 <= self.y2 <= 1):
            raise ValueError(f"the box {self.xyxy} is not made of ordered fractions: expected 0 <= x1 <= x2 <= 1, same for y")
        return self

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        return self.x1, self.y1, self.x2, self.y2

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    @property
    def area(self) -> float:
        return (self.x2 - self.x1) * (self.y2 - self.y1)


class Object(Record):
    """One object in the image, or one annotated group of objects.

    Attributes:
        tag: The reference that prompts show, such as "o3".
        key: The corpus's own id.
        name: The first of `names`.
        boxes: None for an entity without a box, several for a group.
        attributes: Adjectives, such as "large" or "red".
        names: All names the corpus gives it.
        kind: The corpus's category or flag ("people", "scene", "crowd", ...), "" where it has none.
    """

    tag: str
    key: str
    name: str
    boxes: tuple[Box, ...] = ()
    attributes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    kind: str = ""


class Region(Record):
    """A described part of the image; `objects` are the tags of the objects that `text` mentions."""

    tag: str
    text: str
    box: Box
    objects: tuple[str, ...] = ()


class Relation(Record):
    """A relation of two objects, which are given by their tags: o1 "left of" o2."""

    subject: str
    predicate: str
    object: str


class Text(Record):
    """Text that can be read in the image (OCR)."""

    text: str
    box: Box | None = None


class Question(Record):
    """A question of the corpus, and its answer."""

    question: str
    answer: str


class Scene(Record):
    """The annotations of one image.

    Attributes:
        id: "<source>/<image id>".
        source: The name of the source in the registry, which holds its terms and what may be believed of its annotations.
        image: The path of a file, its encoded bytes, or a function that renders it; decoded only by `open`.
        width: In pixels, as `height`.
        meta: Fields of the corpus that have no place in the record.
    """

    id: str
    source: str
    image: Any = None
    width: int
    height: int
    captions: tuple[str, ...] = ()
    objects: tuple[Object, ...] = ()
    regions: tuple[Region, ...] = ()
    relations: tuple[Relation, ...] = ()
    texts: tuple[Text, ...] = ()
    questions: tuple[Question, ...] = ()
    meta: dict[str, Any] = {}

    @property
    def is_annotated(self) -> bool:
        """Whether anything is known of the image."""
        return bool(self.by_tag or self.captions or self.texts or self.questions)

    @cached_property
    def by_tag(self) -> dict[str, Object | Region]:
        """Objects and regions by their tag."""
        items: tuple[Object | Region, ...] = (*self.objects, *self.regions)
        return {item.tag: item for item in items}

    @property
    def image_id(self) -> str:
        return self.id

    def open(self) -> Image:
        """Decode the image as RGB. Raises `ImageError` if there is none or the file is broken."""
        from comvint_hf import images

        image = self._require_image()
        return images.decode_image(image() if callable(image) else image, f"The image of {self.id}")

    def image_bytes(self) -> bytes:
        """Return the encoded file as it is stored; a rendered image becomes PNG."""
        from comvint_hf import images

        return images.read_encoded(self._require_image())

    def _require_image(self) -> Any:
        from comvint_hf.errors import ImageError

        if self.image is None:
            raise ImageError(f"{self.id} has no image here: give its folder with --images, or build text-only rows.")
        return self.image


class Message(Record):
    """One turn of a conversation. Boxes are references in its text, `<st>man<ed>[o3]`; only rows have coordinates."""

    role: Literal["user", "assistant"]
    content: str


class Edit(Record):
    """One entry of a sample's history: the text before a stage changed or rejected it, and which stage that was."""

    stage: str
    instruction: str
    response: str


COMPLICATED, REFORMULATED, VERIFIED = "complicate: ", "reformulate: ", "verify: "
"""Prefixes of `Edit.stage`, before the added detail, the format, or the judge's finding."""
VERIFIED_FIRST = "verify first: "
"""The same before the judge's finding about a first version, which was not made harder."""
FAILED = " failed: "
"""Separates a complication from the reason why it was not kept, in `Edit.stage`."""
NOT_VERIFIED = "not verified"
"""Prefix of the reason of a sample that the judge rejected, before the criteria."""
NO_REPLY = "no usable reply"
"""Prefix of the reason of a sample whose prompt got no reply that could be used."""
NOTHING_LEFT = "nothing certain left to ask"
"""Prefix of the reason of a sample whose writer abstained (see `NothingLeftError`)."""


class Turn(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


class Sample(Record):
    """One instruction sample on its way through a recipe. A recipe starts from a blank one, without messages.

    Attributes:
        evidence: The tags that the answer rests on; a thing that only a seeing writer pointed at is `<st>name<ed>[x1, y1, x2, y2]`.
        reasoning: The writer's chain of thought; it is not published.
        rounds: The number of complications that were kept.
        seen: Whether its writer sees the image, and may use what is not annotated.
        reason: Why the sample was rejected; `None` while it is good.
    """

    scene: Scene
    task: Task = "conversation"
    messages: tuple[Message, ...] = ()
    format: Format = "open"
    evidence: tuple[str, ...] = ()
    reasoning: str = ""
    topic: str = ""
    generator: str = ""
    judge: str = ""
    rounds: int = 0
    seen: bool = False
    history: tuple[Edit, ...] = ()
    reason: str | None = None

    @property
    def instruction(self) -> str:
        """The first user turn; "" for a blank sample."""
        return self.messages[0].content if self.messages else ""

    @property
    def response(self) -> str:
        """The last assistant turn; "" for a blank sample."""
        return self.messages[-1].content if self.messages else ""

    def replace(self, **changes: Any) -> Sample:
        """Return a copy with other values in some fields, which are not validated."""
        return construct_unchecked(Sample, **{**self.__dict__, **changes})

    def write(self, turns: list[Turn] | list[tuple[str, str]], **changes: Any) -> Sample:
        """Return a copy with these (question, answer) turns as its messages."""
        messages = tuple(
            construct_unchecked(Message, role=role, content=content)
            for turn in turns
            for role, content in zip(("user", "assistant"), turn, strict=True)
        )
        return self.replace(messages=messages, **changes)

    def rewrite(self, stage: str, turn: Turn | tuple[str, str], **changes: Any) -> Sample:
        """Return a copy with one new turn; the old text goes into `history`."""
        edit = construct_unchecked(Edit, stage=stage, instruction=self.instruction, response=self.response)
        return self.write([turn], history=(*self.history, edit), **changes)

    def reject(self, reason: str) -> Sample:
        """Return a copy that is rejected for `reason`; it is published in the config `rejected`, never dropped."""
        return self.replace(reason=reason)
