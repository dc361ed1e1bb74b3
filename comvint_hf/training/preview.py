"""Which text of a row carries loss, for people to look at. It knows characters and tokens' places, no processor and no row."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

from comvint_hf.training.loss_mask import Replacement, expansions

_LEARNT, _OTHER, _END = "\x1b[30;42m", "\x1b[2m", "\x1b[0m"


class Piece(NamedTuple):
    """A stretch of text, and whether its tokens carry loss."""

    text: str
    learnt: bool


@dataclass(frozen=True)
class Preview:
    """A rendered row in pieces. `print` shows colour in a terminal and `[[learnt]]` elsewhere; notebooks show HTML.

    `tokens` and `learnt` count the row's tokens and those of them that carry loss.
    """

    pieces: tuple[Piece, ...]
    tokens: int
    learnt: int

    @property
    def plain(self) -> str:
        """The text with what carries loss in double brackets."""
        return "".join(f"[[{piece.text}]]" if piece.learnt else piece.text for piece in self.pieces)

    @property
    def ansi(self) -> str:
        """The text for a terminal: what carries loss on green, the rest dimmed."""
        return "".join(f"{_LEARNT if piece.learnt else _OTHER}{piece.text}{_END}" for piece in self.pieces)

    @property
    def summary(self) -> str:
        return f"{self.learnt} of {self.tokens} tokens carry loss"

    def __str__(self) -> str:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return f"{self.ansi if coloured else self.plain}\n{self.summary}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        style = "background:#b7e4c7;color:#081c15;border-radius:2px"
        body = "".join(
            f'<mark style="{style}">{html.escape(piece.text)}</mark>' if piece.learnt else html.escape(piece.text)
            for piece in self.pieces
        )
        return f'<pre style="white-space:pre-wrap">{body}</pre><small>{self.summary}</small>'


def preview_of(text: str, offsets: np.ndarray, learnt: np.ndarray, replacements: Sequence[Replacement]) -> Preview:
    """Cut `text` where loss begins and ends; expanded pictures are written short.

    `offsets` is `[T, 2]` and `learnt` `[T]` bool, as the collator has them; `replacements` are in the text's own characters.
    """
    coloured = np.zeros(len(text), dtype=bool)
    for start, end in offsets[learnt]:
        coloured[start:end] = True
    return Preview(tuple(_pieces(text, coloured, offsets, replacements)), len(offsets), int(learnt.sum()))


def _pieces(text: str, coloured: np.ndarray, offsets: np.ndarray, replacements: Sequence[Replacement]) -> Iterator[Piece]:
    last = 0
    for start, end in expansions(replacements):
        yield from _runs(text, coloured, last, start)
        count = int(((offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 0] < offsets[:, 1])).sum())
        yield Piece(f"<picture: {count} tokens>", False)
        last = end
    yield from _runs(text, coloured, last, len(text))


def _runs(text: str, coloured: np.ndarray, start: int, end: int) -> Iterator[Piece]:
    for learnt, places in groupby(range(start, end), key=lambda place: bool(coloured[place])):
        yield Piece("".join(text[place] for place in places), learnt)
