"""One sqlite file that remembers every paid reply, so that nothing is asked twice.

A reply is used only after it is written: at once, where nobody else is writing, else by a thread that waits its turn and
commits what has gathered in one transaction. Several processes of one machine may share the file (WAL). A process that is
killed loses nothing that was written; a machine that loses its power, at most the last second, as the thread has the disk
confirm what was written. This file knows rows and transactions; it knows no endpoint, no form and no price.
"""

from __future__ import annotations

import asyncio
import atexit
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from comvint_hf.errors import InputError

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]
_Job = tuple[Change, asyncio.AbstractEventLoop | None, Any]
_Message = _Job | str | None

VERSION = 1
SYNC_SECONDS = 1.0
"""So long a written reply may wait for the disk to confirm it; each confirmation costs milliseconds, so a thread asks for it."""
_CONFIRM = "confirm"
TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB NOT NULL, attempt INTEGER NOT NULL,
    text TEXT NOT NULL, finish TEXT NOT NULL, mode TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL,
    model TEXT NOT NULL, prompt TEXT NOT NULL, run INTEGER NOT NULL,
    PRIMARY KEY (key, attempt));
CREATE TABLE IF NOT EXISTS abilities (
    endpoint TEXT NOT NULL, model TEXT NOT NULL, ability TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (endpoint, model, ability));
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, started REAL NOT NULL, granted REAL NOT NULL DEFAULT 0, spent REAL NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS wanted (
    key BLOB NOT NULL, attempt INTEGER NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL, mode TEXT NOT NULL,
    body BLOB NOT NULL, worst REAL NOT NULL, batch INTEGER, failures INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (key, attempt));
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY, tag TEXT NOT NULL, model TEXT NOT NULL, reserved REAL NOT NULL,
    file TEXT, provider TEXT, done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS merged (name TEXT PRIMARY KEY);
CREATE INDEX IF NOT EXISTS wanted_by_batch ON wanted (batch, model);
"""


class Paid(NamedTuple):
    """One reply as it came and what it cost: `finish` and `mode` as in `forms`, `cost` in dollars where it is known."""

    text: str
    finish: str
    mode: str
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


PAID = ", ".join(Paid._fields)
"""The columns that hold a reply, in the order of `Paid`."""


class Cache:
    """The file, opened: what is asked for happens at once where it can, and in a thread of its own where it must wait.

    `run` numbers this opening, so that its spending can be told from that of others. `known` is a file of `merging.snapshot`,
    whose replies are read and never paid for again. Raises `InputError` for a file that is no such cache.
    """

    def __init__(self, path: Path | str, known: Path | None = None) -> None:
        self.path = Path(path)
        self._known = None if known is None else sqlite3.connect(f"{known.resolve().as_uri()}?immutable=1", uri=True)
        self._jobs: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._unconfirmed = False
        self._last_calls: list[Callable[[], Any]] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = self._connect()
            self._writer = self._connect()
            self.run = _set_up(self._reader, self.path)
            self._writer.execute("PRAGMA busy_timeout=0")
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"{self.path} cannot be opened as a reply cache ({error}): expected an sqlite file of this package, or a new "
                "name in a folder that can be written."
            ) from error
        self._thread = threading.Thread(target=self._write_all, name="comvint-cache", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection

    def replies(self, key: bytes) -> list[Paid]:
        """The replies to one question, attempt by attempt; [] if it was never answered."""
        query = f"SELECT {PAID} FROM replies WHERE key = ? ORDER BY attempt"
        earlier = [] if self._known is None else self._known.execute(query, (key,)).fetchall()
        return [Paid._make(row) for row in (*earlier, *self._reader.execute(query, (key,)).fetchall())]

    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        """The rows of any query."""
        return self._reader.execute(query, values).fetchall()

    async def record(self, key: bytes, attempt: int, paid: Paid, model: str, prompt: str) -> Paid:
        """Put a reply on disk and give it back; the earlier one if another process answered the question first.

        Its cost counts in any case.
        """

        def change(connection: sqlite3.Connection) -> Paid:
            return self.insert(connection, key, attempt, paid, model, prompt)

        return await self.write(change)

    def insert(self, connection: sqlite3.Connection, key: bytes, attempt: int, paid: Paid, model: str, prompt: str) -> Paid:
        """`record`, inside a transaction that the caller is in."""
        added = connection.execute(
            "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (key, attempt, *paid, model, prompt, self.run),
        ).rowcount
        if paid.cost:
            connection.execute("UPDATE runs SET spent = spent + ? WHERE id = ?", (paid.cost, self.run))
        if added:
            return paid
        row = connection.execute(
            f"SELECT {PAID} FROM replies WHERE key = ? AND attempt = ?",
            (key, attempt),
        ).fetchone()
        return Paid._make(row)

    async def write(self, change: Change[T]) -> T:
        """Run a change in a transaction, now or in the next one; it is written when this returns, even if nobody waits any more."""
        try:
            if (done := self._write_here(change)) is not None:
                return done[0]
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._jobs.put((change, loop, future))
            return await future
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def _write_here(self, change: Change[T]) -> tuple[T] | None:
        """Run a change without waiting for anybody; `None` where somebody else is writing."""
        if not self._turn.acquire(blocking=False):
            return None
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcome = change(self._writer)
            self._writer.execute("COMMIT")
        except BaseException as error:  # a second Ctrl-C may come just here, and the file must not stay locked
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            elif getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise
        finally:
            self._turn.release()
        if not self._unconfirmed:
            self._unconfirmed = True
            self._jobs.put(_CONFIRM)
        return (outcome,)

    def write_now(self, change: Change[T]) -> T:
        """`write` for code outside an event loop."""
        future: ThreadFuture = ThreadFuture()
        self._jobs.put((change, None, future))
        try:
            return future.result()
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: sqlite3.Error) -> InputError:
        return InputError(
            f"{self.path} cannot be written ({error}): make room or free the file, then run the same again; what was written "
            "before is safe."
        )

    def before_close(self, last: Callable[[], Any]) -> None:
        """Call this before the file is closed, at the end of the process at the latest."""
        self._last_calls.append(last)

    def close(self) -> None:
        """Write what waits and close the file. May be called twice."""
        atexit.unregister(self.close)
        try:
            while self._last_calls:
                self._last_calls.pop()()
        finally:
            if self._thread.is_alive():
                self._jobs.put(None)
                self._thread.join()
            self._writer.close()
            self._reader.close()
            if self._known is not None:
                self._known.close()

    def _write_all(self) -> None:
        connection, due, last = self._connect(), None, False
        while not last:
            messages = self._gathered(due)
            last = None in messages
            if jobs := [message for message in messages if isinstance(message, tuple)]:
                _tell(_commit(connection, jobs))
            due = due or time.monotonic() + SYNC_SECONDS
            if last or time.monotonic() >= due:
                self._confirm(connection)
                due = None
        connection.close()

    def _gathered(self, due: float | None) -> list[_Message]:
        """What has come in, at least one message unless it is due to confirm first."""
        try:
            messages = [self._jobs.get(timeout=None if due is None else max(due - time.monotonic(), 0))]
        except queue.Empty:
            return []
        while not self._jobs.empty():
            messages.append(self._jobs.get())
        return messages

    def _confirm(self, connection: sqlite3.Connection) -> None:
        """Have the disk confirm what was written, and move it to where it stays."""
        self._unconfirmed = False
        with suppress(sqlite3.Error):  # the next confirmation is of all that came before
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _set_up(connection: sqlite3.Connection, path: Path) -> int:
    """Make the tables where they are missing and number this run."""
    _switch_to_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        connection.execute("ROLLBACK")
        raise InputError(f"{path} is a reply cache of version {version}; this package reads {VERSION}: give another --cache.")
    for statement in TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    run = connection.execute("INSERT INTO runs (started) VALUES (?)", (time.time(),)).lastrowid
    connection.execute("COMMIT")
    return run


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Two processes that switch at once lock each other out without waiting, so this waits and tries again."""
    for patience in range(50):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or patience == 49:
                raise
            time.sleep(0.02 * (patience + 1))


def _commit(connection: sqlite3.Connection, jobs: list[_Job]) -> list[tuple[_Job, Any]]:
    """Run all jobs in one transaction; if one fails, each in a transaction of its own, so that only that one fails."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        outcomes = [(job, job[0](connection)) for job in jobs]
        connection.execute("COMMIT")
        return outcomes
    except Exception as error:  # noqa: BLE001 - whoever waits for the job gets it
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(jobs) == 1:
            return [(jobs[0], error)]
        return [outcome for job in jobs for outcome in _commit(connection, [job])]


def _tell(outcomes: list[tuple[_Job, Any]]) -> None:
    """Hand results back to whoever waits, each event loop woken once."""
    by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[Any, Any]]] = {}
    for (_, loop, future), outcome in outcomes:
        by_loop.setdefault(loop, []).append((future, outcome))
    for loop, settled in by_loop.items():
        if loop is None:
            _settle(settled)
        else:
            _wake(loop, settled)


def _wake(loop: asyncio.AbstractEventLoop, settled: list[tuple[Any, Any]]) -> None:
    with suppress(RuntimeError):  # a loop that closed meanwhile: nobody waits, and what was written stays
        loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: list[tuple[Any, Any]]) -> None:
    for future, outcome in settled:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
