"""What a writer that sees the image may point at besides the annotations: a thing that it names with a box of its own."""

from __future__ import annotations

import re

from comvint_hf.grounding import BOX_TEXT, format_box, is_box, parse_boxes

_NAMED_BOX = re.compile(rf"(?:<st>)?\s*(?P<name>[^<>\[\]]{{1,80}}?)[\s:,]*(?:<ed>)?\s*(?P<box>{BOX_TEXT.pattern})")


def read_seen(entry: str) -> list[str]:
    """Read the boxes in an entry of a seeing writer's evidence, each with its name, in canonical text.

    A box that is none stays as it was written, for the checks to reject.

    >>> read_seen("kite [0.62, 0.1, 0.75, 0.31]"), read_seen("dog [10, 20, 30, 40]"), read_seen("the sky")
    (['<st>kite<ed>[0.620, 0.100, 0.750, 0.310]'], ['dog [10, 20, 30, 40]'], [])
    """
    return [_write_box(match) or entry for match in _NAMED_BOX.finditer(entry)]


def _write_box(match: re.Match[str]) -> str | None:
    boxes = parse_boxes(match["box"])
    return f"<st>{match['name'].strip()}<ed>{format_box(boxes[0])}" if boxes and is_box(boxes[0]) else None
