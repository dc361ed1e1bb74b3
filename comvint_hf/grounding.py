"""Boxes in text: tags <-> canonical text <-> `Box`, the dialects of model families, and the maps between picture frames.

Inside the house text refers to things by tag, `<st>man<ed>[o3]`, so a coordinate can never be invented. At the edge
`render` puts the coordinates in: `<st>man<ed>[0.120, 0.250, 0.480, 0.900]`, groups as `<st>men<ed>[..], [..]`.
This file knows scenes and text; it knows no model, no processor and no dataset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from comvint_hf.errors import InputError, UnknownTagError
from comvint_hf.records import Box, Scene

REFERENCE = re.compile(r"<st>(?P<phrase>[^<>]+?)<ed>\s*(?P<tags>\[[or]\d+\](?:\s*,?\s*\[[or]\d+\])*)")
BARE_TAG = re.compile(r"\[([or]\d+)\]")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
BOX_TEXT = re.compile(rf"\[\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\]")
GROUNDED = re.compile(rf"<st>\s*(?P<phrase>[^<>]*?)\s*<ed>\s*(?P<boxes>{BOX_TEXT.pattern}(?:\s*,?\s*{BOX_TEXT.pattern})*)")


class Grounded(NamedTuple):
    """A phrase, the boxes it points at, and where it stands in the text (start and end character)."""

    phrase: str
    boxes: tuple[Box, ...]
    start: int
    end: int


class Rendered(NamedTuple):
    """Text with coordinates; `boxes[i]` belongs to `phrases[i]`, a phrase repeated for each box of a group."""

    text: str
    boxes: tuple[Box, ...]
    phrases: tuple[str, ...]


def box_text(box: Box) -> str:
    """Write one box canonically.

    >>> box_text(Box(x1=0.1, y1=0.25, x2=1, y2=1))
    '[0.100, 0.250, 1.000, 1.000]'
    """
    return f"[{box.x1:.3f}, {box.y1:.3f}, {box.x2:.3f}, {box.y2:.3f}]"


def render(text: str, scene: Scene) -> Rendered:
    """Replace every reference by coordinates. A tag outside `<st>..<ed>` becomes the thing's name.

    Raises `UnknownTagError` for a tag that the scene does not have, or that points at something without a box.
    """
    boxes: list[Box] = []
    phrases: list[str] = []

    def grounded(match: re.Match[str]) -> str:
        phrase = match["phrase"].strip()
        found = [box for tag in BARE_TAG.findall(match["tags"]) for box in tag_boxes(scene, tag)]
        boxes.extend(found)
        phrases.extend([phrase] * len(found))
        return f"<st>{phrase}<ed>" + ", ".join(map(box_text, found))

    def named(match: re.Match[str]) -> str:
        thing = _lookup(scene, match[1])
        return getattr(thing, "name", None) or thing.text

    if "[" not in text:
        return Rendered(text, (), ())
    return Rendered(BARE_TAG.sub(named, REFERENCE.sub(grounded, text)), tuple(boxes), tuple(phrases))


def tag_boxes(scene: Scene, tag: str) -> tuple[Box, ...]:
    """The boxes behind a tag. Raises `UnknownTagError` if there are none."""
    thing = _lookup(scene, tag)
    boxes = (thing.box,) if hasattr(thing, "box") else thing.boxes
    if not boxes:
        raise UnknownTagError(f"The text points at [{tag}], which has no box in {scene.id}.")
    return boxes


def tags_in(text: str) -> list[str]:
    """All tags that a text mentions, in order.

    >>> tags_in("Is the <st>man<ed>[o3] near [r7]?")
    ['o3', 'r7']
    """
    return BARE_TAG.findall(text)


def _lookup(scene: Scene, tag: str):
    thing = scene.by_tag.get(tag)
    if thing is None:
        raise UnknownTagError(f"The text refers to [{tag}], which {scene.id} does not have; its tags are {_some(scene.by_tag)}.")
    return thing


def _some(tags: Iterable[str], most: int = 8) -> str:
    listed = list(tags)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "") if listed else "none"


def parse(text: str, dialect: Dialect | None = None) -> list[Grounded]:
    """Find every grounded phrase in a model's or a dataset's text.

    Numbers are read in `dialect` (canonical fractions unless told), never guessed: a box that does not fit is dropped.

    >>> parse("The <st>cup<ed>[0.1, 0.2, 0.3, 0.4].")[0].phrase
    'cup'
    """
    read = (dialect or CANONICAL).box
    found = []
    for match in GROUNDED.finditer(text):
        boxes = tuple(box for numbers in BOX_TEXT.findall(match["boxes"]) if (box := read(tuple(map(float, numbers)))))
        if boxes:
            found.append(Grounded(match["phrase"], boxes, match.start(), match.end()))
    return found


def bare_boxes(text: str, dialect: Dialect | None = None) -> list[Box]:
    """Every box in the text, whether a phrase stands before it or not."""
    read = (dialect or CANONICAL).box
    return [box for numbers in BOX_TEXT.findall(text) if (box := read(tuple(map(float, numbers))))]


def plain(text: str) -> str:
    """The text as a person reads it: no markers, no coordinates, no tags.

    >>> plain("The <st>cup<ed>[0.1, 0.2, 0.3, 0.4] is red.")
    'The cup is red.'
    """
    text = GROUNDED.sub(lambda match: match["phrase"], text)
    return REFERENCE.sub(lambda match: match["phrase"], text)


def iou(a: Box, b: Box) -> float:
    """Intersection over union, 0 for two empty boxes.

    >>> iou(Box(x1=0, y1=0, x2=1, y2=1), Box(x1=0, y1=0, x2=0.5, y2=1))
    0.5
    """
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.area + b.area - shared)


@dataclass(frozen=True)
class Dialect:
    """How a model family writes a box: the number that stands for the far border, and the order.

    `scale` is that number (1 for fractions, 1000 for 0-1000 integers); `None` means pixels, for which `size` is needed.
    `decimals` are written, `order` is the order of the four numbers.
    """

    name: str
    scale: float | None = 1.0
    decimals: int = 3
    order: str = "xyxy"
    template: str = "[{}, {}, {}, {}]"

    def text(self, box: Box, size: tuple[int, int] | None = None) -> str:
        """Write a box; `size` is (width, height) in pixels where the dialect needs it."""
        wide, high = self._extent(size)
        x1, y1, x2, y2 = box.x1 * wide, box.y1 * high, box.x2 * wide, box.y2 * high
        numbers = (x1, y1, x2, y2) if self.order == "xyxy" else (y1, x1, y2, x2)
        return self.template.format(*(f"{number:.{self.decimals}f}" for number in numbers))

    def box(self, numbers: Sequence[float], size: tuple[int, int] | None = None) -> Box | None:
        """Read four numbers. `None` if they are out of order or outside the picture by over 2 %; a hair over is clamped."""
        wide, high = self._extent(size)
        first, second, third, fourth = numbers
        x1, y1, x2, y2 = (first, second, third, fourth) if self.order == "xyxy" else (second, first, fourth, third)
        return clamped(x1 / wide, y1 / high, x2 / wide, y2 / high, slack=0.02)

    def _extent(self, size: tuple[int, int] | None) -> tuple[float, float]:
        if self.scale is not None:
            return self.scale, self.scale
        if size is None:
            raise InputError(f"The box dialect {self.name!r} counts pixels: expected the picture's (width, height), found none.")
        return float(size[0]), float(size[1])


CANONICAL = Dialect("fraction")
DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        CANONICAL,
        Dialect("thousand", scale=1000, decimals=0),
        Dialect("thousand_yx", scale=1000, decimals=0, order="yxyx"),
        Dialect("999", scale=999, decimals=0),
        Dialect("hundred", scale=100, decimals=0),
        Dialect("pixel", scale=None, decimals=0),
    )
}
"""Every dialect by the name that `comvint.json` stores."""


def translate(text: str, source: Dialect, target: Dialect, size: tuple[int, int] | None = None) -> str:
    """Rewrite each box of a text from one dialect into another; text around boxes stays as it is."""
    if source == target:
        return text

    def rewritten(match: re.Match[str]) -> str:
        box = source.box(tuple(map(float, match.groups())), size)
        return match[0] if box is None else target.text(box, size)

    return BOX_TEXT.sub(rewritten, text)


def clamped(x1: float, y1: float, x2: float, y2: float, slack: float = 1.0) -> Box | None:
    """A box cut to the picture; `None` if it is empty, out of order, or leaves the picture by more than `slack`.

    >>> clamped(-0.01, 0, 1.002, 0.5).xyxy
    (0.0, 0.0, 1.0, 0.5)
    """
    if min(x1, y1) < -slack or max(x2, y2) > 1 + slack:
        return None
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2) if x1 < x2 and y1 < y2 else None


def padded_to_square(size: tuple[int, int]) -> tuple[Callable[[Box], Box], Callable[[Box], Box | None]]:
    """The maps into the padded square (picture centred, as LLaVA pads) and back; `size` is (width, height) in pixels."""
    width, height = size
    side = max(size)
    left, top = (side - width) / 2, (side - height) / 2

    def into(box: Box) -> Box:
        return Box(
            x1=(box.x1 * width + left) / side,
            y1=(box.y1 * height + top) / side,
            x2=(box.x2 * width + left) / side,
            y2=(box.y2 * height + top) / side,
        )

    def back(box: Box) -> Box | None:
        return clamped(
            (box.x1 * side - left) / width,
            (box.y1 * side - top) / height,
            (box.x2 * side - left) / width,
            (box.y2 * side - top) / height,
        )

    return into, back
