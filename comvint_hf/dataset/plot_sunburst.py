"""Lay out the first three words of questions as rings of a circle, and draw them.

The layout is plain numbers; the drawing takes matplotlib's axes. This file knows openings ("what is the") and how often
each comes; it knows no dataset.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#333333"
COLOURS = ("#77AADD", "#EE8866", "#44BB99", "#FFAABB", "#EEDD88", "#99DDFF", "#BBCC33", "#CCBBDD")
"""Light colours that stay apart for colour-blind eyes and carry dark text."""
REST_COLOUR = "#E6E6E6"
FREQUENT = (
    "what",
    "how",
    "is",
    "why",
    "which",
    "are",
    "where",
    "does",
    "the",
    "who",
    "can",
    "in",
    "if",
    "do",
    "describe",
    "would",
)
"""First words whose colours are set apart, as they often stand side by side; the others' follow from their letters."""
PALER = (0.0, 0.35, 0.62)
"""How much white is mixed into the colour of each ring; a second set of first words has it in the first ring too."""
REST = "…"
RINGS = ((0.27, 0.52), (0.53, 0.78), (0.79, 1.04))
"""Inner and outer radius of the rings of the first, second and third words."""
LEAST = (0.008, 0.006, 0.006)
"""The smallest share of all questions that is drawn in each ring; smaller ones leave a gap, in the first ring a rest."""
POINTS_A_UNIT = 270.0
"""How many points of type one unit of radius is on the page."""
SMALLEST, LARGEST = 6.5, 11.0
EM = 0.56
"""The mean width of a letter, in type sizes."""


@dataclass(frozen=True)
class Wedge:
    """A part of a ring: the words that lead to it, and where it begins and ends, in fractions of the circle, clockwise."""

    words: tuple[str, ...]
    start: float
    stop: float

    @property
    def share(self) -> float:
        return self.stop - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.stop) / 2


def wedges(openings: Mapping[str, int]) -> list[Wedge]:
    """Lay out openings of up to three words; the frequent first, clockwise from the top, and children within their parent.

    >>> [(wedge.words, wedge.share) for wedge in wedges({"what is": 3, "why": 1})]
    [(('what',), 0.75), (('what', 'is'), 0.75), (('why',), 0.25)]
    """
    whole = sum(openings.values())
    counts: Counter[tuple[str, ...]] = Counter()
    for text, count in openings.items():
        words = tuple(text.split())[: len(RINGS)]
        for length in range(1, len(words) + 1):
            counts[words[:length]] += count
    children: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for words in sorted(counts, key=lambda words: (-counts[words], words)):
        children.setdefault(words[:-1], []).append(words)
    laid: list[Wedge] = []

    def lay(parent: tuple[str, ...], start: float) -> float:
        for words in children.get(parent, ()):
            share = counts[words] / whole
            if share >= LEAST[len(parent)]:
                laid.append(Wedge(words, start, start + share))
                lay(words, start)
                start += share
        return start

    end = lay((), 0.0)
    return [*laid, Wedge((REST,), end, 1.0)] if 1 - end > 1e-9 else laid


def colour(word: str, ring: int = 0) -> str:
    """The colour of everything that begins with a word, the same in each picture; paler in the outer rings.

    >>> colour("what"), colour("what") == colour("what", 1)
    ('#77AADD', False)
    """
    place = FREQUENT.index(word) if word in FREQUENT else zlib.crc32(word.encode())
    base = REST_COLOUR if word == REST else COLOURS[place % len(COLOURS)]
    second = 0.3 if place // len(COLOURS) % 2 and word != REST else 0.0
    left = (1 - PALER[ring]) * (1 - second)
    return "#" + "".join(f"{round(255 - (255 - int(base[at : at + 2], 16)) * left):02X}" for at in (1, 3, 5))


def draw_sunburst(figure: Figure, openings: Mapping[str, int], title: str) -> None:
    """Draw the rings with their words, and the title in the middle."""
    from matplotlib.patches import Wedge as Patch

    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(aspect="equal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    for wedge in wedges(openings):
        ring = len(wedge.words) - 1
        inner, outer = RINGS[ring]
        fill = colour(wedge.words[0], ring)
        angles = 90 - 360 * wedge.stop, 90 - 360 * wedge.start
        axes.add_patch(Patch((0, 0), outer, *angles, width=outer - inner, facecolor=fill, edgecolor="white", linewidth=0.9))
        _write(axes, wedge, (inner + outer) / 2, outer - inner)
    axes.text(0, 0, title, ha="center", va="center", fontsize=13, color=INK, linespacing=1.5)


def _write(axes: Axes, wedge: Wedge, radius: float, width: float) -> None:
    """Write a wedge's word: in the first ring upright with its share where there is room, else along the radius if legible."""
    word, turned = wedge.words[-1], 90 - 360 * wedge.middle
    arc, depth = 2 * math.pi * radius * wedge.share * POINTS_A_UNIT, width * POINTS_A_UNIT
    size, angle = type_size(word, arc, depth), turned + 180 if math.cos(math.radians(turned)) < 0 else turned
    if len(wedge.words) == 1 and word != REST and LARGEST * max(EM * len(word), 2.4) < 0.88 * min(arc, depth):
        word, angle = f"{word}\n{wedge.share:.0%}", 0.0
    if size:
        place = radius * math.cos(math.radians(turned)), radius * math.sin(math.radians(turned))
        axes.text(*place, word, rotation=angle, ha="center", va="center", fontsize=size, color=INK, linespacing=1.1)


def type_size(word: str, height: float, width: float) -> float:
    """The largest type, in points, in which a word fits a space of so many points; 0 where it would be too small to read.

    >>> type_size("cup", 100, 100), type_size("cup", 5, 100), type_size("incomprehensibilities", 100, 70)
    (11.0, 0.0, 0.0)
    """
    size = min(LARGEST, height * 0.82, width * 0.94 / (EM * max(len(word), 1)))
    return size if size >= SMALLEST else 0.0
