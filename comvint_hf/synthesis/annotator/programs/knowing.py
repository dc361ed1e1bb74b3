"""What programs may ask of the world: fields of knowledge about a noun, each with one short answer.

Uses and materials come from `knowledge.toml`, the rest from `wording/comvint_knowledge.toml`. It knows no scene.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from comvint_hf.synthesis.annotator.words import knowledge, lexicon
from comvint_hf.synthesis.annotator.words.language import singular, words


@cache
def _short_answers() -> dict[str, dict[str, str]]:
    """Field -> kind -> value, read from `wording/comvint_knowledge.toml`."""
    return lexicon.read("comvint_knowledge")


CORNERED = ("triangle", "square")
"""Shapes whose corners everybody counts alike."""
GENERAL = ("use", "made_of")
"""Fields that `knowledge.toml` holds as whole phrases."""


@cache
def fields() -> tuple[str, ...]:
    """Every field of knowledge about a thing that a program may ask for."""
    return (*GENERAL, *_short_answers())


@cache
def values(field: str) -> tuple[str, ...]:
    """Every value of a field, none twice: where wrong options come from."""
    if field in GENERAL:
        found = (getattr(noun, field) for noun in knowledge.nouns().values())
    else:
        found = _short_answers()[field].values()
    return tuple(dict.fromkeys(value for value in found if value and not set(value) & set(",();")))


@lru_cache(maxsize=65536)
def know(field: str, noun: str) -> str | None:
    """What is known of a noun: by its own words first ("water bottle"), then by its kind; `None` if nothing or not surely."""
    if field == "corners":
        return str(knowledge.shapes()[noun].corners) if noun in CORNERED else None
    known = knowledge.known(noun)
    if field in (*GENERAL, "legs", "wheels"):
        value = str(getattr(known, field) or "") if known and known.kind != "human being" else ""
        return value if value and not set(value) & set(",();") else None
    table = _short_answers()[field]
    if (value := table.get(singular(noun.lower()))) is not None:
        return value
    kinds = {table.get(kind) for kind in lexicon.meanings(noun)}
    return kinds.pop() if len(kinds) == 1 else None


SMALL_WORDS = words("small_words")


def overlap(first: str, second: str) -> bool:
    """Whether two phrases of knowledge share a word that matters, so that one may be right where the other is.

    >>> overlap("drink hot drinks", "drink wine"), overlap("tell the time", "cut the paper")
    (True, False)
    """
    return not _stems(first).isdisjoint(_stems(second))


@lru_cache(maxsize=16384)
def _stems(phrase: str) -> frozenset[str]:
    return frozenset(word.rstrip("s")[:6] for word in re.findall(r"[a-z]+", phrase.lower()) if word not in SMALL_WORDS)


@lru_cache(maxsize=4096)
def serving(use: str) -> tuple[str, ...]:
    """Every noun that may serve a use."""
    return tuple(name for name, noun in knowledge.nouns().items() if noun.use and overlap(noun.use, use))
