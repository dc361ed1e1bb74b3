"""Region texts as phrases: those that name what a region shows, in the words of their describers. It knows no question."""

from __future__ import annotations

import re
from collections import Counter

from comvint_hf.annotator.language import captions
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import COLOURS, RENAMED, number_of
from comvint_hf.annotator.words.knowledge import find_noun
from comvint_hf.types import Scene

_REGION = re.compile(r"^(?:a|an|two|three|four|some|the) [a-z][a-z' \-]+$")
PREPOSITIONS = frozenset(
    ("on", "in", "of", "to", "along", "near", "by", "at", "with", "under", "behind", "from", "beside", "over")
    + ("against", "above", "below", "into", "onto", "across", "around", "between", "through", "without", "inside")
)
ENDLESS = frozenset(("outside", "inside", "there", "here", "parked", "walking", "standing", "sitting"))
"""Words that no phrase for an object ends in."""
DETERMINERS = frozenset(
    ("a", "an", "the", "his", "her", "its", "their", "one", "each", "some", "any", "this", "that") + ("another",)
)
_BEFORE = re.compile(r" (?:in front of|on top of|next to|in back of) ")
_NOT_A_NAME = re.compile(
    r"\b(?:is|are|has|have|was|were|says?|reads|seems?|looks|can|with of|photo|picture|image|background|foreground|this|that|it|there|color|colour|side walks?)\b|\bnext (?!to\b)|\b(?:sitting|standing|lying|leaning|hanging) (?:an?|the)\b|\b(\w+) \1\b"
)


def common_words(scene: Scene) -> frozenset[str]:
    """Words that several regions of a scene use, or that we know ourselves: slips of the pen are rarely made twice."""
    found = Counter(word for region in scene.regions for word in set(region.text.lower().replace(".", " ").split()))
    return (
        frozenset(word for word, number in found.items() if number > 1 or len(word) < 4 or find_noun(word) or word in COLOURS)
        | vocabulary.known_words()
    )


def has_common_words(text: str, usual: frozenset[str]) -> bool:
    """Whether each word of a region's text is a usual one."""
    return usual.issuperset(text.replace(",", "").split())


def region_text(raw: str) -> str | None:
    """A region's text as a phrase with its article, `None` for sentences, for a bare noun at the end, and for what is odd.

    >>> region_text("A man in a red shirt. "), region_text("the clock is green in colour")
    ('a man in a red shirt', None)
    """
    text = " ".join(RENAMED.get(word, word) for word in raw.rstrip(". \n").lower().split())
    words = text.split(" ")
    if (
        not 4 <= len(words) <= 12
        or not _REGION.match(text)
        or _NOT_A_NAME.search(text)
        or text.startswith("the ")
        or captions.DOES.intersection(words)
        or _lacks_determiner(words)
    ):
        return None
    return text


def _lacks_determiner(words: list[str]) -> bool:
    """Whether it ends in no noun, or has one without its article: "a man on bike", "a chair with soft cushion"."""
    if words[-1] in PREPOSITIONS | ENDLESS:
        return True
    text = _BEFORE.sub(" near ", " ".join(words))
    phrase: list[str] = ["a"]
    for word in (*text.split(" "), ""):
        if word and not _links_nouns(word, phrase):
            phrase.append(word)
            continue
        if phrase and DETERMINERS.isdisjoint(phrase) and _countable(phrase[-1]):
            return True
        phrase = []
    return False


def _links_nouns(word: str, before: list[str]) -> bool:
    """Whether a word begins a phrase of its own: a preposition or a participle, but not the railing of "the railing"."""
    participle = (
        word.endswith("ing")
        and find_noun(word) is None
        and word not in vocabulary.known_words()
        and before[-1:] not in (["a"], ["the"])
    )
    return word in PREPOSITIONS or participle


def _countable(word: str) -> bool:
    """Whether a noun needs a determiner: neither a stuff nor several, and no colour."""
    noun = find_noun(word)
    return word not in COLOURS and number_of(word) == "singular" and not (noun and noun.mass)
