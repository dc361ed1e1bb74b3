"""How long to go on trying: a prompt that fails while others succeed is given up, an endpoint that fails for all stops the run.

Others succeed if one did between a prompt's last two failures: what was in flight when an endpoint went down is not given up.

This file knows failures and times; it sends nothing.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Self

from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.generation.client.errors import Trouble

TRIES = 6
"""Failures of one prompt, not counting "too many requests", after which it is given up if the endpoint serves others."""
REFUSALS = 8
"""So many refused requests without a good answer, and the endpoint is taken to refuse them all."""


@dataclass
class Health:
    """What is known of an endpoint in this run: when it last answered well, and how many requests are in trouble now."""

    url: str
    patience: float = 300.0
    first_wait: float = 0.25
    last_good: float | None = None
    troubled: int = 0
    refused: int = 0

    def good(self) -> None:
        """Note a good answer."""
        self.last_good = time.monotonic()

    def refusal(self, error: ReplyError) -> Exception:
        """What to raise for a refused request: the error itself, or the end of the run if no request was ever accepted."""
        self.refused += 1
        if self.last_good is None and self.refused >= REFUSALS:
            return EndpointError(f"The first {self.refused} requests were all refused; the last: {error}")
        return error


class Persistence:
    """One request's way through failures; use it as a context around all its tries."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._began = self._failed = time.monotonic()
        self._failures = self._throttled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._failures:
            self._health.troubled -= 1

    @property
    def tries(self) -> int:
        """Failed tries so far."""
        return self._failures + self._throttled

    def wait_after(self, trouble: Trouble) -> float:
        """Seconds until the next try. Raises `ReplyError` or `EndpointError` when there should be none."""
        health = self._health
        if trouble.throttled:
            self._throttled += 1
        else:
            self._failures += 1
            health.troubled += self._failures == 1
            self._give_up_if_hopeless(trouble)
            self._failed = time.monotonic()
        silent = time.monotonic() - max(self._began, health.last_good or 0.0)
        asked = trouble.retry_after or 0.0
        if max(silent, asked) > health.patience:
            wants = f"asks to wait {asked:.0f} s" if asked > silent else f"has given no good answer for {silent:.0f} s"
            raise EndpointError(f"{health.url} {wants} ({trouble}). Nothing is lost: run the same again later.")
        backoff = min(60.0, health.first_wait * 2 ** min(self.tries - 1, 10))
        return asked * random.uniform(1.0, 1.1) if asked else backoff * random.uniform(0.75, 1.25)

    def _give_up_if_hopeless(self, trouble: Trouble) -> None:
        health = self._health
        if self._failures < TRIES:
            return
        if health.last_good is None:
            raise EndpointError(
                f"{health.url} gives no answer ({trouble}): is it running, and is --base-url right? Nothing is lost."
            )
        if trouble.unreached:  # whatever the prompt says, so it is not to blame
            return
        if health.last_good > self._failed or health.troubled == 1:
            raise ReplyError(
                f"{health.url} failed {self._failures} times for this prompt while it answers others; the last: {trouble}."
            )
