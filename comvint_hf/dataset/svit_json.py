"""Convert SVIT's released JSON to rows: conversation.json, complex_reasoning.json, detail_description.json, referring_qa.json, svit.json.

A record is an image of Visual Genome with several conversations: {"image_id": 1, "conversations": [{"content": [{"from": "user",
"value": ...}, {"from": "gpt", "value": ...}]}]}. Each conversation is a row. Boxes stand in the text as <st>man<ed> [x1, y1, x2, y2] in
fractions of the image, and are written in our notation.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from comvint_hf.dataset.conversation import NO_TURNS, read_conversation, to_messages
from comvint_hf.dataset.llava_records import NO_RECORD, open_records, read_image_file
from comvint_hf.dataset.schema import Row, features
from comvint_hf.errors import RowError
from comvint_hf.grounding import BOX_TEXT, GROUNDED, format_box, parse_boxes
from comvint_hf.read_counts import ReadCounts, shorten

SOURCE = "visual_genome"
TASKS = ("conversation", "complex_reasoning", "detail_description", "referring_qa")
NO_IMAGE_ID = "records skipped: no image id"
NO_FRACTION = "conversations skipped: a box that is no fraction of the image"
FOLDERS = ("", "VG_100K", "VG_100K_2", "images", "vg/VG_100K", "vg/VG_100K_2")


def from_svit(
    records: Path | str | Iterable[dict[str, Any]],
    images: Path | str | None = None,
    *,
    task: str | None = None,
    counts: ReadCounts | None = None,
) -> Iterator[Row]:
    """Convert SVIT's records to rows, one row a conversation, as a stream.

    Args:
        records: A file of the release, also as its .zip, or records.
        images: A folder of Visual Genome's photos (VG_100K and VG_100K_2 in it); without it `attach_images` joins them later.
        task: The task of the rows; by default the file's name says it, and in a file of all tasks the boxes in a text.
        counts: Counts what is skipped, with examples. Without it a warning at the end says how much that was.

    Raises:
        RowError: If the file cannot be read, or no conversation can be a row.
    """
    named = Path(records).name.split(".")[0] if isinstance(records, str | Path) else ""
    found = ReadCounts() if counts is None else counts
    yield from convert_svit(records, None if images is None else Path(images), task or (named if named in TASKS else None), found)
    if counts is None and (lost := found.lost.total()):
        warnings.warn(f"{lost:,} conversations or records are left out ({'; '.join(found.describe())}).", stacklevel=2)


def is_svit(record: Any) -> bool:
    """Whether a record is of SVIT's release and not of LLaVA's."""
    listed = record.get("conversations") if isinstance(record, dict) and "image_id" in record else None
    return (
        isinstance(listed, list) and bool(listed) and isinstance(listed[0], dict) and isinstance(listed[0].get("content"), list)
    )


def convert_svit(
    records: Path | str | Iterable[Any],
    images: Path | None,
    task: str | None,
    counts: ReadCounts,
    refused: str = "",
    read: bool = True,
) -> Iterator[Row]:
    """Yield the rows of SVIT's records; `refused` and the errors are as in `llava_records.convert_records`."""
    first, kept = None, 0
    for number, record in open_records(records, counts):
        listed: Any = record.get("conversations") if isinstance(record, dict) else None
        image_id = _read_image_id(record)
        problem = NO_RECORD if not isinstance(record, dict) else NO_IMAGE_ID if image_id is None else ""
        if problem or not isinstance(listed, list) or not listed:
            counts.skip(problem or NO_TURNS, f"record {number + 1}: {shorten(record)}")
            continue
        for place, entry in enumerate(listed):
            where = f"Conversation {place + 1} of image {image_id}"
            try:
                row = _to_row(entry, f"{image_id}", place, where, task)
            except RowError as error:
                first = first or error
                counts.skip(error.reason, str(error))
                continue
            try:
                row = row if images is None else _add_image(row, images, str(image_id), where, read, counts)
            except RowError as error:
                first = first or error
                if not refused:
                    counts.skip(error.reason, str(error))
                    continue
                row = {**row, refused: error.reason}
            kept += 1
            yield row
    if not kept and (first or counts):
        raise first or RowError(f"{records} holds no record that can be read ({'; '.join(counts.describe())}).")


def _read_image_id(record: Any) -> str | None:
    value = record.get("image_id") if isinstance(record, dict) else None
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def _to_row(entry: Any, image_id: str, place: int, where: str, task: str | None) -> Row:
    conversation = read_conversation(entry.get("content") if isinstance(entry, dict) else None, where)
    messages = to_messages(conversation, 1, where)
    boxes: list[list[float]] = []
    phrases: list[str] = []
    for message in messages:
        message["content"] = _rewrite(message["content"], where, boxes, phrases)
    chosen = task or ("referring_qa" if boxes else "conversation")
    empty = {name: "" if getattr(kind, "dtype", "") == "string" else [] for name, kind in features(images=False).items()}
    return {
        **empty,
        "id": f"svit/{chosen}/{image_id}/{place}",
        "image_id": f"{SOURCE}/{image_id}",
        "messages": messages,
        "task": chosen,
        "format": "open",
        "source": SOURCE,
        "boxes": boxes,
        "phrases": phrases,
        "generator": "gpt-4",
        "rounds": 0,
        "width": 0,
        "height": 0,
    }


def _rewrite(text: str, where: str, boxes: list[list[float]], phrases: list[str]) -> str:
    """Write the boxes of a text in our notation, and collect them. Raises `RowError` for one that is no fraction of the image."""

    def replace(match: re.Match[str]) -> str:
        found = parse_boxes(match["boxes"])
        if len(found) != len(BOX_TEXT.findall(match["boxes"])):
            raise RowError(
                f"{where} has the boxes {shorten(match['boxes'])}; expected fractions x1, y1, x2, y2 in order.", NO_FRACTION
            )
        boxes.extend(list(box.xyxy) for box in found)
        phrases.extend([match["phrase"]] * len(found))
        return f"<st>{match['phrase']}<ed>" + ", ".join(map(format_box, found))

    return GROUNDED.sub(replace, text)


def _add_image(row: Row, folder: Path, image_id: str, where: str, read: bool, counts: ReadCounts) -> Row:
    """Read the photo of an image of Visual Genome into its row, or only check that it is there."""
    names = [f"{part}/{image_id}.jpg".lstrip("/") for part in FOLDERS]
    encoded, size = read_image_file(folder, names, where, read, counts)
    return {**row, "images": [{"bytes": encoded, "path": None}], "width": size[0], "height": size[1]} if read else row
