"""Retry requests to the Hub after temporary failures."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from comvint_hf.errors import EndpointError, first_line

T = TypeVar("T")
ATTEMPTS = 6
LONGEST_WAIT = 300.0
# Statuses that a later attempt may not meet again; 409 and 412 mean that somebody else committed in between.
TEMPORARY = {408, 409, 412, 425, 429, 500, 502, 503, 504}


def with_retries(request: Callable[[], T], wait: float) -> T:
    """Call `request`, again after temporary failures: `wait` seconds after the first one and longer each time.

    Raises:
        EndpointError: If the Hub refuses, or fails `ATTEMPTS` times. Other failures are raised as they are.
    """
    for attempt in range(ATTEMPTS):
        try:
            return request()
        except Exception as error:
            if refusal := _to_refusal(error):
                raise refusal from error
            if not _is_temporary(error):
                raise
            if attempt == ATTEMPTS - 1:
                last = first_line(error).rstrip(".")
                raise EndpointError(
                    f"The Hub failed {ATTEMPTS} times, last with: {last}. The repository is complete as it was; push again later."
                ) from error
            time.sleep(_pause(error, wait * 2**attempt))
    raise AssertionError("the last attempt returns or raises")


def _pause(error: Exception, wait: float) -> float:
    """Compute the seconds until the next attempt: as the Hub asks, else `wait` with jitter."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    retry_after = headers.get("retry-after", "")
    if retry_after.isdecimal():
        return min(float(retry_after), LONGEST_WAIT)
    # Jitter keeps several clients from retrying in step.
    return min(wait, LONGEST_WAIT) * random.uniform(0.75, 1.25)


def _is_temporary(error: BaseException | None) -> bool:
    """Whether a failure, or the one that it wraps, may be gone next time."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

    if error is None:
        return False
    if isinstance(error, HfHubHTTPError):
        # Another upload may delete the staging branch that we are writing to.
        return error.response.status_code in TEMPORARY or isinstance(error, RevisionNotFoundError)
    # hf_xet raises ConnectionError if it cannot reach its store.
    return isinstance(error, (httpx2.TransportError, ConnectionError)) or _is_temporary(error.__cause__)


def _to_refusal(error: Exception) -> EndpointError | None:
    """Return an error for the user if the Hub denies this user the access; `None` for any other failure."""
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError) or error.response.status_code not in (401, 403):
        return None
    return EndpointError(
        f"The Hub denies write access ({first_line(error)}); log in with `hf auth login`, or check the repository's name."
    )
