"""Retry requests to the Hub after temporary failures."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from comvint_hf.errors import ComvintError, EndpointError, InputError, find_disk_error, first_line

T = TypeVar("T")
ATTEMPTS = 6
LONGEST_WAIT = 300.0
REQUEST_TIMEOUT = 300.0
"""Seconds for which the Hub may say nothing while a request waits."""
# Statuses that a later attempt may not meet again; 409 and 412 mean that somebody else committed in between.
TEMPORARY = {408, 409, 412, 425, 429, 500, 502, 503, 504}


def with_retries(request: Callable[[], T], wait: float, state: str = "The repository is complete as it was") -> T:
    """Call `request`, again after temporary failures: `wait` seconds after the first one and longer each time.

    Args:
        request: Asks the Hub; each of its requests waits at most `REQUEST_TIMEOUT` seconds for an answer.
        wait: Seconds before the first retry.
        state: What the repository holds if the request fails, for the error's sentence.

    Raises:
        EndpointError: If the Hub refuses, fails `ATTEMPTS` times, or gives no answer that `huggingface_hub` understands.
        InputError: If a name is none that the Hub could have. Errors that are not the Hub's are raised as they are.
    """
    for attempt in range(ATTEMPTS):
        try:
            with _limit_time():
                return request()
        except Exception as error:
            if refusal := _to_refusal(error, state):
                raise refusal from error
            if not _is_temporary(error):
                raise
            if attempt == ATTEMPTS - 1:
                last = first_line(error).rstrip(".")
                raise EndpointError(f"The Hub failed {ATTEMPTS} times, last with: {last}. {state}; push again later.") from error
            time.sleep(_pause(error, wait * 2**attempt))
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _limit_time() -> Iterator[None]:
    """Let requests of `huggingface_hub` end with an error where the Hub says nothing for long; by itself it waits for ever."""
    import httpx2
    from huggingface_hub.utils import get_session

    session = get_session()
    before = session.timeout
    session.timeout = httpx2.Timeout(REQUEST_TIMEOUT)
    try:
        yield
    finally:
        session.timeout = before


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

    if error is None or isinstance(error, ComvintError) or find_disk_error(error):
        return False
    if isinstance(error, HfHubHTTPError):
        # Another upload may delete the staging branch that we are writing to.
        return error.response.status_code in TEMPORARY or isinstance(error, RevisionNotFoundError)
    # hf_xet raises ConnectionError if it cannot reach its store.
    if isinstance(error, (httpx2.RequestError, ConnectionError)) or _is_temporary(error.__cause__):
        return True
    return _is_unreadable_answer(error)


def _is_unreadable_answer(error: BaseException) -> bool:
    """Whether `huggingface_hub` stumbled over an answer: a text that is no JSON, or JSON without what it looks for."""
    if not isinstance(error, (ValueError, LookupError, TypeError, AttributeError, RuntimeError)):
        return False
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(module.startswith(("huggingface_hub", "hf_xet")) for module in modules)


def _to_refusal(error: BaseException | None, state: str) -> ComvintError | None:
    """Return an error for the user if the Hub will never do this, or denies it; `None` for any other failure."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    if error is None:
        return None
    if isinstance(error, HFValidationError):
        return InputError(f"The Hub cannot have a repository of this name ({first_line(error).rstrip('.')}); expected ORG/NAME.")
    if isinstance(error, OfflineModeIsEnabled):
        return EndpointError("The Hub is not asked, because HF_HUB_OFFLINE is set; unset it and push again.")
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, LocalTokenNotFoundError) or status in (401, 403):
        return EndpointError(
            f"The Hub denies write access ({first_line(error)}); log in with `hf auth login`, or check the repository's name."
        )
    if status is None:
        return _to_refusal(error.__cause__, state)
    if _is_temporary(error):
        return None
    said = first_line(error).rstrip(".")
    return EndpointError(f"The Hub refuses the push ({said}). {state}; check its name and your rights there, then push again.")
