"""Compare models that answered the same questions: open answers read as facts, accuracies and differences with intervals.

It knows the records that an evaluation leaves and the rows they came from; it knows no model.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from comvint_hf.errors import RowError
from comvint_hf.evaluation.metrics import singular
from comvint_hf.evaluation.scoring import EXISTENCE, READERS


@dataclass(frozen=True)
class Words:
    """The words that open answers are read for: `things` and `numbers` make facts together ("two circles"), `others` alone."""

    things: Collection[str]
    numbers: Collection[str]
    others: Collection[str]


@dataclass(frozen=True)
class Graded:
    """One answered question: where it came from, what its truth is, whether the answer was right."""

    id: str
    image: str
    format: str
    task: str
    topic: str
    rounds: int
    truth: str
    right: bool


class Estimate(NamedTuple):
    """A mean over `n` questions with its 95 % interval, and what each run alone would give."""

    n: int
    value: float
    low: float
    high: float
    runs: tuple[float, ...]


Runs = Sequence[Sequence[Graded]]
"""What the runs of one arm (its seeds) answered, the same questions in the same order."""


def facts(text: str, words: Words) -> frozenset[str]:
    """The facts that a text states, in any order: a number with the things it counts is one, any other known word is one.

    >>> words = Words(things=["circle", "star"], numbers=["one", "two", "three"], others=["red"])
    >>> sorted(facts("Two red circles and one star, which makes three altogether.", words))
    ['one star', 'red', 'three', 'two circle']
    """
    spoken = [singular(word) for word in re.findall(r"[^\W\d_]+", text.lower())]
    found: set[str] = set()
    number = ""
    for word in spoken:
        if word in words.things:
            found.add(f"{number} {word}".strip())
            number = ""
        elif word in words.others:
            found.add(word)
        else:
            # A number waits for its thing across colours and sizes; any other word ends the wait.
            found |= {number} - {""}
            number = word if word in words.numbers else ""
    return frozenset(found | {number} - {""})


def truth_of(format: str, question: str, gold: str, words: Words) -> str | None:
    """What the true answer says, in a form that answers can be compared with; `None` where it cannot be read.

    For open questions these are the facts that the question itself does not state: an answer that only repeats it says nothing.
    """
    if format in READERS:
        return READERS[format](gold, question)
    return ", ".join(sorted(facts(gold, words) - facts(question, words))) or None


def rounds_asked(row: Mapping[str, Any]) -> int:
    """How many of a row's rounds its question still holds: none if it asks whether a thing is there.

    Such a question is what becomes of samples that have no other yes/no form, and whatever was complicated before is not in it.
    """
    return 0 if row["format"] == "bool" and row["topic"] == EXISTENCE else row["rounds"]


def graded(records: Iterable[Mapping[str, Any]], rows: Mapping[str, Mapping[str, Any]], words: Words) -> list[Graded]:
    """Grade the records of an evaluation (see `scoring.records`) by the rows they came from, by row id.

    Closed answers keep their verdict; an open answer is right if it states the truth's facts and no others. Questions
    whose truth cannot be read are left out. Raises `RowError` for a record of another dataset.
    """
    made = []
    for record in records:
        name = record["id"].rpartition("#")[0]
        if name not in rows:
            raise RowError(
                f"The answer {record['id']} belongs to no row of the held-out set; evaluate the model on this set again."
            )
        row, format, question = rows[name], record["format"], record["question"]
        truth = truth_of(format, question, record["gold"], words)
        if truth is not None:
            right = record["right"] if format in READERS else truth_of(format, question, record["answer"], words) == truth
            made.append(
                Graded(
                    record["id"], row["image_id"], format, record["task"], record["topic"], rounds_asked(row), truth, bool(right)
                )
            )
    return made


def groups(runs: Runs, key: Callable[[Graded], str]) -> dict[str, list[list[Graded]]]:
    """The runs' answers by a key of the questions, keys in order."""
    names = sorted({key(answer) for answer in runs[0]})
    return {name: [[answer for answer in run if key(answer) == name] for run in runs] for name in names}


def accuracy(runs: Runs) -> Estimate:
    """The accuracy of an arm: the mean over its runs and their questions."""
    return interval(_rights(runs), _images(runs))


def difference(ours: Runs, theirs: Runs) -> Estimate:
    """How much more accurate one arm is than another, question by question. Raises `RowError` for different questions.

    `runs` pairs the runs in their order, as far as both arms have them.
    """
    if [answer.id for answer in ours[0]] != [answer.id for answer in theirs[0]]:
        raise RowError("The two arms answered different questions: evaluate both on the same held-out set.")
    both = min(len(ours), len(theirs))
    whole = interval(_rights(ours).mean(axis=0, keepdims=True) - _rights(theirs).mean(axis=0), _images(ours))
    return whole._replace(runs=tuple((_rights(ours)[:both] - _rights(theirs)[:both]).mean(axis=1).tolist()))


def interval(values: np.ndarray, images: Sequence[str], draws: int = 2000, seed: int = 0) -> Estimate:
    """The mean of `values` ([runs, N], a column a question) with its 95 % bootstrap interval.

    Whole images are drawn, because questions about one picture are right and wrong together. The interval tells what other
    questions would change; what another training run would change, only `runs` tells.
    """
    _, places = np.unique(np.asarray(images), return_inverse=True)
    sums, counts = np.bincount(places, weights=values.mean(axis=0)), np.bincount(places)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(draws, len(counts)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    value = float(values.mean())
    # Rounding may put the interval a hair beside the mean itself.
    return Estimate(values.shape[1], value, min(value, float(low)), max(value, float(high)), tuple(values.mean(axis=1).tolist()))


def best_guess(answers: Sequence[Graded]) -> float:
    """The accuracy of one who never looks and always says the commonest truth of the question's format and topic."""
    truths: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for answer in answers:
        truths[answer.format, answer.topic][answer.truth] += 1
    return sum(max(counts.values()) for counts in truths.values()) / len(answers)


def _rights(runs: Runs) -> np.ndarray:
    """1 for each right answer, [runs, N] float64."""
    return np.array([[answer.right for answer in run] for run in runs], dtype=float)


def _images(runs: Runs) -> list[str]:
    return [answer.image for answer in runs[0]]
