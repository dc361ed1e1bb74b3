"""The nouns of the house: what is known about an image (`Scene`) and what is written about it (`Sample`).

All records are frozen. Boxes are fractions of the image, xyxy, from the top left corner. This file knows no corpus,
no language model and no dataset; it is what the rooms hand to each other.
"""

from __future__ import annotations

import io
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from comvint_hf.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

Task = Literal[
    "conversation", "complex_reasoning", "referring_qa", "detail_description", "cross_modal", "outside_knowledge", "vlit"
]
TASKS: tuple[str, ...] = Task.__args__
Format = Literal["open", "bool", "choice"]
FORMATS: tuple[str, ...] = Format.__args__


class Record(BaseModel):
    """A frozen record that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


R = TypeVar("R", bound=BaseModel)
_set = object.__setattr__


def trusted(kind: type[R], /, **fields: Any) -> R:
    """A record of fields that are known to be valid, every one of them given: `model_construct` in a fraction of its time."""
    return _filled(kind, fields)


def _filled(kind: type[R], fields: dict[str, Any]) -> R:
    record = kind.__new__(kind)
    _set(record, "__dict__", fields)
    _set(record, "__pydantic_fields_set__", _names(kind))  # shared: a frozen record never changes it, and copies copy it
    _set(record, "__pydantic_extra__", None)
    _set(record, "__pydantic_private__", None)
    return record


@cache
def _names(kind: type[BaseModel]) -> set[str]:
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
    def _ordered_inside(self) -> Box:
        if not (0 <= self.x1 <= self.x2 <= 1 and 0 <= self.y1 <= self.y2 <= 1):
            raise ValueError(f"box {self.xyxy} is not ordered fractions of the image: expected 0 <= x1 <= x2 <= 1, same for y")
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
    """One thing in the picture, or one annotated group of things.

    `tag` ("o3") is what prompts show; `key` is the corpus's own id; `boxes` is empty for entities that the corpus left
    unboxed and holds several for groups; `names` are all wordings, `name` the first; `kind` is the corpus's own category
    or flag ("people", "scene", "crowd", ...), "" where it has none.
    """

    tag: str
    key: str
    name: str
    boxes: tuple[Box, ...] = ()
    attributes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    kind: str = ""


class Region(Record):
    """A described part of the picture; `objects` are the tags of the objects it speaks of."""

    tag: str
    text: str
    box: Box
    objects: tuple[str, ...] = ()


class Relation(Record):
    """`subject` and `object` are object tags: o1 "left of" o2."""

    subject: str
    predicate: str
    object: str


class Text(Record):
    """Writing seen in the picture (OCR)."""

    text: str
    box: Box | None = None


class Question(Record):
    """A question that came with the corpus, and its answer."""

    question: str
    answer: str


class Scene(Record):
    """All that is known about one image. `id` is "<source>/<image id>", `width` and `height` are pixels.

    `image` is a file, its encoded bytes, or a function that renders it: nothing is decoded before somebody asks.
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

    @cached_property
    def by_tag(self) -> dict[str, Object | Region]:
        """Objects and regions by their tag."""
        return {item.tag: item for item in (*self.objects, *self.regions)}

    @property
    def image_id(self) -> str:
        return self.id

    def open(self) -> Image:
        """Decode the picture as RGB. Raises `InputError` if there is none or the file is broken."""
        from PIL import Image

        if self.image is None:
            raise InputError(f"{self.id} has no image here: give its folder with --images, or build text-only rows.")
        if callable(self.image):
            return self.image()
        try:
            picture = Image.open(io.BytesIO(self.image) if isinstance(self.image, bytes) else self.image)
            return picture.convert("RGB")
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(
                f"{self.id}: the image cannot be decoded ({error}); replace the file or leave the image out."
            ) from error

    def image_bytes(self) -> bytes:
        """The encoded file as it is stored; a rendered picture becomes PNG."""
        if isinstance(self.image, bytes):
            return self.image
        if isinstance(self.image, Path):
            return self.image.read_bytes()
        buffer = io.BytesIO()
        self.open().save(buffer, format="PNG")
        return buffer.getvalue()


class Message(Record):
    """One turn. Inside the house its text holds references, `<st>man<ed>[o3]`; coordinates appear only in rows."""

    role: Literal["user", "assistant"]
    content: str


class Edit(Record):
    """One step of a sample's history: what the stage made of it, and why it was dropped if it was."""

    stage: str
    instruction: str
    response: str


COMPLICATED, REFORMULATED, VERIFIED = "complicate: ", "reformulate: ", "verify: "
"""How a step of history begins, before what was added, the format, or what the judge found."""
FAILED = " failed: "
"""What history writes between a complication and the reason why it was not kept."""
NOT_VERIFIED = "not verified"
"""The reason of a sample that the judge did not pass, before the criteria."""
NOTHING_LEFT = "nothing certain left to ask"
"""How the reason of a sample begins whose writer abstained: it says only what is certain, and nothing went wrong."""


class Turn(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


class Sample(Record):
    """One instruction sample on its way through a recipe. Without messages it is the blank that recipes start from.

    `evidence` are the tags the answer rests on; `reasoning` is the writer's chain of thought, which stays in the house;
    `reason` is why the sample was rejected, `None` while it is good.
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

    def changed(self, **changes: Any) -> Sample:
        """A copy with other values in some fields; they are taken as they are."""
        return _filled(Sample, {**self.__dict__, **changes})

    def write(self, turns: list[Turn] | list[tuple[str, str]], **changes: Any) -> Sample:
        """A copy with these (question, answer) turns as its messages."""
        messages = tuple(
            trusted(Message, role=role, content=content)
            for turn in turns
            for role, content in zip(("user", "assistant"), turn, strict=True)
        )
        return self.changed(messages=messages, **changes)

    def rewrite(self, stage: str, turn: Turn | tuple[str, str], **changes: Any) -> Sample:
        """A copy with one new turn; what it said before goes into `history`."""
        edit = trusted(Edit, stage=stage, instruction=self.instruction, response=self.response)
        return self.write([turn], history=(*self.history, edit), **changes)

    def reject(self, reason: str) -> Sample:
        """A copy that is rejected for `reason`; it is published in the config `rejected`, never dropped."""
        return self.changed(reason=reason)
