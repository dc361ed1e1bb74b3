"""Small tools for the annotator's tests: draws with a balance that refuses nothing, and prompts answered directly."""

from __future__ import annotations

from comvint_hf.annotator import load_default_tables
from comvint_hf.annotator.balance.cases import Case, energy
from comvint_hf.annotator.draws import Draws


class Willing:
    """A balance that claims and offers anything that is surely wrong, from a fixed list of words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def claim(self, case: Case, truth: bool) -> str | None:
        return case.right if truth else next(iter(self._wrong(case)), None)

    def options(self, case: Case) -> list[str] | None:
        wrong = self._wrong(case)[:3]
        return wrong if len(wrong) == 3 else None

    def _wrong(self, case: Case) -> list[str]:
        return sorted(
            (word for word in self.words if word != case.right and case.is_wrong(word)), key=lambda word: energy(case.key, word)
        )


def draws(seed: int = 0, *words: str) -> Draws:
    """Draws of a seed, whose closed questions may use `words`, or what the shipped tables know."""
    return Draws(f"test {seed}", Willing(*words) if words else load_default_tables(), seed)
