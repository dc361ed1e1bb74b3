"""How texts fall into classes that can be counted, so that the counts of any number of rows stay small.

Texts in, classes out. This file knows no row and no file.
"""

from __future__ import annotations

import re
from collections import Counter

OPENINGS = 1000
"""No more openings of questions than this are counted apart; see `bounded`."""
WORD = re.compile(r"\w+(?:['’]\w+)?")
_OPTION_LINE = re.compile(r"^\s*\(?([A-D])[).:]\s+(.+?)\s*$", re.MULTILINE)


def opening(text: str) -> list[str]:
    """The first three words, in lower case; fewer where the text has fewer.

    >>> opening("What colour is the cup?"), opening("Why?")
    (['what', 'colour', 'is'], ['why'])
    """
    return [word.lower() for word in WORD.findall(text[:120])[:3]]


def bounded(openings: Counter[str]) -> Counter[str]:
    """The same counter where it holds at most `OPENINGS`; else the less frequent half is told apart by fewer words.

    A rare "what is under" is counted as "what is", and only where that does not do as "what" or "". Sums stay exact, and an
    opening that makes up more than 1/500 of what was counted so far is not folded.

    >>> bounded(Counter({"what is the": 2}))
    Counter({'what is the': 2})
    """
    for length in (2, 1, 0):
        if len(openings) <= OPENINGS:
            break
        ranked = sorted(openings.items(), key=lambda item: (-item[1], item[0]))
        openings = Counter(dict(ranked[: OPENINGS // 2]))
        for text, count in ranked[OPENINGS // 2 :]:
            openings[" ".join(text.split()[:length])] += count
    return openings


def length_class(words: int) -> str:
    """The class that a text of so many words is counted in: itself below 100, else its ten.

    >>> length_class(7), length_class(361)
    ('7', '360')
    """
    return str(words if words < 100 else words // 10 * 10)


def option_texts(question: str) -> dict[str, str]:
    """The options that a multiple-choice question lists, by letter.

    >>> option_texts("Which cup?\\nA. the red one\\nB. the blue one\\nAnswer with the letter.")
    {'A': 'the red one', 'B': 'the blue one'}
    """
    return dict(_OPTION_LINE.findall(question))
