"""Task templates: the sentences that datasets append to every question ("Answer with yes or no."), found by counting.

They say how to answer and nothing about the picture, so L2T puts no loss on them (PAPERS section 3, "Template removal"). The
paper takes the most frequent sentences of the training set's instructions and does not state where it stops; our rule is at
`mine_templates`. This file knows turns of text; it knows no tokenizer, no picture and no particular dataset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comvint_hf.errors import InputError

COMPANIONS = 3
"""A sentence that stands beside this many different texts was appended to them, not written for its own sake."""
OFTEN = 50
"""A sentence that is always the whole turn ("Describe this picture in detail.") has only its number to speak for it."""

_BREAK = re.compile(
    r"\s*\n\s*"  # a line end
    r"|(?<=[?!])\s+|(?<=[.?!:][\")'”’\]])\s+"  # a question, an exclamation, an end inside quotes or brackets
    r"|(?<=\w\w[.:])\s+|(?<=[\")'”’\]][.:])\s+"  # the end of a word or of something quoted
    r"|(?<= \d\.)\s+(?=[A-Z])"  # a lone digit, but not the number of a list item
)
_OPTION = re.compile(r"\(?[A-Ha-h][.):]\s")
_PLACE = re.compile(r"[\[(]\s*[-+.\d]|<image>|<st>|<ed>")


def mine_templates(dataset: Iterable[Any], *, min_share: float = 0.02, most: int = 50) -> list[str]:
    """Find the task templates of a dataset: the sentences to give `L2TCollator(templates=...)`, the most frequent first.

    `dataset` is a Dataset, an IterableDataset or any iterable of rows with `messages`, or of lists of messages; it is read
    once, only its messages are, and memory stays bounded. A sentence of the users' turns is a template if it

    - is in at least `min_share` of the rows,
    - is no question, no answer option and holds no box: those are about the picture,
    - stands beside at least 3 different texts, or is in at least 50 rows, so that what is merely frequent in a small
      dataset stays,

    and at most `most` are given. The rarest sentence that LLaVA-1.5's mix appends (captions with OCR tokens, 22,000 of its
    665,000 rows) has a share of 0.033, hence 0.02.
    Raises `InputError` for a share outside 0..1, or for rows without messages.
    """
    if not 0 < min_share <= 1:
        raise InputError(f"min_share is {min_share}: expected a share of the rows, above 0 and at most 1.")
    counts = _Counts(width=math.ceil(10 / min_share))
    for messages in _conversations(dataset):
        counts.row([text for message in messages if message.get("role") == "user" for text in [_text(message.get("content"))]])
    return counts.frequent(min_share)[:most]


def sentences(text: str) -> list[str]:
    """Split a turn at line ends and after `?`, `!`, and the `.` or `:` of a word; initials and the letters of options do not
    end one.

    >>> sentences("What is this? Answer with one word.")
    ['What is this?', 'Answer with one word.']
    >>> sentences("Pick one.\\nA. a cat of 3.5 kg\\nB. a dog")
    ['Pick one.', 'A. a cat of 3.5 kg', 'B. a dog']
    """
    return [sentence for piece in _BREAK.split(text) if (sentence := piece.strip())]


def could_be_template(sentence: str) -> bool:
    """Whether a sentence could be one, whatever its number: an order or a preamble of two words or more, with no box.

    >>> could_be_template("What colour is the car?"), could_be_template("B. No"), could_be_template("Answer with yes or no.")
    (False, False, True)
    """
    if sentence.endswith("?") or _OPTION.match(sentence) or _PLACE.search(sentence):
        return False
    return sum(any(letter.isalpha() for letter in word) for word in sentence.split()) >= 2


@dataclass
class _Seen:
    """What is remembered of a sentence: rows that have it, rows it may have had before it was forgotten, texts beside it."""

    rows: int = 0
    missed: int = 0
    beside: set[int] = field(default_factory=set)


@dataclass
class _Counts:
    """Counts sentences in bounded memory by lossy counting: after every `width` rows the rare ones are forgotten.

    A sentence in a share of at least 10 / width of the rows is never lost.
    """

    width: int
    rows: int = 0
    seen: dict[str, _Seen] = field(default_factory=dict)

    def row(self, turns: Sequence[str]) -> None:
        once: set[str] = set()
        for turn in turns:
            parts = sentences(turn)
            for place, sentence in enumerate(parts):
                if could_be_template(sentence):
                    self._count(sentence, parts[:place] + parts[place + 1 :], sentence in once)
                    once.add(sentence)
        self.rows += 1
        if self.rows % self.width == 0:
            self._forget()

    def _count(self, sentence: str, others: list[str], again: bool) -> None:
        entry = self.seen.get(sentence)
        if entry is None:
            entry = self.seen[sentence] = _Seen(missed=self.rows // self.width)
        entry.rows += not again
        if others and len(entry.beside) < COMPANIONS:
            entry.beside.add(hash(tuple(others)))

    def _forget(self) -> None:
        age = self.rows // self.width
        self.seen = {sentence: entry for sentence, entry in self.seen.items() if entry.rows + entry.missed > age}

    def frequent(self, min_share: float) -> list[str]:
        kept = [
            (entry.rows, sentence)
            for sentence, entry in self.seen.items()
            if entry.rows + entry.missed >= min_share * self.rows and (len(entry.beside) >= COMPANIONS or entry.rows >= OFTEN)
        ]
        return [sentence for _, sentence in sorted(kept, key=lambda pair: (-pair[0], pair[1]))]


def _conversations(dataset: Iterable[Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Each row's messages; the pictures of a Dataset are not decoded."""
    if isinstance(dataset, Mapping):
        raise InputError(f"mine_templates takes one split: found {', '.join(map(str, dataset))}. Give it dataset['train'].")
    columns = getattr(dataset, "column_names", None)
    if columns and "messages" in columns and hasattr(dataset, "select_columns"):
        dataset = dataset.select_columns(["messages"])
    for place, row in enumerate(dataset):
        messages = row.get("messages") if isinstance(row, Mapping) else row
        if not isinstance(messages, Sequence) or isinstance(messages, str):
            raise InputError(f"Row {place} has no messages to mine: expected `messages` or a list of turns, found {row!r:.80}.")
        yield messages


def _text(content: Any) -> str:
    """A turn's text; the text parts of a list of parts, a line each."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or "" for part in content or () if part.get("type") == "text")
