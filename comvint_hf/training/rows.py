"""Rows as they come from a dataset, read into conversations: pictures on one side, turns made of parts on the other.

It refuses what cannot be trained on, each with one sentence. It knows no tokenizer and no chat template; what these would not
read as text is handed to it as `Reserved`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from comvint_hf.errors import RowError

ROLES = ("system", "user", "assistant")
UNREADABLE = "picture not readable"


@dataclass(frozen=True)
class Conversation:
    """One row, ready to be rendered.

    `name` is how errors call it. `messages` are turns `{"role": ..., "content": [parts]}`; a part is
    `{"type": "text", "text": ...}` or `{"type": "image"}`, and the image parts stand in the order of `images`.
    """

    name: str
    images: list[Any]
    messages: list[dict[str, Any]]


@dataclass(frozen=True)
class Reserved:
    """What may not stand in a text: `pictures` would be taken for a picture, `tokens` for a control token of the chat template."""

    pictures: frozenset[str] = frozenset({"<image>"})
    tokens: frozenset[str] = frozenset()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self.pictures | self.tokens, key=len, reverse=True))))

    @cached_property
    def starts(self) -> frozenset[str]:
        """How they begin: to look for these few first is many times faster than for hundreds of tokens."""
        return frozenset(word[:3] for word in self.pictures | self.tokens)

    def refuse(self, text: str, name: str) -> None:
        """Raise `RowError` if one of them stands in `text`; `name` is the row's."""
        if not any(start in text for start in self.starts):
            return
        if (found := self.pattern.search(text)) is None:
            return
        if found[0] in self.pictures:
            raise RowError(
                f"{name} has a literal {found[0]} in its text, which the processor would take for a picture. "
                "Take it out: pictures are placed from `images`."
            )
        raise RowError(
            f"{name} has a literal {found[0]} in its text, which the tokenizer would make a control token. Take it out, or write "
            "it otherwise; a marker of your own belongs into the tokenizer as an ordinary token (add_tokens, not special)."
        )


def read_row(row: Mapping[str, Any], place: int, *, reserved: Reserved = Reserved(), text_only: bool = False) -> Conversation:
    """Read the row that stands at `place` of its batch.

    `images` (a list) or `image` (one or none) come first in the first user turn, unless the messages already hold image
    parts; a picture may be a path. Raises `RowError` where there is nothing to learn, a role or a part is unknown, pictures
    and image parts do not match, a picture is broken or missing, or a text holds something `reserved`.
    """
    if not isinstance(row, Mapping):
        raise RowError(
            f"Row {place} of the batch is a {type(row).__name__}: expected a dict with `messages` and `images`. "
            "A batch is a list of rows, and preview and check take one row."
        )
    name = f"Row {row['id']!r}" if row.get("id") else f"Row {place} of the batch"
    images = pictures_of(row, name)
    if not images and row.get("image_id") and not text_only:
        raise RowError(
            f"{name} belongs to image {row['image_id']!r} but brings no picture: expected `images`. "
            "Add the pictures (attach_images, --images), or say text_only=True (--text-only) to train without them.",
            reason="no picture",
        )
    messages = [_message(message, name, reserved) for message in _turns(row, name)]
    return Conversation(name, *_with_images(messages, images, name))


def _turns(row: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    messages = row.get("messages")
    if not messages:
        raise RowError(f"{name} has no messages: expected turns of user and assistant under `messages`, found {sorted(row)}.")
    if isinstance(messages, str | Mapping) or not all(isinstance(message, Mapping) for message in messages):
        raise RowError(f"{name} has messages of another form: expected a list of turns, each a dict with `role` and `content`.")
    roles = [message.get("role") for message in messages]
    strange = [role for role in roles if role not in ROLES]
    if strange:
        raise RowError(f"{name} has a turn of role {strange[0]!r}: expected one of {', '.join(ROLES)}.")
    if roles[-1] != "assistant":
        raise RowError(
            f"{name} ends with a {roles[-1]} turn: expected an answer (role assistant) last, as there is none to learn."
        )
    return messages


def _message(message: Mapping[str, Any], name: str, reserved: Reserved) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        parts = [{"type": "text", "text": content}]
    elif isinstance(content, Sequence):
        parts = [_part(part, name) for part in content]
    else:
        raise RowError(f"{name} has a {message['role']} turn with content {content!r}: expected a string or a list of parts.")
    for part in parts:
        reserved.refuse(part.get("text", ""), name)
    if message["role"] == "assistant" and not any(part.get("text", "").strip() for part in parts):
        raise RowError(f"{name} has an empty answer: expected text in every assistant turn. Drop the turn or the row.")
    return {"role": message["role"], "content": parts}


def _part(part: Any, name: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else part
    if kind == "text":
        return {"type": "text", "text": part.get("text") or ""}
    if kind == "image":
        return {"type": "image"} if part.get("image") is None else {"type": "image", "image": part["image"]}
    raise RowError(f"{name} has a content part of type {kind!r}: expected text or image.")


def _with_images(messages: list[dict[str, Any]], images: list[Any], name: str) -> tuple[list[Any], list[dict[str, Any]]]:
    """Put image parts in front of the first user text, or match the pictures with the image parts that are there."""
    marked = [part for message in messages for part in message["content"] if part["type"] == "image"]
    if not marked:
        if images:
            first = next((message for message in messages if message["role"] == "user"), None)
            if first is None:
                raise RowError(f"{name} has {len(images)} pictures and no user turn to put them in.")
            first["content"] = [{"type": "image"} for _ in images] + first["content"]
        return images, messages
    waiting = iter(images)
    placed = [_decoded(part.pop("image"), name) if "image" in part else next(waiting, None) for part in marked]
    empty = sum(image is None for image in placed)
    surplus = sum(1 for _ in waiting)
    if empty or surplus:
        raise RowError(
            f"{name} has {len(marked)} image parts in its messages and {len(placed) - empty + surplus} pictures: "
            "expected as many."
        )
    return placed, messages


def pictures_of(row: Mapping[str, Any], name: str) -> list[Any]:
    """The row's pictures, decoded. Raises `RowError` for one that cannot be."""
    images = row.get("images")
    if images is None:
        images = row.get("image")
    if images is None:
        return []
    if not isinstance(images, list | tuple):
        images = [images]
    return [_decoded(image, name) for image in images]


def _decoded(image: Any, name: str) -> Any:
    """Decode a picture now, so that a broken file is blamed on its row; any mode becomes RGB, an array stays as it is."""
    from PIL import Image

    try:
        if isinstance(image, Mapping):
            image = image["path"] if image.get("bytes") is None else image["bytes"]
        if isinstance(image, bytes):
            image = io.BytesIO(image)
        if isinstance(image, str | Path | io.BytesIO):
            image = Image.open(image)
        if hasattr(image, "shape"):
            return image
        if image.mode != "RGB":
            return image.convert("RGB")
        image.load()
        return image
    except (OSError, SyntaxError, KeyError, TypeError, ValueError, Image.DecompressionBombError) as error:
        raise RowError(
            f"{name} has a picture that cannot be decoded ({error}); mend the file or drop the row.", UNREADABLE
        ) from error
    except AttributeError as error:
        raise RowError(
            f"{name} has a {type(image).__name__} in place of a picture: expected a PIL image, its bytes or a path.", UNREADABLE
        ) from error
