"""Task templates: the sentences that datasets append to every question ("Answer with yes or no."), found by counting.

They say how to answer and nothing about the image, so L2T puts no loss on them (PAPERS section 3, "Template removal"). The
paper takes the most frequent sentences of the training set's instructions and does not state its threshold; ours is at
`mine_templates`. This module knows texts of messages; it knows no tokenizer, no image and no particular dataset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comvint_hf.answers import has_label
from comvint_hf.errors import InputError

MIN_CONTEXTS = 3
"""A sentence that appears beside this many different texts was appended to them, not written for its own sake."""
MIN_ROWS = 50
"""For a sentence that is always the whole message ("Describe this picture in detail."), only its count can decide."""

_BREAK = re.compile(
    r"\s*\n\s*"  # a line end
    r"|(?<=[?!])\s+|(?<=[.?!:][\")'”’\]])\s+"  # a question, an exclamation, an end inside quotes or brackets
    r"|(?<=\w\w[.:])\s+|(?<=[\")'”’\]][.:])\s+"  # the end of a word or of something quoted
    r"|(?<= \d\.)\s+(?=[A-Z])"  # a lone digit, but not the number of a list item
)
_BOX = re.compile(r"[\[(]\s*[-+.\d]|<image>|<st>|<ed>")


def mine_templates(dataset: Iterable[Any], *, min_share: float = 0.02, most: int = 50) -> list[str]:
    """Find the task templates of a dataset, for `L2TCollator(templates=...)`.

    A sentence of the user messages is a template if it

    - is in at least `min_share` of the rows,
    - is no question, no answer option and holds no box: those are about the image,
    - appears beside at least 3 different texts, or is in at least 50 rows, so that a sentence that is merely frequent in a small
      dataset is not one.

    The rarest sentence that LLaVA-1.5's mix appends (captions with OCR tokens, 22,000 of its 665,000 rows) has a share of 0.033,
    hence the default of 0.02.

    Args:
        dataset: A Dataset, an IterableDataset or any iterable of rows with `messages`, or of lists of messages. It is read once, its
            messages only, in bounded memory.
        min_share: The minimum share of rows.
        most: The maximum number of templates.

    Returns:
        The sentences, the most frequent first.

    Raises:
        InputError: The share is outside 0..1, or rows have no messages.
    """
    if not 0 < min_share <= 1:
        raise InputError(f"min_share is {min_share}: expected a share of the rows, above 0 and at most 1.")
    counter = _SentenceCounter(width=math.ceil(10 / min_share))
    for messages in _read_messages(dataset):
        counter.add_row([_get_text(message.get("content")) for message in messages if message.get("role") == "user"])
    return counter.find_frequent(min_share)[:most]


def split_sentences(text: str) -> list[str]:
    """Split a text at line ends and after `?`, `!`, and the `.` or `:` of a word, but not after initials and option letters.

    >>> split_sentences("What is this? Answer with one word.")
    ['What is this?', 'Answer with one word.']
    >>> split_sentences("Pick one.\\nA. a cat of 3.5 kg\\nB. a dog")
    ['Pick one.', 'A. a cat of 3.5 kg', 'B. a dog']
    """
    return [sentence for part in _BREAK.split(text) if (sentence := part.strip())]


def is_template_candidate(sentence: str) -> bool:
    """Whether a sentence could be a template if it is frequent: a request or preamble of two words or more, without a box.

    >>> is_template_candidate("What colour is the car?"), is_template_candidate("B. No"), is_template_candidate("Answer with yes or no.")
    (False, False, True)
    """
    if sentence.endswith("?") or has_label(sentence) or _BOX.search(sentence):
        return False
    return sum(any(letter.isalpha() for letter in word) for word in sentence.split()) >= 2


@dataclass
class _SentenceStats:
    """The rows that have a sentence, rows it may have had before it was pruned, and hashes of the texts beside it."""

    rows: int = 0
    missed: int = 0
    contexts: set[int] = field(default_factory=set)


@dataclass
class _SentenceCounter:
    """Counts sentences in bounded memory by lossy counting: after every `width` rows the rare ones are pruned.

    A sentence in a share of at least 10 / width of the rows is never lost.
    """

    width: int
    rows: int = 0
    stats: dict[str, _SentenceStats] = field(default_factory=dict)

    def add_row(self, texts: Sequence[str]) -> None:
        in_row: set[str] = set()
        for text in texts:
            sentences = split_sentences(text)
            for index, sentence in enumerate(sentences):
                if is_template_candidate(sentence):
                    self._add(sentence, sentences[:index] + sentences[index + 1 :], is_new=sentence not in in_row)
                    in_row.add(sentence)
        self.rows += 1
        if self.rows % self.width == 0:
            self._prune()

    def _add(self, sentence: str, context: list[str], is_new: bool) -> None:
        entry = self.stats.get(sentence)
        if entry is None:
            entry = self.stats[sentence] = _SentenceStats(missed=self.rows // self.width)
        entry.rows += is_new
        # Hashes, and few of them, keep memory bounded.
        if context and len(entry.contexts) < MIN_CONTEXTS:
            entry.contexts.add(hash(tuple(context)))

    def _prune(self) -> None:
        age = self.rows // self.width
        self.stats = {sentence: entry for sentence, entry in self.stats.items() if entry.rows + entry.missed > age}

    def find_frequent(self, min_share: float) -> list[str]:
        frequent = [
            (-entry.rows, sentence)
            for sentence, entry in self.stats.items()
            if entry.rows + entry.missed >= min_share * self.rows
            and (len(entry.contexts) >= MIN_CONTEXTS or entry.rows >= MIN_ROWS)
        ]
        return [sentence for _, sentence in sorted(frequent)]


def _read_messages(dataset: Iterable[Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield each row's messages; the images of a Dataset are not decoded."""
    if isinstance(dataset, Mapping):
        raise InputError(f"mine_templates takes one split: found {', '.join(map(str, dataset))}. Give it dataset['train'].")
    columns = getattr(dataset, "column_names", None)
    if columns and "messages" in columns and hasattr(dataset, "select_columns"):
        dataset = dataset.select_columns(["messages"])
    for index, row in enumerate(dataset):
        messages = row.get("messages") if isinstance(row, Mapping) else row
        if not isinstance(messages, Sequence) or isinstance(messages, str):
            raise InputError(f"Row {index} has no messages: expected `messages` or a list of messages, found {row!r:.80}.")
        yield messages


def _get_text(content: Any) -> str:
    """Return a message's text; of a list of parts the text parts, one per line."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or "" for part in content or () if part.get("type") == "text")
