"""The rate limiter: bounds requests in flight and requests and tokens a minute, and adapts to what the endpoint accepts.

A single "too many requests" delays its own request only. When the share of such answers grows, the concurrency shrinks to
what got through; when they stop, it grows again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

MIN_WINDOW = 20
"""Fewest answers between two changes of the concurrency."""
TOLERATED_SHARE = 0.1
"""Share of throttled answers in a window that leaves the concurrency as it is."""
PAUSE_SHARE = 0.5
"""Share of throttled answers in a window from which on all requests wait as long as the endpoint asked."""


class LeakyBucket:
    """A rate a minute, kept evenly."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    def reserve(self, amount: float, now: float) -> float:
        """Reserve `amount` and return the seconds to wait for it."""
        start = max(self._free_at, now)
        self._free_at = start + amount * self._seconds_each
        return start - now

    def adjust(self, amount: float) -> None:
        """Reserve `amount` more, or release it where it is negative."""
        self._free_at += amount * self._seconds_each


class RateLimiter:
    """The gate of all requests to one model: `acquire` before sending, `release` after the answer.

    Args:
        concurrency: Most requests in flight.
        requests_per_minute: This process's share of the endpoint's limit.
        tokens_per_minute: This process's share of the endpoint's limit, prompt and reply tokens together.

    Attributes:
        limit: The concurrency allowed at present.
        active: Requests in flight at present.
    """

    def __init__(
        self, concurrency: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.concurrency = concurrency
        self.limit = float(concurrency)
        self.active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._requests = LeakyBucket(requests_per_minute)
        self._tokens = LeakyBucket(tokens_per_minute)
        self._resume_at = 0.0
        self._requested_pause = 0.0
        self._window = 0
        self._answers = self._throttled = self._timed_out = 0

    async def acquire(self, tokens: float, *, urgent: bool = False) -> int:
        """Wait until a request of about `tokens` may be sent; `urgent` ones go first.

        Returns:
            The number of the present window, for `release`.
        """
        if self.active < int(self.limit) and not self._waiting:
            self.active += 1
        else:
            await self._wait_for_slot(urgent)
        now = time.monotonic()
        seconds = max(self._requests.reserve(1, now), self._tokens.reserve(tokens, now))
        try:
            while (wait := max(self._resume_at - time.monotonic(), seconds)) > 0:
                seconds = 0.0
                await asyncio.sleep(wait)
        except asyncio.CancelledError:
            self._free_slot()
            raise
        return self._window

    async def _wait_for_slot(self, urgent: bool) -> None:
        slot = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if urgent else self._waiting.append)(slot)
        try:
            await slot
        except asyncio.CancelledError:
            if slot.done() and not slot.cancelled():
                self._free_slot()
            raise

    def release(
        self,
        window: int,
        *,
        throttled: bool = False,
        timed_out: bool = False,
        retry_after: float | None = None,
        unexpected_tokens: float = 0,
    ) -> None:
        """End a request that was acquired in `window`.

        Args:
            throttled: Whether the endpoint wants fewer requests.
            timed_out: Whether it gave no answer in time, perhaps because it had too many requests.
            retry_after: Seconds that the endpoint asked to wait.
            unexpected_tokens: Tokens used beyond those of `acquire`.
        """
        self._tokens.adjust(unexpected_tokens)
        # Answers to requests that were sent before the last change say nothing about the present limit.
        if window == self._window:
            self._answers += 1
            self._timed_out += timed_out
            if throttled or timed_out:
                self._throttled += 1
                self._requested_pause = max(self._requested_pause, time.monotonic() + (retry_after or 0.0))
            self._adapt()
        self._free_slot()

    def _adapt(self) -> None:
        window = max(MIN_WINDOW, int(self.limit))
        # A time-out has cost much time, so fewer of them say enough.
        has_enough = self._throttled >= window * PAUSE_SHARE or self._timed_out >= self.limit * PAUSE_SHARE
        if self._answers < window and not has_enough:
            return
        share = self._throttled / self._answers
        if share > TOLERATED_SHARE:
            self.limit = max(1.0, self.limit * max(1 - share, 0.25))
            if share >= PAUSE_SHARE:
                self._resume_at = self._requested_pause
        else:
            self.limit = min(float(self.concurrency), self.limit + (1 if share else max(1, self.limit / 4)))
        self._window += 1
        self._answers = self._throttled = self._timed_out = 0

    def _free_slot(self) -> None:
        self.active -= 1
        while self._waiting and self.active < int(self.limit):
            slot = self._waiting.popleft()
            if not slot.done():
                self.active += 1
                slot.set_result(None)
