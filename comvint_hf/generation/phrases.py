"""Phrases and what they name: whether the words between markers can be a name of the object that they point at.

Names come from the scene; `names.toml` has the hypernyms and other names of common things. This module knows no check.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from importlib.resources import files

from comvint_hf.text import singular
from comvint_hf.types import Object, Region, Scene

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@cache
def _lists() -> dict:
    return tomllib.loads(files("comvint_hf.generation").joinpath("names.toml").read_text(encoding="utf-8"))


@cache
def _list(name: str) -> frozenset[str]:
    return frozenset(_lists()[name].split())


@cache
def _kinds() -> tuple[tuple[frozenset[str], tuple[frozenset[str], ...]], ...]:
    """Hypernyms, and the members of each kind as sets of words for the same thing."""
    kinds = _lists()["kind"]
    return tuple(
        (frozenset(kind["names"].split()), tuple(frozenset(line.split()) for line in kind["members"].strip().splitlines()))
        for kind in kinds
    )


@lru_cache(maxsize=16384)
def content_words(phrase: str) -> tuple[str, ...]:
    """Return the words of a phrase that can name something, in the singular.

    >>> content_words("the two large Dogs")
    ('dog',)
    """
    words = _WORD.findall(phrase.casefold())
    return tuple(singular(word) for word in words if word not in _list("small"))


def is_name_of(phrase: str, item: Object | Region, scene: Scene) -> bool:
    """Whether a phrase can be a name of an object or region.

    One of its words is a word of its names, a hypernym or another name of one, or names anything at all ("thing", "it").
    A person may be called by any word that names no other kind of thing.
    """
    words = content_words(phrase)
    if not words or any(word in _list("generic") for word in words):
        return True
    known = known_words(item, scene)
    if any(word in known or _is_kin(word, one) for word in words for one in known):
        return True
    return is_person(known) and not any(word in _list("abstract") or _names_thing(word) for word in words)


def known_words(item: Object | Region, scene: Scene) -> frozenset[str]:
    """Return the words by which the scene calls a thing; of a region also those of its objects."""
    texts = (item.name, *item.names, *item.kind.split("/")) if isinstance(item, Object) else (item.text,)
    words = {word for text in texts for word in content_words(text)}
    if isinstance(item, Region):
        for tag in item.objects:
            words |= known_words(scene.by_tag[tag], scene) if tag in scene.by_tag and tag.startswith("o") else set()
    return frozenset(words)


def is_person(words: frozenset[str]) -> bool:
    """Whether one of the words names a person."""
    names, members = _kinds()[0]
    return any(word in names or any(word in line for line in members) for word in words)


def _is_kin(word: str, other: str) -> bool:
    """Whether two words are names of the same thing, or one is the other's hypernym."""
    for number, (names, members) in enumerate(_kinds()):
        lines = [line for line in members if word in line or other in line]
        if word in names or other in names:
            # Two hypernyms, or one and a member.
            if (word in names and other in names) or lines:
                return True
        elif any(word in line and other in line for line in lines) or (number == 0 and len(lines) > 1):
            return True
    return word in other.split("-") or other in word.split("-")


@cache
def _names_thing(word: str) -> bool:
    """Whether a word names some other kind of thing than a person."""
    return any(word in names or any(word in line for line in members) for names, members in _kinds()[1:])


def ends_with_name(text: str, item: Object | Region) -> str:
    """Return the words at the end of a text that name the item, with a word between article and name; "" without any.

    >>> ends_with_name("There is a small dog", Object(tag="o1", key="1", name="dog"))
    'small dog'
    """
    match = re.search(r"((?:[A-Za-z'-]+\s+){0,2}?)([A-Za-z'-]+)$", text)
    if match is None:
        return ""
    last = content_words(match[2])
    names = {word for name in (item.names or (item.name,)) for word in content_words(name)} if isinstance(item, Object) else set()
    if not last or not (set(last) & names or any(_is_kin(last[0], name) for name in names)):
        return ""
    phrase = re.search(r"(?:\b[A-Za-z'-]+\s+)?\b[A-Za-z'-]+$", text)
    words = phrase[0].split() if phrase else [match[2]]
    keeps = len(words) == 2 and words[0].casefold() not in _list("no_adjective") and words[0].islower()
    return " ".join(words) if keeps and text.endswith(" ".join(words)) else match[2]
