"""How model families write a box, and in which frame they count: one table for writing (tuning) and for reading (serving).

Our own text has fractions of the whole picture. A model counts in what it sees, which may be resized, padded or cropped: that is
a `Frame`. This file knows numbers and boxes; which processor makes which frame is said in `frames`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from comvint_hf.errors import InputError
from comvint_hf.types import Box

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_BEGUN = r"[-+]?[\d.]{0,12}"
"""A number that may not be whole yet."""


class Frame(NamedTuple):
    """What a model sees of a picture.

    `window` is x1, y1, x2, y2 in fractions of the picture: inside it where a processor crops, beyond it where it pads. `size` is
    the (width, height) in pixels that the window has in the end, `None` where it comes in tiles.
    """

    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    size: tuple[int, int] | None = None

    def into(self, box: Box) -> Box | None:
        """A box in fractions of the window, cut to it; `None` if it lies outside.

        >>> Frame((0.0, -0.5, 1.0, 1.5)).into(Box(x1=0, y1=0, x2=0.5, y2=1)).xyxy
        (0.0, 0.25, 0.5, 0.75)
        """
        left, top, right, bottom = self.window
        wide, high = right - left, bottom - top
        return clamped((box.x1 - left) / wide, (box.y1 - top) / high, (box.x2 - left) / wide, (box.y2 - top) / high, slack=None)

    def back(self, box: Box) -> Box | None:
        """A box of the window in fractions of the picture, cut to it; `None` if it lies in the padding."""
        left, top, right, bottom = self.window
        wide, high = right - left, bottom - top
        return clamped(left + box.x1 * wide, top + box.y1 * high, left + box.x2 * wide, top + box.y2 * high, slack=None)


WHOLE = Frame()


@dataclass(frozen=True)
class Dialect:
    """How a model family writes a box: the number that stands for the far border, the order, the signs around.

    `scale` is that number (1 for fractions, 1000 for 0-1000 integers); `None` means pixels. `decimals` are written, with at least
    `digits` digits; `order` is the order of the four numbers. `tags` stand around the `template`; a tokenizer may have them as
    special tokens, so an answer may have lost them. `seen` dialects count in the frame that the model sees, others in the picture.
    """

    name: str
    scale: float | None = 1.0
    decimals: int = 3
    order: str = "xyxy"
    template: str = "[{}, {}, {}, {}]"
    tags: tuple[str, str] = ("", "")
    digits: int = 0
    seen: bool = True

    def text(self, box: Box, frame: Frame = WHOLE) -> str:
        """Write a box. Raises `InputError` for a box outside the frame, or where the frame's pixels are needed and not known."""
        wide, high = self._extent(frame)
        shown = frame.into(box) if self.seen else box
        if shown is None:
            raise InputError(
                f"The box {list(box.xyxy)} lies outside what the processor shows of the picture: it crops. Turn cropping off or "
                "padding on in its image processor, or write boxes as fractions of the picture."
            )
        x1, y1, x2, y2 = shown.x1 * wide, shown.y1 * high, shown.x2 * wide, shown.y2 * high
        numbers = (x1, y1, x2, y2) if self.order == "xyxy" else (y1, x1, y2, x2)
        written = self.template.format(*(f"{number:0{self.digits}.{self.decimals}f}" for number in numbers))
        return written.join(self.tags)

    def box(self, numbers: Sequence[float], frame: Frame = WHOLE) -> Box | None:
        """Read four numbers. `None` if they are out of order or outside the frame by over 2 %; a hair over is clamped."""
        wide, high = self._extent(frame)
        first, second, third, fourth = numbers
        x1, y1, x2, y2 = (first, second, third, fourth) if self.order == "xyxy" else (second, first, fourth, third)
        found = clamped(x1 / wide, y1 / high, x2 / wide, y2 / high, slack=0.02)
        return frame.back(found) if found and self.seen else found

    def _extent(self, frame: Frame) -> tuple[float, float]:
        if self.scale is not None:
            return self.scale, self.scale
        if frame.size is None:
            raise InputError(
                f"The box dialect {self.name!r} counts pixels, and the processor's are not known here: there is no picture, or it "
                "is cut into tiles. Use another dialect."
            )
        return float(frame.size[0]), float(frame.size[1])

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A box in a text, its four numbers as groups; tags may be missing and blanks be others."""
        opening, closing = (rf"(?:{re.escape(tag)})?" if tag else "" for tag in self.tags)
        return re.compile(opening + r"\s*".join(self._atoms(self.template, rf"({_NUMBER})")) + closing)

    def settled(self, text: str) -> int:
        """How many characters from its beginning hold no half of a box: a stream keeps the rest back until it is whole or none.

        >>> CANONICAL.settled("A [note] at [0.1, 0."), CANONICAL.settled("A [note]")
        (12, 8)
        """
        last = 0
        for match in self.pattern.finditer(text):
            if self._unfinished.match(text, match.start()):
                return match.start()
            last = match.end()
        begun = self._unfinished.search(text, last)
        return begun.start() if begun else len(text)

    @cached_property
    def _unfinished(self) -> re.Pattern[str]:
        wholes = {self.template, self.template.join(self.tags)}
        return re.compile(rf"(?:{'|'.join(self._begun(whole) for whole in wholes)})\Z")

    def _begun(self, template: str) -> str:
        nested = ""
        for atom in reversed([*self._atoms(template, _BEGUN, letters=True)][:-1]):
            nested = rf"{atom}(?:\s*{nested})?" if nested else atom
        return nested

    @staticmethod
    def _atoms(template: str, number: str, letters: bool = False) -> Iterator[str]:
        """The template's signs and numbers as expressions; words in one piece, or letter by letter."""
        for piece in re.findall(r"\{\}|\s+|[^\s{]" if letters else r"\{\}|\s+|[<\w|]+|[^\s{]", template):
            if not piece.isspace():
                yield number if piece == "{}" else re.escape(piece)


CANONICAL = Dialect("fraction", seen=False)
DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        CANONICAL,
        Dialect("seen"),
        Dialect("thousand", scale=1000, decimals=0),
        Dialect("thousand_yx", scale=1000, decimals=0, order="yxyx"),
        Dialect("999", scale=999, decimals=0),
        Dialect("hundred", scale=100, decimals=0),
        Dialect("pixel", scale=None, decimals=0),
        Dialect("corners", scale=1000, decimals=0, template="({},{}),({},{})", tags=("<|box_start|>", "<|box_end|>")),
        Dialect("boxed", scale=1000, decimals=0, template="[[{}, {}, {}, {}]]", tags=("<box>", "</box>")),
        Dialect("location", scale=1023, decimals=0, digits=4, order="yxyx", template="<loc{}><loc{}><loc{}><loc{}>"),
    )
}
"""Every dialect by the name that `comvint.json` stores."""


def dialect_named(name: str) -> Dialect:
    """The dialect of that name. Raises `InputError` if there is none."""
    if name not in DIALECTS:
        raise InputError(f"The box dialect is {name!r}; expected one of {', '.join(DIALECTS)}.")
    return DIALECTS[name]


def translate(text: str, source: Dialect, target: Dialect, frame: Frame = WHOLE) -> str:
    """Rewrite each box of a text from one dialect into another; text around boxes stays as it is.

    Raises `InputError` for a box that `target` cannot say.

    >>> translate("A <st>cup<ed>[0.1, 0.2, 0.3, 0.4].", CANONICAL, DIALECTS["thousand"])
    'A <st>cup<ed>[100, 200, 300, 400].'
    """
    if source == target:
        return text

    def rewritten(match: re.Match[str]) -> str:
        box = source.box(tuple(map(float, match.groups())), frame)
        return match[0] if box is None else target.text(box, frame)

    return source.pattern.sub(rewritten, text)


def clamped(x1: float, y1: float, x2: float, y2: float, slack: float | None = 1.0) -> Box | None:
    """A box cut to the picture; `None` if it is empty, out of order, or leaves the picture by more than `slack`.

    >>> clamped(-0.01, 0, 1.002, 0.5).xyxy
    (0.0, 0.0, 1.0, 0.5)
    """
    if slack is not None and (min(x1, y1) < -slack or max(x2, y2) > 1 + slack):
        return None
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2) if x1 < x2 and y1 < y2 else None
