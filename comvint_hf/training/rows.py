"""Dataset rows read into conversations: images on one side, messages made of parts on the other.

A row that cannot be trained on raises `RowError` with one sentence. This module knows no tokenizer and no chat template;
`ReservedTokens` tells it what they would not read as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from comvint_hf.box_formats import CANONICAL, WHOLE_IMAGE, BoxFormat, Frame, rewrite_boxes
from comvint_hf.errors import ImageError, InputError, RowError
from comvint_hf.image_geometry import find_frame
from comvint_hf.images import decode_image

ROLES = ("system", "user", "assistant")
UNREADABLE = "image not readable"
Row = Mapping[str, Any]
Entry = Row | Sequence[Row]
"""A row, or rows that share their images: a list, or the list under `rows`."""


@dataclass(frozen=True)
class Conversation:
    """One row, ready for the chat template.

    `name` is how error messages call the row. `messages` are `{"role": ..., "content": [parts]}`; a part is
    `{"type": "text", "text": ...}` or `{"type": "image"}`, and the image parts stand in the order of `images`.
    """

    name: str
    images: list[Any]
    messages: list[dict[str, Any]]


@dataclass(frozen=True)
class ReservedTokens:
    """Tokens that may not stand in a text: the processor would take them for an image or the tokenizer for a control token."""

    image_tokens: frozenset[str] = frozenset({"<image>"})
    control_tokens: frozenset[str] = frozenset()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self.image_tokens | self.control_tokens, key=len, reverse=True))))

    @cached_property
    def _prefixes(self) -> frozenset[str]:
        # Searching for these few prefixes first is many times faster than searching for hundreds of tokens.
        return frozenset(token[:3] for token in self.image_tokens | self.control_tokens)

    def check(self, text: str, name: str) -> None:
        """Raise `RowError` if `text` holds a reserved token; `name` is the row's."""
        if not any(prefix in text for prefix in self._prefixes) or (found := self._pattern.search(text)) is None:
            return
        if found[0] in self.image_tokens:
            raise RowError(
                f"{name} has a literal {found[0]} in its text, which the processor would take for an image. "
                "Remove it: images are placed from `images`."
            )
        raise RowError(
            f"{name} has a literal {found[0]} in its text, which the tokenizer would read as a control token. Remove or rewrite "
            "it; a marker of your own has to be an ordinary token of the tokenizer (add_tokens, not special)."
        )


def read_row(row: Entry, index: int, *, reserved: ReservedTokens = ReservedTokens(), text_only: bool = False) -> Conversation:
    """Read one row of a batch.

    `images` (a list) or `image` (one or none) go to the front of the first user message, unless the messages already hold image
    parts. An image may be a PIL image, an array, bytes, a path or datasets' undecoded `{"bytes", "path"}`.

    Args:
        row: A mapping with `messages` and, unless `text_only`, the images that its `image_id` promises.
        index: The row's position in its batch, for messages about rows without an `id`.

    Raises:
        RowError: The row has nothing to learn, an unknown role or part, images that do not match its image parts, a broken or
            missing image, or a `reserved` token in a text.
    """
    if not isinstance(row, Mapping):
        raise RowError(
            f"Row {index} of the batch is a {type(row).__name__}: expected a dict with `messages` and `images`. "
            "A batch is a list of rows; preview and check take one row."
        )
    name = f"Row {row['id']!r}" if row.get("id") else f"Row {index} of the batch"
    images = load_images(row, name)
    # TRL would train such a row without its image and without a warning.
    if not images and row.get("image_id") and not text_only:
        raise RowError(
            f"{name} belongs to image {row['image_id']!r} but has no image: expected `images`. "
            "Add the images (attach_images, --images), or train without them on purpose (text_only=True, --text_only).",
            reason="no image",
        )
    messages = [_parse_message(message, name, reserved) for message in _validate_messages(row, name)]
    return Conversation(name, *_place_images(messages, images, name))


def _validate_messages(row: Row, name: str) -> Sequence[Mapping[str, Any]]:
    messages = row.get("messages")
    if not messages:
        raise RowError(f"{name} has no messages: expected user and assistant messages under `messages`, found {sorted(row)}.")
    if isinstance(messages, str | Mapping) or not all(isinstance(message, Mapping) for message in messages):
        raise RowError(f"{name} has malformed messages: expected a list of dicts with `role` and `content`.")
    roles = [message.get("role") for message in messages]
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise RowError(f"{name} has a message of role {unknown[0]!r}: expected one of {', '.join(ROLES)}.")
    if roles[-1] != "assistant":
        raise RowError(f"{name} ends with a {roles[-1]} message: expected an answer (role assistant) last.")
    return messages


def _parse_message(message: Mapping[str, Any], name: str, reserved: ReservedTokens) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        parts = [{"type": "text", "text": content}]
    elif isinstance(content, Sequence):
        parts = [_parse_part(part, name) for part in content]
    else:
        raise RowError(f"{name} has a {message['role']} message with content {content!r}: expected a string or a list of parts.")
    for part in parts:
        reserved.check(part.get("text", ""), name)
    if message["role"] == "assistant" and not any(part.get("text", "").strip() for part in parts):
        raise RowError(f"{name} has an empty answer: expected text in every assistant message. Drop the message or the row.")
    return {"role": message["role"], "content": parts}


def _parse_part(part: Any, name: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else part
    if kind == "text":
        return {"type": "text", "text": part.get("text") or ""}
    if kind == "image":
        return {"type": "image"} if part.get("image") is None else {"type": "image", "image": part["image"]}
    raise RowError(f"{name} has a content part of type {kind!r}: expected text or image.")


def _place_images(messages: list[dict[str, Any]], images: list[Any], name: str) -> tuple[list[Any], list[dict[str, Any]]]:
    """Put image parts in front of the first user text, or match the images with the image parts of the messages."""
    parts = [part for message in messages for part in message["content"] if part["type"] == "image"]
    if not parts:
        if images:
            first = next((message for message in messages if message["role"] == "user"), None)
            if first is None:
                raise RowError(f"{name} has {len(images)} images and no user message to put them in.")
            first["content"] = [{"type": "image"} for _ in images] + first["content"]
        return images, messages
    unplaced = iter(images)
    placed = [_decode_image(part.pop("image"), name) if "image" in part else next(unplaced, None) for part in parts]
    missing = sum(image is None for image in placed)
    surplus = sum(1 for _ in unplaced)
    if missing or surplus:
        raise RowError(
            f"{name} has {len(parts)} image parts in its messages and {len(placed) - missing + surplus} images: "
            "expected as many of one as of the other."
        )
    return placed, messages


def shared_rows(entry: Entry) -> Sequence[Row] | None:
    """Return the rows of an entry that holds several, else `None`."""
    if isinstance(entry, Mapping):
        return entry.get("rows")
    return entry if isinstance(entry, list | tuple) else None


def load_images(row: Row, name: str) -> list[Any]:
    """Decode the row's images. Raises `RowError` for one that cannot be decoded."""
    images = row.get("images")
    if images is None:
        images = row.get("image")
    if images is None:
        return []
    if not isinstance(images, list | tuple):
        images = [images]
    return [_decode_image(image, name) for image in images]


def _decode_image(image: Any, name: str) -> Any:
    """Decode an image now, so that the error names its row; an array stays as it is."""
    if hasattr(image, "shape"):
        return image
    try:
        return decode_image(image, f"The image of {name}")
    except ImageError as error:
        raise RowError(str(error), UNREADABLE) from error


def convert_boxes(conversation: Conversation, dialect: BoxFormat, processor: Any) -> Conversation:
    """Rewrite the canonical boxes of a conversation in `dialect`, in the frame that the processor shows.

    Raises `RowError` for a box that cannot be written: it is cropped away, the dialect needs pixels that are not known, or the
    row has several images with different frames.
    """
    # Texts are written in this format already.
    if dialect == CANONICAL:
        return conversation
    frames = {find_frame(processor, _image_size(image)) for image in conversation.images} or {WHOLE_IMAGE}

    def convert(part: dict[str, Any]) -> dict[str, Any]:
        if part["type"] != "text" or not CANONICAL.pattern.search(part["text"]):
            return part
        return {**part, "text": _convert_text(part["text"], conversation.name, dialect, frames)}

    messages = [{**message, "content": list(map(convert, message["content"]))} for message in conversation.messages]
    return replace(conversation, messages=messages)


def _convert_text(text: str, name: str, dialect: BoxFormat, frames: set[Frame]) -> str:
    try:
        converted = {rewrite_boxes(text, CANONICAL, dialect, frame) for frame in frames}
    except InputError as error:
        raise RowError(f"{name}: {error}", reason="box not convertible") from error
    if len(converted) > 1:
        raise RowError(
            f"{name} has several images that the processor shows in different frames, and a box that does not say which image it "
            "belongs to: use one image per row, images of one size, or boxes as fractions (boxes='fraction')."
        )
    return converted.pop()


def _image_size(image: Any) -> tuple[int, int]:
    """Return (width, height) of a PIL image, or of an array with its channels first or last."""
    if isinstance(size := image.size, tuple):
        return size
    height, width = image.shape[-2:] if image.shape[0] <= 4 else image.shape[:2]
    return width, height
