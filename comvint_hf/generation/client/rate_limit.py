"""How many requests may be out at once, and how many a minute: bounded, and adapting to what the endpoint bears.

A single "too many requests" holds back nobody but the request itself. When their share grows, the number at once shrinks to
what got through; when they stop, it climbs again. This file knows times and counts; it knows no endpoint.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

WINDOW = 20
"""Answers that are looked at together before the number at once changes, at least."""
TOLERATED = 0.1
"""Share of throttled answers in a window that is no reason to send less."""
STORM = 0.5
"""Share of throttled answers in a window from which on everybody waits as long as the endpoint asked."""


class Drip:
    """A rate a minute, kept evenly: each taker is told how long to wait."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    def take(self, amount: float, now: float) -> float:
        """Seconds until `amount` may go."""
        start = max(self._free_at, now)
        self._free_at = start + amount * self._seconds_each
        return start - now

    def correct(self, amount: float) -> None:
        """Take `amount` more, or give it back where negative, once the truth is known."""
        self._free_at += amount * self._seconds_each


class Pace:
    """The gate that requests to one model pass: `enter` before sending, `leave` after the answer.

    `most` bounds the requests at once, `limit` is how many may be now. `requests_per_minute` and `tokens_per_minute` are
    this process's share of the endpoint's limits.
    """

    def __init__(
        self, concurrency: int = 32, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.most = concurrency
        self.limit = float(concurrency)
        self.active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._requests = Drip(requests_per_minute)
        self._tokens = Drip(tokens_per_minute)
        self._resume_at = 0.0
        self._pause_asked = 0.0
        self._epoch = 0
        self._answers = self._throttled = 0

    async def enter(self, tokens: float, *, urgent: bool = False) -> int:
        """Wait for a turn for a request of about `tokens`; `urgent` ones go first. Gives the ticket that `leave` wants."""
        if self.active < int(self.limit) and not self._waiting:
            self.active += 1
        else:
            await self._wait_in_line(urgent)
        now = time.monotonic()
        seconds = max(self._requests.take(1, now), self._tokens.take(tokens, now))
        try:
            while (wait := max(self._resume_at - time.monotonic(), seconds)) > 0:
                seconds = 0.0
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self._free_one()
            raise
        return self._epoch

    async def _wait_in_line(self, urgent: bool) -> None:
        turn = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if urgent else self._waiting.append)(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free_one()
            raise

    def leave(
        self, ticket: int, *, throttled: bool = False, retry_after: float | None = None, unexpected_tokens: float = 0
    ) -> None:
        """Give the turn back and tell how it went; `retry_after` seconds are what the endpoint asked to wait."""
        self._tokens.correct(unexpected_tokens)
        if ticket == self._epoch:
            self._answers += 1
            if throttled:
                self._throttled += 1
                self._pause_asked = max(self._pause_asked, time.monotonic() + (retry_after or 0.0))
            self._adapt()
        self._free_one()

    def _adapt(self) -> None:
        window = max(WINDOW, int(self.limit))
        if self._answers < window and self._throttled < window * STORM:
            return
        share = self._throttled / self._answers
        if share > TOLERATED:
            self.limit = max(1.0, self.limit * max(1 - share, 0.25))
            if share >= STORM:
                self._resume_at = self._pause_asked
        else:
            self.limit = min(float(self.most), self.limit + (1 if share else max(1, self.limit / 4)))
        self._epoch += 1
        self._answers = self._throttled = 0

    def _free_one(self) -> None:
        self.active -= 1
        while self._waiting and self.active < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.active += 1
                turn.set_result(None)
