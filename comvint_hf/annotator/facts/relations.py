"""Relations that a corpus states: its own triples, and what captions say between two objects they name.

A caption is read from left to right: what stands between two named objects is a relation if it is a known verb phrase, and
its subject is the nearest living object before it when only clothes and body parts lie between ("a man in a blue shirt
holding a cup"). Where another clause begins, or two may be meant ("a girl in a crowd holding a sign"), nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from comvint_hf.annotator.facts.geometry import overlap
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import COLLECTIVES, noun_phrase, words
from comvint_hf.grounding import REFERENCE, find_tags
from comvint_hf.text import PLURAL_ONLY, singular

if TYPE_CHECKING:
    from comvint_hf.annotator.facts.objects import SceneObject
    from comvint_hf.annotator.facts.scene import Facts

WORN = frozenset(("clothing", "bodyparts"))
ADVERBS, CLAUSE_STARTS = words("adverbs"), words("clause_starts")
NEAR = ("in", "on", "at", "by", "with", "near", "to", "of", "behind", "beside", "among", "through", "under", "between")
"""Last words before a second living object after which either of the two may do what follows."""
_TOKEN = re.compile(r"[a-z][a-z'\-]*|[.,;]")


class Named(NamedTuple):
    """An object where a caption names it: its tag, the characters it stands at, and whether a name and no "one" stands there."""

    tag: str
    start: int
    end: int
    clean: bool = True


def find_relations(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Every (subject, verb, object) that the scene's annotations state of objects with clean names."""
    for relation in facts.scene.relations:
        verb = vocabulary.normalise_predicate(relation.predicate)
        subject, target = facts.by_tag.get(relation.subject), facts.by_tag.get(relation.object)
        if not (verb and subject and target) or subject is target or not _is_plausible(subject, verb, target):
            continue
        if facts.traits.reliable_relations or _is_visible(subject, verb, target):
            yield relation.subject, verb, relation.object
    if facts.traits.phrase_objects:
        for caption in facts.scene.meta.get("grounded_captions", ()):
            yield from _caption_relations(facts, caption, list(_find_tagged_names(caption)))
    if facts.traits.category_names:
        for caption in facts.scene.captions:
            text = caption.lower()
            found = _caption_relations(facts, text, list(_find_known_names(facts, text)))
            yield from (link for link in found if not _is_held_by_another(facts, *link))


def _is_held_by_another(facts: Facts, subject: str, verb: str, target: str) -> bool:
    """Whether a lifeless object lies in something else first: the broccoli "on the table" is in a bowl."""
    one, two = facts.by_tag[subject], facts.by_tag[target]
    if one.animate or not vocabulary.relations()[verb].place:
        return False
    return any(
        other.tag not in (subject, target) and overlap(one.box, other.box) > 0.5 and two.box.area > other.box.area > one.box.area
        for other in facts.objects
    )


def uncertain_relations(facts: Facts) -> frozenset[tuple[str, str, str]]:
    """What Visual Genome's annotators stated and a viewer might not confirm: nothing is said of it, nor of the contrary."""
    if facts.traits.reliable_relations:
        return frozenset()
    stated = (
        (relation.subject, verb, relation.object)
        for relation in facts.scene.relations
        if (verb := vocabulary.normalise_predicate(relation.predicate))
    )
    return frozenset(stated) - {tuple(link) for link in facts.links}


def _caption_relations(facts: Facts, caption: str, named: list[Named]) -> Iterator[tuple[str, str, str]]:
    """Relations between neighbours in one caption. Whoever is joined by "and" does together what follows."""
    doers: list[SceneObject] = []
    before = ""
    for first, second in pairwise(named):
        between = caption[first.end : second.start]
        a, b = (facts.by_tag.get(item.tag) if item.clean else None for item in (first, second))
        doers = _update_agents(a, doers, before)
        before = between
        words = _clean(between)
        verb = vocabulary.normalise_predicate(words) if words else None
        if verb and a and b:
            verb = "wearing" if verb in ("in", "has") and _is_clothing(b) else verb
            together = len(doers) > 1 and _many(b)
            for subject in () if together else _select_agents(a, doers, verb, opens=first is named[0]):
                if subject is not b and _is_plausible(subject, verb, b) and facts.are_distinct(subject, b):
                    yield subject.tag, verb, b.tag


def _find_tagged_names(caption: str) -> Iterator[Named]:
    """The references of a caption; "a third" and "the bottom of a slide" name nothing that a relation could take."""
    for match in REFERENCE.finditer(caption):
        yield Named(find_tags(match[0])[0], match.start(), match.end(), noun_phrase(match["phrase"]) is not None)


def _update_agents(obj: SceneObject | None, doers: list[SceneObject], before: str) -> list[SceneObject]:
    """Who does what follows an object: it, those joined to it, or who wears it; nobody where that is open."""
    if obj and obj.animate:
        if _is_conjunction(before):
            return [*doers, obj]
        return [] if doers and before.split()[-1:] and before.split()[-1] in NEAR else [obj]
    return doers if obj and _is_worn(obj) else []


def _select_agents(before: SceneObject, doers: list[SceneObject], verb: str, opens: bool) -> list[SceneObject]:
    """Who does it: the object just before and those joined to it, or the wearers where that is a piece of clothing."""
    relation = vocabulary.relations()[verb]
    if _is_worn(before):
        return [] if relation.place or verb in ("has", "wearing") else doers
    if before.animate:
        return [before] if verb in ("wearing", "has") else doers
    return [before] if opens and not relation.animate else []


def _is_conjunction(between: str) -> bool:
    """Whether only "and" or a comma stands between two that are named."""
    tokens = [token for token in _TOKEN.findall(between.lower()) if token not in ADVERBS]
    return bool(tokens) and all(token in ("and", ",") for token in tokens)


NEEDS = {
    "playing": ("musical instrument", "ball"),
    "eating": ("food", "fruit", "vegetable"),
    "drinking from": ("container",),
    "feeding": ("animal", "person"),
    "sitting at": ("piece of furniture",),
}
"""Verbs whose object must be of some kind: what else captions say with them was cut short ("playing in the water")."""
NEVER = {"wearing": ("umbrella",), "has": ("person",), "in": ("paper",), "on": ("phone", "electronic device")}
"""Verbs whose object may not be of some kind: Flickr30k counts umbrellas as clothing, and nobody "has" a person."""
NOT_ON_WALLS = ("book", "container", "food", "person", "animal", "vehicle")
"""Kinds that stand on a shelf, or at a wall, where somebody wrote "on the wall"."""


def _is_plausible(subject: SceneObject, verb: str, target: SceneObject) -> bool:
    """Whether a relation can be meant: living subjects act, one eats food and rides one object, and two share no shirt."""
    if vocabulary.relations()[verb].animate and not subject.animate:
        return False
    if verb == "wearing" and vocabulary.is_a(subject.phrase.core, "animal"):
        return False
    if (verb == "riding" and _many(target) and not _many(subject)) or (verb == "wearing" and _many(subject) and _single(target)):
        return False
    if any(vocabulary.is_a(target.phrase.core, kind) for kind in NEVER.get(verb, ())):
        return False
    if verb == "on" and vocabulary.is_a(target.phrase.core, "wall"):
        return not any(vocabulary.is_a(subject.phrase.core, kind) for kind in NOT_ON_WALLS)
    return verb not in NEEDS or any(vocabulary.is_a(target.phrase.core, kind) for kind in NEEDS[verb])


APART = frozenset(
    ("behind", "in front of", "next to", "standing next to", "standing in front of", "under", "sitting under", "sitting at")
    + ("looking at", "talking to", "using", "playing", "playing with", "throwing", "catching", "kicking", "chasing")
    + ("feeding", "jumping over", "has")
)
"""Verbs of objects whose boxes need not meet."""
CARRIERS = ("piece of furniture", "vehicle", "animal", "bridge", "stairs", "skateboard", "surfboard", "snowboard", "skis", "rock")
"""Kinds that somebody may be on, beside the grounds: nobody is on a cable."""
GROUNDS = words("surfaces") | {"court", "platform", "pier", "deck", "stage", "mat", "blanket", "towel", "swing", "ramp", "slope"}
ONLY_ON = {"train": ("track", "rail", "railway", "railroad", "bridge"), "building": ("hill", "mountain", "cliff", "island")}


def _is_visible(subject: SceneObject, verb: str, target: SceneObject) -> bool:
    """Whether a viewer would confirm what one of Visual Genome's annotators stated, by the boxes and by what objects are."""
    if "'s " in subject.noun:
        return False
    if verb not in APART and not any(overlap(a, b) for a in subject.boxes for b in target.boxes):
        return False
    if verb in ("on", "in", "under", "behind", "in front of") and subject.phrase.head in GROUNDS:
        return False
    if target.plural and vocabulary.is_a(target.phrase.core, "wall"):
        return False
    if verb != "on":
        return True
    for kind, grounds in ONLY_ON.items():
        if vocabulary.is_a(subject.phrase.core, kind):
            return target.phrase.head in grounds
    if subject.animate:
        return target.phrase.head in GROUNDS or any(vocabulary.is_a(target.phrase.core, kind) for kind in CARRIERS)
    return not vocabulary.is_a(target.phrase.core, "person")


def _single(obj: SceneObject) -> bool:
    return len(obj.boxes) == 1 and not obj.plural and obj.phrase.number == "singular"


def _many(obj: SceneObject) -> bool:
    """Whether several are meant, by a plural or by a word for a group; a pair of skis is one."""
    return obj.plural and obj.phrase.core.split(" ")[-1] not in PLURAL_ONLY or obj.phrase.head in COLLECTIVES


def _is_clothing(obj: SceneObject) -> bool:
    worn = obj.category.startswith("clothing") or vocabulary.is_a(obj.phrase.core, "piece of clothing")
    return worn and not vocabulary.is_a(obj.phrase.core, "bag")


def _is_worn(obj: SceneObject) -> bool:
    return bool(WORN & set(obj.category.split("/")))


def _clean(between: str) -> str | None:
    """The words between two named objects; `None` if the sentence ends, a comma cuts, or another clause begins there."""
    tokens = _TOKEN.findall(between.lower())
    if any(token in ".;," for token in tokens):
        return None
    while tokens and tokens[0] in ADVERBS:
        tokens = tokens[1:]
    while tokens and tokens[-1] in ADVERBS - CLAUSE_STARTS:
        tokens = tokens[:-1]
    return None if CLAUSE_STARTS & set(tokens) else " ".join(tokens)


def _find_known_names(facts: Facts, caption: str) -> Iterator[Named]:
    """Words of a caption that can only mean one annotated object: its kind is there once."""
    words = list(re.finditer(r"[a-z][a-z'\-]*", caption))
    place = 0
    while place < len(words):
        for size in (2, 1):
            if place + size > len(words):
                continue
            text = caption[words[place].start() : words[place + size - 1].end()]
            tag = _only(facts, text)
            if tag:
                yield Named(tag, words[place].start(), words[place + size - 1].end())
                place += size
                break
        else:
            place += 1


def _only(facts: Facts, word: str) -> str | None:
    """The tag of the one object a singular word can mean."""
    if word not in vocabulary.known_words():
        return None
    key = ("only", word)
    if key not in facts.memory:
        facts.memory[key] = _only_one(facts, word)
    return facts.memory[key]


def _only_one(facts: Facts, word: str) -> str | None:
    if singular(word) != word:
        return None
    objects = [obj for obj in facts.objects if vocabulary.could_be(word, obj.phrase.core)]
    return objects[0].tag if len(objects) == 1 else None
