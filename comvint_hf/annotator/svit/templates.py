"""Wording as data: tables of templates with named blanks, drawn by seed and put into sentences.

A table is `[kind]` with lists of wordings, the plainest first. What was said can be read back by the same table, because a
blank stands in it by its name. This file knows no scene.
"""

from __future__ import annotations

import re
from functools import cache
from random import Random
from typing import Any

from comvint_hf.annotator.words.vocabulary import read_table

PLAIN = 7
"""How many of a list's first wordings rendered scenes use: a small model should not need many words."""
_SENTENCE_START = re.compile(r"(^|[.!?] )(<st>)?([a-z])")
_INITIALS = re.compile(r"\b(tv|suv|dvd|cd)(s?)\b")


@cache
def tables(name: str) -> dict[str, Any]:
    """The tables of one file of `wording/`."""
    return read_table(name)


def prose(text: str) -> str:
    """Begin every sentence with a capital.

    >>> prose("there is a tv. it is brown.")
    'There is a TV. It is brown.'
    """
    text = _INITIALS.sub(lambda word: f"{word[1].upper()}{word[2]}", text)
    return _SENTENCE_START.sub(lambda start: f"{start[1]}{start[2] or ''}{start[3].upper()}", text)


class Speaker:
    """Draws wordings of one file: the same seed says the same."""

    def __init__(self, wording: str, random: Random, plain: bool) -> None:
        self.tables = tables(wording)
        self.random = random
        self.plain = plain

    def render(self, table: str, form: str, /, **blanks: object) -> str:
        """One wording of a table with its blanks filled."""
        return prose(self.draw(self.tables[table][form]).format_map(blanks))

    def fill(self, template: str, **blanks: object) -> str:
        """A template that was chosen already."""
        return prose(template.format_map(blanks))

    def pick(self, choices: list[str]) -> str:
        """One of several sentences without blanks."""
        return prose(self.draw(choices))

    def has(self, kind: str, form: str) -> bool:
        return form in self.tables[kind]

    def draw(self, choices: list[str]) -> str:
        return self.random.choice(choices[:PLAIN] if self.plain else choices)


def clause(sentence: str) -> str:
    """A sentence as part of another: no capital, no full stop.

    >>> clause("A knife is sharp.")
    'a knife is sharp'
    """
    return f"{sentence[:1].lower()}{sentence[1:].rstrip('.')}"
