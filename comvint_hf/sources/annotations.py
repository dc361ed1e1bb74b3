"""Clean the texts and pixel boxes of annotation files; what had to be clamped or dropped is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from comvint_hf.read_counts import as_counts
from comvint_hf.strict_reader import LIMITS
from comvint_hf.types import Box

CLAMPED = "boxes clamped to the image"
EMPTY = "zero-area boxes dropped"
OUTSIDE = "boxes outside the image dropped"
UNREADABLE = "boxes without four numbers dropped"
IN_FIRST_PIXEL = "boxes dropped: all their numbers lie between 0 and 1, as if they were fractions and not pixels"
MOST_PIXELS = 1e9
"""A coordinate is smaller; a larger number is an error of the export."""


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


def read_number(value: object) -> float | None:
    """Return a finite number, also one written as text; `None` for anything else.

    >>> read_number(3), read_number(" 2.5 "), read_number("NaN"), read_number(True), read_number("3 px")
    (3, 2.5, None, None, None)
    """
    if isinstance(value, str):
        try:
            value = float(value[:40])
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -MOST_PIXELS < value < MOST_PIXELS else None  # NaN is not, either


def read_flag(value: object) -> bool:
    """Whether a flag is set; exports write it as 1, true, "1" or "true", and as 0, false, "0", "false", "" or null.

    >>> read_flag("0"), read_flag("True"), read_flag(1.0), read_flag(None), read_flag([0])
    (False, True, True, False, False)
    """
    if isinstance(value, str):
        return value.strip().lower() in ("1", "1.0", "true", "yes")
    return isinstance(value, int | float) and value == 1


def read_size(size: tuple[object, object]) -> tuple[int, int] | None:
    """Read the (width, height) of an image, numbers or texts; `None` unless both are whole numbers from 1 to `LIMITS.image_side`.

    >>> read_size(("640", 480.0)), read_size((0, 480)), read_size((None, 480))
    ((640, 480), None, None)
    """
    width, height = map(read_number, size)
    if width is None or height is None or width % 1 or height % 1:
        return None
    sides = int(width), int(height)
    return sides if all(1 <= side <= LIMITS.image_side for side in sides) else None


def are_fractions(edges: tuple[float, float, float, float]) -> bool:
    """Whether the edges of a box lie within the first pixel and not on its border: fractions of the image where pixels are expected.

    >>> are_fractions((0.1, 0.2, 0.6, 0.8)), are_fractions((0, 0, 1, 1)), are_fractions((3, 0.5, 9, 9))
    (True, False, False)
    """
    return all(0 <= edge <= 1 for edge in edges) and any(edge % 1 for edge in edges)


def box_from_corner(x: Any, y: Any, width: Any, height: Any, size: tuple[int, int], counts: Counter[str]) -> Box | None:
    """Convert a box given by its top left corner, width and height in pixels; `size` is the image's (width, height).

    A box beyond the border is clamped, one without area and one of fractions of a pixel are dropped (`None`); all are counted.

    >>> box_from_corner(365, 0, 276, 480, (640, 480), Counter()).xyxy
    (0.5703125, 0.0, 1.0, 1.0)
    """
    numbers = [read_number(number) for number in (x, y, width, height)]
    left, top, wide, high = numbers
    if left is None or top is None or wide is None or high is None:
        as_counts(counts).skip(UNREADABLE, [x, y, width, height])
        return None
    if wide <= 0 or high <= 0:
        as_counts(counts).skip(EMPTY, numbers)
        return None
    if are_fractions((left, top, left + wide, top + high)):
        as_counts(counts).skip(IN_FIRST_PIXEL, numbers)
        return None
    return box_from_edges(left, top, left + wide, top + high, size, counts)


def box_from_edges(
    left: float, top: float, right: float, bottom: float, size: tuple[int, int], counts: Counter[str]
) -> Box | None:
    """Convert a box given by its four edges in pixels, clamping and counting as `box_from_corner` does."""
    width, height = size
    edges = left, top, right, bottom
    if left >= right or top >= bottom:
        as_counts(counts).skip(EMPTY, edges)
        return None
    if left < 0 or top < 0 or right > width or bottom > height:
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if left >= right or top >= bottom:
            as_counts(counts).skip(OUTSIDE, f"{edges} in an image of {width} x {height}")
            return None
        as_counts(counts).note(CLAMPED, f"{edges} in an image of {width} x {height}")
    return Box(x1=left / width, y1=top / height, x2=right / width, y2=bottom / height)
