"""Lay out the first three words of questions as a sunburst, in plain numbers, and draw it with matplotlib."""

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
# Light colours that colour-blind people can tell apart and on which dark text is legible.
COLOURS = ("#77AADD", "#EE8866", "#44BB99", "#FFAABB", "#EEDD88", "#99DDFF", "#BBCC33", "#CCBBDD")
REST_COLOUR = "#E6E6E6"
# First words with fixed, distinct colours, because they are often adjacent; the colour of another word follows from a hash.
FREQUENT = (
    "what", "how", "is", "why", "which", "are", "where", "does", "the", "who", "can", "in", "if", "do", "describe", "would"
)  # fmt: skip
# How much white is mixed into the colour of each ring.
PALER = (0.0, 0.35, 0.62)
REST = "…"
# Inner and outer radius of the rings of the first, second and third words.
RINGS = ((0.27, 0.52), (0.53, 0.78), (0.79, 1.04))
# The smallest share of all questions that each ring shows; smaller ones leave a gap, in the first ring a rest.
MIN_SHARE = (0.008, 0.006, 0.006)
# Typographic points per unit of radius.
POINTS_PER_UNIT = 270.0
MIN_FONT, MAX_FONT = 6.5, 11.0
# The mean width of a letter, as a share of the font size.
LETTER_WIDTH = 0.56


@dataclass(frozen=True)
class Wedge:
    """A part of a ring: the words up to it, and its start and end in fractions of the circle, clockwise from the top."""

    words: tuple[str, ...]
    start: float
    stop: float

    @property
    def share(self) -> float:
        return self.stop - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.stop) / 2


def layout_wedges(openings: Mapping[str, int]) -> list[Wedge]:
    """Lay out openings of up to three words: frequent ones first, children within their parent.

    >>> [(wedge.words, wedge.share) for wedge in layout_wedges({"what is": 3, "why": 1})]
    [(('what',), 0.75), (('what', 'is'), 0.75), (('why',), 0.25)]
    """
    total = sum(openings.values())
    counts: Counter[tuple[str, ...]] = Counter()
    for text, count in openings.items():
        words = tuple(text.split())[: len(RINGS)]
        for length in range(1, len(words) + 1):
            counts[words[:length]] += count
    children: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for words in sorted(counts, key=lambda words: (-counts[words], words)):
        children.setdefault(words[:-1], []).append(words)
    wedges: list[Wedge] = []

    def add_children(parent: tuple[str, ...], start: float) -> float:
        for words in children.get(parent, ()):
            share = counts[words] / total
            if share >= MIN_SHARE[len(parent)]:
                wedges.append(Wedge(words, start, start + share))
                add_children(words, start)
                start += share
        return start

    end = add_children((), 0.0)
    return [*wedges, Wedge((REST,), end, 1.0)] if 1 - end > 1e-9 else wedges


def choose_colour(word: str, ring: int = 0) -> str:
    """Choose the colour of a first word, the same in every plot and paler in the outer rings.

    >>> choose_colour("what"), choose_colour("what") == choose_colour("what", 1)
    ('#77AADD', False)
    """
    index = FREQUENT.index(word) if word in FREQUENT else zlib.crc32(word.encode())
    base = REST_COLOUR if word == REST else COLOURS[index % len(COLOURS)]
    # There are fewer colours than words, so every second round through them is paler.
    extra_white = 0.3 if index // len(COLOURS) % 2 and word != REST else 0.0
    strength = (1 - PALER[ring]) * (1 - extra_white)
    return "#" + "".join(f"{round(255 - (255 - int(base[at : at + 2], 16)) * strength):02X}" for at in (1, 3, 5))


def draw_sunburst(figure: Figure, openings: Mapping[str, int], title: str) -> None:
    """Draw the rings with their words, and the title in the middle."""
    from matplotlib.patches import Wedge as WedgePatch

    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(aspect="equal", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
    for wedge in layout_wedges(openings):
        ring = len(wedge.words) - 1
        inner, outer = RINGS[ring]
        colour = choose_colour(wedge.words[0], ring)
        angles = 90 - 360 * wedge.stop, 90 - 360 * wedge.start
        axes.add_patch(
            WedgePatch((0, 0), outer, *angles, width=outer - inner, facecolor=colour, edgecolor="white", linewidth=0.9)
        )
        _write_word(axes, wedge, (inner + outer) / 2, outer - inner)
    axes.text(0, 0, title, ha="center", va="center", fontsize=13, color=INK, linespacing=1.5)


def _write_word(axes: Axes, wedge: Wedge, radius: float, width: float) -> None:
    """Write a wedge's word along the radius if it is legible; upright with its share in the first ring if there is room."""
    word, angle = wedge.words[-1], 90 - 360 * wedge.middle
    x, y = radius * math.cos(math.radians(angle)), radius * math.sin(math.radians(angle))
    arc, depth = 2 * math.pi * radius * wedge.share * POINTS_PER_UNIT, width * POINTS_PER_UNIT
    size, rotation = choose_font_size(word, arc, depth), angle + 180 if math.cos(math.radians(angle)) < 0 else angle
    if len(wedge.words) == 1 and word != REST and MAX_FONT * max(LETTER_WIDTH * len(word), 2.4) < 0.88 * min(arc, depth):
        word, rotation = f"{word}\n{wedge.share:.0%}", 0.0
    if size:
        axes.text(x, y, word, rotation=rotation, ha="center", va="center", fontsize=size, color=INK, linespacing=1.1)


def choose_font_size(word: str, height: float, width: float) -> float:
    """Choose the largest font size at which a word fits a space; 0 if it would be too small to read. All are points.

    >>> choose_font_size("cup", 100, 100), choose_font_size("cup", 5, 100), choose_font_size("incomprehensibilities", 100, 70)
    (11.0, 0.0, 0.0)
    """
    size = min(MAX_FONT, height * 0.82, width * 0.94 / (LETTER_WIDTH * max(len(word), 1)))
    return size if size >= MIN_FONT else 0.0
