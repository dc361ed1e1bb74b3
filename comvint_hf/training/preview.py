"""A preview of the text of a row that carries loss, for people. It knows characters and token offsets, no processor and no row."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from comvint_hf.training.loss_mask import Replacement, find_image_spans

_TRAINED, _OTHER, _RESET = "\x1b[30;42m", "\x1b[2m", "\x1b[0m"


class PreviewSegment(NamedTuple):
    """A stretch of text, and whether its tokens carry loss."""

    text: str
    trained: bool


@dataclass(frozen=True)
class Preview:
    """A rendered row in segments. `print` shows colour in a terminal and `[[trained]]` elsewhere; notebooks show HTML.

    `tokens` and `trained` count the row's tokens and those of them that carry loss.
    """

    segments: tuple[PreviewSegment, ...]
    tokens: int
    trained: int

    @property
    def plain(self) -> str:
        """The text, with trained text in double brackets."""
        return "".join(f"[[{segment.text}]]" if segment.trained else segment.text for segment in self.segments)

    @property
    def ansi(self) -> str:
        """The text for a terminal, trained text on green, the rest dimmed."""
        return "".join(f"{_TRAINED if segment.trained else _OTHER}{segment.text}{_RESET}" for segment in self.segments)

    @property
    def summary(self) -> str:
        return f"{self.trained} of {self.tokens} tokens carry loss"

    def __str__(self) -> str:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return f"{self.ansi if coloured else self.plain}\n{self.summary}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        mark = '<mark style="background:#b7e4c7;color:#081c15;border-radius:2px">{}</mark>'
        body = "".join((mark if trained else "{}").format(html.escape(text)) for text, trained in self.segments)
        return f'<pre style="white-space:pre-wrap">{body}</pre><small>{self.summary}</small>'


def make_preview(text: str, offsets: np.ndarray, trained: np.ndarray, replacements: Sequence[Replacement]) -> Preview:
    """Cut `text` where loss begins and ends; expanded images are abbreviated.

    Args:
        text: The rendered row, images expanded.
        offsets: `[T, 2]`, the characters of each token.
        trained: `[T]` bool, whether a token carries loss.
        replacements: The expanded placeholders, in characters of the unexpanded text.
    """
    is_trained = np.zeros(len(text), dtype=bool)
    for start, end in offsets[trained]:
        is_trained[start:end] = True
    return Preview(tuple(_split_segments(text, is_trained, offsets, replacements)), len(offsets), int(trained.sum()))


def _split_segments(
    text: str, is_trained: np.ndarray, offsets: np.ndarray, replacements: Sequence[Replacement]
) -> Iterator[PreviewSegment]:
    last = 0
    for start, end in find_image_spans(replacements):
        yield from _split_text(text, is_trained, last, start)
        count = int(((offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 0] < offsets[:, 1])).sum())
        yield PreviewSegment(f"<image: {count} tokens>", False)
        last = end
    yield from _split_text(text, is_trained, last, len(text))


def _split_text(text: str, is_trained: np.ndarray, start: int, end: int) -> Iterator[PreviewSegment]:
    for trained, indices in groupby(range(start, end), key=lambda index: bool(is_trained[index])):
        yield PreviewSegment("".join(text[index] for index in indices), trained)
