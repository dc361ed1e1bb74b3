"""Count what a dataset holds, in the terms of PAPERS section 1: sizes, lengths, first words, yes and no, boxes, reasons.

Counts are sums, so the statistics of shards add up to those of the whole. This file knows rows; it opens no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Self, TypeVar

from comvint_hf.dataset.schema import Row, turns
from comvint_hf.dataset.text_counts import OPENINGS, WORD, bounded, length_class, opening, option_texts
from comvint_hf.dataset.verification import Health
from comvint_hf.grounding import plain

_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_OPTION = re.compile(r"\s*\(?([A-D])(?:[).:,\s]|$)")


def words_of(text: str) -> list[str]:
    """The words of a text, markers, coordinates and punctuation left out."""
    return WORD.findall(plain(text))


def words(text: str) -> int:
    """The number of words a person reads: markers and coordinates are not counted.

    >>> words("The <st>cup<ed>[0.1, 0.2, 0.3, 0.4] is red.")
    4
    """
    return len(plain(text).split())


def yes_or_no(answer: str) -> bool | None:
    """Whether an answer begins with yes or no; `None` for neither.

    >>> yes_or_no("Yes, two of them."), yes_or_no("No."), yes_or_no("Nobody")
    (True, False, None)
    """
    found = _YES_NO.match(answer)
    return None if found is None else found[1].lower() == "yes"


def option_letter(answer: str) -> str | None:
    """The letter of a multiple-choice answer.

    >>> option_letter("B. a red cup"), option_letter("(C)"), option_letter("Blue")
    ('B', 'C', None)
    """
    found = _OPTION.match(answer)
    return found[1] if found else None


def short_reason(reason: str) -> str:
    """A rejection's kind: what stands before the colon, the details left out."""
    return reason.partition(":")[0].strip()[:100]


@dataclass
class TaskStatistics:
    """The counts of one task. `pairs` are question-answer pairs: a conversation of five turns holds five.

    `option_words` are the words of all right and all wrong options of multiple-choice questions, `option_texts` how many they
    are; lengths are counted by `length_class`, openings (the first three words of questions) as far as `bounded` goes.
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
        read = plain(question)
        asked, said = len(read.split()), words(answer)
        self.pairs += 1
        self.question_words += asked
        self.answer_words += said
        self.question_lengths[length_class(asked)] += 1
        self.answer_lengths[length_class(said)] += 1
        self._add_opening(opening(read))
        if (verdict := yes_or_no(answer)) is not None:
            self.yes_no["yes" if verdict else "no"] += 1
        if format == "choice" and (letter := option_letter(answer)):
            self.options[letter] += 1
            self._add_options(option_texts(read), letter)

    def _add_opening(self, first: list[str]) -> None:
        if first:
            self.first_words[first[0]] += 1
            self.how_many += first[:2] == ["how", "many"]
            self.openings[" ".join(first)] += 1
        if len(self.openings) > 2 * OPENINGS:
            self.openings = bounded(self.openings)

    def _add_options(self, options: dict[str, str], right: str) -> None:
        for letter, text in options.items():
            side = "right" if letter == right else "wrong"
            self.option_texts[side] += 1
            self.option_words[side] += words(text)

    def merge(self, other: TaskStatistics) -> None:
        """Add another part's counts to these."""
        _add_up(self, other)
        self.openings = bounded(self.openings)

    @property
    def figures(self) -> dict[str, float]:
        """What a reader asks for first: means and shares, none of which can be added up. Lengths are words."""
        pairs, verdicts = max(self.pairs, 1), self.yes_no.total()
        shares = {f"share_{word}": self.first_words[word] / pairs for word in ("what", "why", "how")}
        found = {
            "mean_question_words": self.question_words / pairs,
            "mean_answer_words": self.answer_words / pairs,
            **shares,
            "share_how_many": self.how_many / pairs,
            "share_yes_no": verdicts / pairs,
            "boxes_a_row": self.boxes / max(self.rows, 1),
        }
        if self.yes_no["no"]:
            found["yes_for_each_no"] = self.yes_no["yes"] / self.yes_no["no"]
        for side, count in sorted(self.option_texts.items()):
            found[f"mean_{side}_option_words"] = self.option_words[side] / count
        return {name: round(value, 4) for name, value in found.items()}


@dataclass
class Statistics:
    """The counts of a dataset: per task, rejected rows by reason, images by split, what the source counted, and its health."""

    tasks: dict[str, TaskStatistics] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    health: Health = field(default_factory=Health)

    @property
    def kept(self) -> int:
        return sum(task.rows for task in self.tasks.values())

    @property
    def refused(self) -> int:
        return self.rejected.total()

    def add(self, row: Row, split: str) -> None:
        """Count a kept row."""
        if row["task"] not in self.tasks:
            self.tasks[row["task"]] = TaskStatistics()
        self.tasks[row["task"]].add(row, split)
        self.health.add(row)

    def refuse(self, row: Row) -> None:
        """Count a rejected row, which has a `reason`."""
        self.rejected[short_reason(row["reason"])] += 1
        self.health.add(row, kept=False)

    def merge(self, other: Statistics) -> None:
        """Add another part's counts to these."""
        for name, theirs in other.tasks.items():
            self.tasks.setdefault(name, TaskStatistics()).merge(theirs)
        _add_up(self.health, other.health)
        self.rejected += other.rejected
        self.images += other.images
        self.notes += other.notes

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, in an order that does not depend on how the counts came about."""
        return {
            "tasks": {name: _counts(self.tasks[name]) for name in sorted(self.tasks)},
            "rejected": _plain(self.rejected),
            "images": _plain(self.images),
            "notes": _plain(self.notes),
            "health": _counts(self.health),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Read what `to_json` wrote; figures that were derived from it are left out."""
        tasks = {name: _read(TaskStatistics, counts) for name, counts in stored["tasks"].items()}
        health = _read(Health, stored.get("health", {}))
        return cls(tasks, *(Counter(stored[key]) for key in ("rejected", "images", "notes")), health)

    @classmethod
    def of(cls, rows: Iterable[Row], split: str = "train") -> Self:
        """Count rows that are already there. Rows of one image need not stand together; images are counted once."""
        statistics, seen = cls(), set()
        for row in rows:
            statistics.add(row, split)
            if row["image_id"] not in seen:
                seen.add(row["image_id"])
                statistics.images[split] += 1
        return statistics


Sums = TypeVar("Sums", TaskStatistics, Health)


def _add_up(ours: Sums, theirs: Sums) -> None:
    for key, value in vars(theirs).items():
        setattr(ours, key, getattr(ours, key) + value)


def _counts(sums: TaskStatistics | Health) -> dict[str, Any]:
    return {key: _plain(value) for key, value in vars(sums).items()}


def _read(kind: type[Sums], stored: dict[str, Any]) -> Sums:
    known = {field.name for field in fields(kind)} & set(stored)
    return kind(**{key: Counter(stored[key]) if isinstance(stored[key], dict) else stored[key] for key in known})


def _plain(value: Any) -> Any:
    return dict(sorted(value.items(), key=lambda item: (-item[1], item[0]))) if isinstance(value, Counter) else value
