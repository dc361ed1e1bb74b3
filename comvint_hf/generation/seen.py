"""What a writer that sees the image may point at besides the annotations: a thing that it names with a box of its own."""

from __future__ import annotations

import re

from comvint_hf.generation.references import read_tags
from comvint_hf.grounding import BOX_TEXT, GROUNDED, format_box, parse_boxes
from comvint_hf.types import Box, Scene

_NAMED_BOX = re.compile(rf"(?:<st>)?\s*(?P<name>[^<>\[\]]{{1,80}}?)[\s:,]*(?:<ed>)?\s*(?P<box>{BOX_TEXT.pattern})")
LEAST_SIDE = 0.01
"""Width and height of the smallest box, in fractions of the image."""


def read_seen(entry: str, scene: Scene) -> list[str]:
    """Read an entry of a seeing writer's evidence: tags, or a name with a box, which is put into canonical text.

    A box that is none stays as it was written, for the checks to reject.

    >>> scene = Scene(id="toy/1", source="toy", width=9, height=9)
    >>> read_seen("kite [0.62, 0.1, 0.75, 0.31]", scene), read_seen("dog [10, 20, 30, 40]", scene), read_seen("the sky", scene)
    (['<st>kite<ed>[0.620, 0.100, 0.750, 0.310]'], ['dog [10, 20, 30, 40]'], [])
    """
    boxes = [*_NAMED_BOX.finditer(entry)]
    return [_write_box(match) or entry for match in boxes] if boxes else read_tags(entry, scene)


def _write_box(match: re.Match[str]) -> str | None:
    boxes = parse_boxes(match["box"])
    return f"<st>{match['name'].strip()}<ed>{format_box(boxes[0])}" if boxes and is_box(boxes[0]) else None


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
