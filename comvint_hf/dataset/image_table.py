"""Read images from a dataset's config `images` by their id, one row group at a time.

Only the ids are read in advance. The images stay in the folder or on the Hub until they are needed, so memory holds the ids and a
few row groups, however many images there are.
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

# Row groups in memory, of about 32 MB each. Rows are in the order of their images, so the next one is usually there.
MAX_GROUPS = 2
PARTIAL_SUFFIX = ".partial"


class ImageTable:
    """The images of a dataset folder or a Hub repository by `image_id`. Raises `InputError` if it has no config `images`."""

    def __init__(self, dataset: str) -> None:
        self._files = _list_files(dataset)
        self._groups: OrderedDict[tuple[int, int], ChunkedArray] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_groups": OrderedDict()}

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._positions

    @cached_property
    def _positions(self) -> dict[str, tuple[int, int, int]]:
        """The file, row group and row of each image."""
        positions: dict[str, tuple[int, int, int]] = {}
        for number in range(len(self._files)):
            with self._open(number) as file:
                for group in range(file.num_row_groups):
                    ids = file.read_row_group(group, columns=["image_id"])["image_id"].to_pylist()
                    positions.update((image_id, (number, group, row)) for row, image_id in enumerate(ids))
        return positions

    def load(self, image_id: str) -> dict[str, Any]:
        """Return an image with its bytes, in the form that datasets takes. Raises `KeyError` for an unknown id."""
        number, group, row = self._positions[image_id]
        return {"path": None, "bytes": self._read_group(number, group)[row].as_py()["bytes"]}

    def _read_group(self, number: int, group: int) -> ChunkedArray:
        if self._process != os.getpid():  # a worker of a data loader has a copy of its parent's memory
            self._groups, self._process = OrderedDict(), os.getpid()
        if (number, group) not in self._groups:
            while len(self._groups) >= MAX_GROUPS:
                self._groups.popitem(last=False)
            with self._open(number) as file:
                self._groups[number, group] = file.read_row_group(group, columns=["image"])["image"]
        self._groups.move_to_end((number, group))
        return self._groups[number, group]

    def find_files(self, image_ids: Iterable[str]) -> dict[str, Path]:
        """Return the file of each image that the table has, in the cache of datasets; missing files are written."""
        from datasets import config

        folder = Path(config.HF_DATASETS_CACHE) / "comvint_images" / self._version
        folder.mkdir(parents=True, exist_ok=True)
        cached = {path.stem: path for path in folder.iterdir() if path.suffix != PARTIAL_SUFFIX}
        files = {}
        for image_id in sorted((image_id for image_id in image_ids if image_id in self), key=self._positions.__getitem__):
            name = quote(image_id, safe="")
            files[image_id] = cached[name] if name in cached else _write(folder / name, self.load(image_id)["bytes"])
        return files

    @property
    def _version(self) -> str:
        """A hash that changes when the files do: a URL on the Hub names its commit, a local file has a size and a time."""
        return hashlib.sha256("\n".join(map(_stamp, self._files)).encode()).hexdigest()[:16]

    @contextmanager
    def _open(self, number: int) -> Iterator[ParquetFile]:
        import fsspec
        import pyarrow.parquet as pq

        # Without pre_buffer, arrow reads in this thread; its own threads can outlive the interpreter on a slow network.
        with fsspec.open(self._files[number], "rb") as source, pq.ParquetFile(source, pre_buffer=False) as file:
            yield file


def _list_files(dataset: str) -> list[str]:
    """List the parquet files of the config `images`: local paths, or URLs on the Hub that name the commit."""
    from datasets import load_dataset_builder

    try:
        return list(map(str, load_dataset_builder(dataset, IMAGES).config.data_files["train"]))
    except (ValueError, KeyError, OSError) as error:
        raise InputError(
            f"{dataset} has no images ({first_line(error)}); expected a folder of images, or a dataset with the config "
            "`images`, which builders write with --store-images table."
        ) from error


def _stamp(file: str) -> str:
    if "://" in file:
        return file
    stat = os.stat(file)
    return f"{file} {stat.st_size} {stat.st_mtime_ns}"


def _write(stem: Path, encoded: bytes) -> Path:
    """Write an image under a temporary name of this process and rename it, so that two processes do not collide."""
    path = stem.with_name(stem.name + image_suffix(encoded))
    temporary = stem.with_name(f"{stem.name}-{os.getpid()}{PARTIAL_SUFFIX}")
    temporary.write_bytes(encoded)
    os.replace(temporary, path)
    return path


def image_suffix(encoded: bytes) -> str:
    """Return the file name suffix of an encoded image."""
    return ".png" if encoded.startswith(b"\x89PNG") else ".webp" if encoded[8:12] == b"WEBP" else ".jpg"
