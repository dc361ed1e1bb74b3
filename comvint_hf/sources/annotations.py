"""Clean the texts and pixel boxes of annotation files; what had to be clamped or dropped is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import isfinite
from typing import Any, TypeGuard

from comvint_hf.types import Box

CLAMPED = "boxes clamped to the image"
EMPTY = "zero-area boxes dropped"
OUTSIDE = "boxes outside the image dropped"
UNREADABLE = "boxes without four numbers dropped"


def clean_text(text: object) -> str:
    """Strip a text and fold its newlines and repeated blanks; "" for anything but text.

    >>> clean_text(" A man \\n on a  horse ")
    'A man on a horse'
    """
    return " ".join(text.split()) if isinstance(text, str) else ""


def unique_texts(texts: object) -> tuple[str, ...]:
    """Return the distinct, cleaned texts of a string or a list, in order and without empty ones.

    >>> unique_texts(["car", " car", "taxi", ""])
    ('car', 'taxi')
    """
    listed: Iterable[object] = texts if isinstance(texts, list) else [texts]
    return tuple(dict.fromkeys(filter(None, map(clean_text, listed))))


def is_size(size: tuple[object, object]) -> TypeGuard[tuple[int, int]]:
    """Whether this is the (width, height) of an image: whole numbers above zero."""
    return all(isinstance(side, int) and side > 0 for side in size)


def box_from_corner(x: Any, y: Any, width: Any, height: Any, size: tuple[int, int], counts: Counter[str]) -> Box | None:
    """Convert a box given by its top left corner, width and height in pixels; `size` is the image's (width, height).

    A box beyond the border is clamped, one without area is dropped (`None`); both are counted.

    >>> box_from_corner(365, 0, 276, 480, (640, 480), Counter()).xyxy
    (0.5703125, 0.0, 1.0, 1.0)
    """
    if not all(isinstance(number, int | float) and isfinite(number) for number in (x, y, width, height)):
        counts[UNREADABLE] += 1
        return None
    if width <= 0 or height <= 0:
        counts[EMPTY] += 1
        return None
    return box_from_edges(x, y, x + width, y + height, size, counts)


def box_from_edges(
    left: float, top: float, right: float, bottom: float, size: tuple[int, int], counts: Counter[str]
) -> Box | None:
    """Convert a box given by its four edges in pixels, clamping and counting as `box_from_corner` does."""
    width, height = size
    if left >= right or top >= bottom:
        counts[EMPTY] += 1
        return None
    if left < 0 or top < 0 or right > width or bottom > height:
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if left >= right or top >= bottom:
            counts[OUTSIDE] += 1
            return None
        counts[CLAMPED] += 1
    return Box(x1=left / width, y1=top / height, x2=right / width, y2=bottom / height)
