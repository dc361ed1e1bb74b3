"""How model families write a box: one table for writing (training) and for reading (serving).

The text of this package has fractions of the whole image. A model may count in what its processor shows it, which is resized,
padded or cropped: that is a `Frame` (`image_geometry` finds it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from comvint_hf.errors import InputError
from comvint_hf.types import Box

# Foreign text is searched with these expressions, so each is linear: possessive quantifiers (++, *+) never try a shorter match.
_NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)"
_PARTIAL_NUMBER = r"[-+]?[\d.]{0,12}+"
_SPACES = r"\s*+"


class Frame(NamedTuple):
    """The part of an image that a model sees.

    Attributes:
        window: x1, y1, x2, y2 in fractions of the image: inside it where a processor crops, beyond it where it pads.
        size: The final (width, height) of the window in pixels; `None` where the image comes in tiles.
    """

    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    size: tuple[int, int] | None = None

    def from_image(self, box: Box) -> Box | None:
        """Convert a box of the image to fractions of the window, cut to it; `None` if it lies outside.

        >>> Frame((0.0, -0.5, 1.0, 1.5)).from_image(Box(x1=0, y1=0, x2=0.5, y2=1)).xyxy
        (0.0, 0.25, 0.5, 0.75)
        """
        left, top, right, bottom = self.window
        wide, high = right - left, bottom - top
        return clamp_box((box.x1 - left) / wide, (box.y1 - top) / high, (box.x2 - left) / wide, (box.y2 - top) / high, slack=None)

    def to_image(self, box: Box) -> Box | None:
        """Convert a box of the window to fractions of the image, cut to it; `None` if it lies in the padding."""
        left, top, right, bottom = self.window
        wide, high = right - left, bottom - top
        return clamp_box(left + box.x1 * wide, top + box.y1 * high, left + box.x2 * wide, top + box.y2 * high, slack=None)


WHOLE_IMAGE = Frame()


@dataclass(frozen=True)
class BoxFormat:
    """How a model family writes a box.

    Attributes:
        name: The name in `comvint.json`.
        scale: The number of the far border: 1 for fractions, 1000 for integers from 0 to 1000; `None` for pixels.
        decimals: Digits after the point.
        order: The order of the four numbers, "xyxy" or "yxyx".
        template: The text around the numbers.
        markers: The text around the template. A tokenizer may have them as special tokens, so an answer may have lost them.
        digits: The smallest number of digits, padded with zeros.
        in_frame: Whether the numbers count in the frame that the model sees, or in the whole image.
    """

    name: str
    scale: float | None = 1.0
    decimals: int = 3
    order: str = "xyxy"
    template: str = "[{}, {}, {}, {}]"
    markers: tuple[str, str] = ("", "")
    digits: int = 0
    in_frame: bool = True

    def format(self, box: Box, frame: Frame = WHOLE_IMAGE) -> str:
        """Write a box. Raises `InputError` for a box outside the frame, or if the frame's pixels are needed and unknown."""
        wide, high = self._scale_of(frame)
        shown = frame.from_image(box) if self.in_frame else box
        if shown is None:
            raise InputError(
                f"The box {list(box.xyxy)} lies outside the part of the image that the processor shows: it crops. Turn cropping off "
                "or padding on in its image processor, or write boxes as fractions of the image."
            )
        x1, y1, x2, y2 = shown.x1 * wide, shown.y1 * high, shown.x2 * wide, shown.y2 * high
        numbers = (x1, y1, x2, y2) if self.order == "xyxy" else (y1, x1, y2, x2)
        text = self.template.format(*(f"{number:0{self.digits}.{self.decimals}f}" for number in numbers))
        return text.join(self.markers)

    def parse(self, numbers: Sequence[float], frame: Frame = WHOLE_IMAGE) -> Box | None:
        """Read four numbers. `None` if they are out of order or over 2 % outside the frame; up to 2 % are clamped."""
        wide, high = self._scale_of(frame)
        first, second, third, fourth = numbers
        x1, y1, x2, y2 = (first, second, third, fourth) if self.order == "xyxy" else (second, first, fourth, third)
        found = clamp_box(x1 / wide, y1 / high, x2 / wide, y2 / high, slack=0.02)
        return frame.to_image(found) if found and self.in_frame else found

    def _scale_of(self, frame: Frame) -> tuple[float, float]:
        if self.scale is not None:
            return self.scale, self.scale
        if frame.size is None:
            raise InputError(
                f"The box format {self.name!r} counts pixels, and the processor's are not known here: there is no image, or it is "
                "cut into tiles. Use another box format."
            )
        return float(frame.size[0]), float(frame.size[1])

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A box in a text, its four numbers as groups; markers may be missing, and blanks may differ."""
        opening, closing = (rf"(?:{re.escape(marker)})?" if marker else "" for marker in self.markers)
        return re.compile(opening + _SPACES.join(self._split(self.template, rf"({_NUMBER})")) + closing)

    def complete_length(self, text: str) -> int:
        """Count the characters before an unfinished box at the end of a text; a stream holds the rest back.

        >>> CANONICAL.complete_length("A [note] at [0.1, 0."), CANONICAL.complete_length("A [note]")
        (12, 8)
        """
        last = 0
        for match in self.pattern.finditer(text):
            if self._partial_pattern.match(text, match.start()):
                return match.start()
            last = match.end()
        partial = self._partial_pattern.search(text, last)
        return partial.start() if partial else len(text)

    @cached_property
    def _partial_pattern(self) -> re.Pattern[str]:
        # A tokenizer may drop the markers, so a box may begin with or without them.
        templates = {self.template, self.template.join(self.markers)}
        return re.compile(rf"(?:{'|'.join(map(self._partial, templates))})\Z")

    def _partial(self, template: str) -> str:
        """An expression for any beginning of a template."""
        nested = ""
        for part in reversed([*self._split(template, _PARTIAL_NUMBER, letters=True)][:-1]):
            nested = rf"{part}(?:{_SPACES}{nested})?" if nested else part
        return nested

    @staticmethod
    def _split(template: str, number: str, letters: bool = False) -> Iterator[str]:
        """The expressions of a template's characters and numbers; words in one piece, or letter by letter."""
        for piece in re.findall(r"\{\}|\s+|[^\s{]" if letters else r"\{\}|\s+|[<\w|]+|[^\s{]", template):
            if not piece.isspace():
                yield number if piece == "{}" else re.escape(piece)


CANONICAL = BoxFormat("fraction", in_frame=False)
BOX_FORMATS: dict[str, BoxFormat] = {
    box_format.name: box_format
    for box_format in (
        CANONICAL,
        BoxFormat("seen"),
        BoxFormat("thousand", scale=1000, decimals=0),
        BoxFormat("thousand_yx", scale=1000, decimals=0, order="yxyx"),
        BoxFormat("999", scale=999, decimals=0),
        BoxFormat("hundred", scale=100, decimals=0),
        BoxFormat("pixel", scale=None, decimals=0),
        BoxFormat("corners", scale=1000, decimals=0, template="({},{}),({},{})", markers=("<|box_start|>", "<|box_end|>")),
        BoxFormat("boxed", scale=1000, decimals=0, template="[[{}, {}, {}, {}]]", markers=("<box>", "</box>")),
        BoxFormat("location", scale=1023, decimals=0, digits=4, order="yxyx", template="<loc{}><loc{}><loc{}><loc{}>"),
    )
}
"""Every box format by the name that `comvint.json` stores as `box_dialect`."""


def find_box_format(name: str) -> BoxFormat:
    """Find a box format by its name. Raises `InputError` if there is none."""
    if name not in BOX_FORMATS:
        raise InputError(f"The box format is {name!r}; expected one of {', '.join(BOX_FORMATS)}.")
    return BOX_FORMATS[name]


def rewrite_boxes(text: str, source: BoxFormat, target: BoxFormat, frame: Frame = WHOLE_IMAGE) -> str:
    """Rewrite each box of a text from one format into another; the text around boxes stays as it is.

    Raises `InputError` for a box that `target` cannot write.

    >>> rewrite_boxes("A <st>cup<ed>[0.1, 0.2, 0.3, 0.4].", CANONICAL, BOX_FORMATS["thousand"])
    'A <st>cup<ed>[100, 200, 300, 400].'
    """
    if source == target:
        return text

    def rewrite(match: re.Match[str]) -> str:
        box = source.parse(tuple(map(float, match.groups())), frame)
        return match[0] if box is None else target.format(box, frame)

    return source.pattern.sub(rewrite, text)


def clamp_box(x1: float, y1: float, x2: float, y2: float, slack: float | None = 1.0) -> Box | None:
    """Make a box cut to the image; `None` if it is empty, out of order, or leaves the image by more than `slack`.

    >>> clamp_box(-0.01, 0, 1.002, 0.5).xyxy
    (0.0, 0.0, 1.0, 0.5)
    """
    if slack is not None and (min(x1, y1) < -slack or max(x2, y2) > 1 + slack):
        return None
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2) if x1 < x2 and y1 < y2 else None
