"""The balance of one corpus: how often each answer is kept, and how heavily it is drawn as a wrong one.

A group's questions claim or offer only answers that the group knows, so that no word stands on one side alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from comvint_hf.annotator.balance.cases import Case, draw, energy

FORMAT = 1


class Share(NamedTuple):
    """`weight` as a wrong answer, and the shares of questions that are kept where it is the right or the claimed wrong one."""

    weight: float
    keep_right: float
    keep_wrong: float


Shares = dict[str, Share]


@dataclass(frozen=True)
class Tables:
    """What was fitted to one corpus: shares by group, for yes/no and for choice, and `beside`, the kinds that stand near a kind.

    `aliases` are other words that the corpus's captions use for the same object.
    """

    yes_no: dict[str, Shares] = field(default_factory=dict)
    choice: dict[str, Shares] = field(default_factory=dict)
    beside: dict[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    scenes: int = 0

    def claim(self, case: Case, truth: bool) -> str | None:
        """The answer to claim, see `Balance`."""
        shares = _narrowest(self.yes_no, case)
        if truth:
            share = shares.get(case.right or "")
            return case.right if share and draw(case.key, "keep") < share.keep_right else None
        if case.right is not None and case.right not in shares:
            return None
        wrong = self._lightest(case, shares, 1)
        return wrong[0] if wrong and draw(case.key, "keep") < shares[wrong[0]].keep_wrong else None

    def options(self, case: Case) -> list[str] | None:
        """Three wrong answers, see `Balance`."""
        shares = _narrowest(self.choice, case)
        share = shares.get(case.right or "")
        if share is None or draw(case.key, "keep") >= share.keep_right:
            return None
        wrong = self._lightest(case, shares, 3)
        return wrong if len(wrong) == 3 else None

    def _lightest(self, case: Case, shares: Shares, count: int) -> list[str]:
        """The wrong answers that the draws of this question give, most likely the heavy ones."""
        pool = set(pool_beside(case.near, self.beside)) & shares.keys() if case.near else shares.keys()
        drawn = sorted((energy(case.key, word) / shares[word].weight, word) for word in pool)
        wrong: list[str] = []
        for _, word in drawn:
            if is_surely_wrong(case, word, self.aliases):
                wrong.append(word)
                if len(wrong) == count:
                    break
        return wrong

    def write(self, path: Path) -> None:
        """Write the tables as JSON, with sorted keys."""
        content = {
            "format": FORMAT,
            "scenes": self.scenes,
            "yes_no": self.yes_no,
            "choice": self.choice,
            "beside": self.beside,
            "aliases": self.aliases,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")), encoding="utf-8")
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Tables:
        """Read what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))

        def shares(name: str) -> dict[str, Shares]:
            return {group: {word: Share(*share) for word, share in words.items()} for group, words in content[name].items()}

        def lists(name: str) -> dict[str, tuple[str, ...]]:
            return {word: tuple(others) for word, others in content[name].items()}

        return cls(shares("yes_no"), shares("choice"), lists("beside"), lists("aliases"), content["scenes"])


def _narrowest(table: dict[str, Shares], case: Case) -> Shares:
    return next((table[group] for group in case.groups if group in table), {})


def pool_beside(kinds: Iterable[str], beside: Mapping[str, Sequence[str]]) -> list[str]:
    """The kinds that usually stand beside any of these."""
    return list(dict.fromkeys(other for kind in kinds for other in beside.get(kind, ())))


def is_surely_wrong(case: Case, word: str, aliases: Mapping[str, Sequence[str]]) -> bool:
    """Whether a word, and every other word that the corpus uses for the same object, is wrong."""
    return word != case.right and case.is_wrong(word) and all(map(case.is_wrong, aliases.get(word, ())))
