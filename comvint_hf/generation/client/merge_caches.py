"""Reply caches of several machines: one that all of them read, one that each of them writes, and how these become one again.

sqlite's files can be shared by the processes of one machine, not over a network. This file knows caches; it knows nothing
of what runs where.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from comvint_hf.errors import InputError
from comvint_hf.generation.client.cache import PAID, Cache
from comvint_hf.generation.client.cost import committed

_ASKED = f"key, attempt, {PAID}, model, prompt"


def snapshot(cache: Path, to: Path) -> None:
    """Write a copy of a cache that nobody changes, so that any machine may read it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f"{to.name}.partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(cache, timeout=60)) as connection:
        connection.execute("VACUUM INTO ?", (str(partial),))
    partial.replace(to)


def left(cache: Path, budget: float) -> float:
    """Dollars of a budget that nobody has spent or taken."""
    with closing(sqlite3.connect(cache, timeout=60)) as connection:
        return max(budget - committed(connection), 0.0)


def merge(cache: Path, others: Iterable[Path]) -> None:
    """Put the replies of other caches, and what they cost, into this one, and delete those files.

    A reply that is there already stays as it is, and the other one's cost counts all the same. May be broken off anywhere
    and done again: no file counts twice. The names of the files must be unlike any other's. Raises `InputError` for a file
    that is no cache.
    """
    others = sorted(others)
    if not others:
        return
    Cache(cache).close()  # makes the tables where they are missing
    for other in others:
        with closing(sqlite3.connect(cache, timeout=60, isolation_level=None)) as connection:
            try:
                _merge(connection, other)
            except sqlite3.Error as error:
                raise InputError(
                    f"{other} cannot be read as a reply cache ({error}); move it away and run the same again."
                ) from error
        for end in ("", "-wal", "-shm"):
            other.with_name(other.name + end).unlink(missing_ok=True)


def _merge(connection: sqlite3.Connection, other: Path) -> None:
    connection.execute("ATTACH ? AS other", (str(other),))
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("INSERT OR IGNORE INTO merged VALUES (?)", (other.name,)).rowcount:
        for run, *counts in connection.execute("SELECT id, started, granted, spent FROM other.runs").fetchall():
            number = connection.execute("INSERT INTO runs (started, granted, spent) VALUES (?, ?, ?)", counts).lastrowid
            connection.execute(
                f"INSERT OR IGNORE INTO main.replies ({_ASKED}, run) SELECT {_ASKED}, ? FROM other.replies WHERE run = ?",
                (number, run),
            )
        connection.execute("INSERT OR IGNORE INTO main.abilities SELECT * FROM other.abilities")
    connection.execute("COMMIT")
