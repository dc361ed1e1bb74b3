"""One closed question to be balanced, and the draws that decide about it: hashes of what is asked, never of the answer.

Draws depend on the key alone, so any order of work and any part of a corpus gives the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from math import log
from typing import NamedTuple, Protocol

_MASK = (1 << 64) - 1
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


class Case(NamedTuple):
    """A question whose right answer is known.

    Attributes:
        key: Names the scene and what is asked, without the answer.
        groups: Questions whose answers are balanced together, the narrowest first ("colour/coat", "colour").
        right: The right answer; `None` where only a wrong one is to be claimed.
        is_wrong: Whether an answer is surely wrong here.
        near: What stands in the scene, where only what usually stands beside it is to be claimed.
    """

    key: str
    groups: tuple[str, ...]
    right: str | None
    is_wrong: Callable[[str], bool]
    near: tuple[str, ...] = ()


class Balance(Protocol):
    """Decides what closed questions claim and offer: by the tables of a corpus, or by noting what there is to decide."""

    def claim(self, case: Case, truth: bool) -> str | None:
        """The answer to claim, right if `truth`; `None` where the question is to be left out."""
        ...

    def options(self, case: Case) -> list[str] | None:
        """Three wrong answers beside the right one; `None` where the question is to be left out."""
        ...


@lru_cache(maxsize=65536)
def number_of_text(text: str) -> int:
    """A text as a number of 64 bits."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def mix(number: int) -> int:
    """Scramble 64 bits (the finaliser of SplitMix64): neighbours become unrelated."""
    for shift, factor in _STEPS:
        number = ((number ^ (number >> shift)) * factor) & _MASK
    return number ^ (number >> 31)


def draw(key: str, word: str) -> float:
    """A number in (0, 1) that depends on a question and a word alone.

    >>> draw("a", "keep") == draw("a", "keep") != draw("b", "keep")
    True
    """
    return (mix((number_of_text(key) + number_of_text(word)) & _MASK) >> 11) / 2**53 + 2**-54


def coin(key: str) -> bool:
    """Whether a closed question is to be true: as often as not, whatever is asked."""
    return draw(key, "coin") < 0.5


def energy(key: str, word: str) -> float:
    """The exponential draw by which the least `energy / weight` wins, with probability proportional to the weight."""
    return -log(draw(key, f"={word}"))
