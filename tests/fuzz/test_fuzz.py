"""Some hundred inputs for every reader, the same at each run; `make fuzz` tries for ten minutes with new ones."""

from __future__ import annotations

import pytest
from fuzz.readers import READERS
from fuzz.run import run_examples

EXAMPLES = 120


@pytest.mark.parametrize("name", READERS)
def test_a_reader_returns_or_says_what_is_wrong(name, monkeypatch) -> None:
    run_examples(name, EXAMPLES, seed_number=0)
