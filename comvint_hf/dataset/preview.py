"""Show rows as text for a terminal, or as one self-contained HTML page with images and boxes."""

from __future__ import annotations

import html
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comvint_hf.dataset.inputs import read_stored_images
from comvint_hf.dataset.reader import list_row_files, read_rows
from comvint_hf.dataset.schema import Row
from comvint_hf.errors import InputError
from comvint_hf.grounding import GROUNDED, parse
from comvint_hf.images import decode_image, to_data_url

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS = ("#d6336c", "#1c7ed6", "#2f9e44", "#e8590c", "#7048e8", "#0c8599", "#a61e4d", "#5c940d")
# The longest side of an image on the page, in pixels.
LONGEST_SIDE = 420


def sample_rows(folder: Path, count: int, config: str = "default", seed: int = 0) -> list[Row]:
    """Sample `count` rows, spread evenly over the tasks; equal seeds give equal rows. Images stay encoded.

    Raises:
        InputError: If the folder has no such config.
    """
    groups: dict[str, list[tuple[Path, int]]] = {}
    for path, rows in list_row_files(folder, config).items():
        task = path.parent.name
        groups.setdefault(task, []).extend((path, number) for number in range(rows))
    if not groups:
        raise InputError(f"{folder} has no rows in the config {config!r}: see its README.md for its configs.")
    generator = random.Random(seed)
    queues = [generator.sample(group, min(count, len(group))) for _, group in sorted(groups.items())]
    chosen: list[tuple[Path, int]] = []
    while len(chosen) < count and any(queues):
        chosen.extend(queue.pop() for queue in queues if queue)
    wanted: dict[Path, list[int]] = {}
    for path, number in chosen[:count]:
        wanted.setdefault(path, []).append(number)
    return [read_stored_images(row, folder) for path in sorted(wanted) for row in read_rows(path, sorted(wanted[path]))]


def render_text(row: Row) -> str:
    """Render a row as text."""
    head = f"{row['id']}  [{row['task']}, {row['format']}]" + (f"  {row['topic']}" if row["topic"] else "")
    lines = [head, *(f"  {message['role'] + ':':<10} {message['content']}" for message in row["messages"])]
    if row.get("reason"):
        lines.append(f"  rejected:  {row['reason']}")
    return "\n".join(lines) + "\n"


def render_page(rows: Sequence[Row], title: str) -> str:
    """Render rows as an HTML page: each row's image with its boxes, the turns, and the evidence and history."""
    cards = "\n".join(_render_row(number, row) for number, row in enumerate(rows, start=1))
    return _PAGE.format(title=html.escape(title), count=len(rows), cards=cards)


def _render_row(number: int, row: Row) -> str:
    phrases = row["phrases"] or [found.phrase for message in row["messages"] for found in parse(message["content"])]
    colours = {phrase: COLOURS[index % len(COLOURS)] for index, phrase in enumerate(dict.fromkeys(phrases))}
    turns = "".join(
        f'<div class="{html.escape(message["role"])}">{_render_content(message["content"], colours)}</div>'
        for message in row["messages"]
    )
    facts = [row["task"], row["format"], row["source"], f"{row['rounds']} rounds" if row["rounds"] else "", row["topic"] or ""]
    evidence = ", ".join(entry["name"] for entry in row["evidence"])
    notes = [f"evidence: {evidence}" if evidence else "", f"rejected: {row['reason']}" if row.get("reason") else ""]
    history = "".join(
        f"<li><b>{html.escape(edit['stage'])}</b> {html.escape(edit['instruction'])} → {html.escape(edit['response'])}</li>"
        for edit in row["history"]
    )
    return (
        f'<section><figure>{_render_image(row, colours)}</figure><div><p class="facts">{number}. '
        f"{html.escape(' · '.join(filter(None, facts)))}</p>{turns}"
        f'<p class="notes">{html.escape("; ".join(filter(None, notes)))}</p>'
        f"{f'<details><summary>history</summary><ol>{history}</ol></details>' if history else ''}"
        f'<p class="id">{html.escape(row["id"])}</p></div></section>'
    )


def _render_content(content: str, colours: dict[str, str]) -> str:
    """Render the text without coordinates, each grounded phrase in the colour of its box."""
    pieces, end = [], 0
    for match in GROUNDED.finditer(content):
        phrase, colour = html.escape(match["phrase"]), colours.get(match["phrase"], "inherit")
        pieces.append(html.escape(content[end : match.start()]))
        pieces.append(f'<b style="color:{colour}" title="{html.escape(match["boxes"])}">{phrase}</b>')
        end = match.end()
    return "".join([*pieces, html.escape(content[end:])]).replace("\n", "<br>")


def _render_image(row: Row, colours: dict[str, str]) -> str:
    encoded = (row.get("images") or [None])[0]
    if encoded is None:
        return '<div class="none">no image here</div>'
    image = decode_image(encoded, f"The image of row {row['id']!r}")
    drawn = draw_boxes(image, row["boxes"], [colours[phrase] for phrase in row["phrases"]])
    return f'<img alt="{html.escape(row["image_id"])}" src="{to_data_url(drawn, quality=85)}">'


def draw_boxes(image: Image, boxes: Sequence[Sequence[float]], colours: Sequence[str]) -> Image:
    """Draw boxes (fractions of the image, xyxy) on a scaled copy, each in its colour."""
    from PIL import ImageDraw

    scale = LONGEST_SIDE / max(image.size)
    width, height = (max(round(side * scale), 1) for side in image.size)
    copy = image.resize((width, height))
    draw = ImageDraw.Draw(copy)
    for (x1, y1, x2, y2), colour in zip(boxes, colours, strict=True):
        left, top = x1 * (width - 1), y1 * (height - 1)
        draw.rectangle((left, top, max(x2 * (width - 1), left), max(y2 * (height - 1), top)), outline=colour, width=3)
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
</style></head><body><h1>{title}</h1><p>{count} rows. Point at a coloured phrase to see its coordinates.</p>
{cards}
</body></html>
"""
