"""How the things of a scene can be referred to: by their looks, by another thing, or by what they are used for.

Every reference that leaves this file means exactly one thing of the scene. It writes no text.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from comvint_hf.annotator.facts.scene import SMALLEST, Facts, Thing
from comvint_hf.annotator.programs.program import THING, Ref, Where, the
from comvint_hf.annotator.programs.search import resolve
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import words
from comvint_hf.annotator.words.vocabulary import is_a

MOST_THINGS = 10
"""Things of a scene that questions are made of, the largest first: what is tiny is hard to see."""
SCENERY = frozenset(
    (
        "street",
        "sidewalk",
        "beach",
        "water",
        "grass",
        "mountain",
        "wall",
        "floor",
        "sky",
        "building",
        "tree",
        "plant",
        "window",
        "light",
        "room",
        "fence",
    )
)
UNWORTHY = frozenset(("clothing", "bodyparts", "scene"))
"""Flickr30k's categories that make poor landmarks."""


VAGUE = words("vague")
"""Words for whatever somebody wears."""
ASKABLE = frozenset(
    ("animal", "vehicle", "piece of furniture", "electronic device", "appliance", "fruit", "vegetable", "food")
    + ("musical instrument", "bag", "toy", "utensil", "tool", "piece of sports equipment", "person")
)
"""Broad kinds by which a thing may be asked for or referred to."""
SHOWN = ASKABLE - {"bag", "toy", "person"}
"""Broad kinds that say "shown here" when they stand alone; the others are also what people simply call a thing."""


def describable(facts: Facts) -> list[tuple[Thing, Ref]]:
    """Things large enough to ask about that a simple description singles out, largest first."""
    if "describable" not in facts.memory:
        found = []
        for thing in sorted(facts.things, key=lambda thing: -thing.box.area)[:40]:
            plain = thing.box.area >= 2 * SMALLEST and thing.phrase.head not in VAGUE and not misspelt(thing, facts)
            plain = plain and not (facts.scene.source == "visual_genome" and thing.tag in facts.second_names)
            description = facts.the(thing) if facts.drawn or plain else None
            if description:
                furthest = Where("furthest", description.furthest) if description.furthest else None
                ref = the(description.noun, *description.attributes, where=furthest)
                resolved = resolve(ref, facts)
                if resolved and resolved[0] is thing:
                    found.append((thing, ref))
        facts.memory["describable"] = found
    return facts.memory["describable"]


def misspelt(thing: Thing, facts: Facts) -> bool:
    """Whether its noun may be a slip of the pen ("a red hoddie"): unknown, and no second caption has it."""
    if facts.scene.source != "flickr30k" or familiar(thing):
        return False
    return sum(thing.phrase.head in caption.lower() for caption in facts.scene.captions) < 2


def landmarks(facts: Facts) -> list[tuple[Thing, Ref]]:
    """Describable things that stand somewhere: no scenery, clothes or parts of bodies."""
    if "landmarks" not in facts.memory:
        facts.memory["landmarks"] = [
            (thing, ref)
            for thing, ref in describable(facts)
            if not UNWORTHY & set(thing.category.split("/"))
            and not any(is_a(thing.phrase.core, kind) for kind in (*SCENERY, "piece of clothing"))
            and (facts.drawn or familiar(thing))
            and thing.phrase.number != "mass"
            and len(thing.boxes) == 1
            and thing.phrase.head not in PARTS | SURFACES
        ][:MOST_THINGS]
    return facts.memory["landmarks"]


PARTS, SURFACES = words("parts"), words("surfaces")


def references(thing: Thing, facts: Facts, random: Random, without: str = "", colour: bool = True) -> Iterator[Ref]:
    """A reference to a thing, simple if there is one (but half the time through a link where it can be), else through a link.

    The thing `without` is not used.
    """
    simple = next((ref for known, ref in describable(facts) if known is thing), None)
    through = random.random() < 0.5
    if simple and not through and (colour or not set(simple.attributes) & thing.colours):
        yield simple
        return
    for ref in relational(thing, facts, random):
        outcome = resolve(ref, facts)
        if outcome and without not in outcome[1] and (colour or not set(ref.attributes) & thing.colours):
            yield ref
            return
    if simple and through and (colour or not set(simple.attributes) & thing.colours):
        yield simple


def relational(thing: Thing, facts: Facts, random: Random) -> Iterator[Ref]:
    """References to a thing through another: by a link, or by its side where all instances are known."""
    key = ("relational", thing.tag)
    if key not in facts.memory:
        refs = _through_others(thing, facts)
        facts.memory[key] = [ref for ref in refs if (found := resolve(ref, facts)) and found[0] is thing]
    yield from random.sample(facts.memory[key], len(facts.memory[key]))


def _through_others(thing: Thing, facts: Facts) -> Iterator[Ref]:
    simple = {known.tag: ref for known, ref in describable(facts)}
    nouns = broad_nouns(thing, facts)[misspelt(thing, facts) :]
    worn = [the("piece of clothing", thing.colour)] if thing.colour and is_a(thing.phrase.core, "piece of clothing") else []
    for link in facts.links_from.get(thing.tag, ()):
        if link.object in simple and link.verb != "has" and not bodily(facts.by_tag[link.object]):
            for noun in nouns:
                yield the(noun, where=Where("does", link.verb, simple[link.object]))
    for link in facts.links_to.get(thing.tag, ()):
        relation = vocabulary.relations()[link.verb]
        if link.subject in simple and follows(link.verb):
            for noun in (*nouns, *([THING] if not thing.animate and "object" in relation.asks else [])):
                yield the(noun, where=Where("done", link.verb, simple[link.subject]))
            for ref in worn if link.verb == "wearing" else ():
                yield ref._replace(where=Where("done", link.verb, simple[link.subject]))
    if facts.exhaustive and not thing.plural:
        for anchor, ref in landmarks(facts) if not facts.drawn else describable(facts):
            for side in facts.sides(thing, anchor):
                for noun in nouns:
                    if facts.drawn or noun != ref.noun:
                        yield the(noun, where=Where("side", side, ref))


def bodily(thing: Thing) -> bool:
    """Whether it is a part of somebody: "the dog on the back legs" is no place."""
    return "bodyparts" in thing.category or thing.phrase.head in PARTS


def follows(verb: str) -> bool:
    """Whether "the thing that the man is <verb>" reads well inside of a question: "the thing that the cup is on" does not."""
    return " " not in verb and vocabulary.relations()[verb].animate


def broad_nouns(thing: Thing, facts: Facts) -> list[str]:
    """The word for a thing and the broad kinds it may be asked by."""
    if facts.drawn:
        return [thing.noun, "object"]
    if facts.scene.source == "visual_genome" and thing.tag in facts.second_names:
        return [thing.noun]
    broad = [
        kind
        for kind in sorted(vocabulary.broad(thing.phrase.core))
        if askable(kind, facts) and is_a(thing.phrase.core, kind) and not thing.plural
    ]
    return list(dict.fromkeys((thing.noun, *broad)))


def askable(kind: str, facts: Facts) -> bool:
    """Whether a thing may be asked for by a broad kind: of furniture there is mostly more than was annotated."""
    return kind in ASKABLE and (facts.exhaustive or kind != "piece of furniture")


def familiar(thing: Thing) -> bool:
    """Whether its noun is one that the tables know: captions also name events ("a punch") and odd parts as things."""
    known = any(kind in vocabulary.kinds() for kind in vocabulary.meanings(thing.phrase.core))
    return known or knowledge.known(thing.phrase.core) is not None


def telling(thing: Thing, use: str) -> bool:
    """Whether a thing is known by its use: a clock is, a shirt, a wall or a table is not."""
    plain = any(
        is_a(thing.phrase.core, kind)
        for kind in (*SCENERY, "piece of clothing", "table", "dining table", "person", "animal", "food")
    )
    return (
        not plain
        and "thing" not in use
        and thing.phrase.head not in PARTS
        and " " in use
        and not use.endswith((" with", " on", " in", " up"))
    )


def answerable(thing: Thing) -> bool:
    return thing.phrase.head not in PARTS and len(thing.noun.split(" ")) <= 4
