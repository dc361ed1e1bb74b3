"""The queue of requests for a provider's batches, and which batch each is in: tables in the reply cache's file.

Every step is on disk before the next one, so a run may stop anywhere and continue.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from comvint_hf.generation.client.cache import Cache, RawReply
from comvint_hf.generation.client.reply_parsing import Mode


class PendingRequest(NamedTuple):
    """A request that waits for a batch.

    `max_cost` is in dollars, `size` the bytes of the body, `failures` count those that were not the prompt's fault.
    """

    key: bytes
    attempt: int
    prompt: str
    mode: Mode
    max_cost: float
    size: int
    failures: int

    @property
    def custom_id(self) -> str:
        """The name of the request in batch files."""
        return f"{self.key.hex()}-{self.attempt}"


_COLUMNS = "key, attempt, prompt, mode, worst, length(body), failures"


class Batch(NamedTuple):
    """A batch without results yet; `file_id` and `provider_id` are what the provider calls its file and the batch."""

    id: int
    tag: str
    file_id: str | None
    provider_id: str | None


class BatchQueue:
    """The requests and batches of one model."""

    def __init__(self, cache: Cache, model: str) -> None:
        self._cache, self._model = cache, model

    async def add(self, key: bytes, attempt: int, prompt: str, mode: Mode, body: dict[str, Any], max_cost: float) -> None:
        """Add a request, unless it is in the queue."""
        if self._cache.query("SELECT 1 FROM wanted WHERE key = ? AND attempt = ?", (key, attempt)):
            return
        await self._cache.execute(
            "INSERT OR IGNORE INTO wanted (key, attempt, model, prompt, mode, body, worst) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, attempt, self._model, prompt, mode, json.dumps(body, ensure_ascii=False), max_cost),
        )

    def find_waiting(self, keys: Collection[bytes]) -> list[PendingRequest]:
        """The requests with one of these keys that are in no batch."""
        query = f"SELECT {_COLUMNS} FROM wanted WHERE model = ? AND batch IS NULL ORDER BY rowid"
        return [PendingRequest._make(row) for row in self._cache.query(query, (self._model,)) if row[0] in keys]

    def find_open_batches(self) -> list[Batch]:
        """The batches whose results were not read yet."""
        query = "SELECT id, tag, file, provider FROM batches WHERE model = ? AND done = 0"
        return [Batch._make(row) for row in self._cache.query(query, (self._model,))]

    async def create_batch(self, requests: list[PendingRequest]) -> Batch:
        """Put requests into a new batch and reserve their highest cost."""
        tag, reserved = uuid.uuid4().hex, sum(request.max_cost for request in requests)

        def change(connection: sqlite3.Connection) -> Batch:
            query = "INSERT INTO batches (tag, model, reserved) VALUES (?, ?, ?)"
            number = connection.execute(query, (tag, self._model, reserved)).lastrowid
            assert number is not None
            rows = [(number, request.key, request.attempt) for request in requests]
            connection.executemany("UPDATE wanted SET batch = ? WHERE key = ? AND attempt = ?", rows)
            return Batch(number, tag, None, None)

        return await self._cache.write(change)

    async def save_ids(self, batch: Batch, *, file_id: str | None = None, provider_id: str | None = None) -> Batch:
        """Save what the provider calls a batch's file, or the batch."""
        # A known id stays, because a second submission of the same batch would be paid for twice.
        saved = batch._replace(file_id=file_id or batch.file_id, provider_id=provider_id or batch.provider_id)
        await self._cache.execute(
            "UPDATE batches SET file = ?, provider = ? WHERE id = ?", (saved.file_id, saved.provider_id, batch.id)
        )
        return saved

    def iter_lines(self, batch: Batch) -> Iterator[bytes]:
        """The lines of a batch's input file."""
        for request in self.find_requests(batch).values():
            query = "SELECT body FROM wanted WHERE key = ? AND attempt = ?"
            for (body,) in self._cache.query(query, (request.key, request.attempt)):
                head = f'{{"custom_id": "{request.custom_id}", "method": "POST", "url": "/v1/chat/completions", "body": '
                yield head.encode() + body.encode() + b"}\n"

    def find_body(self, request: PendingRequest) -> dict[str, Any]:
        """The body of a request in the queue; {} where it is gone."""
        rows = self._cache.query("SELECT body FROM wanted WHERE key = ? AND attempt = ?", (request.key, request.attempt))
        return json.loads(rows[0][0]) if rows else {}

    def find_requests(self, batch: Batch) -> dict[str, PendingRequest]:
        """The requests of a batch without a result yet, by custom id."""
        rows = self._cache.query(f"SELECT {_COLUMNS} FROM wanted WHERE batch = ? ORDER BY rowid", (batch.id,))
        return {request.custom_id: request for request in map(PendingRequest._make, rows)}

    async def save_replies(self, replies: list[tuple[PendingRequest, RawReply]]) -> list[tuple[PendingRequest, RawReply]]:
        """Move replies into the cache, and their requests out of the queue; return those that were new."""

        def change(connection: sqlite3.Connection) -> list[tuple[PendingRequest, RawReply]]:
            new = []
            for request, reply in replies:
                place = (request.key, request.attempt)
                if connection.execute("DELETE FROM wanted WHERE key = ? AND attempt = ?", place).rowcount:
                    self._cache.insert_reply(connection, *place, reply, self._model, request.prompt)
                    new.append((request, reply))
            return new

        return await self._cache.write(change)

    async def retry(self, request: PendingRequest) -> None:
        """Count a failure and let the request go into another batch, unless its reply came meanwhile."""
        statement = "UPDATE wanted SET batch = NULL, failures = failures + 1 WHERE key = ? AND attempt = ?"
        await self._cache.execute(statement, (request.key, request.attempt))

    async def remove(self, request: PendingRequest) -> None:
        """Remove a request that is given up, or will be added with another body."""
        await self._cache.execute("DELETE FROM wanted WHERE key = ? AND attempt = ?", (request.key, request.attempt))

    async def close_batch(self, batch: Batch) -> None:
        """Close a batch whose results were read; its other requests wait for another one."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE wanted SET batch = NULL WHERE batch = ?", (batch.id,))
            connection.execute("UPDATE batches SET done = 1 WHERE id = ?", (batch.id,))

        await self._cache.write(change)
