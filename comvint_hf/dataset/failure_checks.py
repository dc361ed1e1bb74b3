"""Find warning signs of a build that went wrong (PAPERS section 2), each as one sentence with what to check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.verification import VerificationStatistics

# Fewer cases are no ground for a warning.
MIN_COUNT = 30
MIN_PASS_RATE = 0.5
# How far a share may lie from the requested one, where there are so many rows that chance does not explain it.
MAX_DRIFT = 0.1
# How much longer right options may be than wrong ones.
MAX_LENGTH_RATIO = 1.25


def find_warnings(
    statistics: Statistics, settings: Mapping[str, Any] | None = None, probed: Iterable[Mapping[str, Any]] = ()
) -> list[str]:
    """Find what a person should check before training on the dataset.

    Args:
        statistics: The counts.
        settings: The settings of the recipe, if the dataset came from one.
        probed: Results of the blind probe.
    """
    formats, kinds = (normalize_weights((settings or {}).get(name) or ()) for name in ("formats", "kinds"))
    rows = Counter({name: task.rows for name, task in statistics.tasks.items()})
    return [
        *_check_pass_rates(statistics.verification),
        *_check_complexity(statistics.verification),
        *_check_distribution("Format", _sum_field(statistics, "formats"), formats),
        *_check_distribution("Task", rows, kinds),
        *(_check_answer_balance(statistics) if formats else ()),
        *_check_option_lengths(statistics),
        *(result["warning"] for result in probed if result.get("warning")),
    ]


def normalize_weights(requested: Any) -> dict[str, float]:
    """Compute the requested share of each name: equal for a list of names, in proportion for weights.

    >>> normalize_weights(["open", "bool"]), normalize_weights({"open": 3, "bool": 1})
    ({'open': 0.5, 'bool': 0.5}, {'open': 0.75, 'bool': 0.25})
    """
    weights = dict(requested) if isinstance(requested, Mapping) else dict.fromkeys(requested, 1)
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total else {}


def _check_pass_rates(verification: VerificationStatistics) -> Iterator[str]:
    for entry in verification.by_round():
        judged = entry["passed"] + entry["refused"]
        if judged >= MIN_COUNT and entry["pass_rate"] < MIN_PASS_RATE:
            yield (
                f"Round {entry['round']}: only {entry['pass_rate']:.0%} of {judged:,} complications passed the judge, expected at least "
                f"{MIN_PASS_RATE:.0%}; see which criteria fail, and consider fewer rounds or a stronger writer."
            )


def _check_complexity(verification: VerificationStatistics) -> Iterator[str]:
    """Compare the judge's scores of adjacent rounds or, without enough of them, objects and words, of which one must grow."""
    for before, after in pairwise(verification.by_round()):
        rounds = [str(entry["round"]) for entry in (before, after)]
        if min(verification.versions[round] for round in rounds) < MIN_COUNT:
            continue
        is_scored = min(verification.scored[round] for round in rounds) >= MIN_COUNT
        keys = ("score",) if is_scored else ("evidence", "question_words")
        known = [key for key in keys if before[key] is not None and after[key] is not None]
        if known and all(after[key] <= before[key] for key in known):
            values = ", ".join(f"{_COMPLEXITY[key]} {after[key]:.1f} after {before[key]:.1f}" for key in known)
            yield f"Round {after['round']} does not make samples more complex: {values}; read some with `comvint preview`."


_COMPLEXITY = {"score": "judge's score", "evidence": "objects used", "question_words": "words in the question"}


def _check_distribution(kind: str, counts: Counter[str], requested: Mapping[str, float]) -> Iterator[str]:
    total = counts.total()
    for name in sorted(set(requested) | set(counts)) if requested and total >= MIN_COUNT else ():
        share, expected = counts[name] / total, requested.get(name, 0.0)
        if abs(share - expected) > _allowed_drift(expected, total):
            yield (
                f"{kind} {name}: {share:.0%} of the rows, {expected:.0%} were requested; see what was rejected and why, and "
                "whether the images offer enough for it."
            )


def _allowed_drift(share: float, total: int) -> float:
    """Compute how far chance may move a share: three standard deviations of `total` draws, at least `MAX_DRIFT`.

    >>> round(_allowed_drift(0.25, 64), 2), _allowed_drift(0.25, 10_000)
    (0.16, 0.1)
    """
    return max(MAX_DRIFT, 3 * (share * (1 - share) / total) ** 0.5)


def _check_answer_balance(statistics: Statistics) -> Iterator[str]:
    """A recipe that reformulates draws yes and no, and the letters of right options, with equal chances."""
    # Only tasks with yes/no questions: open answers may begin with yes for other reasons.
    verdicts: Counter[str] = Counter()
    for task in statistics.tasks.values():
        if "bool" in task.formats:
            verdicts += task.yes_no
    for counts, kind, share in ((verdicts, "answer", 1 / 2), (_sum_field(statistics, "options"), "right option", 1 / 4)):
        total = counts.total()
        for name in sorted(counts):
            if total >= 2 * MIN_COUNT and counts[name] / total - share > _allowed_drift(share, total):
                yield f"The {kind} {name!r} makes up {counts[name] / total:.0%} of {total:,}, expected about {share:.0%}: a model may learn to guess."


def _check_option_lengths(statistics: Statistics) -> Iterator[str]:
    texts, words = _sum_field(statistics, "option_texts"), _sum_field(statistics, "option_words")
    if texts["right"] >= MIN_COUNT and texts["wrong"] and words["wrong"]:
        right, wrong = words["right"] / texts["right"], words["wrong"] / texts["wrong"]
        if right > MAX_LENGTH_RATIO * wrong:
            yield f"Right options are longer than wrong ones ({right:.1f} and {wrong:.1f} words): their length gives them away."


def _sum_field(statistics: Statistics, name: str) -> Counter[str]:
    return sum((getattr(task, name) for task in statistics.tasks.values()), Counter())
