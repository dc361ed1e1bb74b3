"""Check that the files of a dataset folder are, to the bit, those that its build or mix wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.markers import hash_file, read_markers
from comvint_hf.dataset.reader import read_build_info
from comvint_hf.errors import InputError, first_line

HASHES = "sha256"
"""The key of build.json under which each file of rows has its SHA-256; older versions wrote none."""


@dataclass(frozen=True)
class Integrity:
    """What a check found: `problems` as sentences; of the `files`, `without_hash` could only be counted."""

    files: int
    without_hash: int
    problems: list[str]

    def __str__(self) -> str:
        known = self.files - self.without_hash
        counted = (
            f" {self.without_hash:,} have no stored hash; they have the rows that build.json says." if self.without_hash else ""
        )
        return f"{known:,} of {self.files:,} files of rows are as they were written.{counted}"


def collect_hashes(out: Path, files: dict[str, int]) -> dict[str, str]:
    """Collect the hashes of files of rows from the markers of their shards; those that an older marker lacks are computed."""
    known: dict[str, str] = {}
    for marker in read_markers(out):
        known.update(marker.get(HASHES, {}))
    return {name: known.get(name) or hash_file(out / name) for name in sorted(files)}


def check_integrity(folder: Path, hash_of: Callable[[Path], str] = hash_file) -> Integrity:
    """Compare every file of rows with the hash and the rows in build.json, and look for files that do not belong.

    Args:
        folder: The dataset folder.
        hash_of: Returns the SHA-256 of a file, where it may be known already.

    Raises:
        InputError: If the folder holds no finished dataset.
    """
    info = read_build_info(folder)
    hashes = info.get(HASHES, {})
    problems = [problem for name in info["files"] if (problem := _check_file(folder, name, info, hash_of))]
    return Integrity(len(info["files"]), len(set(info["files"]) - set(hashes)), [*problems, *_find_strangers(folder, info)])


def require_integrity(folder: Path, hash_of: Callable[[Path], str] = hash_file) -> Integrity:
    """Check the files as `check_integrity` does. Raises `InputError` that names every damaged file."""
    found = check_integrity(folder, hash_of)
    if found.problems:
        raise InputError(
            "\n".join([*found.problems, f"The dataset {folder} is damaged: copy it again, or build it anew with --overwrite."])
        )
    return found


def _check_file(folder: Path, name: str, info: dict[str, Any], hash_of: Callable[[Path], str]) -> str:
    """Say in a sentence what is wrong with a file; "" if nothing is."""
    path, digest = folder / name, info.get(HASHES, {}).get(name)
    if not path.is_file():
        return f"{path} is missing."
    try:
        if digest is not None and hash_of(path) != digest:
            return f"{path} is not as it was written: its SHA-256 is another."
        return _check_rows(path, info["files"][name])
    except OSError as error:
        return f"{path} cannot be read ({first_line(error)})."


def _check_rows(path: Path, rows: int) -> str:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(path).num_rows
    except (OSError, pyarrow.ArrowException) as error:
        return f"{path} cannot be read ({first_line(error)})."
    return "" if found == rows else f"{path} has {found:,} rows: build.json says {rows:,}."


def _find_strangers(folder: Path, info: dict[str, Any]) -> Iterator[str]:
    """Find files that are not of the dataset and that its card would have `load_dataset` read all the same."""
    read = {_pattern(name) for name in info["files"]}
    for top in shards.FOLDERS:
        for path in sorted((folder / top).glob("**/*.parquet")):
            name = path.relative_to(folder).as_posix()
            if name not in info["files"] and _pattern(name) in read:
                yield f"{path} is not of this dataset, and load_dataset would read it: move it elsewhere."


def _pattern(name: str) -> tuple[str, str]:
    """The folder and the split of a file: cards name all files of a split by one pattern."""
    parent, _, file = name.rpartition("/")
    return parent, file.split("-")[0]
