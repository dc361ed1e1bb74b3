"""The reply cache: one sqlite file that stores every paid reply, so that no request is paid for twice.

A reply is used only after it is written: at once where nobody else is writing, else by a thread that commits all waiting
changes in one transaction. Several processes of one machine may share the file (WAL). A killed process loses nothing that
was written; a power failure loses at most the last second, because the thread syncs the file that often.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import LIMITS, bounded_int

if TYPE_CHECKING:
    from comvint_hf.generation.client.reply_parsing import Mode

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]
_Job = tuple[Change, asyncio.AbstractEventLoop | None, Any]
_Message = _Job | str | None

VERSION = 1
SYNC_SECONDS = 1.0
"""Longest time until a written reply is synced to disk; a sync takes milliseconds, so a thread does it."""
_CHECKPOINT = "checkpoint"
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
REPLY_COLUMNS = "text, finish, mode, prompt_tokens, completion_tokens, cost"
"""The columns of a reply, in the order of `RawReply`."""


class RawReply(NamedTuple):
    """One reply before it is parsed; `mode` is the response format it was asked for in, `cost` is dollars where known."""

    text: str
    finish_reason: str
    mode: Mode
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


class Cache:
    """An open cache file.

    Args:
        path: The sqlite file; it is created where it is missing.
        snapshot: A read-only file of `write_snapshot` whose replies count as well.

    Attributes:
        run_id: Number of this opening, which tells its spending from that of others.

    Raises:
        InputError: For a file that is no reply cache.
    """

    def __init__(self, path: Path | str, snapshot: Path | None = None) -> None:
        self.path = Path(path)
        self._snapshot = None if snapshot is None else sqlite3.connect(f"{snapshot.resolve().as_uri()}?immutable=1", uri=True)
        if self._snapshot is not None:
            self._snapshot.text_factory = _decode_text
        self._jobs: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._write_lock = threading.Lock()
        self._needs_sync = False
        self._close_callbacks: list[Callable[[], Any]] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._reader = self._connect()
            self._writer = self._connect()
            self.run_id = _create_tables(self._reader, self.path)
            self._writer.execute("PRAGMA busy_timeout=0")  # the event loop must not wait for another process
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"{self.path} cannot be opened as a reply cache ({error}): expected an sqlite file of this package, or a new "
                "name in a writable folder."
            ) from error
        self._thread = threading.Thread(target=self._run_writer, name="comvint-cache", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        # Commits do not sync and never checkpoint: both would hold up the event loop, so the thread does them.
        connection.text_factory = _decode_text
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        return connection

    def find_replies(self, key: bytes) -> list[RawReply]:
        """The replies to one request, attempt by attempt; [] if there is none."""
        query = f"SELECT {REPLY_COLUMNS} FROM replies WHERE key = ? ORDER BY attempt"
        earlier = [] if self._snapshot is None else self._snapshot.execute(query, (key,)).fetchall()
        return [_read_reply(row) for row in (*earlier, *self._reader.execute(query, (key,)).fetchall())]

    def query(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        """Run a query and return its rows."""
        return self._reader.execute(query, values).fetchall()

    async def add_reply(self, key: bytes, attempt: int, reply: RawReply, model: str, prompt: str) -> RawReply:
        """Write a reply and return it, or the earlier one where another process was first; the cost counts in any case."""

        def change(connection: sqlite3.Connection) -> RawReply:
            return self.insert_reply(connection, key, attempt, reply, model, prompt)

        return await self.write(change)

    def insert_reply(
        self, connection: sqlite3.Connection, key: bytes, attempt: int, reply: RawReply, model: str, prompt: str
    ) -> RawReply:
        """`add_reply` inside the caller's transaction."""
        added = connection.execute(
            "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (key, attempt, *reply, model, prompt, self.run_id),
        ).rowcount
        if reply.cost:
            connection.execute("UPDATE runs SET spent = spent + ? WHERE id = ?", (reply.cost, self.run_id))
        if added:
            return reply
        query = f"SELECT {REPLY_COLUMNS} FROM replies WHERE key = ? AND attempt = ?"
        return _read_reply(connection.execute(query, (key, attempt)).fetchone())

    async def execute(self, statement: str, values: Sequence[Any]) -> int:
        """Run one statement in a transaction and return the number of changed rows."""
        return await self.write(lambda connection: connection.execute(statement, values).rowcount)

    async def write(self, change: Change[T]) -> T:
        """Run a change in a transaction, now or in the next one; it is written when this returns, even after a cancellation."""
        try:
            if (done := self._try_write(change)) is not None:
                return done[0]
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._jobs.put((change, loop, future))
            return await future
        except sqlite3.Error as error:
            raise self._write_error(error) from error

    def _try_write(self, change: Change[T]) -> tuple[T] | None:
        """Run a change without waiting; `None` where somebody else is writing."""
        if not self._write_lock.acquire(blocking=False):
            return None
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            result = change(self._writer)
            self._writer.execute("COMMIT")
        except BaseException as error:  # a second Ctrl-C may come here, and the file must not stay locked
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            elif getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise
        finally:
            self._write_lock.release()
        if not self._needs_sync:
            self._needs_sync = True
            self._jobs.put(_CHECKPOINT)
        return (result,)

    def write_blocking(self, change: Change[T]) -> T:
        """`write` for code outside an event loop."""
        future: ThreadFuture[T] = ThreadFuture()
        self._jobs.put((change, None, future))
        try:
            return future.result()
        except sqlite3.Error as error:
            raise self._write_error(error) from error

    def _write_error(self, error: sqlite3.Error) -> InputError:
        return InputError(
            f"{self.path} cannot be written ({error}): free disk space or the file, then run the same command again; what was "
            "written before is safe."
        )

    def on_close(self, callback: Callable[[], Any]) -> None:
        """Call `callback` before the file is closed, at the end of the process at the latest."""
        self._close_callbacks.append(callback)

    def close(self) -> None:
        """Write all waiting changes and close the file. May be called twice."""
        atexit.unregister(self.close)
        try:
            while self._close_callbacks:
                self._close_callbacks.pop()()
        finally:
            if self._thread.is_alive():
                self._jobs.put(None)
                self._thread.join()
            self._writer.close()
            self._reader.close()
            if self._snapshot is not None:
                self._snapshot.close()

    def _run_writer(self) -> None:
        connection, due, last = self._connect(), None, False
        while not last:
            messages = self._read_messages(due)
            last = None in messages
            if jobs := [message for message in messages if isinstance(message, tuple)]:
                _set_results(_commit(connection, jobs))
            due = due or time.monotonic() + SYNC_SECONDS
            if last or time.monotonic() >= due:
                self._sync(connection)
                due = None
        connection.close()

    def _read_messages(self, due: float | None) -> list[_Message]:
        """All waiting messages: at least one, unless a sync is due first."""
        try:
            messages = [self._jobs.get(timeout=None if due is None else max(due - time.monotonic(), 0))]
        except queue.Empty:
            return []
        while not self._jobs.empty():
            messages.append(self._jobs.get())
        return messages

    def _sync(self, connection: sqlite3.Connection) -> None:
        """Sync what was written and move it from the write-ahead log into the file."""
        self._needs_sync = False
        with suppress(sqlite3.Error):  # the next checkpoint includes this one
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _decode_text(data: bytes) -> str | bytes:
    """Decode a text column; one that is not UTF-8 stays bytes, where sqlite's own decoding would fail for all rows."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _read_reply(row: tuple[Any, ...]) -> RawReply:
    """Read a reply's columns; one that this package cannot have written well is an unreadable reply, and is asked again."""
    text, finish, mode, prompt_tokens, completion_tokens, cost = row
    good = isinstance(text, str) and isinstance(finish, str) and mode in ("json_schema", "json_object", "text")
    if not good:
        text, finish, mode = "", "unreadable", "text"
    if cost is not None and not (isinstance(cost, (int, float)) and 0 <= cost < math.inf):
        cost = None
    return RawReply(text, finish, mode, _read_count(prompt_tokens), _read_count(completion_tokens), cost)


def _read_count(count: object) -> int:
    return bounded_int(count, 0, LIMITS.stored_tokens) or 0


def _create_tables(connection: sqlite3.Connection, path: Path) -> int:
    """Create missing tables and return the number of a new run."""
    _enable_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        connection.execute("ROLLBACK")
        raise InputError(f"{path} is a reply cache of version {version}; this package reads {VERSION}: give another --cache.")
    for statement in TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    run_id = connection.execute("INSERT INTO runs (started) VALUES (?)", (time.time(),)).lastrowid
    connection.execute("COMMIT")
    assert run_id is not None
    return run_id


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; two processes that switch at once fail without waiting, so this tries again."""
    for attempt in range(50):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == 49:
                raise
            time.sleep(0.02 * (attempt + 1))


def _commit(connection: sqlite3.Connection, jobs: list[_Job]) -> list[tuple[_Job, Any]]:
    """Run all jobs in one transaction; if one fails, run each in its own, so that only that one fails."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        results = [(job, job[0](connection)) for job in jobs]
        connection.execute("COMMIT")
        return results
    except Exception as error:  # noqa: BLE001 - the future of the job gets it
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(jobs) == 1:
            return [(jobs[0], error)]
        return [result for job in jobs for result in _commit(connection, [job])]


def _set_results(results: list[tuple[_Job, Any]]) -> None:
    """Set the results of futures, waking each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[Any, Any]]] = {}
    for (_, loop, future), result in results:
        by_loop.setdefault(loop, []).append((future, result))
    for loop, finished in by_loop.items():
        if loop is None:
            _set_future_results(finished)
        else:
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits, and what was written stays
                loop.call_soon_threadsafe(_set_future_results, finished)


def _set_future_results(finished: list[tuple[Any, Any]]) -> None:
    for future, result in finished:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
