"""Parquet files, written so that a kill at any moment loses at most one shard and never leaves half a file.

A *shard* is a run of scenes. Its rows go to one file for each (folder, task, split), all under temporary names; `commit`
moves them into place and then writes the shard's marker, so a shard with a marker is whole and one without is done again.
Several processes may write shards of one folder, even the same one: a machine that was given up for dead may still be
alive. Equal rows give equal bytes. This file knows rows and schemas; it knows no scene, no recipe and no card.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset.schema import Row, features
from comvint_hf.errors import RowError

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

WITH_IMAGES, WITHOUT_IMAGES, REJECTED, IMAGES = "data", "without_images", "rejected", "images"
FOLDERS = (WITH_IMAGES, WITHOUT_IMAGES, REJECTED, IMAGES)
"""Rows with their photo, rows without one, rejected rows, and one row an image: each has its own schema."""
WRITTEN = ("README.md", "build.json", "stats.json", "comvint.json")
STATE = ".build"
ROWS_A_GROUP = 1000
BYTES_A_GROUP = 32 * 2**20
DICTIONARY_BYTES = 64 * 2**20
CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
"""datasets' own content-defined chunking, so that a later push uploads only what changed."""


def image_features() -> Features:
    """The schema of the config `images`: one row an image."""
    from datasets import Features, Image, Value

    text, size = Value("string"), Value("int32")
    return Features({"image_id": text, "image": Image(), "width": size, "height": size, "licence": text, "url": text})


def schema_of(folder: str) -> Features:
    """The features that every file under `folder` (one of `FOLDERS`) has."""
    if folder == IMAGES:
        return image_features()
    return features(images=folder == WITH_IMAGES, rejected=folder == REJECTED)


class RowFile:
    """One parquet file that takes rows one by one and holds at most a row group of them in memory.

    The schema carries datasets' features, so `load_dataset` finds them. Photos are dictionary-encoded: the rows of one
    image stand together, and its bytes are stored once for all of them in a row group.
    """

    def __init__(self, path: Path, schema: Features) -> None:
        import pyarrow.parquet as pq

        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self._schema = schema.arrow_schema
        self._buffer: list[Row] = []
        self._bytes = 0
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression=_compression(self._schema),
            use_dictionary=True,
            dictionary_pagesize_limit=DICTIONARY_BYTES,
            use_content_defined_chunking=CHUNKING,
            write_page_index=True,
        )
        self._writer.add_key_value_metadata({"content_defined_chunking": json.dumps(CHUNKING)})

    def add(self, row: Row) -> None:
        """Take a row; columns that it leaves out are null."""
        self._buffer.append(row)
        self._bytes += _picture_bytes(row)
        if len(self._buffer) >= ROWS_A_GROUP or self._bytes >= BYTES_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the buffered rows as one row group."""
        import pyarrow

        if self._buffer:
            self._writer.write_table(pyarrow.Table.from_pylist(self._buffer, schema=self._schema))
            self.rows += len(self._buffer)
            self._buffer, self._bytes = [], 0

    def close(self) -> None:
        """Write what is buffered and the footer."""
        self.flush()
        self._writer.close()

    def abandon(self) -> None:
        """Close without writing what is buffered, though the disk be full; the caller deletes the file."""
        self._buffer = []
        with suppress(OSError):
            self._writer.close()
        self._writer.is_open = False  # or pyarrow tries, and complains, once more


def _picture_bytes(row: Row) -> int:
    pictures = row.get("images") or ([row["image"]] if row.get("image") else [])
    return sum(len(picture.get("bytes") or b"") for picture in pictures)


def _compression(schema: pyarrow.Schema) -> dict[str, str]:
    """zstd for text; photos are compressed already. Parquet wants the leaves' paths."""
    kinds = {}
    for field in schema:
        for leaf in _leaves(field.name, field.type):
            kinds[leaf] = "none" if leaf.endswith(".bytes") else "zstd"
    return kinds


def _leaves(path: str, kind: pyarrow.DataType) -> list[str]:
    from pyarrow import types

    if types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{path}.{field.name}", field.type)]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    return [path]


class Shard:
    """The files of one run of scenes, invisible until `commit`."""

    def __init__(self, out: Path, number: int) -> None:
        self.out, self.number = out, number
        self._temporary = out / STATE / f"{number:05d}.{uuid.uuid4().hex[:12]}.partial"
        self._before = read_marker(out, number)
        self._files: dict[str, RowFile] = {}

    def add(self, folder: str, task: str, split: str, row: Row) -> None:
        """Put a row into the file of its folder, task ("" where the folder has no tasks) and split."""
        name = "/".join(part for part in (folder, task, f"{split}-{self.number:05d}.parquet") if part)
        if name not in self._files:
            _refuse_place(task)
            self._files[name] = RowFile(self._temporary / name, schema_of(folder))
        self._files[name].add(row)

    def commit(self, summary: dict[str, Any]) -> None:
        """Move the files into place and write the marker; `summary` is what `read_marker` gives back.

        A shard that another process has finished meanwhile stays as it is.
        """
        for file in self._files.values():
            file.close()
        if (now := read_marker(self.out, self.number)) is None or now == self._before:
            self._settle(summary)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _settle(self, summary: dict[str, Any]) -> None:
        for name in WRITTEN:  # what speaks of the whole never stands beside other files than it speaks of
            (self.out / name).unlink(missing_ok=True)
        remove_shard(self.out, self.number)
        for name in self._files:
            _settle(self._temporary / name, self.out / name)
        counts = {name: file.rows for name, file in sorted(self._files.items())}
        sizes = {name: (self.out / name).stat().st_size for name in counts}
        told = self._temporary / "marker.json"
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text(json.dumps({"files": counts, "bytes": sizes, **summary}, sort_keys=True), encoding="utf-8")
        _settle(told, marker(self.out, self.number))

    def abandon(self) -> None:
        """Leave nothing behind."""
        for file in self._files.values():
            file.abandon()
        shutil.rmtree(self._temporary, ignore_errors=True)


def _refuse_place(task: str) -> None:
    """Raise `RowError` for a task that would lead out of the folder of its rows; rows may come from anywhere."""
    if "/" in task or "\\" in task or task.startswith("."):
        raise RowError(f"A row is of the task {task!r}, which no folder can be called; rename the task.")


def sweep(out: Path) -> None:
    """Delete the shards that killed processes left half-written."""
    for path in (out / STATE).glob("[0-9]*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def _settle(temporary: Path, final: Path) -> None:
    """Rename after the bytes are on the disk, so that a power cut cannot leave an empty file under a final name."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, final)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file under a temporary name and rename it."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name to write a file under; it is renamed to `path` afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    yield temporary
    _settle(temporary, path)


def marker(out: Path, number: int) -> Path:
    """Where the marker of a finished shard lies."""
    return out / STATE / f"{number:05d}.json"


def read_marker(out: Path, number: int) -> dict[str, Any] | None:
    """The summary of a finished shard (its row counts by file under "files"); `None` if it is not done or a file is gone or cut."""
    path = marker(out, number)
    if not path.exists():
        return None
    summary = json.loads(path.read_text(encoding="utf-8"))
    whole = ((out / name).is_file() and (out / name).stat().st_size == size for name, size in summary["bytes"].items())
    return summary if all(whole) else None


def markers(out: Path) -> list[dict[str, Any]]:
    """The summaries of all finished shards, in order."""
    numbers = sorted(int(path.stem) for path in (out / STATE).glob("[0-9]*.json"))
    return [json.loads(marker(out, number).read_text(encoding="utf-8")) for number in numbers]


def remove_shard(out: Path, number: int) -> None:
    """Delete a shard's marker first, then its files, wherever an earlier run put them."""
    marker(out, number).unlink(missing_ok=True)
    for folder in FOLDERS:
        for path in (out / folder).glob(f"**/*-{number:05d}.parquet"):
            path.unlink()


def clear(out: Path) -> None:
    """Delete what an earlier build left in `out`, and nothing else; the lock and paid replies stay."""
    clear_rows(out)
    (out / STATE / "plan.json").unlink(missing_ok=True)
    for name in WRITTEN:
        (out / name).unlink(missing_ok=True)


def clear_rows(out: Path) -> None:
    """Delete all shards: their markers first, so that none ever claims files that are gone.

    What else lies in the folders of rows, as photos do in a folder `images`, stays.
    """
    for path in (out / STATE).glob("[0-9]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for folder in FOLDERS:
        for path in list((out / folder).glob("**/*-[0-9][0-9][0-9][0-9][0-9].parquet")):
            path.unlink()
            _remove_empty(path.parent, out)


def _remove_empty(folder: Path, out: Path) -> None:
    """Delete a folder and those above it, below `out`, if nothing lies in them any more."""
    with suppress(OSError):
        while folder != out:
            folder.rmdir()
            folder = folder.parent


def has_rows(out: Path) -> bool:
    """Whether parquet files lie where a dataset's rows lie."""
    return any(next((out / folder).glob("**/*.parquet"), None) for folder in FOLDERS)
