"""What programs may ask of the world: fields of knowledge about a noun, each with one short answer.

Uses and materials come from `knowledge.toml`, the rest from `wording/short_knowledge.toml`. It knows no scene.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import words
from comvint_hf.text import singular


@cache
def _short_answers() -> dict[str, dict[str, str]]:
    """Field -> kind -> value, read from `wording/short_knowledge.toml`."""
    return vocabulary.read_table("short_knowledge")


CORNERED = ("triangle", "square")
"""Shapes whose corners everybody counts alike."""
NARROWER: dict[str, str] = vocabulary.read_table("english")["narrower"]
"""Materials, works and parts of the body, and the narrower ones that each takes in."""
GENERAL = ("use", "made_of")
"""Fields that `knowledge.toml` holds as whole phrases."""


@cache
def fields() -> tuple[str, ...]:
    """Every field of knowledge about an object that a program may ask for."""
    return (*GENERAL, *_short_answers())


@cache
def values(field: str) -> tuple[str, ...]:
    """Every value of a field, none twice: where wrong options come from."""
    found = (
        [getattr(noun, field) for noun in knowledge.nouns().values()] if field in GENERAL else _short_answers()[field].values()
    )
    return tuple(dict.fromkeys(value for value in found if value and not set(value) & set(",();")))


@lru_cache(maxsize=65536)
def lookup(field: str, noun: str) -> str | None:
    """What is known of a noun: by its own words first ("water bottle"), then by its kind; `None` if nothing or not surely."""
    if field == "corners":
        return str(knowledge.shapes()[noun].corners) if noun in CORNERED else None
    known = knowledge.find_noun(noun)
    if field in (*GENERAL, "legs", "wheels"):
        text = str(getattr(known, field) or "") if known and known.kind != "human being" else ""
        return text if text and not set(text) & set(",();") else None
    table = _short_answers()[field]
    if (value := table.get(singular(noun.lower()))) is not None:
        return value
    if field == "young" and singular(noun.lower()).rpartition(" ")[2] in table.values():
        return None
    kinds = {table.get(kind) for kind in vocabulary.classes_of(noun)}
    return kinds.pop() if len(kinds) == 1 else None


SMALL_WORDS = words("small_words")


def overlap(first: str, second: str) -> bool:
    """Whether two phrases of knowledge share a word that matters, or one has a narrower one, so that one may be right where the other is.

    >>> overlap("drink hot drinks", "drink wine"), overlap("tell the time", "cut the paper"), overlap("metal", "steel and rubber")
    (True, False, True)
    """
    return not (_stems(first).isdisjoint(_expand_stems(second)) and _expand_stems(first).isdisjoint(_stems(second)))


def is_same_content(first: str, second: str) -> bool:
    """Whether one of two phrases has no word that matters beyond the other's, in any order.

    >>> is_same_content("metal and plastic", "plastic and metal"), is_same_content("wood", "wood or metal"), is_same_content("wood", "glass")
    (True, True, False)
    """
    return _stems(first) <= _stems(second) or _stems(second) <= _stems(first)


@lru_cache(maxsize=16384)
def _stems(phrase: str) -> frozenset[str]:
    return frozenset(word.rstrip("s")[:6] for word in re.findall(r"[a-z]+", phrase.lower()) if word not in SMALL_WORDS)


@lru_cache(maxsize=16384)
def _expand_stems(phrase: str) -> frozenset[str]:
    """The stems with those of whatever is narrower: "metal" may be steel."""
    return _stems(phrase).union(*(_stems(narrower) for word, narrower in NARROWER.items() if _stems(word) <= _stems(phrase)))


@lru_cache(maxsize=4096)
def similar_uses(noun: str) -> frozenset[str]:
    """What objects of the same kind on as many wheels are used for: a bike may serve where a scooter does."""
    known = knowledge.find_noun(noun)
    if known is None or not known.wheels:
        return frozenset()
    similar = (other for other in knowledge.nouns().values() if (other.kind, other.wheels) == (known.kind, known.wheels))
    return frozenset(other.use for other in similar if other.use)
