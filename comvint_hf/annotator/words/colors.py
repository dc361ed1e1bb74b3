"""Which colours a text gives to which objects: "a black and white dog" is a dog that is black and white. It knows no scene."""

from __future__ import annotations

import re

from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import ARTICLES, COLOURS, POSSESSIVES
from comvint_hf.annotator.words.vocabulary import could_be
from comvint_hf.text import singular

BETWEEN = ARTICLES | POSSESSIVES
_WORD = re.compile(r"[a-z\-]+")


def is_known(word: str) -> bool:
    """Whether a word is one we know: slips of the pen ("a tog") are not, and names are let pass."""
    return not word.islower() or singular(word) in vocabulary.known_words() or knowledge.find_noun(word) is not None


def find_colours(text: str) -> dict[str, frozenset[str]]:
    """The nouns before which colours stand, with those colours.

    >>> find_colours("A tan dog and a big white cat")
    {'dog': frozenset({'tan'}), 'cat': frozenset({'white'})}
    """
    found: dict[str, frozenset[str]] = {}
    colours: set[str] = set()
    for word in _WORD.findall(text.lower()):
        if word in COLOURS:
            colours.add(COLOURS[word])
        elif word in BETWEEN:
            colours = set()
        elif colours and is_known(word):
            found[word] = found.get(word, frozenset()) | colours
            colours = set()
    return found


def may_describe_same(one: str, two: str) -> bool:
    """Whether two texts may be said of one image: they give nothing that both may name two different sets of colours.

    >>> may_describe_same("A brown dog runs.", "A tan dog plays."), may_describe_same("A brown dog runs.", "A dog catches a tan ball.")
    (False, True)
    """
    first, second = find_colours(one), find_colours(two)
    return not any(could_be(noun, other) and first[noun] != second[other] for noun in first for other in second)
