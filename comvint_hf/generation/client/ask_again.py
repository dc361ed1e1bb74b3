"""Whether questions that were given up are asked once more: said around the run of a scene, heard by the LLMs it asks.

This file knows neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_again: ContextVar[bool] = ContextVar("comvint_again", default=False)


@contextmanager
def asking_again(wanted: bool = True) -> Iterator[None]:
    """Have every question in here asked once more that is known to have used up its attempts, by whatever task."""
    token = _again.set(wanted)
    try:
        yield
    finally:
        _again.reset(token)


def again() -> bool:
    """Whether what was given up is to be asked once more."""
    return _again.get()
