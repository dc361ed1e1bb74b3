"""Rows as they come from a dataset, read into conversations: pictures on one side, turns made of parts on the other.

It refuses what cannot be trained on, each with one sentence. It knows no tokenizer and no chat template; what a processor
writes for a picture is handed to it as `placeholders`.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comvint_hf.errors import RowError

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Conversation:
    """One row, ready to be rendered.

    `name` is how errors call it. `messages` are turns `{"role": ..., "content": [parts]}`; a part is
    `{"type": "text", "text": ...}` or `{"type": "image"}`, and the image parts stand in the order of `images`.
    """

    name: str
    images: list[Any]
    messages: list[dict[str, Any]]


def read_row(
    row: Mapping[str, Any], place: int, *, placeholders: Collection[str] = ("<image>",), text_only: bool = False
) -> Conversation:
    """Read the row that stands at `place` of its batch.

    `images` (a list) or `image` (one or none) come first in the first user turn, unless the messages already hold image
    parts. Raises `RowError` where there is nothing to learn, a role or a part is unknown, pictures and image parts do not
    match, a picture is broken or missing, or a text holds one of `placeholders`.
    """
    name = f"Row {row['id']!r}" if row.get("id") else f"Row {place} of the batch"
    images = _images(row, name)
    if not images and row.get("image_id") and not text_only:
        raise RowError(
            f"{name} belongs to image {row['image_id']!r} but brings no picture: expected `images`. "
            "Add the pictures (attach_images, --images), or say text_only=True (--text-only) to train without them."
        )
    messages = [_message(message, name, placeholders) for message in _turns(row, name)]
    return Conversation(name, *_with_images(messages, images, name))


def _turns(row: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    messages = row.get("messages")
    if not messages:
        raise RowError(f"{name} has no messages: expected turns of user and assistant under `messages`, found {sorted(row)}.")
    roles = [message.get("role") for message in messages]
    strange = [role for role in roles if role not in ROLES]
    if strange:
        raise RowError(f"{name} has a turn of role {strange[0]!r}: expected one of {', '.join(ROLES)}.")
    if roles[-1] != "assistant":
        raise RowError(
            f"{name} ends with a {roles[-1]} turn: expected an answer (role assistant) last, as there is none to learn."
        )
    return messages


def _message(message: Mapping[str, Any], name: str, placeholders: Collection[str]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, str):
        parts = [{"type": "text", "text": content}]
    elif isinstance(content, Sequence):
        parts = [_part(part, name) for part in content]
    else:
        raise RowError(f"{name} has a {message['role']} turn with content {content!r}: expected a string or a list of parts.")
    for part in parts:
        for placeholder in placeholders:
            if placeholder in part.get("text", ""):
                raise RowError(
                    f"{name} has a literal {placeholder} in its text, which the processor would take for a picture. "
                    "Take it out: pictures are placed from `images`."
                )
    if message["role"] == "assistant" and not any(part.get("text", "").strip() for part in parts):
        raise RowError(f"{name} has an empty answer: expected text in every assistant turn. Drop the turn or the row.")
    return {"role": message["role"], "content": parts}


def _part(part: Mapping[str, Any], name: str) -> dict[str, Any]:
    kind = part.get("type")
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


def _images(row: Mapping[str, Any], name: str) -> list[Any]:
    images = row.get("images")
    if images is None:
        images = row.get("image")
    if images is None:
        return []
    if not isinstance(images, list | tuple):
        images = [images]
    return [_decoded(image, name) for image in images]


def _decoded(image: Any, name: str) -> Any:
    """Decode a picture now, so that a broken file is blamed on its row; any mode becomes RGB."""
    from PIL import Image

    try:
        if isinstance(image, Mapping):
            data = image.get("bytes")
            image = Image.open(io.BytesIO(data) if data is not None else image["path"])
        if not isinstance(image, Image.Image):
            return image
        if image.mode != "RGB":
            return image.convert("RGB")
        image.load()
        return image
    except (OSError, SyntaxError, KeyError, TypeError, Image.DecompressionBombError) as error:
        raise RowError(f"{name} has a picture that cannot be decoded ({error}); mend the file or drop the row.") from error
