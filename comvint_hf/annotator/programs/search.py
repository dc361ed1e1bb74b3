"""Which objects of a scene a reference means. What may fit as well as not is counted as unsure, never as a match."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from comvint_hf.annotator.programs.knowledge import lookup
from comvint_hf.annotator.programs.program import THING, Program, Ref, Where
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.vocabulary import could_be, is_a

if TYPE_CHECKING:
    from comvint_hf.annotator.facts.objects import SceneObject
    from comvint_hf.annotator.facts.scene import Facts


class Found(NamedTuple):
    """Objects that fit a description, objects that may fit it, and the tags of the objects it was described by."""

    sure: tuple[SceneObject, ...]
    unsure: tuple[SceneObject, ...]
    anchors: tuple[str, ...]


def find(ref: Ref, facts: Facts) -> Found | None:
    """All objects that fit a reference; `None` if what it is described by cannot be told."""
    where, anchor = ref.where, None
    anchors: tuple[str, ...] = ()
    if where and where.anchor:
        outcome = resolve(where.anchor, facts)
        if outcome is None:
            return None
        anchor, anchors = outcome
    sure, unsure = [], []
    for obj in facts.objects:
        fits = _check_name(obj, ref.noun)
        for attribute in ref.attributes:
            fits = _both(fits, facts.has(obj, attribute))
        if where and fits is not False and where.how != "furthest":
            fits = _both(fits, _check_location(obj, where, anchor, facts))
        if fits:
            sure.append(obj)
        elif fits is None:
            unsure.append(obj)
    if where and where.how == "furthest":
        outermost = None if unsure else facts.find_extreme(sure, where.word)
        sure = [outermost] if outermost else []
    return Found(tuple(sure), tuple(unsure), anchors)


def resolve(ref: Ref, facts: Facts) -> tuple[SceneObject, tuple[str, ...]] | None:
    """The one object a reference means and the tags of all objects used to find it; `None` unless it is exactly one."""
    known = facts.resolved
    if ref not in known:
        known[ref] = _resolve(ref, facts)
    return known[ref]


def _resolve(ref: Ref, facts: Facts) -> tuple[SceneObject, tuple[str, ...]] | None:
    found = find(ref, facts)
    if found is None or len(found.sure) != 1 or found.unsure:
        return None
    obj = found.sure[0]
    pinned = ref.where is not None and ref.where.how in ("does", "done") and _is_complete(ref.where, facts)
    if not pinned and ref.noun != THING and (facts.hidden_more(obj, ref.noun) or hidden_kind(obj, ref.noun, facts)):
        return None
    return obj, (obj.tag, *found.anchors)


def _is_complete(where: Where, facts: Facts) -> bool:
    """Whether a relation was noted of whatever it holds for: Visual Genome notes of one car that it is on the street, not of the next."""
    return facts.traits.reliable_relations or vocabulary.relations()[where.word].animate


def hidden_kind(obj: SceneObject, noun: str, facts: Facts) -> bool:
    """Whether another object of the broad kind `noun` is spoken of that has no box: "the animal" must be the only one."""
    if facts.rendered or noun not in vocabulary.parent_names():
        return False
    key = ("kinds", noun)
    if key not in facts.memory:
        facts.memory[key] = [
            kind for kind in facts.mentioned_classes if kind != noun and kind in vocabulary.kind_table() and is_a(kind, noun)
        ]
    return any(not could_be(obj.phrase.core, kind) for kind in facts.memory[key])


def _check_name(obj: SceneObject, noun: str) -> bool | None:
    if noun == THING or noun in obj.possible_names:
        return True
    return None if could_be(obj.phrase.core, noun) else False


def _check_location(obj: SceneObject, where: Where, anchor: SceneObject | None, facts: Facts) -> bool | None:
    match where.how:
        case "side":
            assert anchor is not None
            if not facts.are_distinct(obj, anchor):
                return False if obj.tag == anchor.tag else None
            return facts.side(obj, anchor, where.word)
        case "does":
            assert anchor is not None
            linked = any(link.verb == where.word and link.object == anchor.tag for link in facts.links_from.get(obj.tag, ()))
            doubted = (obj.tag, where.word, anchor.tag) in facts.doubtful_links
            return linked or (None if doubted or _has_room(anchor) else False)
        case "done":
            assert anchor is not None
            linked = any(link.verb == where.word and link.subject == anchor.tag for link in facts.links_to.get(obj.tag, ()))
            return linked or (None if (anchor.tag, where.word, obj.tag) in facts.doubtful_links else False)
        case "like":
            return where.word in similar_items(obj, facts)
    return None


ROOMY = frozenset(
    ("path", "street", "road", "sidewalk", "field", "grass", "lawn", "beach", "sand", "snow", "water") + ("floor", "ground")
)
"""Where there is room for several of a kind."""


def _has_room(obj: SceneObject) -> bool:
    """Whether others may be there, too, of whom nobody said so: in a field, on a path."""
    return "scene" in obj.category or obj.phrase.core.split(" ")[-1] in ROOMY


def similar_items(obj: SceneObject, facts: Facts) -> tuple[str, ...]:
    """What a rendered shape is like: something well known of its colour, then something of its shape."""
    colour, shape = knowledge.colours().get(obj.colour or ""), knowledge.shapes().get(obj.noun)
    return (colour.hint, shape.like) if facts.rendered and colour and shape else ()


def _both(first: bool | None, second: bool | None) -> bool | None:
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def known_of(obj: SceneObject, field: str) -> str | None:
    """A field of knowledge about an object; `None` if two of its names lead to different ones ("bike", "motorbike")."""
    return _common_value(field, obj.cores)


MATERIALS = frozenset(vocabulary.read_table("attributes")["material"])


@lru_cache(maxsize=65536)
def _common_value(field: str, cores: frozenset[str]) -> str | None:
    if field == "made_of" and any(not MATERIALS.isdisjoint(core.split(" ")) for core in cores):
        return None  # its name says of what: a metal cabinet is not of wood
    values = {value for core in cores if (value := lookup(field, core))}
    return values.pop() if len(values) == 1 else None


def one(program: Program, facts: Facts) -> tuple[SceneObject, tuple[str, ...]] | None:
    return resolve(program.refs[0], facts)


def all_of(program: Program, facts: Facts) -> tuple[list[SceneObject], tuple[str, ...]] | None:
    """The objects that all references mean, none twice; the tags begin with theirs."""
    resolved = [resolve(ref, facts) for ref in program.refs]
    found = [outcome for outcome in resolved if outcome]
    if len({obj.tag for obj, _ in found}) < len(resolved):
        return None
    objects = [obj for obj, _ in found]
    if any(not facts.are_distinct(a, b) for place, a in enumerate(objects) for b in objects[:place]):
        return None
    return objects, tuple(dict.fromkeys(tag for _, tags in found for tag in tags))
