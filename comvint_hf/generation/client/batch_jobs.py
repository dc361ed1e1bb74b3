"""What is wanted from a provider's batches, and which batch it went into: rows in the reply cache's own file.

Every step is on disk before the next is taken, so a run may stop anywhere between wanting and collecting. This file knows
rows; it talks to no provider.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from comvint_hf.generation.client.cache import Cache, Paid


class Wanted(NamedTuple):
    """A question's next attempt, waiting for a batch; `failures` were none of the question's own making."""

    key: bytes
    attempt: int
    prompt: str
    mode: str
    worst: float
    size: int
    failures: int


class Batch(NamedTuple):
    """A batch that is not collected yet; `file` and `provider` are the provider's names for it, once it has them."""

    id: int
    tag: str
    file: str | None
    provider: str | None


class Ledger:
    """One model's part of the ledger."""

    def __init__(self, cache: Cache, model: str) -> None:
        self._cache, self._model = cache, model

    async def want(self, key: bytes, attempt: int, prompt: str, mode: str, body: dict[str, Any], worst: float) -> None:
        """Note that an attempt is wanted, if it is not noted already."""
        if self._cache.read("SELECT 1 FROM wanted WHERE key = ? AND attempt = ?", (key, attempt)):
            return
        row = (key, attempt, self._model, prompt, mode, json.dumps(body, ensure_ascii=False), worst)
        await self._cache.write(
            lambda connection: (
                connection.execute(
                    "INSERT OR IGNORE INTO wanted (key, attempt, model, prompt, mode, body, worst) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    row,
                ).rowcount
            )
        )

    def unsent(self, keys: Collection[bytes]) -> list[Wanted]:
        """What waits to be sent, of these questions only."""
        rows = self._cache.read(
            "SELECT key, attempt, prompt, mode, worst, length(body), failures FROM wanted "
            "WHERE model = ? AND batch IS NULL ORDER BY rowid",
            (self._model,),
        )
        return [Wanted._make(row) for row in rows if row[0] in keys]

    def open(self) -> list[Batch]:
        """Batches that were begun and not collected."""
        rows = self._cache.read("SELECT id, tag, file, provider FROM batches WHERE model = ? AND done = 0", (self._model,))
        return [Batch._make(row) for row in rows]

    async def begin(self, chosen: list[Wanted]) -> Batch:
        """Put these into a new batch, with their worst cost reserved."""
        tag, reserved = uuid.uuid4().hex, sum(one.worst for one in chosen)

        def change(connection: sqlite3.Connection) -> Batch:
            query = "INSERT INTO batches (tag, model, reserved) VALUES (?, ?, ?)"
            number = connection.execute(query, (tag, self._model, reserved)).lastrowid
            places = [(number, one.key, one.attempt) for one in chosen]
            connection.executemany("UPDATE wanted SET batch = ? WHERE key = ? AND attempt = ?", places)
            return Batch(number, tag, None, None)

        return await self._cache.write(change)

    async def name(self, batch: Batch, *, file: str | None = None, provider: str | None = None) -> Batch:
        """Note the provider's name for a batch's file, or for the batch."""
        named = batch._replace(file=file or batch.file, provider=provider or batch.provider)
        values = (named.file, named.provider, batch.id)
        await self._cache.write(
            lambda connection: connection.execute("UPDATE batches SET file = ?, provider = ? WHERE id = ?", values).rowcount
        )
        return named

    def lines(self, batch: Batch) -> Iterator[bytes]:
        """The batch's requests as the lines of its file."""
        places = self._cache.read("SELECT key, attempt FROM wanted WHERE batch = ? ORDER BY rowid", (batch.id,))
        for key, attempt in places:
            for (body,) in self._cache.read("SELECT body FROM wanted WHERE key = ? AND attempt = ?", (key, attempt)):
                head = f'{{"custom_id": "{key.hex()}-{attempt}", "method": "POST", "url": "/v1/chat/completions", "body": '
                yield head.encode() + body.encode() + b"}\n"

    def inside(self, batch: Batch) -> dict[str, Wanted]:
        """What a batch was asked and has not brought yet, by custom id."""
        rows = self._cache.read(
            "SELECT key, attempt, prompt, mode, worst, length(body), failures FROM wanted WHERE batch = ?", (batch.id,)
        )
        return {f"{row[0].hex()}-{row[1]}": Wanted._make(row) for row in rows}

    async def bring(self, replies: list[tuple[Wanted, Paid]]) -> list[tuple[Wanted, Paid]]:
        """Put replies into the cache and strike them off, together; gives those that nobody had brought before."""

        def change(connection: sqlite3.Connection) -> list[tuple[Wanted, Paid]]:
            brought = []
            for one, paid in replies:
                if connection.execute("DELETE FROM wanted WHERE key = ? AND attempt = ?", (one.key, one.attempt)).rowcount:
                    self._cache.insert(connection, one.key, one.attempt, paid, self._model, one.prompt)
                    brought.append((one, paid))
            return brought

        return await self._cache.write(change)

    async def retry(self, one: Wanted) -> None:
        """Let a request that failed go into another batch."""
        query = "UPDATE wanted SET batch = NULL, failures = failures + 1 WHERE key = ? AND attempt = ?"
        await self._cache.write(lambda connection: connection.execute(query, (one.key, one.attempt)).rowcount)

    async def forget(self, one: Wanted) -> None:
        """Strike a request off: it is given up, or will be wanted again in another wording."""
        place = (one.key, one.attempt)
        await self._cache.write(
            lambda connection: connection.execute("DELETE FROM wanted WHERE key = ? AND attempt = ?", place).rowcount
        )

    async def close(self, batch: Batch) -> None:
        """A batch is collected: what it did not bring waits for another."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE wanted SET batch = NULL WHERE batch = ?", (batch.id,))
            connection.execute("UPDATE batches SET done = 1 WHERE id = ?", (batch.id,))

        await self._cache.write(change)
