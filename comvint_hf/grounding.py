"""Boxes in text: tags <-> canonical text <-> `Box`.

Inside the package, text refers to objects by tag, `<st>man<ed>[o3]`, so a coordinate cannot be invented. `render` replaces the
tags when a row is written: `<st>man<ed>[0.120, 0.250, 0.480, 0.900]`, groups as `<st>men<ed>[..], [..]`.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from comvint_hf.box_formats import CANONICAL
from comvint_hf.errors import UnknownTagError
from comvint_hf.types import Box, Object, Region, Scene

MARKERS = frozenset({"<st>", "<ed>"})
"""The markers around a phrase; a tokenizer may have them as special tokens."""
# Possessive, so that text of others takes linear time: blanks and digits are never given back.
_BETWEEN = r"\s*+(?:,\s*+)?+"
REFERENCE = re.compile(rf"<st>(?P<phrase>[^<>]++)<ed>\s*+(?P<tags>\[[or]\d++\](?:{_BETWEEN}\[[or]\d++\])*+)")
BARE_TAG = re.compile(r"\[([or]\d+)\]")
BOX_TEXT = CANONICAL.pattern
_PHRASE = r"(?:[^<>\s]++(?:\s++(?=[^<>\s]))?+)*+"  # without the blanks around it
GROUNDED = re.compile(
    rf"<st>\s*+(?P<phrase>{_PHRASE})\s*+<ed>\s*+(?P<boxes>{BOX_TEXT.pattern}(?:{_BETWEEN}{BOX_TEXT.pattern})*+)"
)


LEAST_SIDE = 0.01
"""Width and height of the smallest box, in fractions of the image."""
_POINTED = re.compile(rf"{REFERENCE.pattern}|{GROUNDED.pattern.replace('?P<phrase>', '?P<name>')}")


class GroundedPhrase(NamedTuple):
    """A phrase, its boxes, and its position in the text (start and end character)."""

    phrase: str
    boxes: tuple[Box, ...]
    start: int
    end: int


class RenderedText(NamedTuple):
    """Text with coordinates; `boxes[i]` belongs to `phrases[i]`, so a phrase is repeated for each box of a group."""

    text: str
    boxes: tuple[Box, ...]
    phrases: tuple[str, ...]


def format_box(box: Box) -> str:
    """Write a box in canonical text.

    >>> format_box(Box(x1=0.1, y1=0.25, x2=1, y2=1))
    '[0.100, 0.250, 1.000, 1.000]'
    """
    return f"[{box.x1:.3f}, {box.y1:.3f}, {box.x2:.3f}, {box.y2:.3f}]"


def render(text: str, scene: Scene) -> RenderedText:
    """Replace every reference by coordinates. A tag outside `<st>..<ed>` becomes the object's name.

    Coordinates that a seeing writer gave count as well, in canonical digits.

    Raises `UnknownTagError` for a tag that the scene does not have, or whose object has no box.
    """
    boxes: list[Box] = []
    phrases: list[str] = []

    def replace_reference(match: re.Match[str]) -> str:
        phrase = (match["phrase"] or match["name"]).strip()
        tags, given = BARE_TAG.findall(match["tags"] or ""), parse_boxes(match["boxes"] or "")
        found = [box for tag in tags for box in find_boxes(scene, tag)] + given
        boxes.extend(found)
        phrases.extend([phrase] * len(found))
        return f"<st>{phrase}<ed>" + ", ".join(map(format_box, found))

    def replace_tag(match: re.Match[str]) -> str:
        item = _find_tagged(scene, match[1])
        return item.text if isinstance(item, Region) else item.name

    if "[" not in text:
        return RenderedText(text, (), ())
    return RenderedText(BARE_TAG.sub(replace_tag, _POINTED.sub(replace_reference, text)), tuple(boxes), tuple(phrases))


def find_boxes(scene: Scene, tag: str) -> tuple[Box, ...]:
    """Find the boxes of a tag. Raises `UnknownTagError` if there are none."""
    item = _find_tagged(scene, tag)
    boxes = (item.box,) if isinstance(item, Region) else item.boxes
    if not boxes:
        raise UnknownTagError(f"The text points at [{tag}], which has no box in {scene.id}.")
    return boxes


def find_tags(text: str) -> list[str]:
    """Find all tags of a text, in order.

    >>> find_tags("Is the <st>man<ed>[o3] near [r7]?")
    ['o3', 'r7']
    """
    return BARE_TAG.findall(text)


def _find_tagged(scene: Scene, tag: str) -> Object | Region:
    item = scene.by_tag.get(tag)
    if item is None:
        known = [*islice(scene.by_tag, 8), *(["..."] if len(scene.by_tag) > 8 else [])]
        raise UnknownTagError(
            f"The text refers to [{tag}], which {scene.id} does not have; its tags are {', '.join(known) or 'none'}."
        )
    return item


def parse(text: str) -> list[GroundedPhrase]:
    """Find every grounded phrase in canonical text. A box that does not fit is dropped, not guessed.

    >>> parse("The <st>cup<ed>[0.1, 0.2, 0.3, 0.4].")[0].phrase
    'cup'
    """
    found = []
    for match in GROUNDED.finditer(text):
        boxes = tuple(parse_boxes(match["boxes"]))
        if boxes:
            found.append(GroundedPhrase(match["phrase"], boxes, match.start(), match.end()))
    return found


def parse_boxes(text: str) -> list[Box]:
    """Find every box in canonical text, with or without a phrase before it."""
    return [box for numbers in BOX_TEXT.findall(text) if (box := CANONICAL.parse(tuple(map(float, numbers))))]


def is_box(box: Box) -> bool:
    """Whether a box that a model gave has a size."""
    return min(box.x2 - box.x1, box.y2 - box.y1) >= LEAST_SIDE


def find_bad_box(text: str) -> str | None:
    """Return the first pointer of a text whose coordinates are no box in fractions of the image, or `None`."""
    for match in GROUNDED.finditer(text):
        written, boxes = BOX_TEXT.findall(match["boxes"]), parse_boxes(match["boxes"])
        if len(boxes) != len(written) or not all(map(is_box, boxes)):
            return match[0]
    return None


def strip_grounding(text: str) -> str:
    """Return the text without markers, coordinates and tags.

    >>> strip_grounding("The <st>cup<ed>[0.1, 0.2, 0.3, 0.4] is red.")
    'The cup is red.'
    """
    text = GROUNDED.sub(lambda match: match["phrase"], text)
    return REFERENCE.sub(lambda match: match["phrase"], text)


def iou(a: Box, b: Box) -> float:
    """Compute intersection over union; 0 for two empty boxes.

    >>> iou(Box(x1=0, y1=0, x2=1, y2=1), Box(x1=0, y1=0, x2=0.5, y2=1))
    0.5
    """
    width = min(a.x2, b.x2) - max(a.x1, b.x1)
    height = min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.area + b.area - shared)
