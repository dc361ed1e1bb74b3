"""Count what a dataset holds, in the terms of PAPERS section 1: sizes, lengths, first words, yes and no, boxes, reasons.

Counts are sums, so the statistics of shards add up to those of the whole. This file knows rows; it opens no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from comvint_hf.data.rows import Row, turns
from comvint_hf.grounding import plain
from comvint_hf.records import FORMATS

FIRST_WORDS_SHOWN = 8
_WORD = re.compile(r"\w+(?:['’]\w+)?")
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_OPTION = re.compile(r"\s*\(?([A-D])(?:[).:,\s]|$)")


def words_of(text: str) -> list[str]:
    """The words of a text, markers, coordinates and punctuation left out."""
    return _WORD.findall(plain(text))


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
    """The counts of one task. `pairs` are question-answer pairs: a conversation of five turns holds five."""

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
    rounds: Counter[str] = field(default_factory=Counter)

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
        self.pairs += 1
        self.question_words += words(question)
        self.answer_words += words(answer)
        opening = _WORD.findall(question[:80])[:2]
        if opening:
            self.first_words[opening[0].lower()] += 1
            self.how_many += [word.lower() for word in opening] == ["how", "many"]
        if (said := yes_or_no(answer)) is not None:
            self.yes_no["yes" if said else "no"] += 1
        if format == "choice" and (letter := option_letter(answer)):
            self.options[letter] += 1


@dataclass
class Statistics:
    """The counts of a dataset: per task, rejected rows by reason, images by split, and what the source counted."""

    tasks: dict[str, TaskStatistics] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

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

    def merge(self, other: Statistics) -> None:
        """Add another part's counts to these."""
        for name, theirs in other.tasks.items():
            ours = self.tasks.setdefault(name, TaskStatistics())
            for key, value in vars(theirs).items():
                setattr(ours, key, getattr(ours, key) + value)
        self.rejected += other.rejected
        self.images += other.images
        self.notes += other.notes

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, in an order that does not depend on how the counts came about."""
        return {
            "tasks": {name: {key: _plain(value) for key, value in vars(self.tasks[name]).items()} for name in sorted(self.tasks)},
            "rejected": _plain(self.rejected),
            "images": _plain(self.images),
            "notes": _plain(self.notes),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        tasks = {
            name: TaskStatistics(**{key: Counter(value) if isinstance(value, dict) else value for key, value in counts.items()})
            for name, counts in stored["tasks"].items()
        }
        return cls(tasks, *(Counter(stored[key]) for key in ("rejected", "images", "notes")))

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


def _plain(value: Any) -> Any:
    return dict(sorted(value.items(), key=lambda item: (-item[1], item[0]))) if isinstance(value, Counter) else value


def table(statistics: Statistics) -> list[list[str]]:
    """One line a task, header first: rows, splits, mean words, yes to no, boxes a row and first words."""
    lines = [
        ["task", "rows", "train / test", "words in question / answer", "boxes a row", "yes : no", "most frequent first words"]
    ]
    for name, task in sorted(statistics.tasks.items()):
        pairs = max(task.pairs, 1)
        lines.append(
            [
                name,
                f"{task.rows:,}",
                f"{task.splits['train']:,} / {task.splits['test']:,}",
                f"{task.question_words / pairs:.1f} / {task.answer_words / pairs:.1f}",
                f"{task.boxes / max(task.rows, 1):.2f}",
                f"{task.yes_no['yes']:,} : {task.yes_no['no']:,}" if task.yes_no else "-",
                _shares(task.first_words, task.pairs),
            ]
        )
    return lines


def form_table(statistics: Statistics) -> list[list[str]]:
    """One line a task, header first: formats, the right options of multiple-choice rows, rounds of complication."""
    lines = [["task", *FORMATS, "right option A : B : C : D", "rows by rounds of complication"]]
    for name, task in sorted(statistics.tasks.items()):
        options = " : ".join(f"{task.options[letter]:,}" for letter in "ABCD") if task.options else "-"
        rounds = ", ".join(f"{number}: {count:,}" for number, count in sorted(task.rounds.items()))
        lines.append([name, *(f"{task.formats[form]:,}" for form in FORMATS), options, rounds])
    return lines


def _shares(counts: Counter[str], whole: int) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:FIRST_WORDS_SHOWN]
    return ", ".join(f"{word} {count / whole:.0%}" for word, count in ordered)
