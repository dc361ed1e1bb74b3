"""No builder outlives its test, however that ended: it would take the processor of the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builders import wired


@pytest.fixture(autouse=True)
def _no_builder_is_left() -> Iterator[None]:
    yield
    while wired.started:
        wired.started.pop().kill()
