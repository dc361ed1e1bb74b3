"""Positions and blocks of a row's tokens, where families differ."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.model_families import Family
from comvint_hf.training.packing.positions import blocks, positions

PLAIN, GRID = Family("plain"), Family("grid", grid=True)


def row(*lengths: int) -> np.ndarray:
    """Tokens of text, of a picture, of text, and so on."""
    return np.concatenate([np.full(length, place % 2 == 1) for place, length in enumerate(lengths)] or [np.zeros(0, bool)])


def test_text_is_counted_on_from_a_pictures_longer_side() -> None:
    found = positions(GRID, row(2, 6, 3), [(1, 2, 3)])
    assert found[0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7]
    assert found[1].tolist() == [0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7]
    assert found[2].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7]


@given(st.lists(st.integers(0, 5), max_size=6))
def test_without_pictures_of_a_grid_tokens_are_counted(lengths) -> None:
    pictured = row(*lengths)
    assert positions(PLAIN, pictured, []).tolist() == [list(range(len(pictured)))]
    assert positions(GRID, np.zeros_like(pictured), []).tolist() == [list(range(len(pictured)))] * 3


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        (PLAIN, [-1, -1, -1, -1, -1, -1, -1]),
        (Family("prefix", prefix=True), [0, 0, 0, 0, 0, -1, -1]),
        (Family("whole", whole=True), [-1, 0, 0, -1, 1, -1, -1]),
    ],
)
def test_blocks_see_all_of_themselves(family, wanted) -> None:
    assert blocks(family, row(1, 2, 1, 1, 2)).tolist() == wanted
