"""Count the tokens that a trainer sees in rows, and the steps that see a given number.

Tokens seen are those that trainers log under this name: every position that is attended to, image tokens and chat template
included, padding left out. Trained tokens are those that carry loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from comvint_hf.errors import InputError
from comvint_hf.training.loss_mask import IGNORE_INDEX
from comvint_hf.training.packing.masks import count_mask_tokens, is_tree_mask

if TYPE_CHECKING:
    import torch

Collator = Callable[[Sequence[Any]], "dict[str, torch.Tensor]"]


class TokenCounts(NamedTuple):
    """Over `rows` rows: the tokens that a trainer sees, and those of them that carry loss."""

    rows: int
    seen: int
    trained: int


def count_tokens(rows: Sequence[Any], collator: Collator, batch_size: int = 64) -> TokenCounts:
    """Count the tokens of all rows in the collator's batches. Raises `RowError` as the collator does."""
    seen = trained = 0
    for start in range(0, len(rows), batch_size):
        batch = collator([rows[index] for index in range(start, min(start + batch_size, len(rows)))])
        mask = batch["attention_mask"]
        seen += int(count_mask_tokens(mask) if is_tree_mask(mask) else mask.sum())
        trained += int((batch["labels"] != IGNORE_INDEX).sum())
    return TokenCounts(len(rows), seen, trained)


def compute_steps(tokens: int, counts: TokenCounts, batch_size: int) -> int:
    """Compute how many steps see about `tokens` tokens; at least one. Raises `InputError` for no rows.

    >>> compute_steps(10_000, TokenCounts(rows=20, seen=1000, trained=300), batch_size=4)
    50
    """
    if not counts.seen:
        raise InputError(f"The set has {counts.rows} rows and no token: expected rows to train on.")
    return max(1, round(tokens * counts.rows / (counts.seen * batch_size)))


def relative_spread(counts: Sequence[int]) -> float:
    """Compute by how much the largest of several counts exceeds the smallest, as a fraction of the smallest.

    >>> relative_spread([100, 102, 101])
    0.02
    """
    return (max(counts) - min(counts)) / min(counts)
