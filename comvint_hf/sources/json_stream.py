"""Stream JSON files of any size, entry by entry, and bring several of them into step by image id.

Memory stays that of one entry: files are parsed by ijson, and one whose entries are not in the order of their image ids
is sorted on disk first. This file knows JSON and image ids, and no corpus.
"""

from __future__ import annotations

import heapq
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from comvint_hf.errors import SourceError

Entry = dict[str, Any]
NO_ID = "entries without an image id skipped"
BLOCK = 1 << 20
BOM = b"\xef\xbb\xbf"
_ANY_ID = re.compile(rb'"(?:image_)?id"\s*:\s*"?(\d+)')


class _Counted:
    """A file that remembers which bytes were read last, for the error message."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.start = self.end = 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        if block:
            self.start, self.end = self.end, self.end + len(block)
        return block


def entries(path: Path, prefix: str) -> Iterator[Any]:
    """Yield what stands under `prefix` in ijson's notation (`item`, `images.item`), one at a time.

    Raises `SourceError` with the byte position where the file is not JSON or ends too early.
    """
    import ijson

    with open(path, "rb") as raw:
        raw.seek(len(BOM) if raw.read(len(BOM)) == BOM else 0)
        file = _Counted(raw)
        try:
            yield from ijson.items(file, prefix, use_float=True)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            problem = str(error).strip().split("\n")[0] or "it ends too early"
            raise SourceError(
                f"{path} is not whole JSON: {problem}, between bytes {file.start:,} and {file.end:,}. Download it again."
            ) from error


def opening(path: Path) -> str:
    """The first character of a JSON file that is no blank: "[" for a list, "{" for an object, "" for an empty file."""
    with open(path, "rb") as file:
        return file.read(64).removeprefix(BOM).lstrip()[:1].decode("latin-1")


def whole_number(entry: object, *names: str) -> int | None:
    """The first of these fields that holds a whole number, also one written as text; `None` if none does.

    >>> whole_number({"id": "12"}, "image_id", "id"), whole_number({"id": None}, "id")
    (12, None)
    """
    for name in names if isinstance(entry, dict) else ():
        value = entry.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:20])
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
            return value
    return None


def by_image(files: list[tuple[str, Path]], counts: Counter[str]) -> Iterator[tuple[int, dict[str, list[Entry]]]]:
    """Walk through (role, file) pairs in step: for each image id, ascending, the entries of every role.

    A file is a list of entries, or one entry. Those without an image id are counted and skipped.
    """
    streams = [_ascending(role, path, counts) for role, path in files]
    for number, group in groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
        roles: dict[str, list[Entry]] = {}
        for _, role, entry in group:
            roles.setdefault(role, []).append(entry)
        yield number, roles


def _ascending(role: str, path: Path, counts: Counter[str]) -> Iterator[tuple[int, str, Entry]]:
    numbered = _numbered(path, counts)
    ordered = numbered if _in_order(path) else _sorted_on_disk(numbered)
    last = -1
    for number, entry in ordered:
        if number < last:
            raise SourceError(
                f"{path} goes back from image {last} to {number} in a way that cannot be sorted; write it again by image id."
            )
        last = number
        yield number, role, entry


def _numbered(path: Path, counts: Counter[str]) -> Iterator[tuple[int, Entry]]:
    for entry in entries(path, "item" if opening(path) == "[" else ""):
        if (number := whole_number(entry, "image_id", "id")) is None:
            counts[f"{path.name}: {NO_ID}"] += 1
        else:
            yield number, entry


def _in_order(path: Path) -> bool:
    """Whether every id in the file, at whatever depth, is no smaller than the one before; then the entries' ids are, too.

    A byte scan at several times the speed of parsing, so that a sorted file (as the official ones are) needs no copy.
    """
    last, rest = -1, b""
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            buffer, end = rest + block, 0
            for match in _ANY_ID.finditer(buffer):
                if match.end() == len(buffer):  # the number may go on in the next block
                    break
                number, end = int(match[1]), match.end()
                if number < last:
                    return False
                last = number
            rest = buffer[max(end, len(buffer) - 256) :]
    return True


def _sorted_on_disk(numbered: Iterator[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
    with closing(scratch()) as database:
        database.execute("CREATE TABLE entry (image INTEGER, text TEXT)")
        fill(database, "entry", ((number, json.dumps(entry)) for number, entry in numbered))
        database.execute("CREATE INDEX by_image ON entry (image)")
        for number, text in database.execute("SELECT image, text FROM entry ORDER BY image, rowid"):
            yield number, json.loads(text)


def scratch() -> sqlite3.Connection:
    """Open a private database that spills to a temporary file, which the operating system forgets when it is closed.

    Set SQLITE_TMPDIR where the default temporary folder is too small.
    """
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # a stream may be read from any one thread
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA cache_size = -16000")  # 16 MB, whatever the corpus weighs
    return database


def fill(database: sqlite3.Connection, table: str, rows: Iterable[tuple]) -> None:
    """Add rows to a table in one transaction, leaving out those whose primary key is there already."""
    with database:
        database.execute("BEGIN")
        marks = ", ".join("?" for _ in database.execute(f"PRAGMA table_info({table})").fetchall())
        database.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
