"""How the objects of a scene can be referred to: by their looks, by another object, or by what they are used for.

Every reference that leaves this file means exactly one object of the scene. It writes no text.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from comvint_hf.annotator.facts.objects import SceneObject
from comvint_hf.annotator.facts.scene import SMALLEST, Facts
from comvint_hf.annotator.programs.program import THING, Ref, Where, the
from comvint_hf.annotator.programs.search import resolve
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import words
from comvint_hf.annotator.words.vocabulary import is_a

MOST_THINGS = 10
"""Objects of a scene that questions are made of, the largest first: what is tiny is hard to see."""
SCENERY = words("scenery")
UNWORTHY = frozenset(("clothing", "bodyparts", "scene"))
"""Flickr30k's categories that make poor landmarks."""


VAGUE = words("vague")
"""Words for whatever somebody wears."""
ASKABLE = frozenset(
    ("animal", "vehicle", "piece of furniture", "electronic device", "appliance", "fruit", "vegetable", "food")
    + ("musical instrument", "bag", "toy", "utensil", "tool", "piece of sports equipment", "person")
)
"""Broad kinds by which an object may be asked for or referred to."""
SHOWN = ASKABLE - {"bag", "toy", "person"}
"""Broad kinds that say "shown here" when they stand alone; the others are also what people simply call an object."""


def unique_references(facts: Facts) -> list[tuple[SceneObject, Ref]]:
    """Objects large enough to ask about that a simple description singles out, largest first."""
    if "describable" not in facts.memory:
        found = []
        for obj in sorted(facts.objects, key=lambda obj: -obj.box.area)[:40]:
            plain = obj.box.area >= 2 * SMALLEST and obj.phrase.head not in VAGUE and not is_misspelt(obj, facts)
            plain = plain and not (facts.traits.free_text_names and obj.tag in facts.second_names)
            description = facts.describe(obj) if facts.rendered or plain else None
            if description:
                furthest = Where("furthest", description.furthest) if description.furthest else None
                ref = the(description.noun, *description.attributes, where=furthest)
                resolved = resolve(ref, facts)
                if resolved and resolved[0] is obj:
                    found.append((obj, ref))
        facts.memory["describable"] = found
    return facts.memory["describable"]


def is_misspelt(obj: SceneObject, facts: Facts) -> bool:
    """Whether its noun may be a slip of the pen ("a red hoddie"): unknown, and no second caption has it."""
    if not facts.traits.phrase_objects or is_common(obj):
        return False
    return sum(obj.phrase.head in caption.lower() for caption in facts.scene.captions) < 2


def landmark_references(facts: Facts) -> list[tuple[SceneObject, Ref]]:
    """Describable objects that stand somewhere: no scenery, clothes or parts of bodies."""
    if "landmarks" not in facts.memory:
        facts.memory["landmarks"] = [
            (obj, ref)
            for obj, ref in unique_references(facts)
            if not UNWORTHY & set(obj.category.split("/"))
            and not any(is_a(obj.phrase.core, kind) for kind in (*SCENERY, "piece of clothing"))
            and (facts.rendered or is_common(obj))
            and obj.phrase.number != "mass"
            and len(obj.boxes) == 1
            and obj.phrase.head not in PARTS | SURFACES
        ][:MOST_THINGS]
    return facts.memory["landmarks"]


PARTS, SURFACES = words("parts"), words("surfaces")


def references(obj: SceneObject, facts: Facts, random: Random, without: str = "", colour: bool = True) -> Iterator[Ref]:
    """A reference to an object, simple if there is one (but half the time through a link where it can be), else through a link.

    The object `without` is not used.
    """
    simple = next((ref for known, ref in unique_references(facts) if known is obj), None)
    through = random.random() < 0.5
    if simple and not through and (colour or not set(simple.attributes) & obj.colours):
        yield simple
        return
    for ref in relational(obj, facts, random):
        outcome = resolve(ref, facts)
        if outcome and without not in outcome[1] and (colour or not set(ref.attributes) & obj.colours):
            yield ref
            return
    if simple and through and (colour or not set(simple.attributes) & obj.colours):
        yield simple


def relational(obj: SceneObject, facts: Facts, random: Random) -> Iterator[Ref]:
    """References to an object through another: by a link, or by its side where all instances are known."""
    key = ("relational", obj.tag)
    if key not in facts.memory:
        refs = _through_others(obj, facts)
        facts.memory[key] = [ref for ref in refs if (found := resolve(ref, facts)) and found[0] is obj]
    yield from random.sample(facts.memory[key], len(facts.memory[key]))


def _through_others(obj: SceneObject, facts: Facts) -> Iterator[Ref]:
    simple = {known.tag: ref for known, ref in unique_references(facts)}
    nouns = possible_nouns(obj, facts)[is_misspelt(obj, facts) :]
    for link in facts.links_from.get(obj.tag, ()):
        if link.object in simple and link.verb != "has" and not is_body_part(facts.by_tag[link.object]):
            for noun in nouns:
                yield the(noun, where=Where("does", link.verb, simple[link.object]))
    for link in facts.links_to.get(obj.tag, ()):
        relation = vocabulary.relations()[link.verb]
        if link.subject in simple and can_form_clause(link.verb):
            for noun in (*nouns, *([THING] if not obj.animate and "object" in relation.asks else [])):
                yield the(noun, where=Where("done", link.verb, simple[link.subject]))
    if facts.exhaustive and not obj.plural:
        for anchor, ref in landmark_references(facts) if not facts.rendered else unique_references(facts):
            for side in facts.relative_positions(obj, anchor):
                for noun in nouns:
                    if facts.rendered or noun != ref.noun:
                        yield the(noun, where=Where("side", side, ref))


def is_body_part(obj: SceneObject) -> bool:
    """Whether it is a part of somebody: "the dog on the back legs" is no place."""
    return "bodyparts" in obj.category or obj.phrase.head in PARTS


def can_form_clause(verb: str) -> bool:
    """Whether "the thing that the man is <verb>" reads well inside of a question: "the thing that the cup is on" does not."""
    return " " not in verb and vocabulary.relations()[verb].animate


def possible_nouns(obj: SceneObject, facts: Facts) -> list[str]:
    """The word for an object and the broad kinds it may be asked by."""
    if facts.rendered:
        return [obj.noun, "object"]
    if facts.traits.free_text_names and obj.tag in facts.second_names:
        return [obj.noun]
    broad = [
        kind
        for kind in sorted(vocabulary.all_classes_of(obj.phrase.core))
        if can_ask_class(kind, facts) and is_a(obj.phrase.core, kind) and not obj.plural
    ]
    return list(dict.fromkeys((obj.noun, *broad)))


def can_ask_class(kind: str, facts: Facts) -> bool:
    """Whether an object may be asked for by a broad kind: of furniture there is mostly more than was annotated."""
    return kind in ASKABLE and (facts.exhaustive or kind != "piece of furniture")


def is_common(obj: SceneObject) -> bool:
    """Whether its noun is one that the tables know: captions also name events ("a punch") and odd parts as objects."""
    known = any(kind in vocabulary.kind_table() for kind in vocabulary.classes_of(obj.phrase.core))
    return known or knowledge.find_noun(obj.phrase.core) is not None


def is_answerable(obj: SceneObject) -> bool:
    return obj.phrase.head not in PARTS and len(obj.noun.split(" ")) <= 4
