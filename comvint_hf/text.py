"""Singular and plural of English nouns, by their endings and the word lists of `text.toml`. Pure text: it knows no scene."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

# Not by a path: a Space imports the package from a zipped wheel.
_LISTS = tomllib.loads(files("comvint_hf").joinpath("text.toml").read_text(encoding="utf-8"))
SAME, PLURAL_ONLY, MASS, NOT_PLURAL = (frozenset(_LISTS[name].split()) for name in ("same", "plural_only", "mass", "not_plural"))
IRREGULAR: dict[str, str] = _LISTS["irregular"]


@dataclass(frozen=True, eq=False)
class SingularRules:
    """Rules that form singulars.

    Args:
        irregular: Plural to singular.
        unchanged: Words that stay as they are.
        shortest: Letters of the shortest word that is changed.
        endings: Patterns of endings with their replacements; the first that matches is replaced.
    """

    irregular: Mapping[str, str]
    unchanged: frozenset[str]
    shortest: int
    endings: tuple[tuple[str, str], ...]


ENGLISH = SingularRules(
    irregular={many: one for one, many in IRREGULAR.items()},
    unchanged=SAME | PLURAL_ONLY | NOT_PLURAL,
    shortest=4,
    endings=((r"(?<=..)ies$", "y"), (r"(ss|x|ch|sh|zz)es$", r"\1"), (r"(?<![sui])s$", "")),
)


@lru_cache(maxsize=16384)
def singular(noun: str, rules: SingularRules = ENGLISH) -> str:
    """Return the singular of a noun, or of a phrase's last word; a singular stays as it is.

    >>> [singular(word) for word in ("people", "knives", "buses", "glasses", "babies", "boxes", "red horses", "grass", "cookies")]
    ['person', 'knife', 'bus', 'glasses', 'baby', 'box', 'red horse', 'grass', 'cookie']
    """
    before, space, word = noun.rpartition(" ")
    return f"{before}{space}{_singular(word, rules)}"


def _singular(word: str, rules: SingularRules) -> str:
    if word in rules.irregular:
        return rules.irregular[word]
    if word in rules.unchanged or len(word) < rules.shortest:
        return word
    for ending, replacement in rules.endings:
        changed, count = re.subn(ending, replacement, word)
        if count:
            return changed
    return word


@lru_cache(maxsize=8192)
def plural(noun: str) -> str:
    """Return the plural of a noun, or of a phrase's last word; a plural stays as it is.

    >>> [plural(word) for word in ("person", "knife", "bus", "sheep", "baby", "box", "hot dog", "scissors", "day")]
    ['people', 'knives', 'buses', 'sheep', 'babies', 'boxes', 'hot dogs', 'scissors', 'days']
    """
    before, space, word = noun.rpartition(" ")
    return f"{before}{space}{_plural(word)}"


def _plural(word: str) -> str:
    if word in SAME or word in MASS or is_plural(word):
        return word
    if word in IRREGULAR:
        return IRREGULAR[word]
    if re.search(r"(?:s|x|z|ch|sh)$", word):
        return f"{word}es"
    return f"{word[:-1]}ies" if re.search(r"[^aeiou]y$", word) else f"{word}s"


def is_plural(word: str) -> bool:
    """Whether a single word is a plural, as far as its ending tells."""
    if word in ENGLISH.irregular or word in PLURAL_ONLY:
        return True
    if word in NOT_PLURAL or word in MASS or len(word) < ENGLISH.shortest:
        return False
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))
