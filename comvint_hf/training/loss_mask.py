"""Spans of characters and what they mean for tokens: pure functions, no tokenizer, no template, no tensor.

A span is `(start, end)` in characters of one text, end exclusive. What carries loss is said in characters; one rule turns it
into tokens: **a token carries loss if at least one of its characters does**. A token that joins the template's blank to the
first word of an answer is therefore learnt, as the model has to write it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

Span = tuple[int, int]


class Replacement(NamedTuple):
    """An image placeholder at `start:end` of a text, and what a processor wrote in its place; with `start == end`, added there."""

    start: int
    end: int
    expansion: str

    @property
    def gain(self) -> int:
        return len(self.expansion) - (self.end - self.start)


def loss_mask(offsets: np.ndarray, spans: Iterable[Span]) -> np.ndarray:
    """Tell which tokens have a character inside `spans`.

    `offsets` is `[T, 2]` integers, the characters each token was made from; the result is `[T]` bool. A token of no
    characters (padding, an added beginning of sequence) is never inside.

    >>> loss_mask(np.array([[0, 2], [2, 5], [5, 5]]), [(3, 9)]).tolist()
    [False, True, False]
    """
    if not len(offsets):
        return np.zeros(0, dtype=bool)
    inside = np.zeros(int(offsets.max()), dtype=np.int64)
    for start, end in spans:
        inside[start:end] = 1
    before = np.concatenate([[0], np.cumsum(inside)])
    return before[offsets[:, 1]] > before[offsets[:, 0]]


def widen(offsets: np.ndarray) -> np.ndarray:
    """Give blanks back to tokens that lost them: with `trim_offsets` a byte-level tokenizer calls the token of a lone blank
    empty.

    `offsets` is `[T, 2]`; an empty token that ends after its predecessor takes the characters between the two.
    """
    if not len(offsets):
        return offsets
    reached = np.concatenate([[0], np.maximum.accumulate(offsets[:-1, 1])])
    lost = (offsets[:, 0] == offsets[:, 1]) & (reached < offsets[:, 0])
    if not lost.any():
        return offsets
    return np.stack([np.where(lost, reached, offsets[:, 0]), offsets[:, 1]], axis=1)


def subtract(spans: Iterable[Span], holes: Sequence[Span]) -> list[Span]:
    """Cut `holes` out of `spans`.

    >>> subtract([(0, 10)], [(2, 3), (8, 12)])
    [(0, 2), (3, 8)]
    """
    left = []
    for start, end in spans:
        for hole_start, hole_end in sorted(holes):
            if hole_end <= start or hole_start >= end:
                continue
            if hole_start > start:
                left.append((start, hole_start))
            start = hole_end
        if start < end:
            left.append((start, end))
    return left


def expand(text: str, replacements: Sequence[Replacement]) -> str:
    """The text with its placeholders expanded."""
    parts, last = [], 0
    for start, end, expansion in replacements:
        parts += [text[last:start], expansion]
        last = end
    return "".join([*parts, text[last:]])


def expanded(spans: Iterable[Span], replacements: Sequence[Replacement]) -> list[Span]:
    """Move spans from a text into the same text with its placeholders expanded; what is image leaves the spans.

    >>> expanded([(0, 3), (3, 6)], [Replacement(1, 2, "####")])
    [(0, 1), (5, 6), (6, 9)]
    """
    if not replacements:
        return list(spans)

    def moved(place: int) -> int:
        return place + sum(one.gain for one in replacements if one.end <= place)

    outside = subtract(spans, [(one.start, one.end) for one in replacements])
    return [(moved(start), moved(end - 1) + 1) for start, end in outside]


def expansions(replacements: Sequence[Replacement]) -> list[Span]:
    """Where the expansions lie in the expanded text; what was added beside them is none."""
    gains = [0, *np.cumsum([one.gain for one in replacements]).tolist()]
    pairs = zip(replacements, gains, strict=False)
    return [(one.start + gain, one.end + gain + one.gain) for one, gain in pairs if one.start < one.end]


def template_spans(text: str, pattern: re.Pattern[str] | None) -> list[Span]:
    """Find task-template sentences in a user's text, each with the blank that joins it to the question before it.

    Where the sentence opens the text, the blank after it goes with it instead.

    >>> template_spans("Is it red?\\nAnswer yes or no.", re.compile("Answer yes or no."))
    [(10, 28)]
    """
    if pattern is None:
        return []
    found = []
    for match in pattern.finditer(text):
        start, end = match.span()
        start = len(text[:start].rstrip())
        if start == 0:
            end += len(text[end:]) - len(text[end:].lstrip())
        found.append((start, end))
    return found


def template_pattern(templates: Sequence[str]) -> re.Pattern[str] | None:
    """One expression that finds any of the sentences, longest first, as whole words and however they are broken into lines."""
    sentences = sorted({" ".join(template.split()) for template in templates} - {""}, key=len, reverse=True)
    if not sentences:
        return None
    return re.compile("|".join(_whole(sentence) for sentence in sentences))


def _whole(sentence: str) -> str:
    body = r"\s+".join(map(re.escape, sentence.split()))
    before = r"(?<!\w)" if sentence[0].isalnum() else ""
    after = r"(?!\w)" if sentence[-1].isalnum() else ""
    return before + body + after
