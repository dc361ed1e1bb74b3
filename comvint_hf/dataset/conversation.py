"""Read the conversations of other formats (LLaVA, ShareGPT, OpenAI's content parts, SVIT) into messages, or say why that is not possible.

An image stands in a text as `<image>`, or beside it as a part. Rows have their images in front of the first question: a conversation whose
images stand before or behind the words of that question becomes a row, and one whose images stand elsewhere does not, because its words
would lose what they point at. With `keep_places` it keeps them, as content parts that the collator reads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from comvint_hf.dataset.schema import IMAGE_MARKER
from comvint_hf.errors import RowError
from comvint_hf.read_counts import shorten
from comvint_hf.strict_reader import is_valid_text

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
TOOL_ROLES = frozenset(
    {"function", "function_call", "function_response", "tool", "tool_call", "tool_response", "observation", "ipython"}
)
NO_TURNS = "records skipped: no turns"
NO_ROLE = "records skipped: a turn of an unknown role"
TOOL_TURN = "records skipped: turns of tools"
NO_TEXT = "records skipped: a turn without text"
NOT_UNICODE = "records skipped: their text is not valid Unicode"
NO_PART = "records skipped: a content part that is neither text nor image"
MEDIA = "records skipped: about a video or a sound"
ANSWER_FIRST = "records skipped: the assistant speaks first"
NO_ANSWER = "records skipped: no answer at the end"
NOT_IN_TURN = "records skipped: user and assistant do not take turns"
NO_IMAGE = "records skipped: about an image that they do not have"
OTHER_NUMBER = "records skipped: not as many <image> as images"
BETWEEN_WORDS = "records skipped: an image between words or in a later turn, where rows have no place for it"
_MEDIA_MARKERS = ("<video>", "<audio>")
_MEDIA_KEYS = ("video", "videos", "audio", "audios")


class Image:
    """The place of an image in a turn; `name` is its file where the part names it."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name


@dataclass
class Turn:
    """A turn: a role, and texts and images in order. `raw` is the whole text where it came as one."""

    role: str
    parts: list[str | Image]
    raw: str | None = None

    @property
    def text(self) -> str:
        """The words without the images."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> list[Image]:
        return [part for part in self.parts if isinstance(part, Image)]

    def has_images_at_one_end(self) -> bool:
        """Whether all images stand before the words, or all behind them."""
        kinds = [isinstance(part, Image) for part in self.parts if isinstance(part, Image) or part.strip()]
        return kinds in (sorted(kinds), sorted(kinds, reverse=True))


@dataclass
class Conversation:
    """Turns in order, and the names of the images that their parts name."""

    turns: list[Turn] = field(default_factory=list)

    @property
    def images(self) -> list[Image]:
        return [image for turn in self.turns for image in turn.images]

    @property
    def image_names(self) -> list[str]:
        return [image.name for image in self.images if image.name is not None]


def is_missing(value: object) -> bool:
    """Whether a field holds nothing: null, NaN as pandas writes it, or an empty text or list.

    >>> is_missing(None), is_missing(float("nan")), is_missing(""), is_missing(0)
    (True, True, True, False)
    """
    return value is None or (isinstance(value, float) and math.isnan(value)) or (isinstance(value, str | list) and not value)


def first_present(record: dict[str, Any], *names: str) -> Any:
    """Return the first of these fields that holds something."""
    return next((value for name in names if not is_missing(value := record.get(name))), None)


def read_conversation(listed: object, where: str) -> Conversation:
    """Read the turns of a record.

    Raises:
        RowError: With a reason of this module, if there are no turns, or one of them has another role or form, holds no words, stands at
            the wrong place, or is about a video.
    """
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes) or not len(listed):
        raise RowError(f"{where} has no turns; expected a list under 'conversations' or 'messages'.", NO_TURNS)
    turns = [_read_turn(turn, where) for turn in listed]
    for turn in turns:
        if any(marker in part for part in turn.parts if isinstance(part, str) for marker in _MEDIA_MARKERS):
            raise RowError(f"{where} is about a video or a sound; only images can be read.", MEDIA)
        if not turn.text.strip():
            raise RowError(f"{where} has an empty turn; leave the record out or correct it.", NO_TEXT)
        if not is_valid_text(turn.text):
            raise RowError(f"{where} has a text that is not valid Unicode.", NOT_UNICODE)
    _check_order([turn.role for turn in turns], where)
    return Conversation(turns)


def check_media(record: dict[str, Any], where: str) -> None:
    """Raise `RowError` for a record that names a video or a sound."""
    if first_present(record, *_MEDIA_KEYS) is not None:
        raise RowError(f"{where} is about a video or a sound; only images can be read.", MEDIA)


def _check_order(roles: list[str], where: str) -> None:
    spoken = roles[1:] if roles[0] == "system" else roles
    if not spoken or spoken[0] == "assistant":
        raise RowError(f"{where} begins with the assistant; expected a question first.", ANSWER_FIRST)
    if spoken[-1] != "assistant":
        raise RowError(f"{where} ends with a {spoken[-1]} turn; expected an answer last.", NO_ANSWER)
    if any(role != ("user", "assistant")[place % 2] for place, role in enumerate(spoken)):
        raise RowError(f"{where} has the turns {', '.join(spoken)[:100]}; expected user and assistant in turn.", NOT_IN_TURN)


def _read_turn(turn: object, where: str) -> Turn:
    fields = turn if isinstance(turn, dict) else {}
    role = fields.get("from", fields.get("role"))
    known = ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    content = next((fields[name] for name in ("value", "content", "text") if fields.get(name) is not None), None)
    if known is None:
        reason = TOOL_TURN if isinstance(role, str) and role.strip().lower() in TOOL_ROLES else NO_ROLE
        raise RowError(f"{where} has a turn {shorten(turn)}; expected a role ({', '.join(ROLES)}) and a text.", reason)
    if isinstance(content, str):
        return Turn(known, _split_markers(content), content)
    if isinstance(content, Sequence) and not isinstance(content, bytes) and len(content):
        return Turn(known, [piece for part in content for piece in _read_part(part, where)])
    raise RowError(f"{where} has a turn {shorten(turn)}; expected a role ({', '.join(ROLES)}) and a text.", NO_TEXT)


def _read_part(part: object, where: str) -> list[str | Image]:
    """Read a content part: {"type": "text", "text"}, {"type": "image", ...} or {"type": "image_url", "image_url": {"url"}}."""
    fields = part if isinstance(part, dict) else {"type": "text", "text": part}
    kind = fields.get("type") or ("text" if "text" in fields else "image")
    if kind in ("video", "video_url", "audio", "input_audio"):
        raise RowError(f"{where} is about a video or a sound; only images can be read.", MEDIA)
    if kind in ("text", "input_text"):
        text = first_present(fields, "text", "value", "content")
        if text is None:
            return []
        if isinstance(text, str):
            return _split_markers(text)
    elif kind in ("image", "image_url", "input_image"):
        name = first_present(fields, "image", "image_url", "path", "url", "value")
        name = first_present(name, "url", "path") if isinstance(name, dict) else name
        if name is None or isinstance(name, str):
            return [Image(name)]
    raise RowError(f"{where} has the content part {shorten(part)}; expected text or the name of an image file.", NO_PART)


def _split_markers(text: str) -> list[str | Image]:
    if IMAGE_MARKER not in text:
        return [text]
    pieces: list[str | Image] = []
    for place, piece in enumerate(text.split(IMAGE_MARKER)):
        pieces += ([Image()] if place else []) + ([piece] if piece else [])
    return pieces


def to_messages(
    conversation: Conversation, num_images: int, where: str, *, keep_places: bool = False, keep_text: bool = False
) -> list[dict[str, Any]]:
    """Write a conversation with so many images as the messages of a row.

    Args:
        conversation: The turns.
        num_images: How many images the record has.
        where: What an error calls the record.
        keep_places: Write the texts and images of a conversation whose images stand elsewhere as content parts.
        keep_text: Take the markers out and leave blanks as they are, as for records that `to_llava` wrote.

    Raises:
        RowError: If the images are not as many as their places, or stand where a row cannot have them.
    """
    places = len(conversation.images)
    if places and not num_images:
        raise RowError(
            f"{where} says {IMAGE_MARKER} {places} times and names 0 images; it is about an image that it lacks.", NO_IMAGE
        )
    if places and places != num_images:
        raise RowError(
            f"{where} says {IMAGE_MARKER} {places} times and names {num_images} images; expected as many of one as of the other.",
            OTHER_NUMBER,
        )
    first = next(turn for turn in conversation.turns if turn.role == "user")
    in_front = all(turn is first for turn in conversation.turns if turn.images) and first.has_images_at_one_end()
    if not in_front and keep_places:
        return [{"role": turn.role, "content": _to_parts(turn)} for turn in conversation.turns]
    if not in_front:
        raise RowError(
            f"{where} has an image between words or in a later turn; a row has its images before the first question. "
            "Read such records with from_llava(..., keep_places=True).",
            BETWEEN_WORDS,
        )
    return [{"role": turn.role, "content": _to_text(turn, keep_text)} for turn in conversation.turns]


def _to_parts(turn: Turn) -> list[dict[str, str]]:
    return [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in turn.parts]


def _to_text(turn: Turn, keep_text: bool) -> str:
    if keep_text and turn.raw is not None:
        return re.sub(rf"{re.escape(IMAGE_MARKER)}\n?", "", turn.raw)
    return strip_image_marker(turn.text if turn.raw is None else turn.raw)


def strip_image_marker(text: str) -> str:
    """Remove image markers and surrounding whitespace from a text.

    >>> strip_image_marker("<image>\\nWhat is it? ")
    'What is it?'
    """
    pieces = text.split(IMAGE_MARKER)
    for place, piece in enumerate(pieces):
        piece = piece.lstrip(" \t").removeprefix("\n") if place else piece
        pieces[place] = piece.rstrip(" \t") if place < len(pieces) - 1 else piece
    return "".join(pieces).strip()
