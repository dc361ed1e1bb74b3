"""Read a dataset folder that `build` or `mix` wrote: its files, rows and counts, without the cache of datasets in between."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.markers import is_hash
from comvint_hf.dataset.schema import Row
from comvint_hf.errors import InputError, first_line
from comvint_hf.image_paths import is_inside
from comvint_hf.strict_reader import bounded_int, read_json_file

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

    from comvint_hf.dataset.statistics import Statistics


MAX_ROWS = 2**40
PROBE_FIELDS = {"task", "format", "questions", "accuracy", "low", "high", "chance", "warning"}
# Cards name files and the configs made of them in code.
_ODD_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\"'`<>\\[\\]]")


def read_build_info(folder: Path) -> dict[str, Any]:
    """Read build.json.

    Raises:
        InputError: If the folder holds no finished dataset.
    """
    path = folder / "build.json"
    if not path.exists():
        raise InputError(f"{folder} holds no finished dataset: expected {path.name}, which builders/ and `comvint build` write.")
    info = read_json_file(path)
    if not isinstance(info, dict) or not isinstance(info.get("files"), dict) or not isinstance(info.get("parts"), list):
        raise InputError(f"{path} is no build.json: expected an object with `files` and `parts`.")
    for name, rows in info["files"].items():
        if (
            not is_inside(name)
            or posixpath.normpath(name) != name
            or _ODD_CHARACTERS.search(name)
            or "/" not in name
            or bounded_int(rows, 0, MAX_ROWS) is None
        ):
            raise InputError(f"{path} names the file {name!r} with {rows!r} rows: expected a file in the dataset's own folder.")
    for key, names in (("sha256", info["files"]), ("plots", info.get("plots"))):
        hashes = info.get(key, {})
        if not isinstance(hashes, dict) or not set(hashes) <= set(names or ()) or not all(map(is_hash, hashes.values())):
            raise InputError(f"{path} has other hashes under `{key}` than builds write: expected a SHA-256 for each file.")
    return info


def read_statistics(folder: Path) -> Statistics:
    """Read the counts in stats.json.

    Raises:
        InputError: If the folder holds no finished dataset, or its stats.json is damaged.
    """
    from comvint_hf.dataset.statistics import Statistics

    read_build_info(folder)
    path = folder / "stats.json"
    return Statistics.from_json(read_json_file(path), str(path))


def read_probe(folder: Path) -> list[dict[str, Any]]:
    """Read the results of the blind probe in stats.json; none for a dataset that was not probed."""
    stored = read_json_file(folder / "stats.json").get("blind_probe")
    known = [result for result in stored if isinstance(result, dict)] if isinstance(stored, list) else []
    return [result for result in known if PROBE_FIELDS <= result.keys()]


def list_configs(files: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Group parquet files by config and split: `{"default": {"train": [...], "test": [...]}, ...}`.

    "default" and one config a task hold the rows that trainers read. Rows without their image in a dataset of images are in
    "without_images" only, so that nobody trains blind on them. "images" and "rejected" exist where there are such rows.
    """
    files = sorted(files)
    main = shards.WITH_IMAGES if any(name.startswith(f"{shards.WITH_IMAGES}/") for name in files) else shards.WITHOUT_IMAGES
    grouped: dict[str, dict[str, list[str]]] = {}
    for name in files:
        folder, *task, file = name.split("/")
        split = file.split("-")[0]
        for config in ("default", *task) if folder == main else (folder,):
            grouped.setdefault(config, {}).setdefault(split, []).append(name)
    ordered = [name for name in ("default", shards.WITHOUT_IMAGES, shards.IMAGES, shards.REJECTED) if name in grouped]
    return {name: grouped[name] for name in (*ordered[:1], *sorted(set(grouped) - set(ordered)), *ordered[1:])}


def list_row_files(folder: Path, config: str = "default", split: str | None = None) -> dict[Path, int]:
    """List the parquet files of a config (one split or all), in order, with their row counts; empty for an unknown config."""
    counts = read_build_info(folder)["files"]
    splits = list_configs(counts).get(config, {})
    return {folder / name: counts[name] for key, names in splits.items() if split in (None, key) for name in names}


def describe_missing_images(folder: Path) -> str:
    """Say in a sentence how many rows lack their image and how to attach it; "" if none does."""
    rows: Counter[str] = Counter()
    for name, count in read_build_info(folder)["files"].items():
        rows[name.split("/")[0]] += count
    missing, path, config = rows[shards.WITHOUT_IMAGES], folder.as_posix(), shards.WITHOUT_IMAGES
    if not missing:
        return ""
    if rows[shards.WITH_IMAGES]:
        return (
            f"{missing:,} rows without their image are in the config `{config}`: "
            f'attach_images(load_dataset("{path}", "{config}"), IMAGES) joins them to a folder of images.'
        )
    if rows[shards.IMAGES]:
        return (
            f'The images of the {missing:,} rows are in the config `{shards.IMAGES}`: attach_images(rows, "{path}") joins them.'
        )
    return f"None of the {missing:,} rows holds its image: attach_images(rows, IMAGES) joins them to a folder of images."


def read_rows(path: Path, numbers: Sequence[int] | None = None) -> Iterator[Row]:
    """Read the rows of a file, or only those at these ascending positions, one row group at a time. Images are bytes.

    Raises:
        InputError: If the file is missing or damaged.
    """
    first = 0
    with _open_parquet(path) as file:
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            wanted = None if numbers is None else [number - first for number in numbers if first <= number < first + size]
            # Row groups without a wanted row are never read; they may hold many images.
            if wanted is None or wanted:
                table = file.read_row_group(group)
                yield from (table if wanted is None else table.take(wanted)).to_pylist()
            first += size


def read_columns(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Read the rows of a file with some or all columns, a few hundred rows at a time. Raises `InputError` as `read_rows` does."""
    with _open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=256, columns=None if columns is None else list(columns)):
            yield from batch.to_pylist()


@contextmanager
def _open_parquet(path: Path) -> Iterator[ParquetFile]:
    """Open a file of rows, and turn what pyarrow says of a damaged one into a sentence."""
    import pyarrow
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(
            f"{path} cannot be read ({first_line(error)}): it is missing or damaged; `comvint stats DIR --verify` names every such "
            "file of the dataset."
        ) from error
