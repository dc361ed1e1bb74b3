"""Try a request to the Hub until it works, a passing failure has come back too often, or the failure is for good.

This file knows how the Hub fails; it knows no file and no repository.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from comvint_hf.errors import EndpointError, first_line

T = TypeVar("T")
ATTEMPTS = 6
LONGEST_WAIT = 300.0
PASSING = {408, 409, 412, 425, 429, 500, 502, 503, 504}
"""Statuses that a later attempt may not meet again; 409 and 412 mean that somebody else committed in between."""


def patiently(work: Callable[[], T], wait: float) -> T:
    """Give what `work` gives; call it again after passing failures, `wait` seconds after the first and longer each time.

    Raises `EndpointError` where the Hub refuses, and after `ATTEMPTS` failures; any other failure as it is.
    """
    for attempt in range(ATTEMPTS):
        try:
            return work()
        except Exception as error:
            if refusal := _refusal(error):
                raise refusal from error
            if not _passes(error):
                raise
            if attempt == ATTEMPTS - 1:
                last = first_line(error).rstrip(".")
                raise EndpointError(
                    f"The Hub failed {ATTEMPTS} times, last with: {last}. What it holds is whole; push again later."
                ) from error
            time.sleep(_pause(error, wait * 2**attempt))
    raise AssertionError("the last attempt returns or raises")


def _pause(error: Exception, wait: float) -> float:
    """Seconds until the next attempt: as long as the Hub asks for, else `wait`, shaken so that clients do not march in step."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    asked = headers.get("retry-after", "")
    if asked.isdecimal():
        return min(float(asked), LONGEST_WAIT)
    return min(wait, LONGEST_WAIT) * random.uniform(0.75, 1.25)


def _passes(error: BaseException | None) -> bool:
    """Whether a failure, or the one that it wraps, may be gone next time; a branch may be taken away while we write to it."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    if error is None:
        return False
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING or isinstance(error, RevisionNotFoundError)
    # hf_xet says ConnectionError where it cannot reach its store
    return isinstance(error, (httpx2.TransportError, ConnectionError)) or _passes(error.__cause__)


def _refusal(error: Exception) -> EndpointError | None:
    """What to say where the Hub says that this user may not write; `None` for any other failure."""
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError) or error.response.status_code not in (401, 403):
        return None
    return EndpointError(
        f"The Hub refuses to be written to ({first_line(error)}); log in with `hf auth login`, or check the repository's name."
    )
