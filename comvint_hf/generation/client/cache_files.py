"""Reply caches of several machines: a read-only snapshot for all of them, and merging the file that each of them wrote.

The processes of one machine share one sqlite file instead; a network file system would break its locks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from comvint_hf.errors import InputError
from comvint_hf.generation.client.cache import REPLY_COLUMNS, Cache
from comvint_hf.generation.client.cost import compute_committed

_COLUMNS = f"key, attempt, {REPLY_COLUMNS}, model, prompt"


def write_snapshot(cache: Path, to: Path) -> None:
    """Copy a cache to a file that stays as it is, so that any machine may read it."""
    to.parent.mkdir(parents=True, exist_ok=True)
    # Another machine must never read half a file.
    partial = to.with_name(f"{to.name}.partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(cache, timeout=60)) as connection:
        connection.execute("VACUUM INTO ?", (str(partial),))
    partial.replace(to)


def compute_remaining_budget(cache: Path, budget: float) -> float:
    """Dollars of a budget that no run has spent or reserved."""
    with closing(sqlite3.connect(cache, timeout=60)) as connection:
        return max(budget - compute_committed(connection), 0.0)


def merge_caches(cache: Path, others: Iterable[Path]) -> None:
    """Merge the replies of other caches and their costs into `cache`, and delete those files.

    A reply that is there already stays, and the cost of the other one counts as well. The merge may be interrupted and
    repeated: no file counts twice, so file names must be unique. Raises `InputError` for a file that is no cache.
    """
    others = sorted(others)
    if not others:
        return
    Cache(cache).close()  # creates missing tables
    for other in others:
        with closing(sqlite3.connect(cache, timeout=60, isolation_level=None)) as connection:
            try:
                _merge_file(connection, other)
            except sqlite3.Error as error:
                raise InputError(
                    f"{other} cannot be read as a reply cache ({error}); move it away and run the same command again."
                ) from error
        for suffix in ("", "-wal", "-shm"):
            other.with_name(other.name + suffix).unlink(missing_ok=True)


def _merge_file(connection: sqlite3.Connection, other: Path) -> None:
    connection.execute("ATTACH ? AS other", (str(other),))
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("INSERT OR IGNORE INTO merged VALUES (?)", (other.name,)).rowcount:
        for run, *counts in connection.execute("SELECT id, started, granted, spent FROM other.runs").fetchall():
            new_run = connection.execute("INSERT INTO runs (started, granted, spent) VALUES (?, ?, ?)", counts).lastrowid
            connection.execute(
                f"INSERT OR IGNORE INTO main.replies ({_COLUMNS}, run) SELECT {_COLUMNS}, ? FROM other.replies WHERE run = ?",
                (new_run, run),
            )
        connection.execute("INSERT OR IGNORE INTO main.abilities SELECT * FROM other.abilities")
    connection.execute("COMMIT")
