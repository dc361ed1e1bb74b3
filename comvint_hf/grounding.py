"""Boxes in text: tags <-> canonical text <-> `Box`.

Inside the house text refers to things by tag, `<st>man<ed>[o3]`, so a coordinate can never be invented. At the edge
`render` puts the coordinates in: `<st>man<ed>[0.120, 0.250, 0.480, 0.900]`, groups as `<st>men<ed>[..], [..]`.
How model families write a box is said in `dialects`. This file knows scenes and text; it knows no model and no dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from comvint_hf.box_formats import CANONICAL
from comvint_hf.errors import UnknownTagError
from comvint_hf.types import Box, Scene

MARKERS = frozenset({"<st>", "<ed>"})
"""What stands around a phrase; a tokenizer may have them as special tokens."""
REFERENCE = re.compile(r"<st>(?P<phrase>[^<>]+?)<ed>\s*(?P<tags>\[[or]\d+\](?:\s*,?\s*\[[or]\d+\])*)")
BARE_TAG = re.compile(r"\[([or]\d+)\]")
BOX_TEXT = CANONICAL.pattern
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


def parse(text: str) -> list[Grounded]:
    """Find every grounded phrase in canonical text. Nothing is guessed: a box that does not fit is dropped.

    >>> parse("The <st>cup<ed>[0.1, 0.2, 0.3, 0.4].")[0].phrase
    'cup'
    """
    found = []
    for match in GROUNDED.finditer(text):
        boxes = tuple(bare_boxes(match["boxes"]))
        if boxes:
            found.append(Grounded(match["phrase"], boxes, match.start(), match.end()))
    return found


def bare_boxes(text: str) -> list[Box]:
    """Every box in canonical text, whether a phrase stands before it or not."""
    return [box for numbers in BOX_TEXT.findall(text) if (box := CANONICAL.box(tuple(map(float, numbers))))]


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
