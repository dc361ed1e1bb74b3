"""Count the tokens that a trainer sees in rows, and the steps that see a given number. Knows the collator, no trainer.

Tokens seen are what trainers log under that name: every position that is attended to, image tokens and chat template
among them, padding left out. Trained tokens are those that carry loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from comvint_hf.errors import InputError
from comvint_hf.training.collator import IGNORED
from comvint_hf.training.packing.masks import is_of_trees, tokens_in

if TYPE_CHECKING:
    import torch

Collator = Callable[[Sequence[Any]], "dict[str, torch.Tensor]"]


class Tokens(NamedTuple):
    """Over `rows` rows: how many tokens a trainer sees, and how many of them carry loss."""

    rows: int
    seen: int
    trained: int


def count_tokens(rows: Sequence[Any], collator: Collator, at_once: int = 64) -> Tokens:
    """Count the tokens of all rows, in the batches that `collator` makes of them. Raises `RowError` as the collator does."""
    seen = trained = 0
    for start in range(0, len(rows), at_once):
        batch = collator([rows[number] for number in range(start, min(start + at_once, len(rows)))])
        mask = batch["attention_mask"]
        seen += int(tokens_in(mask) if is_of_trees(mask) else mask.sum())
        trained += int((batch["labels"] != IGNORED).sum())
    return Tokens(len(rows), seen, trained)


def steps_that_see(tokens: int, counted: Tokens, batch: int) -> int:
    """How many steps of `batch` rows see about `tokens` tokens; at least one. Raises `InputError` for no rows.

    >>> steps_that_see(10_000, Tokens(rows=20, seen=1000, trained=300), batch=4)
    50
    """
    if not counted.seen:
        raise InputError(f"The set has {counted.rows} rows and no token: expected rows to train on.")
    return max(1, round(tokens * counted.rows / (counted.seen * batch)))


def apart(tokens: Sequence[int]) -> float:
    """How far the largest of several token counts is above the smallest, as a fraction of the smallest.

    >>> apart([100, 102, 101])
    0.02
    """
    return (max(tokens) - min(tokens)) / min(tokens)
