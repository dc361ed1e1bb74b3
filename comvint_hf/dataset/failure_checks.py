"""Signs that a build went wrong (PAPERS section 2), each as one sentence that says what was found and what to look at.

This file knows counts and the settings of recipes; it knows no row and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.verification import Health

LEAST = 30
"""Fewer cases than this are no sign of anything."""
LOWEST_PASS_RATE = 0.5
DRIFT = 0.1
"""How far a share may lie from the one that was asked for, where there are so many that chance does not explain it."""
LONGER = 1.25
"""How much longer right options may be than wrong ones."""


def failure_signs(statistics: Statistics, settings: Mapping[str, Any] | None = None) -> list[str]:
    """What a person should look at before training on the dataset; `settings` are those of its recipe, if it came from one."""
    formats, kinds = (asked_shares((settings or {}).get(name) or ()) for name in ("formats", "kinds"))
    rows = Counter({name: task.rows for name, task in statistics.tasks.items()})
    return [
        *_failed_verification(statistics.health),
        *_flat_complexity(statistics.health),
        *_drift("Format", _added(statistics, "formats"), formats),
        *_drift("Task", rows, kinds),
        *(_uneven_answers(statistics) if formats else ()),
        *_long_right_options(statistics),
    ]


def asked_shares(asked: Any) -> dict[str, float]:
    """The share of each name that was asked for: equal for a list of names, in proportion for weights.

    >>> asked_shares(["open", "bool"]), asked_shares({"open": 3, "bool": 1})
    ({'open': 0.5, 'bool': 0.5}, {'open': 0.75, 'bool': 0.25})
    """
    weights = dict(asked) if isinstance(asked, Mapping) else dict.fromkeys(asked, 1)
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items()} if whole else {}


def _failed_verification(health: Health) -> Iterator[str]:
    for entry in health.rounds():
        judged = entry["passed"] + entry["refused"]
        if judged >= LEAST and entry["pass_rate"] < LOWEST_PASS_RATE:
            yield (
                f"Round {entry['round']}: only {entry['pass_rate']:.0%} of {judged:,} complications passed the judge, expected at least "
                f"{LOWEST_PASS_RATE:.0%}; see which criteria fail, and consider fewer rounds or a stronger writer."
            )


def _flat_complexity(health: Health) -> Iterator[str]:
    """The judge's scores decide where two rounds have them, else the things used and the words, of which one must grow."""
    for before, after in pairwise(health.rounds()):
        if min(health.versions[str(entry["round"])] for entry in (before, after)) < LEAST:
            continue
        scored = min(health.scored[str(entry["round"])] for entry in (before, after)) >= LEAST
        keys = ("score",) if scored else ("evidence", "question_words")
        known = [key for key in keys if before[key] is not None and after[key] is not None]
        if known and all(after[key] <= before[key] for key in known):
            figures = ", ".join(f"{_NAMES[key]} {after[key]:.1f} after {before[key]:.1f}" for key in known)
            yield f"Round {after['round']} does not make samples more complex: {figures}; read some with `comvint preview`."


_NAMES = {"score": "judge's score", "evidence": "things used", "question_words": "words in the question"}


def _drift(what: str, counts: Counter[str], asked: Mapping[str, float]) -> Iterator[str]:
    whole = counts.total()
    for name in sorted(set(asked) | set(counts)) if asked and whole >= LEAST else ():
        share, wanted = counts[name] / whole, asked.get(name, 0.0)
        if abs(share - wanted) > _chance(wanted, whole):
            yield (
                f"{what} {name}: {share:.0%} of the rows, {wanted:.0%} were asked for; see what was rejected and why, and "
                "whether the images offer enough for it."
            )


def _chance(share: float, whole: int) -> float:
    """How far from `share` is no sign yet: three standard deviations of as many draws, and never less than `DRIFT`.

    >>> round(_chance(0.25, 64), 2), _chance(0.25, 10_000)
    (0.16, 0.1)
    """
    return max(DRIFT, 3 * (share * (1 - share) / whole) ** 0.5)


def _uneven_answers(statistics: Statistics) -> Iterator[str]:
    """Yes and no, and the places of right options, are drawn with equal chances where a recipe reformulates."""
    verdicts, options = Counter(), _added(statistics, "options")
    for task in statistics.tasks.values():
        if set(task.formats) & {"bool"}:
            verdicts += task.yes_no
    for counts, what, share in ((verdicts, "answer", 1 / 2), (options, "right option", 1 / 4)):
        whole = counts.total()
        for name in sorted(counts):
            if whole >= 2 * LEAST and counts[name] / whole - share > _chance(share, whole):
                yield f"The {what} {name!r} makes up {counts[name] / whole:.0%} of {whole:,}, expected about {share:.0%}: a model may learn to guess."


def _long_right_options(statistics: Statistics) -> Iterator[str]:
    texts, words = _added(statistics, "option_texts"), _added(statistics, "option_words")
    if texts["right"] >= LEAST and texts["wrong"] and words["wrong"]:
        right, wrong = words["right"] / texts["right"], words["wrong"] / texts["wrong"]
        if right > LONGER * wrong:
            yield f"Right options are longer than wrong ones ({right:.1f} and {wrong:.1f} words): their length gives them away."


def _added(statistics: Statistics, name: str) -> Counter[str]:
    return sum((getattr(task, name) for task in statistics.tasks.values()), Counter())
