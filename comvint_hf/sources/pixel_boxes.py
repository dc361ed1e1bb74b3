"""Turn pixel boxes of a corpus into fractions, counting what had to be clamped or dropped. This file knows no corpus."""

from __future__ import annotations

from collections import Counter
from math import isfinite

from comvint_hf.types import Box

CLAMPED = "boxes clamped to the picture"
EMPTY = "zero-area boxes dropped"
OUTSIDE = "boxes outside the picture dropped"
UNREADABLE = "boxes without four numbers dropped"


def is_size(width: object, height: object) -> bool:
    """Whether these are a picture's width and height: whole numbers above zero."""
    return isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0


def corner_box(x: object, y: object, wide: object, high: object, size: tuple[int, int], counts: Counter[str]) -> Box | None:
    """Read a box given by its top left corner and its extent, in pixels; `size` is the picture's (width, height).

    What passes the border is clamped, what has no area is dropped (`None`); both are counted.

    >>> corner_box(365, 0, 276, 480, (640, 480), Counter()).xyxy
    (0.5703125, 0.0, 1.0, 1.0)
    """
    if not all(isinstance(number, int | float) and isfinite(number) for number in (x, y, wide, high)):
        counts[UNREADABLE] += 1
        return None
    if wide <= 0 or high <= 0:
        counts[EMPTY] += 1
        return None
    return edge_box(x, y, x + wide, y + high, size, counts)


def edge_box(left: float, top: float, right: float, bottom: float, size: tuple[int, int], counts: Counter[str]) -> Box | None:
    """Read a box given by its four edges in pixels from the top left corner, clamping and counting as `corner_box` does."""
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
