"""Boxes with their phrases on a picture, and the same phrases coloured in text. Knows PIL and grounded phrases alone.

A phrase has one colour everywhere: on the picture, in the legend, in the answer. Small pictures are enlarged before
anything is drawn, so that a label on a 96-pixel scene can be read.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from comvint_hf.grounding import BARE_TAG, GROUNDED, Grounded
from comvint_hf.types import Box

PALETTE = ("#2563eb", "#e11d48", "#047857", "#b45309", "#7c3aed", "#0e7490", "#be185d", "#4d7c0f", "#c2410c", "#475569")
"""Colours that carry white text (contrast 4.5:1 or better) and differ from their neighbours."""
REGION_COLOUR = "#111827"
SHORTEST_SIDE, LONGEST_SIDE = 640, 1600
_UNFINISHED_BOX = re.compile(r"[\s,]*\[[\s\d.,-]*$")
_UNFINISHED_PHRASE = re.compile(r"<(?:s|st|e|ed)?$|<st>(?P<phrase>[^<>]*)(?:<(?:e|ed)?|<ed>\s*)?$")
_MARKER = re.compile(r"<(?:st|ed)>")
Rectangle = tuple[float, float, float, float]


class Label(NamedTuple):
    """A label's words and its place in pixels."""

    text: str
    place: Rectangle


def colours(grounded: Iterable[Grounded]) -> dict[str, str]:
    """A colour for each phrase, in order of appearance; the same phrase in other case has the same colour.

    >>> from comvint_hf.grounding import parse
    >>> list(colours(parse("<st>A cup<ed>[0.1, 0.1, 0.2, 0.2] and <st>a cup<ed>[0.3, 0.3, 0.4, 0.4]")))
    ['a cup']
    """
    phrases = dict.fromkeys(_key(item.phrase) for item in grounded)
    return {phrase: PALETTE[number % len(PALETTE)] for number, phrase in enumerate(phrases)}


def canvas(picture: Image.Image) -> Image.Image:
    """A copy of the picture at a size that labels can be read on: the longest side at least 640, at most 1600 pixels."""
    longest = max(picture.size)
    wanted = min(max(longest, SHORTEST_SIDE), LONGEST_SIDE)
    size = tuple(max(1, round(side * wanted / longest)) for side in picture.size)
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS) if size != picture.size else picture.convert("RGB")


def draw(
    picture: Image.Image,
    grounded: Sequence[Grounded] = (),
    *,
    region: Box | None = None,
    corner: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw boxes with their phrases, a dashed marked `region`, and the first `corner` of one (fractions) on a copy."""
    drawn = canvas(picture)
    pen = ImageDraw.Draw(drawn)
    palette = colours(grounded)
    thick = max(3, round(max(drawn.size) / 240))
    boxes = [(item.phrase, _pixels(box, drawn.size)) for item in grounded for box in item.boxes]
    for phrase, place in boxes:
        _outline(pen, place, palette[_key(phrase)], thick)
    taken: list[Rectangle] = []
    for phrase, place in boxes:
        label = _label(phrase, place, drawn.size, taken)
        taken.append(label.place)
        pen.rounded_rectangle(label.place, radius=thick * 2, fill=palette[_key(phrase)])
        pen.text(_middle(label.place), label.text, fill="white", font=_font(drawn.size), anchor="mm")
    if region is not None:
        _dashed(pen, _pixels(region, drawn.size), thick)
    if corner is not None:
        _cross(pen, (corner[0] * drawn.width, corner[1] * drawn.height), thick)
    return drawn


def marked(text: str, palette: Mapping[str, str]) -> str:
    """A model's text as HTML: grounded phrases highlighted in their colour, coordinates gone, all else escaped.

    What is still being written at the end of a stream shows as far as it is words.

    >>> marked("A <st>cup<ed>[0.1, 0.2, 0.3, 0.4] & a <st>hat<ed>[0.", {"cup": "#000000"})
    'A <mark class="phrase" style="background-color:#000000">cup</mark> &amp; a hat'
    """
    text = _UNFINISHED_PHRASE.sub(lambda match: match["phrase"] or "", _UNFINISHED_BOX.sub("", text))
    pieces, end = [], 0
    for match in GROUNDED.finditer(text):
        pieces.append(_words(text[end : match.start()]))
        colour = palette.get(_key(match["phrase"]))
        words = html.escape(match["phrase"])
        pieces.append(f'<mark class="phrase" style="background-color:{colour}">{words}</mark>' if colour else words)
        end = match.end()
    return "".join((*pieces, _words(text[end:])))


def legend(grounded: Sequence[Grounded]) -> str:
    """The phrases on the picture with their colours and numbers of boxes, as HTML; "" without any."""
    counts: dict[str, int] = {}
    shown: dict[str, str] = {}
    for item in grounded:
        key = _key(item.phrase)
        counts[key] = counts.get(key, 0) + len(item.boxes)
        shown.setdefault(key, item.phrase)
    palette = colours(grounded)
    chips = (
        f'<li><span class="dot" style="background-color:{palette[key]}"></span>{html.escape(shown[key])}'
        + (f" <small>×{counts[key]}</small>" if counts[key] > 1 else "")
        + "</li>"
        for key in shown
    )
    return f'<ul class="legend">{"".join(chips)}</ul>' if shown else ""


def _key(phrase: str) -> str:
    return " ".join(phrase.lower().split())


def _words(text: str) -> str:
    """Text between phrases: a marker without its other half says nothing to a reader."""
    return html.escape(_MARKER.sub("", BARE_TAG.sub("", text)), quote=False)


@cache
def _font(size: tuple[int, int]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(16, round(max(size) / 28)))


def _pixels(box: Box, size: tuple[int, int]) -> Rectangle:
    """Pixel corners inside the picture, at least one pixel apart."""
    width, height = size[0] - 1, size[1] - 1
    x1, y1 = min(box.x1 * width, width - 1), min(box.y1 * height, height - 1)
    return x1, y1, max(box.x2 * width, x1 + 1), max(box.y2 * height, y1 + 1)


def _outline(pen: ImageDraw.ImageDraw, place: Rectangle, colour: str, thick: int) -> None:
    x1, y1, x2, y2 = place
    # A white seam around the line keeps it visible on a background of its own colour.
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline="white", width=thick + 2)
    pen.rectangle(place, outline=colour, width=thick)


def _label(phrase: str, box: Rectangle, size: tuple[int, int], taken: Sequence[Rectangle]) -> Label:
    """Find a place for a label: above the box, below it, or inside, where the fewest other labels lie beneath."""
    font = _font(size)
    text = _shortened(phrase, font, size[0] * 0.6)
    left, top, right, bottom = font.getbbox(text, anchor="lt")
    pad = max(4, round(font.size * 0.35)) if hasattr(font, "size") else 4
    wide, high = right - left + 2 * pad, bottom - top + 2 * pad
    x1, y1, x2, y2 = box
    spots = (
        (x1, y1 - high - 2),
        (x1, y2 + 2),
        (x1 + 2, y1 + 2),
        (x2 - wide, y1 - high - 2),
        (x2 - wide, y2 + 2),
        (x2 - wide - 2, y2 - high - 2),
    )
    placed = [_inside((x, y, x + wide, y + high), size) for x, y in spots]
    # A spot that had to be pushed back into the picture may cover the box, so it counts as a small overlap.
    cost = [
        sum(_shared(place, other) for other in taken) + (1 if place[:2] != spot else 0)
        for place, spot in zip(placed, spots, strict=True)
    ]
    return Label(text, placed[cost.index(min(cost))])


def _shortened(phrase: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    text = phrase.strip() or "?"
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _inside(place: Rectangle, size: tuple[int, int]) -> Rectangle:
    x1, y1, x2, y2 = place
    right, down = min(0.0, size[0] - x2), min(0.0, size[1] - y2)
    x, y = max(0.0, x1 + right), max(0.0, y1 + down)
    return x, y, x + x2 - x1, y + y2 - y1


def _shared(a: Rectangle, b: Rectangle) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _middle(place: Rectangle) -> tuple[float, float]:
    return (place[0] + place[2]) / 2, (place[1] + place[3]) / 2


def _dashed(pen: ImageDraw.ImageDraw, place: Rectangle, thick: int) -> None:
    x1, y1, x2, y2 = place
    pen.rectangle(place, outline="white", width=thick)
    dash = thick * 5
    for start, end, fixed, across in ((x1, x2, (y1, y2), True), (y1, y2, (x1, x2), False)):
        position = start
        while position < end:
            stop = min(position + dash, end)
            for line in fixed:
                pen.line(
                    (position, line, stop, line) if across else (line, position, line, stop), fill=REGION_COLOUR, width=thick
                )
            position += 2 * dash


def _cross(pen: ImageDraw.ImageDraw, centre: tuple[float, float], thick: int) -> None:
    x, y = centre
    arm = thick * 6
    for width, colour in ((thick + 4, "white"), (thick, REGION_COLOUR)):
        pen.line((x - arm, y, x + arm, y), fill=colour, width=width)
        pen.line((x, y - arm, x, y + arm), fill=colour, width=width)
