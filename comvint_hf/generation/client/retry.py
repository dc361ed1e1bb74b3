"""Decides how long to retry.

A prompt that fails while others succeed is given up; an endpoint that fails for all stops the run. Others succeed if one did
between the last two failures of the prompt: requests that were in flight when an endpoint went down are not given up.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

from comvint_hf.endpoint.errors import RetryableError
from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.strict_reader import redact

MAX_FAILURES = 6
"""Failures of one prompt, throttled requests left out, after which it is given up if the endpoint serves others."""
RESTART_WAIT = 2.0
"""Most seconds between two looks whether a server that is being restarted is there again."""
MAX_REFUSALS = 8
"""Refused requests without a good answer after which the endpoint is taken to refuse all."""
MAX_UNFIT_PROMPTS = 64
"""Prompts that are too long or filtered, without a good answer, after which the run stops: another one has little chance."""
MAX_USELESS = 24
"""Replies that do not match, without one that does, after which the model is taken to be unable to."""
_EXAMPLE_CHARACTERS = 160

_retry_failed: ContextVar[bool] = ContextVar("comvint_retry_failed", default=False)


@contextmanager
def retrying_failed(enabled: bool = True) -> Iterator[None]:
    """Allow further attempts for prompts that have used up theirs (`--retry-failed`), in this task and those it starts."""
    token = _retry_failed.set(enabled)
    try:
        yield
    finally:
        _retry_failed.reset(token)


def is_retrying_failed() -> bool:
    """Whether prompts that have used up their attempts get further ones."""
    return _retry_failed.get()


@dataclass
class EndpointHealth:
    """The state of an endpoint in this run.

    Attributes:
        patience: Seconds without a good answer after which the run stops.
        first_wait: Seconds before the first retry; each further one waits twice as long.
        supervised: Whether the endpoint is restarted when it dies: until then, patience alone ends the wait.
        last_success: Time of the last good answer.
        failing: Requests that have failed and are being retried.
        refused: Requests that were refused.
        unfit: Prompts that were too long or filtered.
        useless: Replies that did not match; `None` once one did.
    """

    url: str
    patience: float = 300.0
    first_wait: float = 0.25
    supervised: bool = False
    last_success: float | None = None
    failing: int = 0
    refused: int = 0
    unfit: int = 0
    useless: int | None = 0

    def record_success(self) -> None:
        """Record a good answer."""
        self.last_success = time.monotonic()

    def record_refusal(self, error: ReplyError) -> Exception:
        """Record a refused request and return what to raise: the error, or an `EndpointError` if none was ever accepted."""
        self.refused += 1
        if self.last_success is None and self.refused >= MAX_REFUSALS:
            return EndpointError(
                f"The first {self.refused} requests were all refused; the last: {error} Try the model with one prompt of your own, "
                "and look at --base-url, --extra-body and the server's log. Nothing is lost."
            )
        return error

    def record_unfit_prompt(self, error: ReplyError) -> Exception:
        """Record a prompt that is refused for itself and return what to raise."""
        self.unfit += 1
        if self.last_success is None and self.unfit >= MAX_UNFIT_PROMPTS:
            return EndpointError(
                f"The first {self.unfit} prompts were all refused for themselves; the last: {error} Serve the model with a longer "
                "context, or name another one. Nothing is lost."
            )
        return error

    def record_match(self) -> None:
        """Record a reply that matches its schema."""
        self.useless = None

    def record_useless(self, model: str, problem: str, text: str) -> EndpointError | None:
        """Record a reply that does not match, and return what stops the run where none ever did."""
        if self.useless is None:
            return None
        self.useless += 1
        if self.useless < MAX_USELESS:
            return None
        example = redact(" ".join(text[: 10 * _EXAMPLE_CHARACTERS].split()))
        shown = repr(f"{example[:_EXAMPLE_CHARACTERS]} ..." if len(example) > _EXAMPLE_CHARACTERS else example)
        return EndpointError(
            f"The first {self.useless} replies of {model} could all not be used. The last problem: {problem}. Such a reply is "
            f"{shown}. Name a model that keeps to a form, or a server that enforces JSON schemas; a reply that is cut off needs a "
            "higher --max-tokens. Nothing is lost."
        )


class RetryState:
    """The failures of one request; a context around all its tries."""

    def __init__(self, health: EndpointHealth) -> None:
        self._health = health
        self._started = self._last_failure = time.monotonic()
        self._failures = self._throttled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._failures:
            self._health.failing -= 1

    @property
    def tries(self) -> int:
        """Failed tries so far."""
        return self._failures + self._throttled

    def next_delay(self, error: RetryableError) -> float:
        """Seconds until the next try. Raises `ReplyError` to give up the prompt and `EndpointError` to stop the run."""
        health = self._health
        # A server that is away because it is being restarted says nothing about the prompt, like one that is busy.
        if error.throttled or (health.supervised and error.unreached):
            self._throttled += 1
        else:
            self._failures += 1
            health.failing += self._failures == 1
            self._check_failures(error)
            self._last_failure = time.monotonic()
        silence = time.monotonic() - max(self._started, health.last_success or 0.0)
        requested = error.retry_after or 0.0
        # A slow endpoint is asked once more in another way, however long its first silence was.
        is_first_silence = error.timed_out and self.tries < 3
        if max(0.0 if is_first_silence else silence, requested) > health.patience:
            reason = f"asks to wait {requested:.0f} s" if requested > silence else f"has given no good answer for {silence:.0f} s"
            raise EndpointError(f"{health.url} {reason} ({error}). Nothing is lost: run the same command again later.")
        if error.timed_out and not requested:  # the time has been waited already
            return 0.0
        backoff = min(10.0 if error.throttled else 60.0, health.first_wait * 2 ** min(self.tries - 1, 10))
        # Jitter spreads the retries of many requests; a wait that the endpoint asked for is never shortened.
        return requested * random.uniform(1.0, 1.1) if requested else self._limit(backoff, error) * random.uniform(0.75, 1.25)

    def _limit(self, backoff: float, error: RetryableError) -> float:
        """A server that is being restarted is looked for often, as that costs it nothing."""
        return min(backoff, RESTART_WAIT) if self._health.supervised and error.unreached else backoff

    def _check_failures(self, error: RetryableError) -> None:
        health = self._health
        if self._failures < MAX_FAILURES:
            return
        if health.last_success is None and error.answered:
            raise health.record_refusal(ReplyError(f"{health.url} failed {self._failures} times for this prompt ({error})."))
        if health.last_success is None and error.timed_out and time.monotonic() - self._started < health.patience:
            return  # slow so far, and perhaps no more than that
        if health.last_success is None:
            advice = "is it running, and is --base-url right?"
            if error.timed_out:
                advice = "give a longer --timeout (seconds of silence) or a lower --concurrency if it is only slow."
            raise EndpointError(f"{health.url} gives no answer ({error}): {advice} Nothing is lost.")
        if error.unreached:  # an endpoint that is away says nothing about the prompt
            return
        if health.last_success > self._last_failure or health.failing == 1:
            raise ReplyError(
                f"{health.url} failed {self._failures} times for this prompt while it answers others; the last: {error}."
            )
