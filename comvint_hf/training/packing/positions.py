"""Where the tokens of a row stand, and which of them see ahead, where families differ from plain reading from left to right.

A row here is its tokens with those of pictures marked: `pictured`, `[T]` bool.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from comvint_hf.model_families import Family

Grid = tuple[int, int, int]
"""A picture's tokens: how many in time, down and across."""


def positions(family: Family, pictured: np.ndarray, grids: Sequence[Grid]) -> np.ndarray:
    """The positions of a row's tokens, `[1, T]`, or `[3, T]` in time, down and across for a family with a `grid`. int64."""
    if not family.grid:
        return np.arange(len(pictured))[None]
    columns: list[np.ndarray] = []
    at = position = 0
    for grid in grids:
        text = int(np.argmax(pictured[at:]))
        columns += [_in_line(position, text), np.indices(grid).reshape(3, -1) + position + text]
        at += text + int(np.prod(grid))
        # The text goes on behind the longer side, so far fewer positions are used than there are tokens.
        position += text + max(grid[1:])
    columns.append(_in_line(position, len(pictured) - at))
    return np.concatenate(columns, axis=1)


def blocks(family: Family, pictured: np.ndarray) -> np.ndarray:
    """The number of the block that each token sees all of, ahead too, -1 for none. `[T]` int64.

    In a family with a `prefix` everything up to the last picture is one; in one that sees pictures `whole`, each picture is.
    """
    if family.prefix:
        return np.where(np.cumsum(pictured[::-1])[::-1] > 0, 0, -1)
    if not family.whole:
        return np.full(len(pictured), -1)
    begins = pictured & ~np.concatenate([[False], pictured[:-1]])
    return np.where(pictured, np.cumsum(begins) - 1, -1)


def _in_line(start: int, length: int) -> np.ndarray:
    return np.broadcast_to(np.arange(start, start + length), (3, length))
