"""Wordings with named blanks, drawn by a seed and put into sentences. It knows no scene."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

_SENTENCE_START = re.compile(r"(^|[.!?] )(<st>)?([a-z])")
_INITIALS = re.compile(r"\b(tv|suv|dvd|cd)(s?)\b")


def prose(text: str) -> str:
    """Begin every sentence with a capital.

    >>> prose("there is a tv. it is brown.")
    'There is a TV. It is brown.'
    """
    text = _INITIALS.sub(lambda word: f"{word[1].upper()}{word[2]}", text)
    return _SENTENCE_START.sub(lambda start: f"{start[1]}{start[2] or ''}{start[3].upper()}", text)


def say(random: Random, wordings: Sequence[str], /, **blanks: object) -> str:
    """One of the wordings with its blanks filled."""
    return prose(random.choice(wordings).format_map(blanks))
