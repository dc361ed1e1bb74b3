"""Counts what a corpus's closed questions would be, and fits the tables that balance them.

`Counter` takes the place of the tables in one pass over the corpus; `fit` then draws the very draws that the build will draw, and
moves the weights until each answer is wrong as often as it is right (of four options, three times as often).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

from comvint_hf.annotator.balance.cases import Case, draw, number_of_text
from comvint_hf.annotator.balance.tables import Share, Shares, Tables, is_surely_wrong, pool_beside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Lists = Mapping[str, Sequence[str]]
PRESENCE = "presence"
"""The group of questions whether something is there."""
FEWEST_SCENES = 1000
"""Photos below which a corpus says too little of a kind, and the shipped tables are better."""
FEWEST_RIGHT = 3
"""Right answers of a kind below which nothing is claimed of it: a word of one side alone would tell."""
FEWEST_CASES = 60
"""Cases below which a narrow group is balanced with its broader one."""
MOST_NAMED_ONCE = 0.5
"""Share of a kind's images in which one caption alone names it, above which its absence is not sure."""
MOST_WORDS = 120
ROUNDS = 80
MOST_BESIDE = 30
LEAST_SHARE = 0.02
"""Of the questions about a word, the share that must be left; a word with fewer is left out, and the rest fitted again."""


@dataclass
class CaseCounter:
    """Notes cases and decides nothing: every closed question of the pass is left out."""

    claims: list[tuple[Case, bool]] = field(default_factory=list)
    choices: list[Case] = field(default_factory=list)
    visible: list[tuple[str, ...]] = field(default_factory=list)
    named: Counter[tuple[str, int]] = field(default_factory=Counter)
    chains: Counter[tuple[str, str]] = field(default_factory=Counter)
    scenes: int = 0

    def claim(self, case: Case, truth: bool) -> str | None:
        self.claims.append((case, truth))
        return None

    def options(self, case: Case) -> list[str] | None:
        self.choices.append(case)
        return None

    def see(self, kinds: tuple[str, ...], mentions: Iterable[int], chains: Iterable[Collection[str]]) -> None:
        """Note the kinds of one scene, how many captions name each, and which kinds name one object."""
        self.scenes += 1
        self.visible.append(kinds)
        self.named.update((kind, min(number, 2)) for kind, number in zip(kinds, mentions, strict=True))
        for names in chains:
            self.chains.update(combinations(sorted(names), 2))

    def fit(self, conflict: Callable[[str, str, str], bool]) -> Tables:
        """Fit the tables. `conflict(group, a, b)` says whether two options could both be right."""
        beside, aliases, salient = self._beside(), self._aliases(), self._salient()
        truths = {id(case): truth for case, truth in self.claims}

        def fit_claims(group: str, cases: list[Case]) -> Shares | None:
            allowed = salient if group == PRESENCE else None
            return _fit_claims([(case, truths[id(case)]) for case in cases], beside, aliases, allowed)

        def fit_choice(group: str, cases: list[Case]) -> Shares | None:
            return _fit_choice(cases, partial(conflict, group), aliases)

        yes_no = _fit_groups([case for case, _ in self.claims], fit_claims)
        return Tables(yes_no, _fit_groups(self.choices, fit_choice), beside, aliases, self.scenes)

    def _salient(self) -> frozenset[str]:
        """Kinds that several captions name where one does: of these, one that no caption names is surely absent."""
        names = {kind for kind, _ in self.named}
        return frozenset(
            kind for kind in names if self.named[kind, 1] <= MOST_NAMED_ONCE * (self.named[kind, 1] + self.named[kind, 2])
        )

    def _beside(self) -> dict[str, tuple[str, ...]]:
        """For each kind those that stand beside it more often than elsewhere."""
        seen = Counter(kind for kinds in self.visible for kind in set(kinds))
        together: dict[str, Counter[str]] = defaultdict(Counter)
        for kinds in self.visible:
            for one in set(kinds):
                together[one].update(other for other in set(kinds) if other != one)
        return {
            kind: tuple(
                other
                for _, other in sorted((-number / (seen[other] + 5.0) ** 0.7, other) for other, number in others.items())[
                    :MOST_BESIDE
                ]
            )
            for kind, others in sorted(together.items())
        }

    def _aliases(self) -> dict[str, tuple[str, ...]]:
        """The words that name one object with a word at least twice."""
        found: dict[str, list[str]] = defaultdict(list)
        for (one, two), number in sorted(self.chains.items()):
            if number > 1:
                found[one].append(two)
                found[two].append(one)
        return {word: tuple(others) for word, others in sorted(found.items())}


def _fit_groups(cases: list[Case], fit: Callable[[str, list[Case]], Shares | None]) -> dict[str, Shares]:
    """Fit each case in its narrowest group that has enough of them; groups are the same whatever the order of cases.

    A group of many cases that cannot be balanced by itself is left out (its shares are empty): among others its words would tell.
    """
    tables: dict[str, Shares] = {}
    level = 0
    while cases:
        groups: dict[str, list[Case]] = defaultdict(list)
        for case in cases:
            groups[case.groups[level]].append(case)
        cases = []
        for group, members in sorted(groups.items()):
            broad = level == len(members[0].groups) - 1
            if broad or len(members) >= FEWEST_CASES:
                tables[group] = fit(group, members) or {}
            else:
                cases += members
        level += 1
    return tables


def _energies(cases: list[Case], words: list[str], beside: Lists, aliases: Lists) -> NDArray[np.float64]:
    """The draws of each case for each word, [cases, words] float64; infinite where the word is not surely wrong."""
    import numpy as np

    keys = np.array([number_of_text(case.key) for case in cases], dtype=np.uint64)
    marks = np.array([number_of_text(f"={word}") for word in words], dtype=np.uint64)
    mixed = keys[:, None] + marks[None, :]
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    drawn = -np.log((mixed >> np.uint64(11)).astype(np.float64) / 2**53 + 2**-54)
    for row, case in enumerate(cases):
        pool = set(pool_beside(case.near, beside)) if case.near else None
        for column, word in enumerate(words):
            if pool is not None and word not in pool or not is_surely_wrong(case, word, aliases):
                drawn[row, column] = np.inf
    return drawn


def _fit_claims(pairs: list[tuple[Case, bool]], beside: Lists, aliases: Lists, allowed: frozenset[str] | None) -> Shares | None:
    """Shares by which each word is claimed rightly as often as wrongly."""
    import numpy as np

    rights = Counter(case.right for case, truth in pairs if truth and case.right and (allowed is None or case.right in allowed))
    words = sorted(word for word, number in rights.most_common(MOST_WORDS) if number >= FEWEST_RIGHT)
    while len(words) > 1:
        place = {word: number for number, word in enumerate(words)}
        right = np.bincount([place[case.right] for case, truth in pairs if truth and case.right in place], minlength=len(words))
        untrue = [case for case, truth in pairs if not truth and (case.right is None or case.right in place)]
        if not untrue:
            return None
        drawn = _energies(untrue, words, beside, aliases)
        weights, wrongs = np.ones(len(words)), np.zeros(len(words), dtype=np.int64)
        # More wrong claims are to be had than right ones (of absent kinds) or fewer: only their shares are matched.
        for number in range(ROUNDS):
            scores = drawn / weights
            best = scores.argmin(axis=1)
            wrongs = np.bincount(best[np.isfinite(scores.min(axis=1))], minlength=len(words))
            aim = right * (wrongs.sum() / max(right.sum(), 1))
            weights *= ((aim + 0.5) / (wrongs + 0.5)) ** (0.8 if number < ROUNDS / 2 else 0.3)
            weights = np.clip(weights / np.exp(np.log(weights).mean()), 1e-4, 1e4)
            weights = np.round(weights, 5)
        kept = np.minimum(right, wrongs)
        if (thin := [word for word in words if kept[place[word]] < max(1, LEAST_SHARE * right[place[word]])]) and len(thin) < len(
            words
        ):
            words = [word for word in words if word not in thin]
            continue
        shares = {
            word: Share(float(weights[n]), _ratio(kept[n], right[n]), _ratio(kept[n], wrongs[n])) for word, n in place.items()
        }
        return shares if kept.sum() else None
    return None


def _ratio(part: float, whole: float) -> float:
    return round(float(part / whole), 4) if whole else 0.0


def _fit_choice(cases: list[Case], conflict: Callable[[str, str], bool], aliases: Lists) -> Shares | None:
    """Shares by which each word is a wrong option three times as often as the right one."""
    import numpy as np

    words = _without_conflicts(Counter(case.right for case in cases if case.right), conflict)
    place = {word: number for number, word in enumerate(words)}
    cases = [case for case in cases if case.right in place]
    if len(words) < 4 or not cases:
        return None
    drawn = _energies(cases, words, {}, aliases)
    usable = np.isfinite(drawn).sum(axis=1) >= 3
    cases, drawn = [case for case, fits in zip(cases, usable, strict=True) if fits], drawn[usable]
    if not cases:
        return None
    asked = np.array([place[case.right or ""] for case in cases])
    keeps = np.array([draw(case.key, "keep") for case in cases])
    weights, keep_right = np.ones(len(words)), np.ones(len(words))
    for number in range(ROUNDS):
        kept = keeps < keep_right[asked]
        right = np.bincount(asked[kept], minlength=len(words))
        best = np.argpartition(drawn[kept] / weights, 2, axis=1)[:, :3]
        wrong = np.bincount(best.ravel(), minlength=len(words))
        weights *= ((3 * right + 0.5) / (wrong + 0.5)) ** (0.6 if number < ROUNDS / 2 else 0.25)
        weights = np.round(np.clip(weights / np.exp(np.log(weights).mean()), 1e-4, 1e4), 5)
        if number % 8 == 7:
            keep_right *= np.clip((wrong + 0.5) / (3 * right + 0.5), 0.5, 1.0)
    keep_right = np.round(keep_right, 4)
    return {word: Share(float(weights[n]), float(keep_right[n]), 1.0) for word, n in place.items()}


def _without_conflicts(rights: Counter[str], conflict: Callable[[str, str], bool]) -> list[str]:
    """The frequent words, of any two that could both be right the more frequent one."""
    words: list[str] = []
    for word, number in sorted(rights.items(), key=lambda found: (-found[1], found[0]))[:MOST_WORDS]:
        if number >= FEWEST_RIGHT and not any(conflict(word, other) for other in words):
            words.append(word)
    return sorted(words)
