"""The blind probe: how often a bag of words answers closed questions without the image.

A linear classifier sees the words and word pairs of the question, of a multiple choice also its options, and is scored on images
that it was not fitted on. Where it beats chance, the text gives answers away, and a model tuned on it learns not to look.
It works on rows of this package and on records of LLaVA's JSON. It knows no recipe.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from comvint_hf.answers import option_letter, options, yes_no
from comvint_hf.dataset import shards
from comvint_hf.dataset.reader import list_configs, read_columns
from comvint_hf.dataset.schema import IMAGE_MARKER
from comvint_hf.grounding import GROUNDED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_QUESTIONS = 10_000
"""Of more questions of one task and format a seeded sample is probed."""
FEWEST_QUESTIONS = 200
"""Fewer cannot be told from chance."""
MOST_PROBED = 200_000
"""Rows of a larger dataset beyond these are not read by the blind probe of its build."""
PROBED_COLUMNS = ("image_id", "task", "messages")
FOLDS = 3
WARN_YES_NO, WARN_ABOVE_CHANCE = 0.70, 0.20
POPE_YES_NO = {"adversarial": 0.69, "random": 0.70, "popular": 0.89}
"""What the same probe reaches on POPE's three sets of questions about COCO, to read a result beside."""
_USERS, _ASSISTANTS = ("human", "user"), ("gpt", "assistant")
_WORD = re.compile(r"[a-z0-9']+")
_PLACE = re.compile(r"[(\[]\s*[\d.,\s;]+[)\]]")
Format = Literal["bool", "choice"]


@dataclass(frozen=True)
class ProbeResult:
    """How a blind classifier fared on the closed questions of one task and format.

    Args:
        task: The rows' task; "" where rows have none.
        questions: Questions that were probed, after sampling.
        accuracy: Share that was answered right, each on images that the classifier had not seen.
        low: Lower end of the 95 % interval, clustered by image, as `high`.
        chance: What guessing gives: .5, or one divided by the number of options.
        majority: What always giving the commonest answer gives.
    """

    task: str
    format: Format
    questions: int
    images: int
    accuracy: float
    low: float
    high: float
    chance: float
    majority: float

    @property
    def warning(self) -> str | None:
        """A sentence where the questions give their answers away, else `None`."""
        limit = WARN_YES_NO if self.format == "bool" else self.chance + WARN_ABOVE_CHANCE
        if self.accuracy <= limit:
            return None
        kind = "yes/no" if self.format == "bool" else "multiple-choice"
        return (
            f"The {kind} questions of {self.task or 'this data'} can be answered without the image: a bag of words gets "
            f"{self.accuracy:.0%} of {self.questions:,} right (chance {self.chance:.0%}, warning above {limit:.0%})."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values, with the warning."""
        numbers = {name: round(value, 4) if isinstance(value, float) else value for name, value in vars(self).items()}
        return {**numbers, "warning": self.warning}

    def __str__(self) -> str:
        interval = f"{self.accuracy:.3f} [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.task or '-'}/{self.format}: blind {interval}, chance {self.chance:.2f}, {self.questions:,} questions"


class Closed(NamedTuple):
    """One closed question: `choices` are the options' texts, none for yes/no; `right` is the index of the right one (yes is 1)."""

    image: str
    task: str
    question: str
    choices: tuple[str, ...]
    right: int


def blind_probe(rows: Iterable[Mapping[str, Any]], seed: int = 0, most: int = MOST_QUESTIONS) -> list[ProbeResult]:
    """Probe the closed questions of rows, by task and format.

    Args:
        rows: Rows with `messages`, or LLaVA records with `conversations`; read once.
        seed: Of the sample, and of the split by image.
        most: Questions probed of one task and format.

    Returns:
        One result for each task and format with at least `FEWEST_QUESTIONS` questions, sorted.
    """
    groups: dict[tuple[str, Format], list[Closed]] = defaultdict(list)
    for number, row in enumerate(rows):
        for closed in closed_questions(row, number):
            groups[closed.task, "choice" if closed.choices else "bool"].append(closed)
    return [
        _probe(task, kind, _sample(groups[task, kind], seed, most), seed)
        for task, kind in sorted(groups)
        if _enough(groups[task, kind])
    ]


def probe_files(folder: Path, files: Mapping[str, int], seed: int = 0) -> list[dict[str, Any]]:
    """Run the blind probe on the kept rows of a folder; see `ProbeResult.to_json`.

    Args:
        folder: The dataset.
        files: Its parquet files with their row counts, as in build.json.
        seed: Draws the files that are read where there are more than `MOST_PROBED` rows, and the questions.
    """
    configs = list_configs(files)
    named = sorted(
        name for config in ("default", shards.WITHOUT_IMAGES) for names in configs.get(config, {}).values() for name in names
    )
    random.Random(seed).shuffle(named)
    chosen, rows = [], 0
    for name in named:
        if rows < MOST_PROBED:
            chosen.append(name)
            rows += files[name]
    read = (row for name in sorted(chosen) for row in read_columns(folder / name, PROBED_COLUMNS))
    return [result.to_json() for result in blind_probe(read, seed)]


def closed_questions(row: Mapping[str, Any], number: int = 0) -> Iterator[Closed]:
    """Yield the yes/no and multiple-choice questions of a row; one without an image id counts as an image of its own."""
    image = str(row.get("image_id") or row.get("image") or f"row {number}")
    task = str(row.get("task") or "")
    for question, answer in _turns(row):
        listed = options(question)
        if listed:
            letter = option_letter(answer, question)
            if letter in listed:
                stem = question[: question.find(next(iter(listed.values())))].rsplit("\n", 1)[0]
                yield Closed(image, task, stem, tuple(listed.values()), list(listed).index(letter or ""))
        elif (said := yes_no(answer, question)) is not None and yes_no(answer) is not None:
            yield Closed(image, task, question, (), int(said == "yes"))


def _turns(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The (question, answer) pairs of a row or a LLaVA record, without image markers and coordinates."""
    said = [
        (str(turn.get("role") or turn.get("from")), str(turn.get("content") or turn.get("value") or ""))
        for turn in row.get("messages") or row.get("conversations") or ()
    ]
    for (asker, question), (teller, answer) in pairwise(said):
        if asker in _USERS and teller in _ASSISTANTS:
            plain = GROUNDED.sub(lambda found: found["phrase"], question.replace(IMAGE_MARKER, " "))
            yield _PLACE.sub(" ", plain), answer


def _enough(closed: Sequence[Closed]) -> bool:
    return len(closed) >= FEWEST_QUESTIONS and len({item.image for item in closed}) >= FOLDS


def _sample(closed: list[Closed], seed: int, most: int) -> list[Closed]:
    return closed if len(closed) <= most else random.Random(seed).sample(closed, most)


def _probe(task: str, kind: Format, closed: list[Closed], seed: int) -> ProbeResult:
    import numpy as np

    folds = _folds(closed, seed)
    predicted = _predict_yes_no(closed, folds) if kind == "bool" else _predict_choice(closed, folds)
    right = np.array([item.right for item in closed])
    correct = predicted == right
    accuracy = float(correct.mean())
    margin = 1.96 * _standard_error(correct, [item.image for item in closed])
    chance = 0.5 if kind == "bool" else float(np.mean([1 / len(item.choices) for item in closed]))
    return ProbeResult(
        task,
        kind,
        len(closed),
        len({item.image for item in closed}),
        accuracy,
        max(0.0, accuracy - margin),
        min(1.0, accuracy + margin),
        chance,
        float(np.bincount(right).max() / len(right)),
    )


def _folds(closed: Sequence[Closed], seed: int) -> NDArray[np.int64]:
    """The fold of each question; all questions of an image are in one."""
    import numpy as np

    images = sorted({item.image for item in closed})
    random.Random(f"{seed}/folds").shuffle(images)
    number = {image: place % FOLDS for place, image in enumerate(images)}
    return np.array([number[item.image] for item in closed])


def _standard_error(correct: NDArray[np.bool_], images: Sequence[str]) -> float:
    """The standard error of a share whose observations come in clusters, one an image."""
    sums: dict[str, float] = defaultdict(float)
    share = float(correct.mean())
    for image, one in zip(images, correct, strict=True):
        sums[image] += float(one) - share
    return float(sum(value * value for value in sums.values()) ** 0.5 / len(correct))


def _terms(text: str, mark: str = "") -> list[str]:
    """The words and pairs of neighbours of a text."""
    words = _WORD.findall(text.lower())
    return [*(f"{mark}{word}" for word in words), *(f"{mark}{a} {b}" for a, b in pairwise(words))]


def _fit_scores(features: list[list[str]], labels: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scores of being right or "yes", each from a classifier that was fitted without the question's fold."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    # What occurs once cannot help on other images.
    table = CountVectorizer(analyzer=list, binary=True, min_df=2, dtype=np.float64).fit_transform(features)
    scores = np.zeros(len(labels))
    for fold in range(FOLDS):
        fitted, held_out = folds != fold, folds == fold
        if held_out.any() and len(set(labels[fitted])) == 2:
            model = LogisticRegression(solver="liblinear", C=0.5, tol=1e-3, random_state=0).fit(table[fitted], labels[fitted])
            scores[held_out] = model.decision_function(table[held_out])
    return scores


def _predict_yes_no(closed: Sequence[Closed], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    labels = np.array([item.right for item in closed])
    return (_fit_scores([_terms(item.question) for item in closed], labels, folds) > 0).astype(np.int64)


def _predict_choice(closed: Sequence[Closed], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The option with the best score: by its words, its place, its length among the others, and its words beside the question's."""
    import numpy as np

    owners = [number for number, item in enumerate(closed) for _ in item.choices]
    features = [_option_terms(item, place) for item in closed for place in range(len(item.choices))]
    labels = np.array([int(place == item.right) for item in closed for place in range(len(item.choices))])
    scores = _fit_scores(features, labels, folds[owners])
    best: dict[int, tuple[float, int]] = {}
    start = dict(zip(owners[::-1], range(len(owners) - 1, -1, -1), strict=True))
    for position, owner in enumerate(owners):
        best[owner] = max(best.get(owner, (-np.inf, 0)), (scores[position], -(position - start[owner])))
    return np.array([-best[number][1] for number in range(len(closed))])


def _option_terms(item: Closed, place: int) -> list[str]:
    option = item.choices[place].lower()
    rank = sum(len(other) < len(option) for other in item.choices)
    asked = set(_WORD.findall(item.question.lower()))
    return [
        *_terms(option),
        f"whole {option}",
        f"place {place}",
        f"length {rank}",
        *(f"{word} + {option}" for word in sorted(asked)),
    ]
