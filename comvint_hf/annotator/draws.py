"""The random draws of one prompt, with the balance that decides about its closed questions."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from comvint_hf.annotator.balance.cases import Balance

T = TypeVar("T")


class Draws(Random):
    """A generator seeded by a text; `balance` decides closed questions, by the `corpus_seed` of the whole dataset."""

    balance: Balance
    corpus_seed: int

    def __new__(cls, text: str, balance: Balance, corpus_seed: int) -> Self:
        return super().__new__(cls, text)  # type: ignore[call-arg]  # Random is made from its seed in C

    def __init__(self, text: str, balance: Balance, corpus_seed: int) -> None:
        super().__init__(text)
        self.balance, self.corpus_seed = balance, corpus_seed

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """The items as a list, in random order."""
        listed = list(items)
        self.shuffle(listed)
        return listed
