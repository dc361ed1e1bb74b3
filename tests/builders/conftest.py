"""No builder outlives its test, which would slow down the next one; and no test has a limit that a busy machine reaches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import wired


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(2 * wired.PATIENCE))


@pytest.fixture(autouse=True)
def _no_builder_is_left() -> Iterator[None]:
    yield
    while wired.started:
        wired.started.pop().kill()
