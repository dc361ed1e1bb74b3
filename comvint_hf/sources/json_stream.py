"""Stream JSON files of any size entry by entry, and join several of them by image id.

Only one image's entries are in memory: `record_stream` cuts the files into entries, and a file that is not in the order of its image
ids is sorted on disk first.
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
from typing import Any

from comvint_hf.errors import SourceError
from comvint_hf.read_counts import as_counts
from comvint_hf.record_stream import RecordReader, open_bytes
from comvint_hf.strict_reader import LIMITS

Entry = dict[str, Any]
NO_ID = "entries without an image id skipped"
NO_NUMBER = "entries skipped: their image id is no whole number"
BLOCK = 1 << 20
_ANY_ID = re.compile(rb'"(?:image_)?id"\s*+:\s*+"?(\d{1,20})')


def read_entries(path: Path, prefix: str, counts: Counter[str] | None = None) -> Iterator[Any]:
    """Yield the values under `prefix`: `item` for those of a list, `images.item` for those of an object's list `images`.

    An entry that cannot be read is skipped and counted in `counts`. Raises `SourceError` with the byte position if the file is not
    JSON or ends too early, and without `counts` for the first entry that cannot be read.
    """
    key = prefix.removesuffix("item").removesuffix(".")
    reader = RecordReader(path, None if counts is None else as_counts(counts), key or "entries", SourceError)
    return reader.read(key)


def read_integer(entry: object, *names: str) -> int | None:
    """Return the first of these fields that holds a whole number, also one written as text; `None` if none does.

    >>> read_integer({"id": "12"}, "image_id", "id"), read_integer({"id": None}, "id")
    (12, None)
    """
    fields = entry if isinstance(entry, dict) else {}
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:20])  # Python refuses to convert thousands of digits
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
            return value
    return None


def read_id(entry: object, name: str) -> int | str | None:
    """Return an id: a whole number, also one written as text or 3.0, or any other text; `None` if the field holds neither.

    >>> read_id({"id": "12"}, "id"), read_id({"id": "img_7f"}, "id"), read_id({"id": 1.5}, "id"), read_id({"id": True}, "id")
    (12, 'img_7f', None, None)
    """
    number = read_integer(entry, name)
    value = entry.get(name) if isinstance(entry, dict) else None
    if number is not None or not isinstance(value, str):
        return number
    return (" ".join(value.split()) or None) if len(value) <= LIMITS.id_characters else None


def group_by_image(files: list[tuple[str, Path]], counts: Counter[str]) -> Iterator[tuple[int, dict[str, list[Entry]]]]:
    """Yield each image id, ascending, with the entries of every role, from (role, file) pairs.

    A file is a list of entries, or one entry. An entry without an image id is counted and skipped.
    """
    streams = [_read_sorted(role, path, counts) for role, path in files]
    for number, group in groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
        roles: dict[str, list[Entry]] = {}
        for _, role, entry in group:
            roles.setdefault(role, []).append(entry)
        yield number, roles


def _read_sorted(role: str, path: Path, counts: Counter[str]) -> Iterator[tuple[int, str, Entry]]:
    numbered = _read_with_ids(path, counts)
    ordered = numbered if _is_sorted(path) else _sort_on_disk(numbered)
    last = -1
    for number, entry in ordered:
        if number < last:
            raise SourceError(
                f"{path} goes back from image {last} to {number} in a way that cannot be sorted; write it again by image id."
            )
        last = number
        yield number, role, entry


def _read_with_ids(path: Path, counts: Counter[str]) -> Iterator[tuple[int, Entry]]:
    for entry in read_entries(path, "item", counts):
        if (number := read_integer(entry, "image_id", "id")) is None:
            named = isinstance(entry, dict) and {"image_id", "id"} & entry.keys()
            as_counts(counts).skip(f"{path.name}: {NO_NUMBER if named else NO_ID}", entry)
        else:
            yield number, entry


def _is_sorted(path: Path) -> bool:
    """Whether no id in the file, at any depth, is smaller than the one before; then the entries are sorted, too.

    A byte scan is several times faster than parsing, and a sorted file (as the official ones are) needs no copy.
    """
    last, rest = -1, b""
    with open_bytes(path) as file:
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


def _sort_on_disk(numbered: Iterator[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
    with closing(open_temporary_database()) as database:
        database.execute("CREATE TABLE entry (image INTEGER, text TEXT)")
        insert_rows(database, "entry", ((number, json.dumps(entry)) for number, entry in numbered))
        database.execute("CREATE INDEX by_image ON entry (image)")
        for number, text in database.execute("SELECT image, text FROM entry ORDER BY image, rowid"):
            yield number, json.loads(text)


def open_temporary_database() -> sqlite3.Connection:
    """Open a private database that spills to a temporary file, which is gone when it is closed.

    Set SQLITE_TMPDIR if the default temporary folder is too small.
    """
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # a stream may be read from any one thread
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA cache_size = -16000")  # 16 MB, whatever the size of the corpus
    return database


def insert_rows(database: sqlite3.Connection, table: str, rows: Iterable[tuple]) -> None:
    """Insert rows into a table in one transaction, without those whose primary key is there already."""
    with database:
        database.execute("BEGIN")
        marks = ", ".join("?" for _ in database.execute(f"PRAGMA table_info({table})").fetchall())
        database.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
