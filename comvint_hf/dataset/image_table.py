"""Read photos from a dataset's config `images` by their id, a row group at a time.

Where each photo stands is found by reading the ids alone; the photos themselves stay where they are, in a folder or on
the Hub, until one is asked for. So memory holds the ids and a few row groups, however many photos there are. This file
knows parquet files of photos; it knows no rows that want them.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from comvint_hf.dataset.shards import IMAGES
from comvint_hf.errors import InputError, first_line

if TYPE_CHECKING:
    from pyarrow import ChunkedArray
    from pyarrow.parquet import ParquetFile

GROUPS_HELD = 2
"""Row groups in memory, of about 32 MB each: rows stand in the order of their photos, so the next one is mostly there."""
PARTIAL = ".partial"


class ImageTable:
    """The photos of a dataset folder or a Hub repository, by `image_id`.

    Raises `InputError` if it has no config `images`.
    """

    def __init__(self, dataset: str) -> None:
        self._files = _files(dataset)
        self._groups: OrderedDict[tuple[int, int], ChunkedArray] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_groups": OrderedDict()}

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._places

    @cached_property
    def _places(self) -> dict[str, tuple[int, int, int]]:
        """File, row group and row of each photo."""
        places: dict[str, tuple[int, int, int]] = {}
        for number in range(len(self._files)):
            with self._open(number) as file:
                for group in range(file.num_row_groups):
                    ids = file.read_row_group(group, columns=["image_id"])["image_id"].to_pylist()
                    places.update((image_id, (number, group, row)) for row, image_id in enumerate(ids))
        return places

    def photo(self, image_id: str) -> dict[str, Any]:
        """A photo as datasets takes it, its bytes in it. Raises `KeyError` if there is none of this id."""
        number, group, row = self._places[image_id]
        return {"path": None, "bytes": self._group(number, group)[row].as_py()["bytes"]}

    def _group(self, number: int, group: int) -> ChunkedArray:
        if self._process != os.getpid():  # a data loader's worker, which begins with its parent's memory
            self._groups, self._process = OrderedDict(), os.getpid()
        if (number, group) not in self._groups:
            while len(self._groups) >= GROUPS_HELD:
                self._groups.popitem(last=False)
            with self._open(number) as file:
                self._groups[number, group] = file.read_row_group(group, columns=["image"])["image"]
        self._groups.move_to_end((number, group))
        return self._groups[number, group]

    def files(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """Write these photos into datasets' cache, those apart that lie there already; gives the file of each it has."""
        from datasets import config

        folder = Path(config.HF_DATASETS_CACHE) / "comvint_images" / self._version
        folder.mkdir(parents=True, exist_ok=True)
        there = {path.stem: path for path in folder.iterdir() if path.suffix != PARTIAL}
        found = {}
        for image_id in sorted((image_id for image_id in image_ids if image_id in self), key=self._places.__getitem__):
            name = quote(image_id, safe="")
            found[image_id] = there[name] if name in there else _write(folder / name, self.photo(image_id)["bytes"])
        return found

    @property
    def _version(self) -> str:
        """Equal as long as the files are: an address on the Hub names its commit, a file here has a size and a time."""
        return hashlib.sha256("\n".join(map(_stamp, self._files)).encode()).hexdigest()[:16]

    @contextmanager
    def _open(self, number: int) -> Iterator[ParquetFile]:
        import fsspec
        import pyarrow.parquet as pq

        # Read in this thread: arrow's own, reading ahead over a network, can outlive the interpreter.
        with fsspec.open(self._files[number], "rb") as source, pq.ParquetFile(source, pre_buffer=False) as file:
            yield file


def _files(dataset: str) -> list[str]:
    """The parquet files of the config: paths here, or addresses on the Hub that name the commit."""
    from datasets import load_dataset_builder

    try:
        return list(map(str, load_dataset_builder(dataset, IMAGES).config.data_files["train"]))
    except (ValueError, KeyError, OSError) as error:
        raise InputError(
            f"{dataset} gives no photos ({first_line(error)}); expected a folder of photos, or a dataset with the config "
            "`images`, which builders make with --store-images table."
        ) from error


def _stamp(file: str) -> str:
    if "://" in file:
        return file
    found = os.stat(file)
    return f"{file} {found.st_size} {found.st_mtime_ns}"


def _write(stem: Path, photo: bytes) -> Path:
    """Write a photo under a temporary name of this process and rename it, so that two at once do no harm."""
    path = stem.with_name(stem.name + suffix(photo))
    temporary = stem.with_name(f"{stem.name}-{os.getpid()}{PARTIAL}")
    temporary.write_bytes(photo)
    os.replace(temporary, path)
    return path


def suffix(encoded: bytes) -> str:
    """The ending of a file that holds these bytes of a photo."""
    return ".png" if encoded.startswith(b"\x89PNG") else ".webp" if encoded[8:12] == b"WEBP" else ".jpg"
