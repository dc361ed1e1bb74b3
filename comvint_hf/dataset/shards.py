"""Write parquet files so that a kill at any moment loses at most one shard and never leaves half a file.

A shard is a run of scenes. Its rows go to one file for each (folder, task, split), all under temporary names; `commit` moves
them into place and then writes the shard's marker. A shard with a marker is complete; one without is built again. Several
processes may write shards of one folder, even the same shard, as a worker that was given up for dead may still be running.
Equal rows give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset.markers import (  # noqa: F401 (others read them here)
    FOLDERS,
    IMAGES,
    METADATA_FILES,
    REJECTED,
    STATE,
    WITH_IMAGES,
    WITHOUT_IMAGES,
    has_markers,
    hash_file,
    marker_path,
    read_marker,
    read_markers,
)
from comvint_hf.dataset.schema import Row, features
from comvint_hf.errors import RowError

if TYPE_CHECKING:
    import pyarrow
    from datasets import Features

PLOTS = "pictures"
ROWS_PER_GROUP = 1000
BYTES_PER_GROUP = 32 * 2**20
DICTIONARY_BYTES = 64 * 2**20
# The content-defined chunking of datasets: a later push uploads only the chunks that changed.
CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}


def image_features() -> Features:
    """Return the schema of the config `images`, which has one row an image."""
    from datasets import Features, Image, Value

    text, size = Value("string"), Value("int32")
    return Features({"image_id": text, "image": Image(), "width": size, "height": size, "licence": text, "url": text})


def schema_of(folder: str) -> Features:
    """Return the features of the files under `folder`, one of `FOLDERS`."""
    if folder == IMAGES:
        return image_features()
    return features(images=folder == WITH_IMAGES, rejected=folder == REJECTED)


class RowFile:
    """A parquet file that takes rows one by one and buffers at most one row group.

    The schema carries the features of datasets, so `load_dataset` finds them. Images are dictionary-encoded: the rows of one
    image are adjacent, and a row group stores its bytes once.
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
        """Add a row; missing columns are null."""
        self._buffer.append(row)
        self._bytes += _image_bytes(row)
        if len(self._buffer) >= ROWS_PER_GROUP or self._bytes >= BYTES_PER_GROUP:
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

    def discard(self) -> None:
        """Close without the buffered rows, even if the disk is full; the caller deletes the file."""
        self._buffer = []
        with suppress(OSError):
            self._writer.close()
        self._writer.is_open = False  # or pyarrow closes it once more, with a message


def _image_bytes(row: Row) -> int:
    images = row.get("images") or ([row["image"]] if row.get("image") else [])
    return sum(len(image.get("bytes") or b"") for image in images)


def _compression(schema: pyarrow.Schema) -> dict[str, str]:
    """Choose zstd for text and nothing for images, which are compressed already, by the path of each leaf column."""
    leaves = (leaf for field in schema for leaf in _leaves(field.name, field.type))
    return {leaf: "none" if leaf.endswith(".bytes") else "zstd" for leaf in leaves}


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
        # Two workers may write the same shard, so each has a temporary folder of its own.
        self._temporary = out / STATE / f"{number:05d}.{uuid.uuid4().hex[:12]}.partial"
        self._before = read_marker(out, number)
        self._files: dict[str, RowFile] = {}

    def add(self, folder: str, task: str, split: str, row: Row) -> None:
        """Add a row to the file of its folder, task ("" in folders without tasks) and split."""
        name = "/".join(part for part in (folder, task, f"{split}-{self.number:05d}.parquet") if part)
        if name not in self._files:
            _check_task_name(task)
            self._files[name] = RowFile(self._temporary / name, schema_of(folder))
        self._files[name].add(row)

    def commit(self, summary: dict[str, Any]) -> None:
        """Move the files into place and write the marker, from which `read_marker` returns `summary`.

        A shard that another process has finished meanwhile stays as it is.
        """
        for file in self._files.values():
            file.close()
        if (now := read_marker(self.out, self.number)) is None or now == self._before:
            self._move_into_place(summary)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _move_into_place(self, summary: dict[str, Any]) -> None:
        for name in METADATA_FILES:  # they describe the whole dataset, which is about to change
            (self.out / name).unlink(missing_ok=True)
        # Another plan of the same shard may have had other tasks or splits, whose files would stay.
        remove_shard(self.out, self.number)
        # Of the bytes as they were written: a disk that spoils them later is found out.
        hashes = {name: hash_file(self._temporary / name) for name in sorted(self._files)}
        for name in self._files:
            _rename_synced(self._temporary / name, self.out / name)
        counts = {name: file.rows for name, file in sorted(self._files.items())}
        sizes = {name: (self.out / name).stat().st_size for name in counts}
        marker = json.dumps({"files": counts, "bytes": sizes, "sha256": hashes, **summary}, sort_keys=True)
        self._temporary.mkdir(parents=True, exist_ok=True)
        (self._temporary / "marker.json").write_text(marker, encoding="utf-8")
        _rename_synced(self._temporary / "marker.json", marker_path(self.out, self.number))

    def discard(self) -> None:
        """Delete everything that was written so far."""
        for file in self._files.values():
            file.discard()
        shutil.rmtree(self._temporary, ignore_errors=True)


def _check_task_name(task: str) -> None:
    """Raise `RowError` for a task whose folder would not lie among the rows; rows may come from anywhere."""
    if "/" in task or "\\" in task or task.startswith("."):
        raise RowError(f"A row is of the task {task!r}, which cannot name a folder; rename the task.")


def remove_partial_shards(out: Path) -> None:
    """Delete the half-written shards of killed processes."""
    for path in (out / STATE).glob("[0-9]*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def _rename_synced(temporary: Path, final: Path) -> None:
    """Rename a file once its bytes are on the disk: a power cut must not leave an empty file under a final name."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, final)


def write_text_atomic(path: Path, text: str) -> None:
    """Write a small file under a temporary name and rename it."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    yield temporary
    _rename_synced(temporary, path)


def hash_ids(ids: Iterable[str]) -> str:
    """Hash scene ids in order, so that a later run can tell whether a shard is still of the same scenes."""
    return hashlib.sha256("".join(f"{id}\n" for id in ids).encode()).hexdigest()


def remove_shard(out: Path, number: int) -> None:
    """Delete a shard: its marker first, then its files in all folders."""
    marker_path(out, number).unlink(missing_ok=True)
    for folder in FOLDERS:
        for path in (out / folder).glob(f"**/*-{number:05d}.parquet"):
            path.unlink()


def remove_rows(out: Path) -> None:
    """Delete all shards: their markers first, so that none ever claims files that are gone.

    Other files in the folders of rows stay, for example the images of a user in a folder `images`.
    """
    for path in (out / STATE).glob("[0-9]*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for folder in FOLDERS:
        for path in list((out / folder).glob("**/*-[0-9][0-9][0-9][0-9][0-9].parquet")):
            path.unlink()
            _remove_empty(path.parent, out)


def _remove_empty(folder: Path, out: Path) -> None:
    """Delete a folder and its parents below `out` as far as they are empty."""
    with suppress(OSError):
        while folder != out:
            folder.rmdir()
            folder = folder.parent


def has_rows(out: Path) -> bool:
    """Whether the folders of a dataset's rows hold parquet files."""
    return any(next((out / folder).glob("**/*.parquet"), None) for folder in FOLDERS)
