"""Read closed answers: yes or no, an option's letter, a short phrase. Knows text only.

Each reader gives one reading or `None`: what is unclear is unclear, and no second rule is tried until one fits.
"""

from __future__ import annotations

import re
from typing import Literal

_YES_NO = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
_OPTION = re.compile(r"^\s*\(?([A-Z])[.):]\s*(\S.*?)\s*$", re.MULTILINE)
_LETTER = re.compile(
    r"(?:(?:the\s+)?(?:correct\s+|right\s+)?(?:answer|option|choice)(?:\s+is)?\s*:?\s*)?\(?([A-Z])\b(?!['’])", re.IGNORECASE
)
_ARTICLES = {"a", "an", "the"}


def yes_no(text: str) -> Literal["yes", "no"] | None:
    """Read a yes/no answer: the word it begins with, else the only one of the two in its first sentence, else `None`.

    >>> yes_no("No, there is no dog."), yes_no("The answer is yes."), yes_no("It is hard to say."), yes_no("It is yes or no.")
    ('no', 'yes', None, None)
    """
    sentence = re.split(r"[.!?\n]", text.strip(), maxsplit=1)[0]
    found = [match[1].lower() for match in _YES_NO.finditer(sentence)]
    begins = _YES_NO.match(sentence.lstrip("\"'*( "))
    if not begins and len(set(found)) != 1:
        return None
    return "yes" if (found[0] == "yes") else "no"


def options(question: str) -> dict[str, str]:
    """The options that a question lists on lines of their own, by letter.

    >>> options("What is it?\\nA. a cup\\nB) a hat")
    {'A': 'a cup', 'B': 'a hat'}
    """
    return {match[1]: match[2] for match in _OPTION.finditer(question)}


def option_letter(text: str, question: str = "") -> str | None:
    """Read which option an answer takes: the letter it begins with, or the one option whose words it is.

    With `question`, only letters that it lists count. "A dog" is not the option A.

    >>> option_letter("(B) a hat"), option_letter("The answer is c."), option_letter("A dog is there.")
    ('B', 'C', None)
    >>> option_letter("a hat", "What is it?\\nA. a cup\\nB. a hat")
    'B'
    """
    listed = options(question)
    own = [letter for letter, words in listed.items() if short_answer(words) == short_answer(text)]
    if len(own) == 1:
        return own[0]
    match = _LETTER.match(text.strip().lstrip('"*'))
    if match is None or not _stands_alone(text.strip().lstrip('"*'), match, listed):
        return None
    letter = match[1].upper()
    return letter if not listed or letter in listed else None


def _stands_alone(text: str, match: re.Match[str], listed: dict[str, str]) -> bool:
    """Whether the letter is a letter and not the article or pronoun it might be."""
    rest = text[match.end() :].lstrip('"*')
    if not rest.strip() or rest[0] in ".):,;":
        return True
    # "B a hat": a letter without punctuation counts only when that option's own words follow.
    own = listed.get(match[1].upper())
    return own is not None and short_answer(rest) == short_answer(own)


def short_answer(text: str) -> str:
    """Bring a short answer into one form: lower case, no articles, no punctuation at the edges of words.

    >>> short_answer(" The Red circle. ")
    'red circle'
    """
    words = (word.strip(".,;:!?\"'()*") for word in text.lower().split())
    return " ".join(word for word in words if word and word not in _ARTICLES)
