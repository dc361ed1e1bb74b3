"""Convert rows to and from LLaVA's "conversations" JSON and the "messages" JSON of ShareGPT tools.

There an image is the word `<image>` in a text and a file name; here it is the column `images` and no word. The other columns of
a row are stored under the key "comvint", which LLaVA's loaders ignore, so that rows come back as they left.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from comvint_hf.dataset.image_table import image_suffix
from comvint_hf.dataset.llava_records import COLUMNS_KEY, HASH_KEY, RecordOptions, convert_records, hash_messages
from comvint_hf.dataset.row_ids import RowIds
from comvint_hf.dataset.schema import IMAGE_MARKER, Row, features
from comvint_hf.errors import RowError
from comvint_hf.read_counts import ReadCounts

# Columns that a row has once it was measured.
QUALITY_COLUMNS = ("matching", "correctness", "complexity", "label")
REPEATED = "records left out: the id and the text of another"
RENAMED = "ids made different: another record has them"
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"}


def to_llava(rows: Iterable[Row], folder: Path | str | None = None) -> Iterator[dict[str, Any]]:
    """Convert rows to LLaVA records: id, image, conversations, and the other columns under "comvint".

    Args:
        rows: The rows. A text-only row gives a record without `image`.
        folder: Where the rows' images are written, as `folder/images`, one file an image; the records name them relative to
            it. Without a folder the records name the image by the row's `image_id`.

    Raises:
        RowError: If a row cannot be expressed in LLaVA's format.
    """
    images = _ImageWriter(None if folder is None else Path(folder))
    known = (*features(rejected=True), *QUALITY_COLUMNS)
    for row in rows:
        record: dict[str, Any] = {"id": row["id"]}
        names = images.write_all(row)
        if names:
            record["image"] = names[0] if len(names) == 1 else names
        columns = {name: row[name] for name in known if name in row and name not in ("id", "images", "messages")}
        columns[HASH_KEY] = hash_messages(row["messages"])
        yield {**record, "conversations": _to_conversations(row, len(names)), COLUMNS_KEY: columns}


def _to_conversations(row: Row, num_images: int) -> list[dict[str, str]]:
    """Write the turns as LLaVA does, with a marker for each image before the first question."""
    turns = [
        {"from": {"user": "human", "assistant": "gpt"}.get(message["role"], message["role"]), "value": message["content"]}
        for message in row["messages"]
    ]
    if any(IMAGE_MARKER in turn["value"] for turn in turns):
        raise RowError(f"Row {row['id']!r} says {IMAGE_MARKER}, which would count as one more image; take the word out.")
    if num_images:
        first = next((turn for turn in turns if turn["from"] == "human"), None)
        if first is None:
            raise RowError(f"Row {row['id']!r} has an image and no user turn to mention it in; leave the row out.")
        first["value"] = f"{IMAGE_MARKER}\n" * num_images + first["value"]
    return turns


class _ImageWriter:
    """Names the images of rows and, if there is a folder for them, writes each image once."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._written: dict[tuple[str, bytes], str] = {}
        self._stems: set[str] = set()

    def write_all(self, row: Row) -> list[str]:
        """Write a row's images and return their names."""
        images, image_id = row.get("images"), row.get("image_id")
        if self.folder is None or not images:
            if images and not image_id:
                raise RowError(f"Row {row['id']!r} has an image and no `image_id` to name it by; give a folder to write it into.")
            return [image_id] if image_id and images != [] else []
        return [self._name(image_id or row["id"], image, self.folder / "images") for image in images]

    def _name(self, image_id: str, image: Any, folder: Path) -> str:
        """Return the file of an image; different images of the same id get different files."""
        encoded = None
        if isinstance(image, dict):
            encoded = image["bytes"] if image.get("bytes") is not None else Path(image["path"]).read_bytes()
        content = image.tobytes() if encoded is None else encoded
        key = (image_id, blake2b(content, digest_size=16).digest())
        if key not in self._written:
            name = self._unused_stem(image_id) + (".png" if encoded is None else image_suffix(encoded))
            folder.mkdir(parents=True, exist_ok=True)
            if encoded is None:
                (image if image.mode in _PNG_MODES else image.convert("RGB")).save(folder / name)
            else:
                (folder / name).write_bytes(encoded)
            self._written[key] = f"images/{name}"
        return self._written[key]

    def _unused_stem(self, image_id: str) -> str:
        stem = name = quote(image_id, safe="")
        number = 0
        # Different images may have the same id.
        while stem in self._stems:
            stem = f"{name}-{(number := number + 1)}"
        self._stems.add(stem)
        return stem


def from_llava(
    records: Path | str | Iterable[dict[str, Any]],
    images: Path | str | None = None,
    *,
    source: str = "llava",
    counts: ReadCounts | None = None,
    keep_places: bool = False,
) -> Iterator[Row]:
    """Convert LLaVA or ShareGPT records to rows, one at a time.

    A record that cannot be a row is skipped and counted: see `comvint_hf.dataset.conversation` and `llava_records` for the reasons.
    `<image>` before or behind the words of the first question is removed: rows have their images in front of it. An image between
    words or in a later turn would lose its place, so such a record is skipped, too, unless `keep_places`. Text-only records give
    `images=[]` and an empty `image_id`. A record that repeats the id and the text of another is skipped; one that repeats the id
    alone gets an id made different ("9-2"). Columns that `to_llava` stored come back as they were, except that boxes are read from
    the text where it was changed since.

    Args:
        records: The records, or a .json or .jsonl file of them, plain, gzip or zstd, which is read as a stream.
        images: The folder of the images. Without it rows have only an `image_id`.
        source: The column `source`, and the first part of each `image_id`.
        counts: Counts the skipped records by reason, with examples. Without it a warning at the end says how many there were.
        keep_places: Keep images where they stand, as content parts, which L2TCollator reads and the schema of datasets does not hold.

    Raises:
        RowError: If the file cannot be read, or no record can be a row; the message names the first.
    """
    options = RecordOptions(None if images is None else Path(images), source, keep_places)
    found, ids = ReadCounts() if counts is None else counts, RowIds()
    for row in convert_records(records, options, found):
        id = ids.take(row)
        if id is None:
            found.note(REPEATED, row["id"])
            continue
        if id != row["id"]:
            found.note(RENAMED, row["id"])
        yield {**row, "id": id}
    if counts is None and (lost := found.lost.total()):
        warnings.warn(
            f"{lost:,} {'record is' if lost == 1 else 'records are'} left out ({'; '.join(found.describe())}).", stacklevel=2
        )
