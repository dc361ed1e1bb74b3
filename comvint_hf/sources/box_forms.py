"""Recognise how a dataset writes its boxes: as edges, as a corner or a centre with a size; in pixels, fractions or thousandths.

A wrong guess puts boxes on the wrong part of the image without a word. So a form is taken only if nearly all boxes fit it,
and where two forms fit equally well the user has to say which one is meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from comvint_hf.errors import SourceError
from comvint_hf.read_counts import as_counts
from comvint_hf.sources.annotations import UNREADABLE, box_from_edges
from comvint_hf.types import Box

SHAPES = {
    "xyxy": lambda a, b, c, d: (a, b, c, d),
    "xywh": lambda a, b, c, d: (a, b, a + c, b + d),
    "cxcywh": lambda a, b, c, d: (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
}
"""The four edges (left, top, right, bottom) of a box in each form."""
UNITS = ("pixels", "fractions", "thousandths")
FITTING_SHARE = 0.98
"""Annotators slip: this share of the boxes must fit a form."""
SLACK = 0.02
"""How far beyond the image, as a share of it, a box may reach and still fit."""
ENOUGH = 8
"""Boxes after which edges that are always in order are no coincidence: other forms put them in order about one time in four."""
Numbers = Sequence[float]
Size = tuple[int, int]


@dataclass(frozen=True)
class BoxForm:
    """A way to write a box.

    >>> BoxForm("xywh", "pixels").to_box([10, 20, 30, 40], (100, 200), Counter()).xyxy
    (0.1, 0.1, 0.4, 0.3)
    """

    shape: str
    unit: str

    def __str__(self) -> str:
        return f"{self.shape} in {self.unit}"

    def to_box(self, numbers: Any, size: Size, counts: Counter[str]) -> Box | None:
        """Convert four numbers of an image of `size` (width, height in pixels); `None`, counted, for what is no box."""
        if not is_numbers(numbers):
            as_counts(counts).skip(UNREADABLE, numbers)
            return None
        return box_from_edges(*self.edges(numbers, size), size, counts)

    def edges(self, numbers: Numbers, size: Size) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom in pixels."""
        scale = {"pixels": (1.0, 1.0), "fractions": size, "thousandths": (size[0] / 1000, size[1] / 1000)}[self.unit]
        left, top, right, bottom = SHAPES[self.shape](*numbers)
        return left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]

    def fits(self, numbers: Numbers, size: Size) -> bool:
        """Whether the edges are in order and within the image."""
        left, top, right, bottom = self.edges(numbers, size)
        across, down = SLACK * size[0], SLACK * size[1]
        return -across <= left < right <= size[0] + across and -down <= top < bottom <= size[1] + down


def is_numbers(numbers: Any) -> bool:
    """Whether this is a list of four finite numbers."""
    return (
        isinstance(numbers, Sequence)
        and len(numbers) == 4
        and all(isinstance(number, int | float) and not isinstance(number, bool) and isfinite(number) for number in numbers)
    )


def parse_form(text: str) -> BoxForm:
    """Parse a declared form: `xyxy`, `xywh` or `cxcywh`, with `:fractions` or `:thousandths` unless it is in pixels.

    Raises:
        SourceError: For any other text.

    >>> parse_form("cxcywh:fractions")
    BoxForm(shape='cxcywh', unit='fractions')
    """
    shape, _, unit = text.partition(":")
    if shape not in SHAPES or (unit or UNITS[0]) not in UNITS:
        raise SourceError(
            f"boxes={text} is no form of boxes: expected {', '.join(SHAPES)}, in pixels or with "
            f"{' or '.join(f':{unit}' for unit in UNITS[1:])}, as in boxes=xyxy:fractions."
        )
    return BoxForm(shape, unit or UNITS[0])


def recognise_form(boxes: Sequence[tuple[Numbers, Size]], where: str) -> BoxForm:
    """Recognise the form of the boxes, each with its image's (width, height) in pixels.

    Pixels are read as xywh where both that and xyxy fit a handful of boxes, as COCO and most detection sets of the Hub write
    them; everything else that is not clear is an error.

    Raises:
        SourceError: If no form fits nearly all boxes, or if two do.
    """
    fitting = [form for form in _candidates(boxes) if _share(form, boxes) >= FITTING_SHARE]
    if not fitting:
        raise SourceError(_describe(boxes, where, "fit no form that is known here"))
    edges = next((form for form in fitting if form.shape == "xyxy"), None)
    if edges and (len(boxes) >= ENOUGH or len(fitting) == 1):
        return edges
    if len(fitting) == 1 or fitting[0].unit == "pixels":
        return next((form for form in fitting if form.shape == "xywh"), fitting[0])
    raise SourceError(_describe(boxes, where, f"may be {' or '.join(map(str, fitting))}"))


def _candidates(boxes: Sequence[tuple[Numbers, Size]]) -> list[BoxForm]:
    """The forms whose unit is possible: fractions are at most 1, and thousandths go beyond an image that is smaller."""
    largest = max(max(numbers) for numbers, _ in boxes)
    if largest <= 1 + SLACK:
        return [BoxForm(shape, "fractions") for shape in SHAPES]
    pixels = [BoxForm(shape, "pixels") for shape in SHAPES]
    if any(_share(form, boxes) >= FITTING_SHARE for form in pixels) or largest > 1000 * (1 + SLACK):
        return pixels
    return [BoxForm(shape, "thousandths") for shape in ("xyxy", "xywh")]  # nobody writes centres so


def _share(form: BoxForm, boxes: Sequence[tuple[Numbers, Size]]) -> float:
    return sum(form.fits(numbers, size) for numbers, size in boxes) / len(boxes)


def _describe(boxes: Sequence[tuple[Numbers, Size]], where: str, problem: str) -> str:
    numbers, (width, height) = boxes[0]
    shown = ", ".join(f"{number:g}" for number in numbers)
    return (
        f"The boxes of {where} {problem}: the first is [{shown}] in an image of {width} x {height} pixels. Say what they are, "
        f"as in ,boxes=xywh or ,boxes=xyxy:fractions behind the source ({', '.join(SHAPES)}; {', '.join(UNITS)})."
    )
