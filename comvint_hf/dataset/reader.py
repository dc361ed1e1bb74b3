"""Read a dataset folder that `build` or `mix` wrote: its files, its rows, its counts, without datasets' cache in between.

This file knows the layout of a folder and rows; it knows no scene and no Hub.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.card import configs
from comvint_hf.dataset.schema import Row
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.errors import InputError


def read_about(folder: Path) -> dict[str, Any]:
    """What build.json says. Raises `InputError` if the folder holds no finished dataset."""
    path = folder / "build.json"
    if not path.exists():
        raise InputError(f"{folder} holds no finished dataset: expected {path.name}, which builders/ and `comvint build` leave.")
    return json.loads(path.read_text(encoding="utf-8"))


def read_statistics(folder: Path) -> Statistics:
    """The counts that stats.json holds. Raises `InputError` if the folder holds no finished dataset."""
    read_about(folder)
    return Statistics.from_json(json.loads((folder / "stats.json").read_text(encoding="utf-8")))


def row_files(folder: Path, config: str = "default", split: str | None = None) -> dict[Path, int]:
    """The parquet files of a config (of one split or all), in order, with their row counts; empty for an unknown config."""
    counts = read_about(folder)["files"]
    splits = configs(counts).get(config, {})
    return {folder / name: counts[name] for key, names in splits.items() if split in (None, key) for name in names}


def photos_told(folder: Path) -> str:
    """Say in a sentence which rows of a dataset are without their photo, and how they get it; "" if none is."""
    files = read_about(folder)["files"]
    rows, here = Counter(), folder.as_posix()
    for name, count in files.items():
        rows[name.split("/")[0]] += count
    blind, apart = rows[shards.WITHOUT_IMAGES], rows[shards.WITH_IMAGES]
    if not blind:
        return ""
    if apart:
        lie = f"{blind:,} rows whose photo was not at hand lie in the config `{shards.WITHOUT_IMAGES}`"
        return (
            f'{lie}: attach_images(load_dataset("{here}", "{shards.WITHOUT_IMAGES}"), PHOTOS) joins them to a folder of photos.'
        )
    if rows[shards.IMAGES]:
        return f'The photos of the {blind:,} rows lie in the config `{shards.IMAGES}`: attach_images(rows, "{here}") joins them.'
    return f"None of the {blind:,} rows holds its photo: attach_images(rows, PHOTOS) joins them to a folder of photos."


def read_rows(path: Path, numbers: Sequence[int] | None = None) -> Iterator[Row]:
    """The rows of a file in order, or only those at these ascending positions; a row group at a time, photos as bytes."""
    import pyarrow.parquet as pq

    wanted = None if numbers is None else list(numbers)
    first = 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            here = range(size) if wanted is None else [number - first for number in wanted if first <= number < first + size]
            if here:
                table = file.read_row_group(group)
                yield from (table if wanted is None else table.take(here)).to_pylist()
            first += size


def read_columns(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a file with these columns only (all unless told), a few hundred at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256, columns=None if columns is None else list(columns)):
            yield from batch.to_pylist()
