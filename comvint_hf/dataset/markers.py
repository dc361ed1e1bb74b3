"""Read the markers of finished shards strictly: a disk, a copy or another person may have left anything there.

A marker that is cut, empty, of another form or of another shard is as good as none: its shard is built again.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import bounded_int, parse_json, read_file

WITH_IMAGES, WITHOUT_IMAGES, REJECTED, IMAGES = "data", "without_images", "rejected", "images"
# Rows with their image, rows without one, rejected rows, and one row an image. Each folder has its own schema.
FOLDERS = (WITH_IMAGES, WITHOUT_IMAGES, REJECTED, IMAGES)
METADATA_FILES = ("README.md", "build.json", "stats.json", "comvint.json")
STATE = ".build"
MAX_ROWS, MAX_BYTES = 2**40, 2**50
_HASH = re.compile("[0-9a-f]{64}")


def marker_path(out: Path, number: int) -> Path:
    """Return the path of a finished shard's marker."""
    return out / STATE / f"{number:05d}.json"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, which is also what the Hub knows it by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_marker(data: bytes, number: int, what: str) -> dict[str, Any]:
    """Parse the marker of a shard.

    Raises:
        InputError: For a marker that is no JSON, of another form, of another shard, or that contradicts itself.
    """
    from comvint_hf.dataset.statistics import Statistics

    marker = parse_json(data, what=what)
    if not isinstance(marker, dict) or not _describes_files(marker, number):
        raise InputError(f"{what} is not the marker of shard {number}.")
    if "statistics" in marker:
        statistics = Statistics.from_json(marker["statistics"], what)
        rejected = sum(rows for name, rows in marker["files"].items() if name.startswith(f"{REJECTED}/"))
        images = sum(rows for name, rows in marker["files"].items() if name.startswith(f"{IMAGES}/"))
        counted = statistics.num_rejected, statistics.kept
        if counted != (rejected, sum(marker["files"].values()) - rejected - images):
            raise InputError(f"{what} counts other rows than its files have.")
    return marker


def _describes_files(marker: dict[str, Any], number: int) -> bool:
    """Whether rows, sizes and hashes (which older markers lack) are given for the same files, all of this shard."""
    rows, sizes, hashes = (marker.get(key) for key in ("files", "bytes", "sha256"))
    if not isinstance(rows, dict) or not isinstance(sizes, dict) or set(rows) != set(sizes):
        return False
    if hashes is not None and not (isinstance(hashes, dict) and set(hashes) == set(rows) and all(map(is_hash, hashes.values()))):
        return False
    return (
        all(is_row_file(name) and name.endswith(f"-{number:05d}.parquet") for name in rows)
        and all(bounded_int(count, 0, MAX_ROWS) is not None for count in rows.values())
        and all(bounded_int(size, 0, MAX_BYTES) is not None for size in sizes.values())
        and all(isinstance(marker.get(key, ""), str) for key in ("scenes", "annotations", "photos"))
        and isinstance(marker.get("usage", {}), dict)
    )


def is_row_file(name: str) -> bool:
    """Whether a path is that of a file of rows in a dataset folder, written in the one way that builds write it.

    >>> is_row_file("data/conversation/train-00000.parquet"), is_row_file("data/../train-00000.parquet")
    (True, False)
    """
    plain = posixpath.normpath(name) == name and not any(odd in name for odd in ("\\", "\0", ":"))
    return plain and "/" in name and name.partition("/")[0] in FOLDERS and name.endswith(".parquet")


def is_hash(value: Any) -> bool:
    """Whether a value from outside is a SHA-256 in hexadecimal."""
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def find_marker_problem(out: Path, number: int) -> str:
    """Say in a sentence why the marker of a shard does not count; "" where it does, and where there is none."""
    path = marker_path(out, number)
    if not path.exists():
        return ""
    try:
        marker = parse_marker(read_file(path), number, str(path))
    except InputError as error:
        return str(error)
    names = [name for name, size in marker["bytes"].items() if not _has_size(out / name, size)]
    return f"{out / names[0]} is missing or not as long as it was written." if names else ""


def read_marker(out: Path, number: int) -> dict[str, Any] | None:
    """Read the summary of a finished shard, with its row counts by file under "files".

    Returns:
        `None` if the shard is not finished, one of its files is missing or truncated, or the marker itself is damaged.
    """
    path = marker_path(out, number)
    try:
        marker = parse_marker(read_file(path), number, str(path)) if path.exists() else None
    except InputError:
        return None
    return marker if marker and all(_has_size(out / name, size) for name, size in marker["bytes"].items()) else None


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def list_marked_shards(out: Path) -> list[int]:
    """List the numbers of the shards that have a marker, whatever it holds."""
    return sorted(int(path.stem) for path in (out / STATE).glob("[0-9]*.json") if path.stem.isdecimal())


def read_markers(out: Path) -> list[dict[str, Any]]:
    """Read the summaries of all finished shards, in order. Raises `InputError` for a marker that is damaged."""
    paths = {number: marker_path(out, number) for number in list_marked_shards(out)}
    return [parse_marker(read_file(path), number, str(path)) for number, path in paths.items()]


def has_markers(out: Path) -> bool:
    """Whether a shard of the folder was finished."""
    return any((out / STATE).glob("[0-9]*.json"))


def find_changed_file(out: Path, hashes: dict[str, str]) -> str | None:
    """Return the first file whose bytes are not those of its hash; `None` if all are."""
    return next((name for name, digest in sorted(hashes.items()) if hash_file(out / name) != digest), None)
