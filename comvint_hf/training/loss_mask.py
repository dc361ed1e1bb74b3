"""Character spans and their meaning for tokens: pure functions, no tokenizer, no chat template, no tensor.

A span is `(start, end)` in characters of one text, end exclusive. Loss is defined on characters; one rule turns it into tokens:
**a token carries loss if at least one of its characters does**. A token that joins the chat template's blank to the first word
of an answer is therefore trained, because the model has to write it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

IGNORE_INDEX = -100
"""The label of a token that carries no loss."""
Span = tuple[int, int]


class Replacement(NamedTuple):
    """An image placeholder at `start:end` of a text and its expansion by the processor; an insertion has `start == end`."""

    start: int
    end: int
    expansion: str

    @property
    def added_length(self) -> int:
        return len(self.expansion) - (self.end - self.start)


def compute_loss_mask(offsets: np.ndarray, spans: Iterable[Span]) -> np.ndarray:
    """Mark the tokens that have a character inside `spans`.

    A token without characters (padding, an added beginning of sequence) is never inside.

    Args:
        offsets: `[T, 2]` integers, the characters of each token.
        spans: The characters that carry loss.

    Returns:
        `[T]` bool.

    >>> compute_loss_mask(np.array([[0, 2], [2, 5], [5, 5]]), [(3, 9)]).tolist()
    [False, True, False]
    """
    if not len(offsets):
        return np.zeros(0, dtype=bool)
    inside = np.zeros(int(offsets.max()), dtype=np.int64)
    for start, end in spans:
        inside[start:end] = 1
    # Prefix sums answer for each token whether it has a character inside, without a loop over tokens.
    before = np.concatenate([[0], np.cumsum(inside)])
    return before[offsets[:, 1]] > before[offsets[:, 0]]


def restore_blank_offsets(offsets: np.ndarray) -> np.ndarray:
    """Give blanks back to the tokens that lost them.

    With `trim_offsets` a byte-level tokenizer reports the token of a lone blank as empty. Such a token takes the characters
    between its predecessor's end and its own. `offsets` and the result are `[T, 2]`.
    """
    if not len(offsets):
        return offsets
    previous_end = np.concatenate([[0], np.maximum.accumulate(offsets[:-1, 1])])
    trimmed = (offsets[:, 0] == offsets[:, 1]) & (previous_end < offsets[:, 0])
    if not trimmed.any():
        return offsets
    return np.stack([np.where(trimmed, previous_end, offsets[:, 0]), offsets[:, 1]], axis=1)


def subtract_spans(spans: Iterable[Span], holes: Sequence[Span]) -> list[Span]:
    """Cut `holes` out of `spans`.

    >>> subtract_spans([(0, 10)], [(2, 3), (8, 12)])
    [(0, 2), (3, 8)]
    """
    remaining = []
    for start, end in spans:
        for hole_start, hole_end in sorted(holes):
            if hole_end <= start or hole_start >= end:
                continue
            if hole_start > start:
                remaining.append((start, hole_start))
            start = hole_end
        if start < end:
            remaining.append((start, end))
    return remaining


def expand_placeholders(text: str, replacements: Sequence[Replacement]) -> str:
    """Write the text with its image placeholders expanded."""
    parts, last = [], 0
    for start, end, expansion in replacements:
        parts += [text[last:start], expansion]
        last = end
    return "".join([*parts, text[last:]])


def shift_spans(spans: Iterable[Span], replacements: Sequence[Replacement]) -> list[Span]:
    """Move spans from a text into the same text with its placeholders expanded; image characters leave the spans.

    >>> shift_spans([(0, 3), (3, 6)], [Replacement(1, 2, "####")])
    [(0, 1), (5, 6), (6, 9)]
    """
    if not replacements:
        return list(spans)

    def shift(index: int) -> int:
        return index + sum(replacement.added_length for replacement in replacements if replacement.end <= index)

    outside = subtract_spans(spans, [(replacement.start, replacement.end) for replacement in replacements])
    # The end is exclusive: a placeholder right behind a span does not move it.
    return [(shift(start), shift(end - 1) + 1) for start, end in outside]


def find_image_spans(replacements: Sequence[Replacement]) -> list[Span]:
    """Find the expanded placeholders in the expanded text; insertions beside them do not count."""
    shifts = [0, *np.cumsum([replacement.added_length for replacement in replacements]).tolist()]
    shifted = [(start + shift, len(text)) for (start, end, text), shift in zip(replacements, shifts, strict=False) if start < end]
    return [(start, start + length) for start, length in shifted]


def find_template_spans(text: str, pattern: re.Pattern[str] | None) -> list[Span]:
    """Find task templates in a user's text, each with the blank that joins it to the question before it.

    A template that opens the text takes the blank after it instead.

    >>> find_template_spans("Is it red?\\nAnswer yes or no.", re.compile("Answer yes or no."))
    [(10, 28)]
    """
    if pattern is None:
        return []
    found = []
    for match in pattern.finditer(text):
        start, end = match.span()
        start = len(text[:start].rstrip())
        # There is no text before it whose blank it could take.
        if start == 0:
            end += len(text[end:]) - len(text[end:].lstrip())
        found.append((start, end))
    return found


def compile_templates(templates: Sequence[str]) -> re.Pattern[str] | None:
    """Compile one pattern that finds any of the sentences as whole words, longest first, across line breaks."""
    sentences = sorted({" ".join(template.split()) for template in templates} - {""}, key=len, reverse=True)
    if not sentences:
        return None
    return re.compile("|".join(_whole_words(sentence) for sentence in sentences))


def _whole_words(sentence: str) -> str:
    body = r"\s+".join(map(re.escape, sentence.split()))
    before = r"(?<!\w)" if sentence[0].isalnum() else ""
    after = r"(?!\w)" if sentence[-1].isalnum() else ""
    return before + body + after
