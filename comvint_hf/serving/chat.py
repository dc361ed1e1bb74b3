"""Talking with a model about a picture: what the Space and the evaluation share.

A `Chat` takes and gives canonical boxes (fractions, `<st>cup<ed>[0.100, ...]`); what the model itself writes is between
`Chat` and the model, by the conventions that lie beside it. This file knows conventions and text, and loads no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypedDict

from comvint_hf.box_formats import CANONICAL, WHOLE, Dialect, Frame, translate
from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError
from comvint_hf.grounding import Grounded, bare_boxes, box_text, parse
from comvint_hf.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

# Both as the referring questions of our own datasets say it: tuned models know these words.
FIND = "Where is the {phrase}?"
REGION_PHRASE = "this area"


class Turn(TypedDict):
    """One message: who speaks, and the words. A question about a picture needs no image marker."""

    role: Literal["system", "user", "assistant"]
    content: str


Picture: TypeAlias = "Image | str | Path"
"""A PIL image, or the path of a file that holds one."""
Talk = tuple[Sequence[Turn], "Picture | None"]
"""Messages that end with a question, and the picture they are about."""


class Chat(Protocol):
    """What the Space and the evaluation ask of a model. `name` is shown to people; every box is canonical."""

    name: str

    def stream(self, messages: Sequence[Turn], image: Picture | None) -> Iterator[str]:
        """Give the answer piece by piece; a box comes in one piece. Closing the iterator stops the model."""
        ...

    def answer(self, messages: Sequence[Turn], image: Picture | None) -> str:
        """Give the whole answer."""
        ...

    def answers(self, talks: Sequence[Talk], batch_size: int = 16, done: Callable[[int], None] | None = None) -> list[str]:
        """Give many answers, in the order of `talks`; `done` is told how many are ready, batch by batch."""
        ...

    def ground(self, phrase: str, image: Picture) -> list[Grounded]:
        """Find what a phrase names in a picture: no `Grounded` if the model points nowhere."""
        ...


class Translating(ABC):
    """What every chat shares: conventions in front of a model that speaks its own box dialect.

    A subclass has `name` and `conventions` and says how the model answers (`_raw`, and `_raw_batch` where it can do many
    at once), in the model's dialect both ways.
    """

    name: str
    conventions: Conventions

    def _frame(self, image: Image) -> Frame:
        """In which frame the model counts: the picture as it is handed over, unless a subclass knows its processor."""
        return Frame(size=image.size)

    @abstractmethod
    def _raw(self, messages: Sequence[Turn], image: Image | None) -> Iterator[str]:
        """The answer piece by piece, as the model writes it."""

    def _raw_batch(self, talks: Sequence[Talk]) -> list[str]:
        return ["".join(self._raw(messages, image)) for messages, image in talks]

    def stream(self, messages: Sequence[Turn], image: Picture | None) -> Iterator[str]:
        messages, image, frame = self._prepared(messages, image)
        raw = self._raw(messages, image)
        try:
            yield from _translated(raw, self.conventions.dialect, frame)
        finally:
            # Also when the caller leaves early: the model must stop then.
            if hasattr(raw, "close"):
                raw.close()

    def answer(self, messages: Sequence[Turn], image: Picture | None) -> str:
        return "".join(self.stream(messages, image)).strip()

    def answers(self, talks: Sequence[Talk], batch_size: int = 16, done: Callable[[int], None] | None = None) -> list[str]:
        found: list[str] = []
        for start in range(0, len(talks), batch_size):
            prepared = [self._prepared(messages, image) for messages, image in talks[start : start + batch_size]]
            replies = self._raw_batch([(messages, image) for messages, image, _ in prepared])
            for reply, (_, _, frame) in zip(replies, prepared, strict=True):
                found.append(translate(reply, self.conventions.dialect, CANONICAL, frame).strip())
            if done is not None:
                done(len(found))
        return found

    def ground(self, phrase: str, image: Picture) -> list[Grounded]:
        if not (phrase or "").strip(" .?!"):
            raise InputError("There is no phrase to find; expected words for something in the picture, like 'the red cup'.")
        if image is None:
            raise InputError(f"There is no picture to find {phrase!r} in; expected a PIL image or the path of an image file.")
        return found_in(self.answer([find_turn(phrase)], image), phrase)

    def _prepared(self, messages: Sequence[Turn], image: Picture | None) -> tuple[list[Turn], Image | None, Frame]:
        """The model's own view: the picture within the pixel bounds, the boxes in its dialect, and the frame they count in."""
        _check_turns(messages)
        if image is not None:
            image = self.conventions.fitted(open_picture(image))
        frame = self._frame(image) if image is not None else WHOLE
        dialect = self.conventions.dialect
        turns = [Turn(role=turn["role"], content=translate(turn["content"], CANONICAL, dialect, frame)) for turn in messages]
        return turns, image, frame


def open_picture(picture: Picture) -> Image:
    """The picture in RGB, read whole. Raises `InputError` for a file that is none, or for something that is no picture."""
    from PIL import Image

    named = f" {picture}" if isinstance(picture, str | Path) else ""
    try:
        return (Image.open(picture) if named else picture).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"The picture{named} cannot be read ({error}); expected a whole image file, PNG or JPEG say.") from error
    except AttributeError as error:
        raise InputError(
            f"The picture is a {type(picture).__name__}; expected a PIL image or the path of an image file."
        ) from error


def _check_turns(messages: Sequence[Turn]) -> None:
    """Raise `InputError` unless the messages are turns of text, the last one a question."""
    turns = messages if isinstance(messages, list | tuple) else [str(messages)]
    strange = next((turn for turn in turns if not _is_turn(turn)), None)
    if strange is not None:
        raise InputError(
            f"The conversation holds {str(strange)[:60]!r}; expected a list of turns like "
            '{"role": "user", "content": "What is it?"}, of system, user and assistant.'
        )
    if not turns or turns[-1]["role"] != "user":
        raise InputError("The conversation does not end with a question; expected a last message with the role user.")


def _is_turn(turn: object) -> bool:
    if not isinstance(turn, dict):
        return False
    return turn.get("role") in ("system", "user", "assistant") and isinstance(turn.get("content"), str)


def find_turn(phrase: str) -> Turn:
    """The question that finds a phrase.

    >>> find_turn("the red cup.")["content"]
    'Where is the red cup?'
    """
    words = phrase.strip().rstrip(".?!")
    first, _, rest = words.partition(" ")
    if first.lower() in ("the", "a", "an") and rest:
        words = rest
    return Turn(role="user", content=FIND.format(phrase=words))


def region_turn(question: str, box: Box) -> Turn:
    """A question about a marked part of the picture; without words it asks what is there.

    >>> region_turn("What colour is this?", Box(x1=0, y1=0, x2=0.5, y2=1))["content"]
    'What colour is <st>this area<ed>[0.000, 0.000, 0.500, 1.000]?'
    """
    region = f"<st>{REGION_PHRASE}<ed>{box_text(box)}"
    words = question.strip() or f"What is in {REGION_PHRASE}?"
    for phrase in (REGION_PHRASE, "this region", "the region", "the area", "this part", "this one", "this object", "this"):
        # The pointing word becomes the region, if it stands for itself and not before a noun of its own.
        head, found, tail = words.partition(phrase)
        if found and (not tail or not tail[0].isalnum()) and (phrase != "this" or not tail.strip() or tail.strip()[0] in "?.!,"):
            return Turn(role="user", content=head + region + tail)
    return Turn(role="user", content=f"About {region}: {words}")


def found_in(answer: str, phrase: str) -> list[Grounded]:
    """What an answer points at: its grounded phrases, else its boxes under the phrase that was asked for."""
    grounded = parse(answer)
    boxes = tuple(bare_boxes(answer))
    return grounded or ([Grounded(phrase, boxes, 0, len(answer))] if boxes else [])


def _translated(pieces: Iterable[str], dialect: Dialect, frame: Frame) -> Iterator[str]:
    """Pass a stream on in canonical boxes. What may become a box is held back until it is one or cannot be any more."""
    held = ""
    for piece in pieces:
        held += piece
        ready = held[: dialect.settled(held)]
        held = held[len(ready) :]
        if ready:
            yield translate(ready, dialect, CANONICAL, frame)
    if held:
        yield translate(held, dialect, CANONICAL, frame)
