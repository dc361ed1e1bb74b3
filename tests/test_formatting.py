"""Money: what is told says what was paid, however little."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.formatting import format_cost


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (0.9, "$0.90"),
        (0.01, "$0.01"),
        (0.09996, "$0.10"),
        (99.99999, "$100.00"),
        (1e-9, "$0.000000001"),
        (2_000_000, "$2,000,000.00"),
    ],
)
def test_cents_stand_whole_and_zeros_beyond_them_do_not(amount, told) -> None:
    assert format_cost(amount) == told


@given(st.floats(1e-9, 1e7))
def test_no_amount_is_told_as_nothing_or_far_from_what_it_is(amount) -> None:
    told = format_cost(amount)
    assert re.fullmatch(r"\$\d{1,3}(,\d{3})*\.\d{2,}", told)
    assert float(told[1:].replace(",", "")) == pytest.approx(amount, rel=0.05, abs=0.005 if amount >= 100 else 0)
