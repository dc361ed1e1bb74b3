"""Which things of a scene a reference means. What may fit as well as not is counted as unsure, never as a match."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from comvint_hf.annotator.facts import relations
from comvint_hf.annotator.facts.scene import Facts, Thing
from comvint_hf.annotator.programs.knowledge import know, serving
from comvint_hf.annotator.programs.program import THING, Program, Ref, Where
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.vocabulary import could_be, is_a


class Found(NamedTuple):
    """Things that fit a description, things that may fit it, and the tags of the things it was described by."""

    sure: tuple[Thing, ...]
    unsure: tuple[Thing, ...]
    anchors: tuple[str, ...]


def find(ref: Ref, facts: Facts) -> Found | None:
    """All things that fit a reference; `None` if what it is described by cannot be told."""
    where, anchor, anchors = ref.where, None, ()
    if where and where.anchor:
        outcome = resolve(where.anchor, facts)
        if outcome is None:
            return None
        anchor, anchors = outcome
    sure, unsure = [], []
    for thing in facts.things:
        fits = _named(thing, ref.noun)
        for attribute in ref.attributes:
            fits = _both(fits, facts.has(thing, attribute))
        if where and fits is not False and where.how != "furthest":
            fits = _both(fits, _placed(thing, where, anchor, facts))
        if fits:
            sure.append(thing)
        elif fits is None:
            unsure.append(thing)
    if where and where.how == "furthest":
        outermost = None if unsure else facts.outermost(sure, where.word)
        sure = [outermost] if outermost else []
    return Found(tuple(sure), tuple(unsure), anchors)


def resolve(ref: Ref, facts: Facts) -> tuple[Thing, tuple[str, ...]] | None:
    """The one thing a reference means and the tags of all things used to find it; `None` unless it is exactly one."""
    known = facts.meant
    if ref not in known:
        known[ref] = _resolve(ref, facts)
    return known[ref]


def _resolve(ref: Ref, facts: Facts) -> tuple[Thing, tuple[str, ...]] | None:
    found = find(ref, facts)
    if found is None or len(found.sure) != 1 or found.unsure:
        return None
    thing = found.sure[0]
    pinned = ref.where is not None and ref.where.how in ("does", "done") and _told_of_all(ref.where, facts)
    if not pinned and ref.noun != THING and (facts.hidden_more(thing, ref.noun) or hidden_kind(thing, ref.noun, facts)):
        return None
    if ref.where and ref.where.how == "for" and not alone_in_use(thing, ref.where.word, facts):
        return None
    return thing, (thing.tag, *found.anchors)


def _told_of_all(where: Where, facts: Facts) -> bool:
    """Whether a relation was noted of whatever it holds for: Visual Genome notes of one car that it is on the street, not of the next."""
    return facts.scene.source != "visual_genome" or vocabulary.relations()[where.word].animate


def alone_in_use(thing: Thing, use: str, facts: Facts) -> bool:
    """Whether nothing else that is spoken of may serve the use."""
    return all(could_be(thing.phrase.core, noun) or facts.is_absent(noun) for noun in serving(use))


def hidden_kind(thing: Thing, noun: str, facts: Facts) -> bool:
    """Whether another thing of the broad kind `noun` is spoken of that has no box: "the animal" must be the only one."""
    if facts.drawn or noun not in vocabulary.broad_kinds():
        return False
    key = ("kinds", noun)
    if key not in facts.memory:
        facts.memory[key] = [kind for kind in facts.mentioned if kind != noun and kind in vocabulary.kinds() and is_a(kind, noun)]
    return any(not could_be(thing.phrase.core, kind) for kind in facts.memory[key])


def _named(thing: Thing, noun: str) -> bool | None:
    if noun == THING or noun in thing.calls:
        return True
    return None if could_be(thing.phrase.core, noun) else False


def _placed(thing: Thing, where: Where, anchor: Thing | None, facts: Facts) -> bool | None:
    match where.how:
        case "side":
            assert anchor is not None
            if not facts.apart(thing, anchor):
                return False if thing.tag == anchor.tag else None
            return facts.side(thing, anchor, where.word)
        case "does":
            assert anchor is not None
            linked = any(link.verb == where.word and link.object == anchor.tag for link in facts.links_from.get(thing.tag, ()))
            doubted = (thing.tag, where.word, anchor.tag) in relations.doubted(facts)
            return linked or (None if doubted or _roomy(anchor) else False)
        case "done":
            assert anchor is not None
            linked = any(link.verb == where.word and link.subject == anchor.tag for link in facts.links_to.get(thing.tag, ()))
            return linked or (None if (anchor.tag, where.word, thing.tag) in relations.doubted(facts) else False)
        case "like":
            return where.word in likenesses(thing, facts)
    return use_of_thing(thing) == where.word


ROOMY = frozenset(
    ("path", "street", "road", "sidewalk", "field", "grass", "lawn", "beach", "sand", "snow", "water", "floor", "ground")
)
"""Where there is room for several of a kind."""


def _roomy(thing: Thing) -> bool:
    """Whether others may be there, too, of whom nobody said so: in a field, on a path."""
    return "scene" in thing.category or thing.phrase.core.split(" ")[-1] in ROOMY


def likenesses(thing: Thing, facts: Facts) -> tuple[str, ...]:
    """What a drawn shape is like: something well known of its colour, then something of its shape."""
    colour, shape = knowledge.colours().get(thing.colour or ""), knowledge.shapes().get(thing.noun)
    return (colour.hint, shape.like) if facts.drawn and colour and shape else ()


def _both(first: bool | None, second: bool | None) -> bool | None:
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def use_of_thing(thing: Thing) -> str | None:
    """What a thing is used for, after "used to"."""
    return known_of(thing, "use")


def known_of(thing: Thing, field: str) -> str | None:
    """A field of knowledge about a thing; `None` if two of its names lead to different ones ("bike", "motorbike")."""
    return _agreed(field, thing.cores)


MATERIALS = frozenset(vocabulary.read("comvint_attributes")["material"])


@lru_cache(maxsize=65536)
def _agreed(field: str, cores: frozenset[str]) -> str | None:
    if field == "made_of" and any(not MATERIALS.isdisjoint(core.split(" ")) for core in cores):
        return None  # its name says of what: a metal cabinet is not of wood
    values = {value for core in cores if (value := know(field, core))}
    return values.pop() if len(values) == 1 else None


def one(program: Program, facts: Facts) -> tuple[Thing, tuple[str, ...]] | None:
    return resolve(program.refs[0], facts)


def all_of(program: Program, facts: Facts) -> tuple[list[Thing], tuple[str, ...]] | None:
    """The things that all references mean, none twice; the tags begin with theirs."""
    found = [resolve(ref, facts) for ref in program.refs]
    if None in found or len({thing.tag for thing, _ in found}) < len(found):
        return None
    things = [thing for thing, _ in found]
    if any(not facts.apart(a, b) for place, a in enumerate(things) for b in things[:place]):
        return None
    return things, tuple(dict.fromkeys(tag for _, tags in found for tag in tags))
