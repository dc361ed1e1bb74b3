"""Count how complicating and verifying went, from the histories of rows: what passed, what failed and why, what grew.

Counts are sums by round, so those of shards add up to those of the whole dataset.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comvint_hf.grounding import strip_grounding
from comvint_hf.types import COMPLICATED, FAILED, NOT_VERIFIED, NOTHING_LEFT, REFORMULATED, VERIFIED, VERIFIED_FIRST

if TYPE_CHECKING:
    from comvint_hf.dataset.schema import Row

_FAILED = re.compile(rf"complicate (\d+),?{FAILED}(.*)", re.DOTALL)
_JUDGED = re.compile(rf"{VERIFIED}(?:passed|failed)(?: \((.*)\))?", re.DOTALL)
_FIRST = re.compile(rf"{VERIFIED_FIRST}passed \(complexity (\d+)\)")
_SCORE = re.compile(r"\bcomplexity (\d+(?:\.\d+)?)")


@dataclass
class Attempt:
    """One complication of one sample. `judged`: the judge gave a verdict; `why`: what stopped it before a verdict."""

    passed: bool = False
    judged: bool = False
    criteria: tuple[str, ...] = ()
    score: float | None = None
    why: str = ""


@dataclass
class VerificationStatistics:
    """Sums by round of complication ("1", "2", ...); round "0" is the first version of a sample.

    Attributes:
        passed: Attempts that the judge passed; `scored` of them have a complexity score, whose sums are `scores`.
        refused: Attempts that the judge did not pass; `criteria` counts the failed ones ("1/truly harder").
        stopped: Attempts that ended before a verdict, by reason ("1/no usable reply", "1/nothing certain left to ask").
        versions: Versions of kept rows; `question_words` are the words of their questions.
        rows: Kept rows by their number of rounds; `evidence` are the objects and regions that their answers rest on.
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
        """Count the attempts of a row and, of a kept row, its versions and evidence."""
        attempts = read_attempts(row)
        for number, attempt in attempts.items():
            self._add_attempt(str(number), attempt)
        if attempts and kept:
            self._add_versions(row)

    def _add_attempt(self, round: str, attempt: Attempt) -> None:
        if attempt.passed:
            self.passed[round] += 1
            if attempt.score is not None:
                self.scored[round] += 1
                self.scores[round] += attempt.score  # type: ignore[assignment]  # Counter adds floats, its stubs know only int
        elif attempt.judged:
            self.refused[round] += 1
            self.criteria.update(f"{round}/{criterion}" for criterion in attempt.criteria)
        else:
            self.stopped[f"{round}/{attempt.why}"] += 1

    def _add_versions(self, row: Row) -> None:
        for number, question in enumerate(read_versions(row)):
            self.versions[str(number)] += 1
            self.question_words[str(number)] += len(strip_grounding(question).split())
        # Only a version that was never made harder has a verdict of its own; the scores of others are those of their rounds.
        for score in filter(None, (_FIRST.match(edit["stage"]) for edit in row["history"])):
            self.scored["0"] += 1
            self.scores["0"] += float(score[1])  # type: ignore[assignment]
        self.rows[str(row["rounds"])] += 1
        self.evidence[str(row["rounds"])] += len(row.get("evidence") or [])

    @property
    def has_attempts(self) -> bool:
        """Whether anything was complicated."""
        return bool(self.passed or self.refused or self.stopped)

    def by_round(self) -> list[dict[str, Any]]:
        """Summarise each round: attempts by how they ended, the judge's pass rate, and means of complexity (`None` if unknown).

        `abstained` attempts had nothing certain left to ask; `stopped` ones ended before a verdict for another reason.
        """
        stopped: Counter[str] = Counter()
        for key, count in self.stopped.items():
            stopped[key.partition("/")[0]] += count
        numbers = sorted(set(self.versions) | set(self.passed) | set(self.refused) | set(stopped), key=int)
        return [
            {
                "round": int(key),
                "tried": self.passed[key] + self.refused[key] + stopped[key],
                "passed": self.passed[key],
                "refused": self.refused[key],
                "abstained": (abstained := self.stopped[f"{key}/{NOTHING_LEFT}"]),
                "stopped": stopped[key] - abstained,
                "pass_rate": _ratio(self.passed[key], self.passed[key] + self.refused[key]),
                "question_words": _ratio(self.question_words[key], self.versions[key]),
                "evidence": _ratio(self.evidence[key], self.rows[key]),
                "score": _ratio(self.scores[key], self.scored[key]),
            }
            for key in numbers
        ]

    def criterion_pass_rates(self) -> dict[str, dict[str, float]]:
        """Return, for each criterion that ever failed, the share of verdicts that passed it, by round."""
        judged = self.passed + self.refused
        names = sorted({key.partition("/")[2] for key in self.criteria})
        return {
            name: {key: 1 - self.criteria[f"{key}/{name}"] / judged[key] for key in sorted(judged, key=int)} for name in names
        }

    def stop_reasons(self) -> dict[str, Counter[str]]:
        """Return the reasons that ended attempts before a verdict, except abstentions, with counts by round."""
        reasons: dict[str, Counter[str]] = {}
        for key, count in sorted(self.stopped.items(), key=lambda item: (-item[1], item[0])):
            round, _, reason = key.partition("/")
            if reason != NOTHING_LEFT:
                reasons.setdefault(reason, Counter())[round] += count
        return reasons


def format_pass_rates(parts: Iterable[VerificationStatistics]) -> str:
    """Format the judge's pass rate by round over all parts; "" before the first verdict.

    >>> first, second = VerificationStatistics(), VerificationStatistics()
    >>> first.passed.update({"1": 2}), first.refused.update({"1": 1}), second.passed.update({"1": 1, "2": 1})
    (None, None, None)
    >>> format_pass_rates([first, second])
    'the judge passed 75% of 4 in round 1, 100% of 1 in round 2'
    """
    passed: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for part in parts:
        passed.update(part.passed)
        judged.update(part.passed + part.refused)
    rates = [f"{passed[key] / judged[key]:.0%} of {judged[key]:,} in round {key}" for key in sorted(judged, key=int)]
    return f"the judge passed {', '.join(rates)}" if rates else ""


def read_attempts(row: Row) -> dict[int, Attempt]:
    """Read each attempted complication by its round; several history entries may describe the same one.

    >>> read_attempts({"rounds": 0, "history": [{"stage": "complicate 1 failed: not verified: truly harder"}]})
    {1: Attempt(passed=False, judged=True, criteria=('truly harder',), score=None, why='')}
    """
    # A kept row passed as many rounds as it says, even if an older history tells no verdicts.
    attempts = {number: Attempt(passed=True, judged=True) for number in range(1, (row.get("rounds") or 0) + 1)}
    complicated = verdicts = 0
    for edit in row.get("history") or ():
        stage = edit["stage"]
        if stage.startswith(COMPLICATED):
            complicated += 1
        elif found := _JUDGED.match(stage):
            # A verdict follows its complication if that is kept, and stands alone if it failed.
            verdicts = max(complicated, verdicts + 1)
            _note_verdict(attempts.setdefault(verdicts, Attempt()), found[1] or "")
        elif found := _FAILED.match(stage):
            _note_failure(attempts.setdefault(int(found[1]), Attempt()), found[2])
    return attempts


def _note_failure(attempt: Attempt, reason: str) -> None:
    kind, _, details = reason.partition(":")
    if kind.strip() == NOT_VERIFIED:
        _note_verdict(attempt, details)
    else:
        attempt.judged, attempt.why = False, kind.strip()[:100]


def _note_verdict(attempt: Attempt, words: str) -> None:
    """Store a verdict such as "truly harder, answer right; complexity 4" in its attempt."""
    attempt.judged = True
    named = (part.strip() for part in re.split(r"[,;]", words))
    attempt.criteria = attempt.criteria or tuple(name for name in named if name and not _SCORE.match(name))
    if found := _SCORE.search(words):
        attempt.score = float(found[1])


def read_versions(row: Row) -> list[str]:
    """Return the question of each round's version, first version first, before it was put into another format."""
    replaced = [edit["instruction"] for edit in row.get("history") or () if edit["stage"].startswith((COMPLICATED, REFORMULATED))]
    question = next(message["content"] for message in row["messages"] if message["role"] == "user")
    return [*replaced, question][: (row.get("rounds") or 0) + 1]


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
