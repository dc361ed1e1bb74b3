"""The health of complicating and verifying, read from the histories of rows: what passed, what failed and why, what grew.

A row's history says of every attempt how it ended. Counts are sums by round, so those of shards add up to those of the
whole. This file knows rows and the words of a history; it opens no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from comvint_hf.dataset.schema import Row, turns
from comvint_hf.grounding import plain
from comvint_hf.types import COMPLICATED, FAILED, NOT_VERIFIED, NOTHING_LEFT, REFORMULATED, VERIFIED

_FAILED = re.compile(rf"complicate (\d+),?{FAILED}(.*)", re.DOTALL)
_JUDGED = re.compile(rf"{VERIFIED}(?:passed|failed)(?: \((.*)\))?", re.DOTALL)
_SCORE = re.compile(r"\bcomplexity (\d+(?:\.\d+)?)")


@dataclass
class Attempt:
    """One complication of one sample. `judged`: the judge gave a verdict; `why` is what stopped it before that."""

    passed: bool = False
    judged: bool = False
    criteria: tuple[str, ...] = ()
    score: float | None = None
    why: str = ""


@dataclass
class Health:
    """Sums by round of complication ("1", "2", ...); round "0" is the first version of a sample.

    Of the attempts: `passed`, `refused` by the judge, `criteria` that did not pass ("1/truly harder"), and what `stopped` the
    rest before a verdict ("1/no usable reply", "1/nothing certain left to ask"). Of what passed: the judge's scores. Of the versions of kept rows: how many, and the
    words of their questions; `rows` and `evidence` are the kept rows by their rounds and the things that their answers rest on.
    """

    passed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    criteria: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    question_words: Counter[str] = field(default_factory=Counter)
    scored: Counter[str] = field(default_factory=Counter)
    scores: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    evidence: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, kept: bool = True) -> None:
        """Count a row's history; rejected rows were complicated too, but only kept ones say what the dataset holds."""
        made = attempts(row)
        for number, attempt in made.items():
            self._add_attempt(str(number), attempt)
        if made and kept:
            self._add_versions(row)

    def _add_attempt(self, round: str, attempt: Attempt) -> None:
        if attempt.passed:
            self.passed[round] += 1
            if attempt.score is not None:
                self.scored[round] += 1
                self.scores[round] += attempt.score
        elif attempt.judged:
            self.refused[round] += 1
            self.criteria.update(f"{round}/{criterion}" for criterion in attempt.criteria)
        else:
            self.stopped[f"{round}/{attempt.why}"] += 1

    def _add_versions(self, row: Row) -> None:
        for number, question in enumerate(versions(row)):
            self.versions[str(number)] += 1
            self.question_words[str(number)] += len(plain(question).split())
        self.rows[str(row["rounds"])] += 1
        self.evidence[str(row["rounds"])] += len(row.get("evidence") or [])

    @property
    def verified(self) -> bool:
        """Whether anything was there to complicate and verify."""
        return bool(self.passed or self.refused or self.stopped)

    def rounds(self) -> list[dict[str, Any]]:
        """One entry a round: attempts by how they ended, the judge's pass rate, and means of complexity; `None` where unknown.

        `abstained` had nothing certain left to ask, `stopped` ended before a verdict for another reason.
        """
        stops = _by_round(self.stopped)
        left = {key: self.stopped[f"{key}/{NOTHING_LEFT}"] for key in stops}
        numbers = sorted(set(self.versions) | set(self.passed) | set(self.refused) | set(stops), key=int)
        return [
            {
                "round": int(key),
                "tried": self.passed[key] + self.refused[key] + stops[key],
                "passed": self.passed[key],
                "refused": self.refused[key],
                "abstained": left.get(key, 0),
                "stopped": stops[key] - left.get(key, 0),
                "pass_rate": _ratio(self.passed[key], self.passed[key] + self.refused[key]),
                "question_words": _ratio(self.question_words[key], self.versions[key]),
                "evidence": _ratio(self.evidence[key], self.rows[key]),
                "score": _ratio(self.scores[key], self.scored[key]),
            }
            for key in numbers
        ]

    def criterion_rates(self) -> dict[str, dict[str, float]]:
        """For each criterion that ever failed, the share of verdicts that it passed, by round."""
        judged = self.passed + self.refused
        names = sorted({key.partition("/")[2] for key in self.criteria})
        return {
            name: {key: 1 - self.criteria[f"{key}/{name}"] / judged[key] for key in sorted(judged, key=int)} for name in names
        }

    def stops(self) -> dict[str, Counter[str]]:
        """What ended attempts before a verdict, abstentions apart: counts by round for each reason."""
        found: dict[str, Counter[str]] = {}
        for key, count in sorted(self.stopped.items(), key=lambda item: (-item[1], item[0])):
            round, _, reason = key.partition("/")
            if reason == NOTHING_LEFT:
                continue
            found.setdefault(reason, Counter())[round] += count
        return found


def passed_so_far(parts: Iterable[Health]) -> str:
    """The judge's pass rate by round, of all parts together, in a few words; "" before the first verdict.

    >>> passed_so_far([Health(passed=Counter({"1": 2}), refused=Counter({"1": 1})), Health(passed=Counter({"1": 1, "2": 1}))])
    'the judge passed 75% of 4 in round 1, 100% of 1 in round 2'
    """
    passed, judged = Counter(), Counter()
    for part in parts:
        passed.update(part.passed)
        judged.update(part.passed)
        judged.update(part.refused)
    rates = [f"{passed[key] / judged[key]:.0%} of {judged[key]:,} in round {key}" for key in sorted(judged, key=int)]
    return f"the judge passed {', '.join(rates)}" if rates else ""


def attempts(row: Row) -> dict[int, Attempt]:
    """Each complication that was tried, by its round; history may tell of one in several entries.

    >>> attempts({"rounds": 0, "history": [{"stage": "complicate 1 failed: not verified: truly harder"}]})
    {1: Attempt(passed=False, judged=True, criteria=('truly harder',), score=None, why='')}
    """
    made = {number: Attempt(passed=True, judged=True) for number in range(1, (row.get("rounds") or 0) + 1)}
    complicated = verdicts = 0
    for edit in row.get("history") or ():
        stage = edit["stage"]
        if stage.startswith(COMPLICATED):
            complicated += 1
        elif found := _JUDGED.match(stage):
            verdicts = max(complicated, verdicts + 1)
            _note_verdict(made.setdefault(verdicts, Attempt()), found[1] or "")
        elif found := _FAILED.match(stage):
            _note_failure(made.setdefault(int(found[1]), Attempt()), found[2])
    return made


def _note_failure(attempt: Attempt, reason: str) -> None:
    kind, _, details = reason.partition(":")
    if kind.strip() == NOT_VERIFIED:
        _note_verdict(attempt, details)
    else:
        attempt.judged, attempt.why = False, kind.strip()[:100]


def _note_verdict(attempt: Attempt, words: str) -> None:
    """Take up what a verdict says: "truly harder, answer right; complexity 4"."""
    attempt.judged = True
    named = (part.strip() for part in re.split(r"[,;]", words))
    attempt.criteria = attempt.criteria or tuple(name for name in named if name and not _SCORE.match(name))
    if found := _SCORE.search(words):
        attempt.score = float(found[1])


def versions(row: Row) -> list[str]:
    """The questions of the versions that stood, the first one first, each before it was put into another format."""
    replaced = [edit["instruction"] for edit in row.get("history") or () if edit["stage"].startswith((COMPLICATED, REFORMULATED))]
    return [*replaced, turns(row)[0][0]][: (row.get("rounds") or 0) + 1]


def _by_round(counts: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for key, count in counts.items():
        found[key.partition("/")[0]] += count
    return found


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
