"""Look at rows: as text in a terminal, or as one page with the pictures and the boxes drawn on them.

This file knows rows and dataset folders; the page stands alone and loads nothing from anywhere.
"""

from __future__ import annotations

import base64
import html
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset.reader import read_rows, row_files
from comvint_hf.dataset.schema import Row
from comvint_hf.errors import InputError
from comvint_hf.grounding import GROUNDED, parse

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = ("#d6336c", "#1c7ed6", "#2f9e44", "#e8590c", "#7048e8", "#0c8599", "#a61e4d", "#5c940d")
LONGEST_SIDE = 420
"""Pixels of a picture on the page; larger ones are scaled down."""


def sample_rows(folder: Path, count: int, config: str = "default", seed: int = 0) -> list[Row]:
    """Draw `count` rows, spread evenly over the tasks; equal seeds give equal rows. Pictures stay encoded bytes.

    Raises `InputError` where the folder holds no such config.
    """
    groups: dict[str, list[tuple[Path, int]]] = {}
    for path, rows in row_files(folder, config).items():
        task = path.parent.name
        groups.setdefault(task, []).extend((path, number) for number in range(rows))
    if not groups:
        raise InputError(f"{folder} has no rows in the config {config!r}: build it first, or see its README.md for the configs.")
    dice = random.Random(seed)
    queues = [dice.sample(places, min(count, len(places))) for _, places in sorted(groups.items())]
    chosen: list[tuple[Path, int]] = []
    while len(chosen) < count and any(queues):
        chosen.extend(queue.pop() for queue in queues if queue)
    wanted: dict[Path, list[int]] = {}
    for path, number in chosen[:count]:
        wanted.setdefault(path, []).append(number)
    return [row for path in sorted(wanted) for row in read_rows(path, sorted(wanted[path]))]


def text(row: Row) -> str:
    """A row as a person reads it."""
    head = f"{row['id']}  [{row['task']}, {row['format']}]" + (f"  {row['topic']}" if row["topic"] else "")
    lines = [head, *(f"  {message['role'] + ':':<10} {message['content']}" for message in row["messages"])]
    if row.get("reason"):
        lines.append(f"  rejected:  {row['reason']}")
    return "\n".join(lines) + "\n"


def page(rows: Sequence[Row], title: str) -> str:
    """An HTML page: each row's picture with its boxes, the turns, and where the answer comes from."""
    cards = "\n".join(_card(number, row) for number, row in enumerate(rows, start=1))
    return _PAGE.format(title=html.escape(title), count=len(rows), cards=cards)


def _card(number: int, row: Row) -> str:
    colours = {
        phrase: COLOURS[place % len(COLOURS)] for place, phrase in enumerate(dict.fromkeys(row["phrases"] or _phrases(row)))
    }
    turns = "".join(
        f'<div class="{message["role"]}">{_coloured(message["content"], colours)}</div>' for message in row["messages"]
    )
    facts = [row["task"], row["format"], row["source"], f"{row['rounds']} rounds" if row["rounds"] else "", row["topic"] or ""]
    evidence = ", ".join(thing["name"] for thing in row["evidence"])
    notes = [f"evidence: {evidence}" if evidence else "", f"rejected: {row['reason']}" if row.get("reason") else ""]
    history = "".join(
        f"<li><b>{html.escape(edit['stage'])}</b> {html.escape(edit['instruction'])} → {html.escape(edit['response'])}</li>"
        for edit in row["history"]
    )
    return (
        f'<section><figure>{_picture(row, colours)}</figure><div><p class="facts">{number}. '
        f"{html.escape(' · '.join(filter(None, facts)))}</p>{turns}"
        f'<p class="notes">{html.escape("; ".join(filter(None, notes)))}</p>'
        f"{f'<details><summary>history</summary><ol>{history}</ol></details>' if history else ''}"
        f'<p class="id">{html.escape(row["id"])}</p></div></section>'
    )


def _phrases(row: Row) -> list[str]:
    return [found.phrase for message in row["messages"] for found in parse(message["content"])]


def _coloured(content: str, colours: dict[str, str]) -> str:
    """The text with each grounded phrase in its box's colour, coordinates left out."""
    pieces, place = [], 0
    for match in GROUNDED.finditer(content):
        phrase = match["phrase"]
        pieces.append(html.escape(content[place : match.start()]))
        pieces.append(
            f'<b style="color:{colours.get(phrase, "inherit")}" title="{html.escape(match["boxes"])}">{html.escape(phrase)}</b>'
        )
        place = match.end()
    return "".join([*pieces, html.escape(content[place:])]).replace("\n", "<br>")


def _picture(row: Row, colours: dict[str, str]) -> str:
    encoded = (row.get("images") or [None])[0]
    if encoded is None:
        return '<div class="none">no photo here</div>'
    picture = draw_boxes(_open(encoded), row["boxes"], [colours[phrase] for phrase in row["phrases"]])
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return (
        f'<img alt="{html.escape(row["image_id"])}" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
    )


def _open(encoded: Any) -> Image:
    from PIL import Image, ImageOps

    picture = Image.open(io.BytesIO(encoded["bytes"])) if isinstance(encoded, dict) else encoded
    return ImageOps.exif_transpose(picture).convert("RGB")


def draw_boxes(picture: Image, boxes: Sequence[Sequence[float]], colours: Sequence[str]) -> Image:
    """A scaled copy with `boxes` (fractions, xyxy) drawn in `colours`, one a box."""
    from PIL import ImageDraw

    scale = LONGEST_SIDE / max(picture.size)
    size = tuple(max(round(side * scale), 1) for side in picture.size)
    copy = picture.resize(size)
    pen = ImageDraw.Draw(copy)
    for (x1, y1, x2, y2), colour in zip(boxes, colours, strict=True):
        left, top = x1 * (size[0] - 1), y1 * (size[1] - 1)
        pen.rectangle((left, top, max(x2 * (size[0] - 1), left), max(y2 * (size[1] - 1), top)), outline=colour, width=3)
    return copy


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: {count} rows</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; color: #212529 }}
section {{ display: grid; grid-template-columns: minmax(0, 26rem) minmax(0, 1fr); gap: 1.5rem; padding: 1.5rem 0; border-top: 1px solid #dee2e6 }}
figure {{ margin: 0 }} img {{ width: 100%; border-radius: 6px }}
.none {{ background: #f1f3f5; border-radius: 6px; padding: 4rem 1rem; text-align: center; color: #868e96 }}
.user {{ font-weight: 600; margin-top: .5rem }} .facts, .id, .notes {{ color: #868e96; font-size: .85rem; margin: 0 0 .4rem }}
details {{ font-size: .9rem }} @media (max-width: 44rem) {{ section {{ grid-template-columns: 1fr }} }}
</style></head><body><h1>{title}</h1><p>{count} rows. Hold the pointer over a coloured phrase for its coordinates.</p>
{cards}
</body></html>
"""
