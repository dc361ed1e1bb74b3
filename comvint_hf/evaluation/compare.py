"""Compare models that answered the same questions: accuracies and differences with bootstrap intervals.

It reads the answer records of `evaluate` with the dataset rows that they came from. Open answers are compared as sets of facts.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from comvint_hf.errors import RowError
from comvint_hf.evaluation.scoring import EXISTENCE, READERS
from comvint_hf.text import singular


@dataclass(frozen=True)
class Vocabulary:
    """The words that facts are made of: a number and its object are one fact ("two circles"), an attribute is one alone."""

    objects: Collection[str]
    numbers: Collection[str]
    attributes: Collection[str]


@dataclass(frozen=True)
class GradedAnswer:
    """An answer and whether it is correct, with the properties of its question that answers are grouped by."""

    id: str
    image_id: str
    format: str
    task: str
    topic: str
    rounds: int
    truth: str
    correct: bool


class Estimate(NamedTuple):
    """A mean over `n` questions and all runs with its 95 % interval, and the mean of each run."""

    n: int
    value: float
    low: float
    high: float
    runs: tuple[float, ...]


Runs = Sequence[Sequence[GradedAnswer]]
"""The answers of one model, a list for each training seed; all lists hold the same questions in the same order."""


def parse_facts(text: str, vocabulary: Vocabulary) -> frozenset[str]:
    """Read the facts of a text, in any order: a number with the object it counts, or any other known word.

    >>> vocabulary = Vocabulary(objects=["circle", "star"], numbers=["one", "two", "three"], attributes=["red"])
    >>> sorted(parse_facts("Two red circles and one star, which makes three altogether.", vocabulary))
    ['one star', 'red', 'three', 'two circle']
    """
    facts: set[str] = set()
    number = ""
    for word in map(singular, re.findall(r"[^\W\d_]+", text.lower())):
        if word in vocabulary.objects:
            facts.add(f"{number} {word}".strip())
            number = ""
        elif word in vocabulary.attributes:
            facts.add(word)
        else:
            # A number may be separated from its object by attributes ("two red circles"), but by no other word.
            facts |= {number} - {""}
            number = word if word in vocabulary.numbers else ""
    return frozenset(facts | {number} - {""})


def reference_answer(format: str, question: str, gold: str, vocabulary: Vocabulary) -> str | None:
    """Read an answer in a form that can be compared; `None` if it is not readable.

    For an open question these are the facts that the question does not state: an answer that only repeats it says nothing.
    """
    if format in READERS:
        return READERS[format](gold, question)
    return ", ".join(sorted(parse_facts(gold, vocabulary) - parse_facts(question, vocabulary))) or None


def count_rounds(row: Mapping[str, Any]) -> int:
    """Count the complication rounds that a row's question still contains: none for a question about existence.

    Samples without another yes/no form are reformulated into existence questions, which drops earlier complications.
    """
    return 0 if row["format"] == "bool" and row["topic"] == EXISTENCE else row["rounds"]


def grade_answers(
    records: Iterable[Mapping[str, Any]], rows: Mapping[str, Mapping[str, Any]], vocabulary: Vocabulary
) -> list[GradedAnswer]:
    """Grade the records of an evaluation (see `scoring.answer_records`).

    A closed answer keeps its score. An open answer is correct if it states exactly the facts of the true answer. Questions without a
    readable true answer are left out.

    Args:
        records: The answer records.
        rows: The dataset's rows, by id.
        vocabulary: The words that open answers are read for.

    Raises:
        RowError: If a record belongs to none of the rows.
    """
    graded = []
    for record in records:
        row_id = record["id"].rpartition("#")[0]
        if row_id not in rows:
            raise RowError(
                f"The answer {record['id']} belongs to no row of the held-out set; evaluate the model on this set again."
            )
        row, format, question = rows[row_id], record["format"], record["question"]
        truth = reference_answer(format, question, record["gold"], vocabulary)
        if truth is None:
            continue
        if format in READERS:
            correct = bool(record["right"])
        else:
            correct = reference_answer(format, question, record["answer"], vocabulary) == truth
        properties = (record["id"], row["image_id"], format, record["task"], record["topic"], count_rounds(row))
        graded.append(GradedAnswer(*properties, truth, correct))
    return graded


def group_answers(runs: Runs, key: Callable[[GradedAnswer], str]) -> dict[str, list[list[GradedAnswer]]]:
    """Group the answers of all runs by a key, in the order of its values."""
    names = sorted({key(answer) for answer in runs[0]})
    return {name: [[answer for answer in run if key(answer) == name] for run in runs] for name in names}


def accuracy(runs: Runs) -> Estimate:
    """Compute the mean accuracy over runs and questions."""
    return bootstrap_interval(_correctness(runs), _image_ids(runs))


def accuracy_difference(runs: Runs, baseline: Runs) -> Estimate:
    """Compute how much more accurate `runs` are than `baseline`, paired by question.

    `Estimate.runs` holds the difference of each pair of runs, in their order, as far as both have them.

    Raises:
        RowError: If the questions differ.
    """
    if [answer.id for answer in runs[0]] != [answer.id for answer in baseline[0]]:
        raise RowError("The two models answered different questions: evaluate both on the same held-out set.")
    ours, theirs = _correctness(runs), _correctness(baseline)
    estimate = bootstrap_interval(ours.mean(axis=0, keepdims=True) - theirs.mean(axis=0), _image_ids(runs))
    pairs = min(len(ours), len(theirs))
    return estimate._replace(runs=tuple((ours[:pairs] - theirs[:pairs]).mean(axis=1).tolist()))


def bootstrap_interval(values: np.ndarray, image_ids: Sequence[str], resamples: int = 2000, seed: int = 0) -> Estimate:
    """Compute the mean with its 95 % bootstrap interval, resampling whole images.

    Args:
        values: `[runs, N]`, one column a question.
        image_ids: The image of each question, N of them.
        resamples: The number of bootstrap samples.
        seed: The seed of the resampling.
    """
    # Questions about one image tend to be right and wrong together, so resampling single questions would give too small an
    # interval. The variance between training runs is not in it either: `Estimate.runs` shows that.
    _, groups = np.unique(np.asarray(image_ids), return_inverse=True)
    sums, counts = np.bincount(groups, weights=values.mean(axis=0)), np.bincount(groups)
    drawn = np.random.default_rng(seed).integers(len(counts), size=(resamples, len(counts)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    value = float(values.mean())
    # Rounding errors may put the mean itself just outside its interval.
    return Estimate(values.shape[1], value, min(value, float(low)), max(value, float(high)), tuple(values.mean(axis=1).tolist()))


def majority_baseline(answers: Sequence[GradedAnswer]) -> float:
    """Compute the accuracy of always giving the most frequent true answer of the question's format and topic."""
    truths: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for answer in answers:
        truths[answer.format, answer.topic][answer.truth] += 1
    return sum(max(counts.values()) for counts in truths.values()) / len(answers)


def _correctness(runs: Runs) -> np.ndarray:
    """1 for each correct answer, 0 for the others, `[runs, N]` float64."""
    return np.array([[answer.correct for answer in run] for run in runs], dtype=float)


def _image_ids(runs: Runs) -> list[str]:
    return [answer.image_id for answer in runs[0]]
