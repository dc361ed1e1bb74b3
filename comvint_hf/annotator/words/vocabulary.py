"""What words mean: synonyms and broader kinds, read from `wording/kinds.toml`. It knows no scene."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from comvint_hf.text import singular

WORDING = Path(__file__).parents[1] / "wording"


@dataclass(frozen=True)
class Kind:
    """A kind of object: the word we say, its broader kind, its settings, whether nobody overlooks it, whether COCO has it."""

    name: str
    word: str
    parent: str
    settings: frozenset[str]
    big: bool
    coco: bool


@dataclass(frozen=True)
class Relation:
    """A verb phrase as in "X is holding Y"; `asks` are the ends a question may ask for."""

    verb: str
    asks: frozenset[str]
    animate: bool
    place: bool


@cache
def read_table(name: str) -> dict:
    """Read one data file of `wording/`."""
    return tomllib.loads((WORDING / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def kind_table() -> dict[str, Kind]:
    """Every known kind by its name."""
    return {
        name: Kind(
            name,
            entry.get("word", name),
            entry.get("is", ""),
            frozenset(entry.get("at", "").split()),
            entry.get("big", False),
            entry.get("coco", False),
        )
        for name, entry in read_table("kinds").items()
    }


@cache
def _canonical() -> dict[str, frozenset[str]]:
    """Word -> the kinds it may mean. A word may mean several ("glass": a cup or a wine glass)."""
    meanings: dict[str, set[str]] = {}
    for name, entry in read_table("kinds").items():
        for word in (name, entry.get("word", name), *(word.replace("-", " ") for word in entry.get("words", "").split())):
            meanings.setdefault(word, set()).add(name)
            meanings.setdefault(singular(word), set()).add(name)
    for parent in {entry["is"] for entry in read_table("kinds").values() if "is" in entry}:
        meanings.setdefault(parent, set()).add(parent)
    return {word: frozenset(names) for word, names in meanings.items()}


@lru_cache(maxsize=65536)
def classes_of(noun: str) -> frozenset[str]:
    """The kinds that a noun (a phrase's core, singular or plural) may mean; the noun's own head if no kind is known.

    >>> sorted(classes_of("young men")), sorted(classes_of("hot dog")), sorted(classes_of("gravestone"))
    (['man'], ['hot dog'], ['gravestone'])
    """
    words = noun.lower().replace("-", " ").split(" ")
    for start in range(max(0, len(words) - 4), len(words)):
        tail = " ".join(words[start:])
        for form in (tail, singular(tail)):
            if form in _canonical():
                return _canonical()[form]
    return frozenset((singular(words[-1]),))


@lru_cache(maxsize=65536)
def ancestors(kind: str) -> frozenset[str]:
    """A kind and every broader one.

    >>> sorted(ancestors("boy"))
    ['boy', 'child', 'person']
    """
    parent = kind_table()[kind].parent if kind in kind_table() else ""
    return frozenset((kind,)) | (ancestors(parent) if parent else frozenset())


@lru_cache(maxsize=65536)
def all_classes_of(noun: str) -> frozenset[str]:
    """All kinds, narrow and broad, that a noun may mean."""
    return frozenset().union(*(ancestors(kind) for kind in classes_of(noun)))


@lru_cache(maxsize=262144)
def could_be(noun: str, name: str) -> bool:
    """Whether what is called `noun` could also be called `name`: the same, narrower, or so broad that one cannot know.

    >>> could_be("boy", "person"), could_be("person", "boy"), could_be("man", "woman"), could_be("cab", "car")
    (True, True, False, True)
    """
    mine, other = classes_of(noun), classes_of(name)
    return not mine.isdisjoint(all_classes_of(name)) or not other.isdisjoint(all_classes_of(noun))


@lru_cache(maxsize=65536)
def is_a(noun: str, kind: str) -> bool:
    """Whether every meaning of `noun` is of the broader `kind`.

    >>> is_a("puppy", "animal"), is_a("table", "animal")
    (True, False)
    """
    return all(kind in ancestors(meaning) for meaning in classes_of(noun))


@cache
def relations() -> dict[str, Relation]:
    """Every relation by its verb."""
    return {
        entry["verb"]: Relation(
            entry["verb"], frozenset(entry.get("asks", "").split()), entry.get("animate", False), entry.get("place", False)
        )
        for entry in read_table("relations")["relation"]
    }


@cache
def _predicate_table() -> dict[str, str]:
    return {form: entry["verb"] for entry in read_table("relations")["relation"] for form in (entry["verb"], *entry["forms"])}


@lru_cache(maxsize=16384)
def normalise_predicate(predicate: str) -> str | None:
    """The verb phrase that a corpus's predicate means, `None` for what has no grammatical reading.

    >>> normalise_predicate("ON"), normalise_predicate("is holding a"), normalise_predicate("wood floors here") is None
    ('on', 'holding', True)
    """
    words = predicate.lower().strip(" .,").split()
    while words and words[0] in ("is", "are", "was", "who", "that", "which", "he", "she", "being"):
        words = words[1:]
    forms = _predicate_table()
    text = " ".join(words)
    return forms.get(text) or forms.get(" ".join(word for word in words if word not in ("a", "an", "the")))


@cache
def known_words() -> frozenset[str]:
    """Every word that names a kind."""
    return frozenset(_canonical())


@cache
def parent_names() -> frozenset[str]:
    """Kinds that have narrower ones: "animal", "vehicle", "person"."""
    return frozenset(kind.parent for kind in kind_table().values() if kind.parent)
