"""Canonical boxes in a conversation rewritten as the model's family writes them, in the frame that it sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comvint_hf.box_formats import CANONICAL, WHOLE, Dialect, Frame, translate
from comvint_hf.errors import InputError, RowError
from comvint_hf.image_geometry import frame_of
from comvint_hf.training.rows import Conversation


def in_dialect(conversation: Conversation, dialect: Dialect, processor: Any) -> Conversation:
    """The conversation with its boxes in `dialect`; the same one where that is our own.

    Raises `RowError` for a box that cannot be said: cropped away, of unknown pixels, or of one of several unlike pictures.
    """
    if dialect == CANONICAL:
        return conversation
    frames = {frame_of(processor, _size(image)) for image in conversation.images} or {WHOLE}

    def rewritten(part: dict[str, Any]) -> dict[str, Any]:
        if part["type"] != "text" or not CANONICAL.pattern.search(part["text"]):
            return part
        return {**part, "text": _translated(part["text"], conversation.name, dialect, frames)}

    messages = [{**turn, "content": [rewritten(part) for part in turn["content"]]} for turn in conversation.messages]
    return replace(conversation, messages=messages)


def _translated(text: str, name: str, dialect: Dialect, frames: set[Frame]) -> str:
    try:
        said = {translate(text, CANONICAL, dialect, frame) for frame in frames}
    except InputError as error:
        raise RowError(f"{name}: {error}", reason="box not sayable") from error
    if len(said) > 1:
        raise RowError(
            f"{name} has several pictures that the processor shows in different frames, and a box that does not say which it is "
            "in: use one picture a row, pictures of one size, or boxes as fractions (boxes='fraction')."
        )
    return said.pop()


def _size(image: Any) -> tuple[int, int]:
    """(width, height) of a PIL image, or of an array with its channels first or last."""
    if isinstance(size := image.size, tuple):
        return size
    high, wide = image.shape[-2:] if image.shape[0] <= 4 else image.shape[:2]
    return wide, high
