"""Where boxes are to one another, with three outcomes: yes, no, and unsure. Boxes are fractions of the image, xyxy.

This file knows boxes and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from comvint_hf.types import Box

GAP, SPREAD = 0.08, 0.1
"""Clear sides in photos: centres this far apart (share of the image), boxes overlapping by this share of the narrower at most."""
ALIGNED = 0.25
"""Rendered shapes whose centres differ by at most this share of the smaller one are level: on no side of one another."""
AREA_RATIO = 2.0
"""One box is clearly larger than another from this ratio of areas on."""
SAME_THING = 0.6
"""IoU from which two boxes may be one object under two names."""
SIDE_WORDS = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}
SIDES = tuple(SIDE_WORDS)


def is_on_side(a: Box, b: Box, side: str, rendered: bool) -> bool | None:
    """Whether `a` is clearly on that side of `b`; `None` where it depends on how one looks.

    >>> is_on_side(Box(x1=0, y1=0, x2=0.2, y2=1), Box(x1=0.5, y1=0, x2=0.9, y2=1), "left of", rendered=False)
    True
    """
    if side in ("left of", "right of"):
        low, high, start, end = a.x1, a.x2, b.x1, b.x2
    else:
        low, high, start, end = a.y1, a.y2, b.y1, b.y2
    if side in ("right of", "below"):
        low, high, start, end = start, end, low, high
    shorter = min(high - low, end - start)
    apart = (start + end - low - high) / 2
    if rendered:
        if high <= start + 1e-9 or end <= low + 1e-9:
            return high <= start + 1e-9
        return False if abs(apart) <= ALIGNED * shorter else None
    overlap = min(high, end) - max(low, start)
    return apart > 0 if abs(apart) >= GAP and overlap <= SPREAD * shorter else None


def may_coincide(a: Box, b: Box) -> bool:
    """Whether two boxes cover so much of one another that they may be one object."""
    wide = min(a.x2, b.x2) - max(a.x1, b.x1)
    high = min(a.y2, b.y2) - max(a.y1, b.y1)
    if wide <= 0 or high <= 0:
        return False
    shared = wide * high
    return shared > SAME_THING * (a.area + b.area - shared)


def overlap(a: Box, b: Box) -> float:
    """The share of the smaller box that lies in the other."""
    wide, high = min(a.x2, b.x2) - max(a.x1, b.x1), min(a.y2, b.y2) - max(a.y1, b.y1)
    return max(wide, 0.0) * max(high, 0.0) / max(min(a.area, b.area), 1e-9)


def bounding_box(boxes: Sequence[Box]) -> Box:
    """The smallest box around several."""
    if len(boxes) == 1:
        return boxes[0]
    return Box.model_construct(
        x1=min(box.x1 for box in boxes),
        y1=min(box.y1 for box in boxes),
        x2=max(box.x2 for box in boxes),
        y2=max(box.y2 for box in boxes),
    )


def edge(box: Box, direction: str) -> float:
    """The border of a box on one side: "left", "right", "top" or "bottom"."""
    return {"left": box.x1, "right": box.x2, "top": box.y1, "bottom": box.y2}[direction]
