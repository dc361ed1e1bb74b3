"""Draw boxes with their phrases on an image, and highlight the same phrases in text.

A phrase has the same colour on the image, in the legend and in the answer.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from comvint_hf.grounding import BARE_TAG, GROUNDED, GroundedPhrase
from comvint_hf.types import Box

PALETTE = ("#2563eb", "#e11d48", "#047857", "#b45309", "#7c3aed", "#0e7490", "#be185d", "#4d7c0f", "#c2410c", "#475569")
"""Colours on which white text is readable (contrast 4.5:1 or better), ordered so that neighbours differ."""
REGION_COLOUR = "#111827"
MIN_LONGEST_SIDE, MAX_LONGEST_SIDE = 640, 1600
# A streamed text may end in half a box or half a marker.
_UNFINISHED_BOX = re.compile(r"[\s,]*\[[\s\d.,-]*$")
_UNFINISHED_PHRASE = re.compile(r"<(?:s|st|e|ed)?$|<st>(?P<phrase>[^<>]*)(?:<(?:e|ed)?|<ed>\s*)?$")
_MARKER = re.compile(r"<(?:st|ed)>")
_MARKDOWN = re.compile(r"[!\[\](){}*_`#|\\~$:/@+=-]|(?<=www)\.|(?<=\d)\.|(?<=\n)[ \t]+", re.IGNORECASE)
_LONGEST_LABEL = 80
_TAIL = 200
Rectangle = tuple[float, float, float, float]


class Label(NamedTuple):
    """The text of a label and its rectangle, in pixels."""

    text: str
    rectangle: Rectangle


def assign_colours(grounded: Iterable[GroundedPhrase]) -> dict[str, str]:
    """Assign a colour to each phrase, in order of appearance and regardless of case.

    >>> from comvint_hf.grounding import parse
    >>> list(assign_colours(parse("<st>A cup<ed>[0.1, 0.1, 0.2, 0.2] and <st>a cup<ed>[0.3, 0.3, 0.4, 0.4]")))
    ['a cup']
    """
    phrases = dict.fromkeys(_normalize(item.phrase) for item in grounded)
    return {phrase: PALETTE[number % len(PALETTE)] for number, phrase in enumerate(phrases)}


def resize_for_labels(image: Image.Image) -> Image.Image:
    """Copy an image at a size on which labels are readable: the longest side from 640 to 1600 pixels."""
    longest = max(image.size)
    scale = min(max(longest, MIN_LONGEST_SIDE), MAX_LONGEST_SIDE) / longest
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS) if size != image.size else image.convert("RGB")


def draw_boxes(
    image: Image.Image,
    grounded: Sequence[GroundedPhrase] = (),
    *,
    region: Box | None = None,
    corner: tuple[float, float] | None = None,
) -> Image.Image:
    """Draw boxes with their phrases, a dashed `region` and the first `corner` of one (fractions) on a copy of an image."""
    drawn = resize_for_labels(image)
    pen = ImageDraw.Draw(drawn)
    palette = assign_colours(grounded)
    thick = max(3, round(max(drawn.size) / 240))
    boxes = [(item.phrase, _to_pixels(box, drawn.size)) for item in grounded for box in item.boxes]
    for phrase, rectangle in boxes:
        _draw_outline(pen, rectangle, palette[_normalize(phrase)], thick)
    taken: list[Rectangle] = []
    for phrase, rectangle in boxes:
        label = _place_label(phrase, rectangle, drawn.size, taken)
        taken.append(label.rectangle)
        pen.rounded_rectangle(label.rectangle, radius=thick * 2, fill=palette[_normalize(phrase)])
        pen.text(_centre(label.rectangle), label.text, fill="white", font=_font(drawn.size), anchor="mm")
    if region is not None:
        _draw_region(pen, _to_pixels(region, drawn.size), thick)
    if corner is not None:
        _draw_corner(pen, (corner[0] * drawn.width, corner[1] * drawn.height), thick)
    return drawn


def highlight_phrases(text: str, palette: Mapping[str, str]) -> str:
    """Render a model's text as HTML: phrases highlighted in their colour, coordinates removed, everything else escaped.

    The chat reads HTML inside Markdown, so marks of Markdown are escaped too: a link or an image would be a way out for what an
    injected prompt asks for. An unfinished phrase at the end of a stream is shown as text, an unfinished box is not.

    >>> highlight_phrases("A <st>cup<ed>[0.1, 0.2, 0.3, 0.4] & a <st>hat<ed>[0.", {"cup": "#000000"})
    'A <mark class="phrase" style="background-color:#000000">cup</mark> &amp; a hat'
    """
    text = text[:-_TAIL] + _UNFINISHED_BOX.sub("", text[-_TAIL:])
    text = _UNFINISHED_PHRASE.sub(lambda match: match["phrase"] or "", text)
    pieces, end = [], 0
    for match in GROUNDED.finditer(text):
        pieces.append(_escape(text[end : match.start()]))
        colour = palette.get(_normalize(match["phrase"]))
        words = escape_text(match["phrase"])
        pieces.append(f'<mark class="phrase" style="background-color:{colour}">{words}</mark>' if colour else words)
        end = match.end()
    return "".join((*pieces, _escape(text[end:])))


def render_legend(grounded: Sequence[GroundedPhrase]) -> str:
    """Render the phrases on the image with their colours and numbers of boxes as HTML; "" without any."""
    counts: dict[str, int] = {}
    shown: dict[str, str] = {}
    for item in grounded:
        key = _normalize(item.phrase)
        counts[key] = counts.get(key, 0) + len(item.boxes)
        shown.setdefault(key, item.phrase)
    palette = assign_colours(grounded)
    chips = (
        f'<li><span class="dot" style="background-color:{palette[key]}"></span>{html.escape(shown[key])}'
        + (f" <small>×{counts[key]}</small>" if counts[key] > 1 else "")
        + "</li>"
        for key in shown
    )
    return f'<ul class="legend">{"".join(chips)}</ul>' if shown else ""


def _normalize(phrase: str) -> str:
    return " ".join(phrase.lower().split())


def _escape(text: str) -> str:
    """Escape text between phrases, without markers that belong to no phrase."""
    return escape_text(_MARKER.sub("", BARE_TAG.sub("", text)))


def escape_text(text: str) -> str:
    """Escape text for HTML inside Markdown, so that it is shown as it is written.

    >>> escape_text("![x](http://a.b/c) & <b>")
    '&#33;&#91;x&#93;&#40;http&#58;&#47;&#47;a.b&#47;c&#41; &amp; &lt;b&gt;'
    """
    pieces, end = [], 0
    for match in _MARKDOWN.finditer(text):
        pieces += [html.escape(text[end : match.start()], quote=False), *(f"&#{ord(mark)};" for mark in match[0])]
        end = match.end()
    return "".join((*pieces, html.escape(text[end:], quote=False)))


@cache
def _font(size: tuple[int, int]) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(16, round(max(size) / 28)))


def _to_pixels(box: Box, size: tuple[int, int]) -> Rectangle:
    """Convert a box to pixel corners inside the image, at least one pixel apart."""
    width, height = size[0] - 1, size[1] - 1
    x1, y1 = min(box.x1 * width, width - 1), min(box.y1 * height, height - 1)
    return x1, y1, max(box.x2 * width, x1 + 1), max(box.y2 * height, y1 + 1)


def _draw_outline(pen: ImageDraw.ImageDraw, rectangle: Rectangle, colour: str, thick: int) -> None:
    x1, y1, x2, y2 = rectangle
    # The white border keeps the line visible on a background of its own colour.
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline="white", width=thick + 2)
    pen.rectangle(rectangle, outline=colour, width=thick)


def _place_label(phrase: str, box: Rectangle, size: tuple[int, int], taken: Sequence[Rectangle]) -> Label:
    """Place a label above, below or inside its box, wherever it overlaps other labels least."""
    font = _font(size)
    text = _truncate(phrase, font, size[0] * 0.6)
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
    placed = [_move_inside((x, y, x + wide, y + high), size) for x, y in spots]
    # A label that was moved back into the image may cover the box, which counts as a small overlap.
    cost = [
        sum(_intersection_area(rectangle, other) for other in taken) + (1 if rectangle[:2] != spot else 0)
        for rectangle, spot in zip(placed, spots, strict=True)
    ]
    return Label(text, placed[cost.index(min(cost))])


def _truncate(phrase: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    text = phrase.strip()[:_LONGEST_LABEL] or "?"
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _move_inside(rectangle: Rectangle, size: tuple[int, int]) -> Rectangle:
    x1, y1, x2, y2 = rectangle
    right, down = min(0.0, size[0] - x2), min(0.0, size[1] - y2)
    x, y = max(0.0, x1 + right), max(0.0, y1 + down)
    return x, y, x + x2 - x1, y + y2 - y1


def _intersection_area(a: Rectangle, b: Rectangle) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _centre(rectangle: Rectangle) -> tuple[float, float]:
    return (rectangle[0] + rectangle[2]) / 2, (rectangle[1] + rectangle[3]) / 2


def _draw_region(pen: ImageDraw.ImageDraw, rectangle: Rectangle, thick: int) -> None:
    x1, y1, x2, y2 = rectangle
    pen.rectangle(rectangle, outline="white", width=thick)
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


def _draw_corner(pen: ImageDraw.ImageDraw, centre: tuple[float, float], thick: int) -> None:
    x, y = centre
    arm = thick * 6
    for width, colour in ((thick + 4, "white"), (thick, REGION_COLOUR)):
        pen.line((x - arm, y, x + arm, y), fill=colour, width=width)
        pen.line((x, y - arm, x, y + arm), fill=colour, width=width)
