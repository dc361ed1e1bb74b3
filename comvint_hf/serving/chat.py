"""Chat with a model about an image: the interface that the Space and the evaluation share.

Boxes are canonical on this side (fractions, `<st>cup<ed>[0.100, ...]`); `BaseChat` translates to and from the box format of the
model, as its conventions say. Importing this module loads no torch.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

from comvint_hf._deprecated import forward_names
from comvint_hf.box_formats import CANONICAL, WHOLE_IMAGE, BoxFormat, Frame, rewrite_boxes
from comvint_hf.conventions import Conventions
from comvint_hf.errors import InputError
from comvint_hf.grounding import GroundedPhrase, format_box, parse, parse_boxes
from comvint_hf.images import ImageLike, decode_image
from comvint_hf.thoughts import ThoughtFilter, strip_thoughts
from comvint_hf.types import Box

if TYPE_CHECKING:
    from PIL.Image import Image

# Tuned models know both phrasings from the referring questions of our datasets.
GROUNDING_TEMPLATE = "Where is the {phrase}?"
REGION_PHRASE = "this area"
LONG_BLANK = re.compile(r"(\s{16})\s+")
"""More blanks in a row than a text needs: the first sixteen are kept."""
_MAX_PIECE = 512


class ChatMessage(TypedDict):
    """A message of a conversation. A question about an image needs no image marker."""

    role: Literal["system", "user", "assistant"]
    content: str


Conversation = tuple[Sequence[ChatMessage], "ImageLike | None"]
"""Messages that end with a question, and the image that they are about."""
DecodedConversation = tuple[Sequence[ChatMessage], "Image | None"]
OnProgress = Callable[[int], object]
"""A function that is called with the number of finished items."""
Script = Callable[[str], "str | Iterable[str]"]
"""Maps a question to the answer, or to its pieces. An exception it raises is raised by the chat."""


def no_progress(done: int) -> None:
    """Show no progress."""


class Chat(Protocol):
    """A model to chat with. `name` is shown to people; all boxes are canonical."""

    name: str

    def stream(self, messages: Sequence[ChatMessage], image: ImageLike | None) -> Generator[str, None, None]:
        """Yield the answer piece by piece, each box in one piece. Closing the generator stops the model."""
        ...

    def answer(self, messages: Sequence[ChatMessage], image: ImageLike | None) -> str:
        """Return the whole answer."""
        ...

    def answers(
        self, conversations: Sequence[Conversation], batch_size: int = 16, on_progress: OnProgress = no_progress
    ) -> list[str]:
        """Answer many conversations, in their order; `on_progress` is called with the number of answers after each batch."""
        ...

    def ground(self, phrase: str, image: ImageLike) -> list[GroundedPhrase]:
        """Find a phrase in an image. The list is empty if the model gives no box."""
        ...


class BaseChat(ABC):
    """The part that all chats share: validation, pixel bounds and translation of boxes.

    A subclass sets `name` and `conventions`, and implements `_stream_reply` in the model's own box format.
    """

    name: str
    conventions: Conventions
    _marks_only_the_end = False

    def _frame(self, image: Image) -> Frame:
        """Return the frame in which the model counts pixels: the image itself, unless a subclass knows its processor."""
        return Frame(size=image.size)

    @abstractmethod
    def _stream_reply(self, messages: Sequence[ChatMessage], image: Image | None) -> Generator[str, None, None]:
        """Yield the reply as the model writes it."""

    def _batch_replies(self, conversations: Sequence[DecodedConversation]) -> list[str]:
        """Return the replies as the model writes them."""
        return ["".join(self._stream_reply(messages, image)) for messages, image in conversations]

    def stream(self, messages: Sequence[ChatMessage], image: ImageLike | None) -> Generator[str, None, None]:
        prepared, decoded, frame = self._prepare(messages, image)
        # A caller that leaves early closes this generator, which must stop the model too.
        with closing(self._stream_reply(prepared, decoded)) as pieces:
            yield from _translate_stream(self._leave_thoughts_out(pieces), self.conventions.box_format, frame)

    def _leave_thoughts_out(self, pieces: Iterable[str]) -> Iterator[str]:
        """Yield the pieces without the model's thoughts.

        Those of a model that marks only their end are known from its first answer, which `answer` and the page clean afterwards.
        """
        thoughts = ThoughtFilter(expects_thoughts=self._marks_only_the_end)
        for piece in pieces:
            if given := thoughts.feed(piece):
                yield given
        if rest := thoughts.finish():
            yield rest
        self._marks_only_the_end = thoughts.found_bare_closing

    def answer(self, messages: Sequence[ChatMessage], image: ImageLike | None) -> str:
        return strip_thoughts("".join(self.stream(messages, image))).strip()

    def answers(
        self, conversations: Sequence[Conversation], batch_size: int = 16, on_progress: OnProgress = no_progress
    ) -> list[str]:
        answers: list[str] = []
        for start in range(0, len(conversations), batch_size):
            prepared = [self._prepare(messages, image) for messages, image in conversations[start : start + batch_size]]
            replies = self._batch_replies([(messages, image) for messages, image, _ in prepared])
            for reply, (_, _, frame) in zip(replies, prepared, strict=True):
                answer = rewrite_boxes(strip_thoughts(reply), self.conventions.box_format, CANONICAL, frame)
                answers.append(answer.strip())
            on_progress(len(answers))
        return answers

    def ground(self, phrase: str, image: ImageLike) -> list[GroundedPhrase]:
        if not (phrase or "").strip(" .?!"):
            raise InputError("There is no phrase to find; expected the name of an object in the image, like 'the red cup'.")
        if image is None:
            raise InputError(f"There is no image to find {phrase!r} in; expected a PIL image or the path of an image file.")
        return parse_grounded(self.answer([grounding_question(phrase)], image), phrase)

    def _prepare(self, messages: Sequence[ChatMessage], image: ImageLike | None) -> tuple[list[ChatMessage], Image | None, Frame]:
        """Return the messages with boxes in the model's format, the image within the pixel bounds, and the frame of the boxes."""
        _validate_messages(messages)
        decoded, frame = None, WHOLE_IMAGE
        if image is not None:
            name = f"The image {image}" if isinstance(image, str | Path) else "The image"
            decoded = self.conventions.fit_image(decode_image(image, name))
            frame = self._frame(decoded)
        prepared = [
            ChatMessage(
                role=message["role"], content=rewrite_boxes(message["content"], CANONICAL, self.conventions.box_format, frame)
            )
            for message in messages
        ]
        return prepared, decoded, frame


class ScriptedChat(BaseChat):
    """A chat with scripted answers, for tests and for trying the page without a model.

    Args:
        script: Maps a question to its answer.
        conventions: The conventions, by default those of a model without `comvint.json`.
        name: The name that the page shows.
        piece: The length of the pieces that an answer is streamed in.

    Attributes:
        requests: The conversations so far, as a model would have got them.
    """

    def __init__(self, script: Script, *, conventions: Conventions | None = None, name: str = "scripted", piece: int = 8) -> None:
        self.script = script
        self.conventions = conventions or Conventions()
        self.name = name
        self.piece = piece
        self.requests: list[tuple[list[ChatMessage], Image | None]] = []

    def _stream_reply(self, messages: Sequence[ChatMessage], image: Image | None) -> Generator[str, None, None]:
        self.requests.append((list(messages), image))
        answer = self.script(messages[-1]["content"])
        if isinstance(answer, str):
            answer = [answer[start : start + self.piece] for start in range(0, len(answer), self.piece)]
        yield from answer


def _validate_messages(messages: Sequence[ChatMessage]) -> None:
    """Raise `InputError` unless the messages are text of known roles and end with a question."""
    sequence = messages if isinstance(messages, list | tuple) else [str(messages)]
    for message in sequence:
        if not _is_message(message):
            raise InputError(
                f"The conversation holds {str(message)[:60]!r}; expected a list of messages like "
                '{"role": "user", "content": "What is it?"}, of system, user and assistant.'
            )
    if not sequence or messages[-1]["role"] != "user":
        raise InputError("The conversation does not end with a question; expected a last message with the role user.")


def _is_message(message: object) -> bool:
    if not isinstance(message, dict):
        return False
    return message.get("role") in ("system", "user", "assistant") and isinstance(message.get("content"), str)


def grounding_question(phrase: str) -> ChatMessage:
    """Ask where something is.

    >>> grounding_question("the red cup.")["content"]
    'Where is the red cup?'
    """
    words = phrase.strip().rstrip(".?!")
    first, _, rest = words.partition(" ")
    # The template has an article of its own.
    if first.lower() in ("the", "a", "an") and rest:
        words = rest
    return ChatMessage(role="user", content=GROUNDING_TEMPLATE.format(phrase=words))


def region_question(question: str, box: Box) -> ChatMessage:
    """Ask about a region of the image, without a question what it shows.

    >>> region_question("What colour is this?", Box(x1=0, y1=0, x2=0.5, y2=1))["content"]
    'What colour is <st>this area<ed>[0.000, 0.000, 0.500, 1.000]?'
    """
    region = f"<st>{REGION_PHRASE}<ed>{format_box(box)}"
    words = question.strip() or f"What is in {REGION_PHRASE}?"
    for phrase in (REGION_PHRASE, "this region", "the region", "the area", "this part", "this one", "this object", "this"):
        # "this" is replaced only where it stands alone: in "this cup" it belongs to the cup.
        head, found, tail = words.partition(phrase)
        if found and (not tail or not tail[0].isalnum()) and (phrase != "this" or not tail.strip() or tail.strip()[0] in "?.!,"):
            return ChatMessage(role="user", content=head + region + tail)
    return ChatMessage(role="user", content=f"About {region}: {words}")


def parse_grounded(answer: str, phrase: str) -> list[GroundedPhrase]:
    """Read the grounded phrases of an answer; if there are none, its boxes under the phrase that was asked for."""
    grounded = parse(answer)
    boxes = tuple(parse_boxes(answer))
    return grounded or ([GroundedPhrase(phrase, boxes, 0, len(answer))] if boxes else [])


def _translate_stream(pieces: Iterable[str], dialect: BoxFormat, frame: Frame) -> Iterator[str]:
    """Translate a stream to canonical boxes, holding back text that may be the beginning of a box."""
    pending = ""
    # A model may repeat itself for pages: a long run of blanks or a huge piece would cost the search for boxes minutes.
    for part in (piece[start : start + _MAX_PIECE] for piece in pieces for start in range(0, len(piece), _MAX_PIECE)):
        pending = LONG_BLANK.sub(r"\1", pending + part)
        ready = pending[: dialect.complete_length(pending)]
        pending = pending[len(ready) :]
        if ready:
            yield rewrite_boxes(ready, dialect, CANONICAL, frame)
    if pending:
        yield rewrite_boxes(pending, dialect, CANONICAL, frame)


__getattr__ = forward_names("serving.chat")
