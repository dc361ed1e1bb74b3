"""Objects of a scene with clean names, read from annotated objects: what they may be called, their colours and attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import pairwise

from comvint_hf.annotator.facts.geometry import bounding_box, overlap
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.colors import find_colours
from comvint_hf.annotator.words.english import COLLECTIVES, COLOURS, PROPER, NounPhrase, noun_phrase
from comvint_hf.annotator.words.english import words as _words
from comvint_hf.annotator.words.vocabulary import all_classes_of, could_be, is_a
from comvint_hf.registry import Traits
from comvint_hf.text import singular
from comvint_hf.types import Box, Object, Region


@dataclass(frozen=True, eq=False)
class SceneObject:
    """A visible object or group with a clean name.

    `cores` are its own names without tails, `calls` all names it may be called by without being wrong; `colours` all that
    its annotations say, `colour` the one when they agree; `box` is drawn around all of its `boxes`.
    """

    tag: str
    phrase: NounPhrase
    cores: frozenset[str]
    possible_names: frozenset[str]
    attributes: tuple[str, ...]
    colours: frozenset[str]
    boxes: tuple[Box, ...]
    box: Box
    category: str

    @property
    def noun(self) -> str:
        """The word for it, without attributes: "man", "hot dog", "men"."""
        return self.phrase.text

    @property
    def plural(self) -> bool:
        return self.phrase.plural

    @property
    def colour(self) -> str | None:
        return next(iter(self.colours)) if len(self.colours) == 1 else None

    @property
    def animate(self) -> bool:
        return is_a(self.phrase.core, "person") or is_a(self.phrase.core, "animal")


@cache
def attribute_types() -> dict[str, str]:
    """Attribute word -> what it describes ("wooden" -> "material"); colours included."""
    table = {word: kind for kind, words in vocabulary.read_table("attributes").items() for word in words}
    return {**table, **dict.fromkeys(COLOURS, "colour"), **dict.fromkeys(COLOURS.values(), "colour")}


def word_of(kind: str) -> str:
    """What we call a kind: "ball" for the category "sports ball"."""
    return vocabulary.kind_table()[kind].word if kind in vocabulary.kind_table() else kind


def read_object(item: Object, traits: Traits) -> SceneObject | None:
    """A visible object from an annotated object; `None` if it has no box, no clean name, or is a crowd."""
    if not item.boxes or "crowd" in item.kind:
        return None
    names = (word_of(item.name),) if traits.category_names else dict.fromkeys((item.name, *item.names))
    phrases = [phrase for phrase in map(noun_phrase, names) if phrase and phrase.core not in COLOURS]
    phrases = [*map(_strip_location, phrases)] if traits.free_text_names else phrases
    phrase = _best_phrase(phrases, len(item.boxes)) if phrases and not _is_inconsistent(phrases) else None
    if phrase is None:
        return None
    words = tuple(dict.fromkeys(word for word in map(str.lower, item.attributes) if word in attribute_types()))
    calls = frozenset(
        name
        for known in (*phrases, phrase)
        for name in (known.text, known.core, known.head, *(all_classes_of(known.core) if not known.plural else ()))
    )
    colours = _colours(item, phrases, traits)
    calls |= {item.name, "object"} if traits.rendered else {item.name}
    cores = frozenset(known.core for known in (*phrases, phrase))
    return SceneObject(item.tag, phrase, cores, calls, words, colours, item.boxes, bounding_box(item.boxes), item.kind)


def is_category_uncertain(obj: SceneObject, objects: Iterable[SceneObject], depicted: bool) -> bool:
    """Whether COCO's category is likely a makeshift: a pannier that it calls a backpack, a scoreboard, or a cake on a poster."""
    if depicted and obj.box.area < LARGE_DEPICTED:
        return True
    if is_a(obj.phrase.core, "tv"):
        return any(is_a(other.phrase.core, kind) for other in objects for kind in OUTDOORS)
    if not is_a(obj.phrase.core, "bag"):
        return False
    near = {kind for other in objects for kind in CARRIERS if is_a(other.phrase.core, kind) and overlap(obj.box, other.box) > 0.3}
    return bool(near) and "person" not in near


OUTDOORS = ("baseball bat", "baseball glove", "car", "bus", "truck", "airplane", "traffic light")
"""Kinds beside which a screen is no television."""
CARRIERS = ("bicycle", "motorcycle", "person")
LARGE_DEPICTED = 0.05
"""Share of the image from which an object of a drawn or papered scene is taken for real."""


def add_region_colours(obj: SceneObject, regions: Iterable[Region]) -> SceneObject:
    """The object with the colours too that a region's text gives to what may be it: two describers may see two colours."""
    seen = {
        colour
        for region in regions
        for noun, colours in find_colours(region.text).items()
        if could_be(noun, obj.phrase.core) and overlap(region.box, obj.box) > 0.5
        for colour in colours
    }
    return replace(obj, colours=obj.colours | seen) if obj.colours and seen else obj


def is_picture(obj: SceneObject, regions: Iterable[Region]) -> bool:
    """Whether a region's text says that a living object is a picture or a toy: "picture of a baby", "a stuffed bear"."""
    return obj.animate and any(
        overlap(region.box, obj.box) > 0.5 and _describes_image_of(region.text.lower().rstrip(". "), obj.phrase.core)
        for region in regions
    )


def _describes_image_of(text: str, core: str) -> bool:
    words = re.sub(r"\bin (?:the |this )?(?:picture|photo|photograph)\b", "", text).split()
    return any(singular(word) in PICTURED for word in words) and any(could_be(word, core) for word in words)


def _strip_location(phrase: NounPhrase) -> NounPhrase:
    """A name without the place that its writer added in haste ("trees on roadside"); what a bowl is of belongs to it."""
    return phrase if phrase.text[len(phrase.core) :].startswith((" of ", " and ")) else phrase._replace(text=phrase.core)


PICTURED = _words("pictured")


def _best_phrase(phrases: list[NounPhrase], boxes: int) -> NounPhrase | None:
    """The wording that most of its names agree on, without colours; `None` if they disagree on what it is."""
    meant = [vocabulary.classes_of(phrase.core) for phrase in phrases]
    votes = [sum(not mine.isdisjoint(other) for other in meant) for mine in meant]

    def rank(place: int) -> tuple:
        phrase = phrases[place]
        fits = (boxes > 1) == (phrase.plural or phrase.head in COLLECTIVES)
        usual = phrase.core in vocabulary.kind_table()
        return (-votes[place], not fits, phrase.text != phrase.core, not usual, len(phrase.text), phrase.text)

    first = min(range(len(phrases)), key=rank)
    agreed = sum(could_be(phrases[first].core, phrase.core) for phrase in phrases)
    if 2 * agreed <= len(phrases):
        return None
    best = strip_colours(_drop_country(phrases[first], phrases))
    return best._replace(quantity=boxes if best.quantity == boxes else (1 if not best.plural and boxes == 1 else None))


def _drop_country(best: NounPhrase, phrases: list[NounPhrase]) -> NounPhrase:
    """The phrase without a country that another wording contradicts: what one calls a Japanese flag and one a Korean is a flag."""
    mine, *others = (_proper(phrase) for phrase in (best, *phrases))
    if not mine or all(not other or mine & other for other in others):
        return best
    core = " ".join(word for word in best.core.split(" ") if word not in mine)
    return best._replace(text=core + best.text[len(best.core) :], core=core)


def _proper(phrase: NounPhrase) -> frozenset[str]:
    return frozenset(word for word in phrase.core.split(" ")[:-1] if word in PROPER)


def _is_inconsistent(phrases: list[NounPhrase]) -> bool:
    """Whether somebody is also called an object: one tag for a man and his guitar."""
    known = [phrase.core for phrase in phrases if vocabulary.classes_of(phrase.core) & vocabulary.kind_table().keys()]
    return len({is_a(core, "person") for core in known}) > 1


TASTES = _words("tastes")
NAMED_BY_COLOUR = frozenset(("board", "juice", "wine", "light", "onion", "pepper", "bull"))
"""Words before which a colour is part of the name: "white board", "orange juice", "Red Bull buoy"."""


@lru_cache(maxsize=16384)
def strip_colours(phrase: NounPhrase) -> NounPhrase:
    """The phrase without colours and tastes before its head: "lovely green apron" is an apron, its colours are kept apart."""
    words = phrase.core.split(" ")
    named = any(word.lower() in COLOURS and after in NAMED_BY_COLOUR for word, after in pairwise(words))
    coloured = not named and phrase.head not in NAMED_BY_COLOUR and any(word.lower() in COLOURS for word in words[:-1])
    idle = TASTES | COLOURS.keys() | {"and", "light", "dark"} if coloured else TASTES
    if idle.isdisjoint(word.lower() for word in words[:-1]):
        return phrase
    core = " ".join((*(word for word in words[:-1] if word.lower() not in idle), words[-1]))
    return phrase._replace(text=core + phrase.text[len(phrase.core) :], core=core)


PATTERNED = re.compile(
    r"strip|plaid|check|print|pattern|polka|colou?rful|multi|floral|flower|camouflage|tie-dye|tie dye| and | trim", re.IGNORECASE
)
"""Words for objects that have more colours than are said."""


def _colours(item: Object, phrases: list[NounPhrase], traits: Traits) -> frozenset[str]:
    """The colours that attributes and names state. People, food and named colours of objects ("orange juice") are left out."""
    if any(PATTERNED.search(name) for name in (*item.names, *item.attributes)):
        return frozenset()
    found = {COLOURS[word] for word in map(str.lower, item.attributes) if word in COLOURS}
    for phrase in phrases:
        words = phrase.core.lower().split(" ")
        found.update(COLOURS[word] for word, after in pairwise(words) if word in COLOURS and after not in NAMED_BY_COLOUR)
    living = any(is_a(phrase.core, "person") or is_a(phrase.core, "food") for phrase in phrases)
    return frozenset() if living and not traits.rendered else frozenset(found)


ALIKE = (
    {"red", "dark red", "orange", "pink"}, {"blue", "dark blue", "purple"}, {"white", "beige", "silver", "grey", "tan", "cream"},
    {"yellow", "gold", "blond", "tan", "beige", "orange"}, {"brown", "tan", "dark red", "beige"}, {"green", "turquoise", "khaki"}, {"khaki", "tan", "beige", "brown", "grey"},
    {"blue", "turquoise"}, {"black", "dark blue", "grey", "brown"}, {"purple", "pink"}, {"white", "yellow", "blond"},
)  # fmt: skip
"""Colours that two people may both use for one object: neither is held against the other."""


def _is_similar_colour(colour: str, others: Iterable[str]) -> bool:
    return any(colour in group and other in group for other in others for group in ALIKE)


def is_different_colour(colour: str, others: Iterable[str]) -> bool:
    """Whether nobody would call something of these colours `colour`.

    >>> is_different_colour("green", {"red"}), is_different_colour("grey", {"silver"})
    (True, False)
    """
    return colour not in others and not _is_similar_colour(colour, others)
