"""Count what a dataset holds, in the terms of PAPERS section 1: sizes, lengths, first words, yes and no, boxes, reasons.

Counts are sums, so the statistics of shards add up to those of the whole dataset.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self, TypeVar

from comvint_hf.answers import option_letter, options, yes_no
from comvint_hf.dataset.schema import Row, turns
from comvint_hf.dataset.verification import VerificationStatistics
from comvint_hf.errors import InputError
from comvint_hf.grounding import strip_grounding

# More openings of questions than this are not counted apart; see `fold_rare_openings`.
MAX_OPENINGS = 1000
MAX_COUNT = 10**15
WORD = re.compile(r"\w+(?:['’]\w+)?")


def split_words(text: str) -> list[str]:
    """Split a text into words without grounding markers, coordinates and punctuation."""
    return WORD.findall(strip_grounding(text))


def count_words(text: str) -> int:
    """Count the words that a person reads; grounding markers and coordinates do not count.

    >>> count_words("The <st>cup<ed>[0.1, 0.2, 0.3, 0.4] is red.")
    4
    """
    return len(strip_grounding(text).split())


def opening_words(text: str) -> list[str]:
    """Return the first three words (or fewer) in lower case.

    >>> opening_words("What colour is the cup?"), opening_words("Why?")
    (['what', 'colour', 'is'], ['why'])
    """
    # Three words fit into 120 characters; a question may have thousands.
    return [word.lower() for word in WORD.findall(text[:120])[:3]]


def fold_rare_openings(openings: Counter[str]) -> Counter[str]:
    """Merge the less frequent half of more than `MAX_OPENINGS` openings into shorter ones, so that the counter stays small.

    A rare "what is under" is counted as "what is"; if that is not enough, as "what" or "". Sums stay exact, and an opening of
    more than 1/500 of all questions so far is not folded.

    >>> fold_rare_openings(Counter({"what is the": 2}))
    Counter({'what is the': 2})
    """
    for length in (2, 1, 0):
        if len(openings) <= MAX_OPENINGS:
            break
        ranked = sorted(openings.items(), key=lambda item: (-item[1], item[0]))
        openings = Counter(dict(ranked[: MAX_OPENINGS // 2]))
        for text, count in ranked[MAX_OPENINGS // 2 :]:
            openings[" ".join(text.split()[:length])] += count
    return openings


def length_bin(words: int) -> str:
    """Return the bin that a length is counted in: exact below 100 words, else rounded down to ten.

    >>> length_bin(7), length_bin(361)
    ('7', '360')
    """
    return str(words if words < 100 else words // 10 * 10)


def reason_category(reason: str) -> str:
    """Return the part of a rejection's reason before the colon, without its details."""
    return reason.partition(":")[0].strip()[:100]


@dataclass
class TaskStatistics:
    """The counts of one task. `pairs` are question-answer pairs: a conversation of five turns has five.

    `option_texts` counts the right and the wrong options of multiple-choice questions, `option_words` their words. Lengths are
    counted in the bins of `length_bin`, the first three words of questions by `fold_rare_openings`.
    """

    rows: int = 0
    pairs: int = 0
    question_words: int = 0
    answer_words: int = 0
    boxes: int = 0
    grounded_rows: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    first_words: Counter[str] = field(default_factory=Counter)
    how_many: int = 0
    yes_no: Counter[str] = field(default_factory=Counter)
    options: Counter[str] = field(default_factory=Counter)
    option_texts: Counter[str] = field(default_factory=Counter)
    option_words: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)
    question_lengths: Counter[str] = field(default_factory=Counter)
    answer_lengths: Counter[str] = field(default_factory=Counter)
    openings: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, split: str) -> None:
        self.rows += 1
        self.splits[split] += 1
        self.formats[row["format"]] += 1
        self.rounds[str(row["rounds"])] += 1
        self.boxes += len(row["boxes"])
        self.grounded_rows += bool(row["boxes"])
        for question, answer in turns(row):
            self._add_pair(question, answer, row["format"])

    def _add_pair(self, question: str, answer: str, format: str) -> None:
        question, answer = strip_grounding(question), strip_grounding(answer)
        question_words, answer_words = len(question.split()), len(answer.split())
        self.pairs += 1
        self.question_words += question_words
        self.answer_words += answer_words
        self.question_lengths[length_bin(question_words)] += 1
        self.answer_lengths[length_bin(answer_words)] += 1
        self._add_opening(opening_words(question))
        if verdict := yes_no(answer, question):
            self.yes_no[verdict] += 1
        if format == "choice" and (letter := option_letter(answer, question)):
            self.options[letter] += 1
            self._add_options(options(question), letter)

    def _add_opening(self, words: list[str]) -> None:
        if words:
            self.first_words[words[0]] += 1
            self.how_many += words[:2] == ["how", "many"]
            self.openings[" ".join(words)] += 1
        # Folding sorts all openings, so it waits until there are twice too many.
        if len(self.openings) > 2 * MAX_OPENINGS:
            self.openings = fold_rare_openings(self.openings)

    def _add_options(self, options: dict[str, str], right: str) -> None:
        for letter, text in options.items():
            side = "right" if letter == right else "wrong"
            self.option_texts[side] += 1
            self.option_words[side] += count_words(text)

    def merge(self, other: TaskStatistics) -> None:
        """Add the counts of another part."""
        _add_fields(self, other)
        self.openings = fold_rare_openings(self.openings)

    @property
    def averages(self) -> dict[str, float]:
        """Means (lengths in words) and shares; unlike the counts they cannot be summed over parts."""
        pairs, verdicts = max(self.pairs, 1), self.yes_no.total()
        shares = {f"share_{word}": self.first_words[word] / pairs for word in ("what", "why", "how")}
        averages = {
            "mean_question_words": self.question_words / pairs,
            "mean_answer_words": self.answer_words / pairs,
            **shares,
            "share_how_many": self.how_many / pairs,
            "share_yes_no": verdicts / pairs,
            "boxes_a_row": self.boxes / max(self.rows, 1),
        }
        if self.yes_no["no"]:
            averages["yes_for_each_no"] = self.yes_no["yes"] / self.yes_no["no"]
        for side, count in sorted(self.option_texts.items()):
            averages[f"mean_{side}_option_words"] = self.option_words[side] / count
        return {name: round(value, 4) for name, value in averages.items()}


@dataclass
class Statistics:
    """The counts of a dataset: per task, rejected rows by reason, images by split, notes of the source, and verification."""

    tasks: dict[str, TaskStatistics] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    verification: VerificationStatistics = field(default_factory=VerificationStatistics)

    @property
    def kept(self) -> int:
        return sum(task.rows for task in self.tasks.values())

    @property
    def num_rejected(self) -> int:
        return self.rejected.total()

    def add(self, row: Row, split: str) -> None:
        """Count a kept row."""
        # `setdefault` would make an object for every row.
        if row["task"] not in self.tasks:
            self.tasks[row["task"]] = TaskStatistics()
        self.tasks[row["task"]].add(row, split)
        self.verification.add(row)

    def add_rejected(self, row: Row) -> None:
        """Count a rejected row, which has a `reason`."""
        self.rejected[reason_category(row["reason"])] += 1
        self.verification.add(row, kept=False)

    def merge(self, other: Statistics) -> None:
        """Add the counts of another part."""
        for name, theirs in other.tasks.items():
            self.tasks.setdefault(name, TaskStatistics()).merge(theirs)
        _add_fields(self.verification, other.verification)
        self.rejected += other.rejected
        self.images += other.images
        self.notes += other.notes

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries in an order that does not depend on the order of counting."""
        return {
            "tasks": {name: _counts_to_json(self.tasks[name]) for name in sorted(self.tasks)},
            "rejected": _sorted_counts(self.rejected),
            "images": _sorted_counts(self.images),
            "notes": _sorted_counts(self.notes),
            "health": _counts_to_json(self.verification),
        }

    @classmethod
    def from_json(cls, stored: Any, what: str = "The statistics") -> Self:
        """Read the output of `to_json`; values derived from the counts are ignored.

        Raises:
            InputError: For anything else. `what` names it at the beginning of the sentence.
        """
        try:
            tasks = {name: _counts_from_json(TaskStatistics, counts) for name, counts in stored["tasks"].items()}
            rejected, images, notes = (_counter_from_json(stored[key]) for key in ("rejected", "images", "notes"))
            return cls(tasks, rejected, images, notes, _counts_from_json(VerificationStatistics, stored.get("health", {})))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{what} holds no statistics of a dataset: expected the counts that a build wrote.") from error

    @classmethod
    def from_rows(cls, rows: Iterable[Row], split: str = "train") -> Self:
        """Count rows of one split. Each image counts once, wherever its rows are."""
        statistics, seen = cls(), set()
        for row in rows:
            statistics.add(row, split)
            if row["image_id"] not in seen:
                seen.add(row["image_id"])
                statistics.images[split] += 1
        return statistics


Counts = TypeVar("Counts", TaskStatistics, VerificationStatistics)


def _add_fields(target: Counts, other: Counts) -> None:
    for key, value in vars(other).items():
        setattr(target, key, getattr(target, key) + value)


def _counts_to_json(counts: TaskStatistics | VerificationStatistics) -> dict[str, Any]:
    return {key: _sorted_counts(value) for key, value in vars(counts).items()}


def _counts_from_json(kind: type[Counts], stored: dict[str, Any]) -> Counts:
    """Read counts. Raises `ValueError` or `TypeError` for a value of another kind than the field has."""
    read: dict[str, Any] = {}
    for known in fields(kind):
        if known.name in stored:
            value = stored[known.name]
            read[known.name] = _counter_from_json(value) if known.default is MISSING else _check_count(value)
    return kind(**read)


def _counter_from_json(stored: dict[str, Any]) -> Counter[str]:
    return Counter({name: _check_count(count) for name, count in stored.items()})


def _check_count(value: Any) -> Any:
    # Sums of scores are no whole numbers; the limit is far beyond any dataset, and sums of such counts stay numbers.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{value!r} is no count")
    return value


def _sorted_counts(value: Any) -> Any:
    return dict(sorted(value.items(), key=lambda item: (-item[1], item[0]))) if isinstance(value, Counter) else value
