"""What everybody knows about objects: kinds, uses, materials, dangers, and what several objects together suggest.

Read from `knowledge.toml`, whose first lines say how each field reads in a sentence. This file knows no scene: it takes
nouns and gives facts that hold without an image.
"""

from __future__ import annotations

import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from comvint_hf.text import plural, singular
from comvint_hf.types import Record

BASIC_COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white", "brown", "pink", "grey")
RENDERED_COLOURS, SHAPE_NAMES = BASIC_COLOURS[:6], ("circle", "square", "triangle", "star")
"""Colours and shapes of rendered scenes."""
FILE = Path(__file__).parents[1] / "knowledge.toml"
Trait = Literal[
    "electric", "edible", "alive", "flies", "floats", "fragile", "sharp", "seat", "container", "readable", "warm", "summery",
    "indoor", "outdoor",
]  # fmt: skip


class Noun(Record):
    """What is known of objects that are called `name`; an empty field says nothing. `size` is metres along the longest side.

    `unless` are words that make something else of it when they stand before it ("license" before "plate").
    """

    name: str
    kind: str
    synonyms: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    use: str = ""
    place: str = ""
    made_of: str = ""
    care: str = ""
    danger: str = ""
    fact: str = ""
    goes_with: tuple[str, ...] = ()
    traits: frozenset[Trait] = frozenset()
    legs: int = 0
    wheels: int = 0
    size: float = 0.0
    mass: bool = False


class Rule(Record):
    """What visible objects suggest: one object of each group of `all`, none of `none`.

    `touch` is the share of the smaller box that the first two must have in common; one of the words `said`, if there are any,
    must have been used of the scene, and none of the words `unsaid`.
    """

    asks: Literal["setting", "activity", "weather"]
    all: tuple[frozenset[str], ...]
    none: frozenset[str] = frozenset()
    touch: float = 0.0
    said: frozenset[str] = frozenset()
    unsaid: frozenset[str] = frozenset()
    concludes: str
    because: str
    next: str = ""
    skill: str = ""


class Colour(Record):
    """`hint` is an object that everybody knows in this colour; `warm` is `None` for colours that are neither."""

    name: str
    hint: str
    warm: bool | None = None
    fact: str


class Shape(Record):
    """`like` and `also` are everyday objects of this shape."""

    name: str
    corners: int
    sides: int
    points: int = 0
    rolls: bool
    like: str
    also: tuple[str, ...] = ()
    fact: str


@cache
def _tables() -> dict:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@cache
def nouns() -> dict[str, Noun]:
    """Every noun by its name."""
    return {name: Noun(name=name, **fields) for name, fields in _tables()["nouns"].items()}


@cache
def _by_word() -> dict[str, Noun]:
    words = {word: noun for noun in nouns().values() for word in (noun.name, *noun.synonyms)}
    return {plural(word): noun for word, noun in words.items()} | words


@lru_cache(maxsize=65536)
def find_noun(noun: str) -> Noun | None:
    """What is known of a noun, singular or plural, with or without attributes; `None` where nothing surely holds.

    >>> find_noun("young men").name, find_noun("red bikes").name, find_noun("license plate"), find_noun("gravestone")
    ('man', 'bicycle', None, None)
    """
    words = noun.lower().replace("-", " ").split(" ")
    for start in range(max(0, len(words) - 3), len(words)):
        tail = " ".join(words[start:])
        found = _by_word().get(tail) or _by_word().get(singular(tail))
        if found:
            return None if found.unless and not set(words[:start]).isdisjoint(found.unless) else found
    return None


def word_for(called: str, noun: Noun) -> str:
    """The name of a noun that somebody used when calling an object `called`, its own name if none of them.

    >>> word_for("red bike", find_noun("red bike")), word_for("cab", nouns()["car"])
    ('bike', 'car')
    """
    words = called.lower().split(" ")
    tails = {form for start in range(len(words)) for tail in [" ".join(words[start:])] for form in (tail, singular(tail))}
    return next((word for word in (noun.name, *noun.synonyms) if word in tails), noun.name)


@cache
def rules(asks: str) -> tuple[Rule, ...]:
    """The rules whose conclusion answers one kind of question."""
    return tuple(rule for rule in map(Rule.model_validate, _tables()["rules"]) if rule.asks == asks)


@cache
def colours() -> dict[str, Colour]:
    """The colours by name."""
    return {name: Colour(name=name, **fields) for name, fields in _tables()["colours"].items()}


@cache
def paint_results() -> dict[frozenset[str], str]:
    """What two paints give when they are mixed."""
    return {frozenset(entry["of"]): entry["gives"] for entry in _tables()["mixtures"]}


@cache
def shapes() -> dict[str, Shape]:
    """The plane shapes by name."""
    return {name: Shape(name=name, **fields) for name, fields in _tables()["shapes"].items()}
