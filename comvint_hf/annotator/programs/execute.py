"""What a program comes to on a scene: a value and the tags it rests on, or `None` where the scene leaves it open.

Yes/no programs give "yes" or "no". This file knows no wording.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from comvint_hf.annotator.facts import relations
from comvint_hf.annotator.facts.scene import Facts, Thing, unlike
from comvint_hf.annotator.programs import compare, count
from comvint_hf.annotator.programs.knowledge import CORNERED, fields, know, overlap, serving, uses_alike
from comvint_hf.annotator.programs.program import THING, Outcome, Program, Ref, Where, read_ref, the
from comvint_hf.annotator.programs.search import find, hidden_kind, known_of, one, resolve, use_of_thing
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import COLLECTIVES, ONLY_ONES, singular
from comvint_hf.annotator.words.vocabulary import could_be, is_a


def evaluate(program: Program, facts: Facts) -> Outcome | None:
    """What a program comes to on a scene and the tags it rests on; `None` where the scene leaves it open."""
    known = facts.values
    if program not in known:
        known[program] = EVALUATE[program.head](program, facts) if program.head in EVALUATE else _know(program, facts)
    return known[program]


def _colour(program: Program, facts: Facts) -> Outcome | None:
    """Its colour, unless the question says it."""
    found = one(program, facts)
    colour = _shade(found[0]) if found else None
    ref = program.refs[0]
    return Outcome(colour, found[1]) if found and colour and colour not in (*ref.attributes, *ref.noun.split(" ")) else None


UNPAINTED = ("water", "grass", "street", "sidewalk", "beach", "mountain", "tree", "plant", "floor", "light", "building", "wall")
"""Kinds whose colour depends on the light, or that have several of which annotators note one."""


def _shade(thing: Thing) -> str | None:
    """The colour that anybody would name."""
    return None if any(is_a(thing.phrase.core, kind) for kind in UNPAINTED) else thing.colour


def _shape(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts)
    return Outcome(found[0].noun, found[1]) if found and facts.drawn else None


def _size(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts)
    size = next((word for word in found[0].attributes if word in ("large", "small")), None) if found and facts.drawn else None
    return Outcome(size, found[1]) if size else None


def _exists(program: Program, facts: Facts) -> Outcome | None:
    """Yes if something fits; no if nothing can: the kind is absent, or the corpus is exhaustive, or its only one differs.

    Whether there is a circle above "the circle" is no question: its words say that there is but one.
    """
    ref = program.refs[0]
    found = find(ref, facts)
    if found is None or _only_its_anchor(ref):
        return None
    if found.sure:
        return Outcome("yes", (found.sure[0].tag, *found.anchors))
    if (
        facts.drawn
        and not found.unsure
        or facts.is_absent(ref.noun)
        or not found.unsure
        and facts.exhaustive
        and facts.count(ref.noun) is not None
    ):
        return Outcome("no", found.anchors)
    return None


def _only_its_anchor(ref: Ref) -> bool:
    """Whether nothing but the thing that it is told by can be what it says."""
    anchor = ref.where.anchor if ref.where else None
    return (
        anchor is not None and anchor.where is None and anchor.noun == ref.noun and set(anchor.attributes) <= set(ref.attributes)
    )


def _name(program: Program, facts: Facts) -> Outcome | None:
    """What kind of animal, vehicle ... it is: the only one of a broad kind that fits."""
    ref = program.refs[0]
    found = find(ref, facts)
    if found is None or len(found.sure) != 1 or found.unsure:
        return None
    thing = found.sure[0]
    linked = ref.where is not None and ref.where.how in ("does", "done")
    if not linked and (hidden_kind(thing, ref.noun, facts) or facts.hidden_more(thing, ref.noun)):
        return None
    return Outcome(thing.noun, (thing.tag, *found.anchors))


def _what(program: Program, facts: Facts) -> Outcome | None:
    """What somebody holds, rides, sits on ...: the only thing linked so."""
    found = one(program, facts)
    if found is None:
        return None
    objects = {link.object for link in facts.links_from.get(found[0].tag, ()) if link.verb == program.words[0]}
    doubts = any((subject, verb) == (found[0].tag, program.words[0]) for subject, verb, _ in relations.doubted(facts))
    if len(objects) != 1 or found[0].plural or doubts:
        return None
    thing = facts.by_tag[objects.pop()]
    return Outcome(thing.noun, (thing.tag, *found[1])) if thing.noun not in ONLY_ONES else None


def _who(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts)
    if found is None:
        return None
    subjects = {link.subject for link in facts.links_to.get(found[0].tag, ()) if link.verb == program.words[0]}
    doubts = any((verb, target) == (program.words[0], found[0].tag) for _, verb, target in relations.doubted(facts))
    if len(subjects) != 1 or doubts:
        return None
    thing = facts.by_tag[subjects.pop()]
    return Outcome(thing.noun, (thing.tag, *found[1])) if thing.animate and thing.phrase.head not in COLLECTIVES else None


def _seen(program: Program, facts: Facts) -> Outcome | None:
    """Which one of some kinds is in the picture: one is, the others are surely not."""
    there = [word for word in program.words if any(word in thing.calls for thing in facts.things)]
    if len(there) != 1 or not all(facts.is_absent(word) for word in program.words if word != there[0]):
        return None
    return Outcome(there[0], tuple(thing.tag for thing in facts.things if there[0] in thing.calls)[:1])


def _written(program: Program, facts: Facts) -> Outcome | None:
    texts = facts.scene.texts
    return Outcome(texts[0].text, ()) if len(texts) == 1 and program else None


def _tool(program: Program, facts: Facts) -> Outcome | None:
    """The one thing in the picture that serves a use."""
    found = resolve(the(THING, where=Where("for", program.words[0])), facts)
    return Outcome(found[0].noun, found[1]) if found else None


def _serves(program: Program, facts: Facts) -> Outcome | None:
    """Whether anything in the picture serves a use."""
    use = program.words[0]
    for thing in facts.things:
        if use_of_thing(thing) == use:
            return Outcome("yes", (thing.tag,))
    return Outcome("no", ()) if all(map(facts.is_absent, serving(use))) else None


def _know(program: Program, facts: Facts) -> Outcome | None:
    """A field of knowledge about one thing."""
    found = one(program, facts) if program.head in fields() else None
    value = known_of(found[0], program.head) if found else None
    return Outcome(value, found[1]) if found and value else None


def _corners(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts) if facts.drawn else None
    shape = knowledge.shapes().get(found[0].noun) if found else None
    return Outcome(str(shape.corners), found[1]) if found and shape and shape.name in CORNERED else None


def _mixed(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts) if facts.drawn else None
    for pair, gives in knowledge.mixtures().items():
        if found and gives == found[0].colour:
            return Outcome(" and ".join(sorted(pair)), found[1])
    return None


def _like(program: Program, facts: Facts) -> Outcome | None:
    """Which of the words has the thing's colour ("ripe tomatoes") or shape ("a coin")."""
    found = one(program, facts) if facts.drawn or program.head == "like" else None
    if found is None:
        return None
    thing = found[0]
    if not facts.drawn and any(thing.phrase.head in map(singular, word.split(" ")) for word in program.words):
        return None  # the sky has the colour of a clear sky
    entry = knowledge.colours().get(_shade(thing) or "") if program.head == "like" else knowledge.shapes().get(thing.noun)
    value = (entry.hint if program.head == "like" else entry.like) if entry else None
    return Outcome(value, found[1]) if value in program.words else None


def _is(program: Program, facts: Facts) -> Outcome | None:
    """Whether a question's answer is a value: yes, or no where nobody could call it so."""
    question, value = program.args
    assert isinstance(question, Program) and isinstance(value, str)
    right = evaluate(question, facts)
    if right is None:
        return None
    if right.value == value:
        return Outcome("yes", right.tags)
    return Outcome("no", right.tags) if differs(question, right, value, facts) else None


def differs(question: Program, right: Outcome, value: str, facts: Facts) -> bool:
    """Whether `value` is surely wrong for a question whose right outcome is known."""
    match question.head:
        case "colour":
            return unlike(value, facts.by_tag[right.tags[0]].colours)
        case "who":
            calls = facts.by_tag[right.tags[0]].calls
            return (
                not could_be(right.value, value)
                and not _related(right.value, value)
                and vocabulary.meanings(value).isdisjoint(calls)
            )
        case "further" | "nearer" | "bigger":
            return value in map(str, question.refs) or facts.is_absent(read_ref(value).noun)
        case "name" | "what" | "tool":
            things = facts.called(value)
            linked = question.head == "what" and _linked(right, things, facts)
            return not could_be(right.value, value) and (facts.is_absent(value) or bool(things) and not linked)
        case head if head in fields():
            calls = facts.by_tag[right.tags[0]].calls
            alike = head == "use" and value in uses_alike(facts.by_tag[right.tags[0]].phrase.core)
            return not alike and not overlap(value, right.value) and all(know(head, name) != value for name in calls)
    return value != right.value


def _related(first: str, second: str) -> bool:
    """Whether two words for people differ in age only, which two viewers may see differently."""
    same = ({"man", "boy"}, {"woman", "girl"}, {"child", "boy", "girl"})
    return any(
        not vocabulary.meanings(first).isdisjoint(pair) and not vocabulary.meanings(second).isdisjoint(pair) for pair in same
    )


def _linked(right: Outcome, things: list[Thing], facts: Facts) -> bool:
    """Whether one of `things` may also be what is held, ridden ... for any verb: then it is no wrong answer."""
    tags = {thing.tag for thing in things}
    known = right.tags[1] if len(right.tags) > 1 else right.tags[0]
    return any(known in (link.subject, link.object) and tags & {link.subject, link.object} for link in facts.links)


EVALUATE: dict[str, Callable[[Program, Facts], Outcome | None]] = {
    "colour": _colour, "shape": _shape, "size": _size, "exists": _exists, "seen": _seen, "written": _written,
    "name": _name, "what": _what, "who": _who, "tool": _tool, "serves": _serves,
    "corners": _corners, "mixed": _mixed, "like": _like, "twin": _like, "is": _is,
    "count": count.count, "total": count.total, "difference": count.difference, "more": count.more,
    "all_legs": count.each("legs"), "all_wheels": count.each("wheels"), "all_corners": count.each("corners"),
    "across": compare.side, "vertical": compare.side, "relative": compare.relative, "order": compare.order,
    "further": compare.further, "nearer": compare.nearer, "bigger": compare.bigger,
}  # fmt: skip
"""Every head that is not a field of knowledge."""
KNOWING = frozenset(("tool", "serves", "all_legs", "all_wheels", "all_corners", "corners", "mixed", "like", "twin"))


@lru_cache(maxsize=65536)
def complexity(program: Program) -> int:
    """Steps of reasoning: one for the head (two if it needs knowledge), and one for each thing, place or use on the way.

    What is counted takes one step more for each attribute by which it must be sorted out.

    >>> from comvint_hf.annotator.programs.program import read
    >>> complexity(read("colour(the(circle))")), complexity(read("colour(the(circle; left of the(star)))"))
    (2, 4)
    """
    if program.head == "is":
        return complexity(program.args[0])
    head = 2 if program.head in KNOWING or program.head in fields() else 1
    return head + sum(_steps(ref) for ref in program.refs)


def _steps(ref: Ref) -> int:
    step = 1 if ref.where and ref.where.how != "furthest" or ref.article == "the" and ref.noun in vocabulary.broad_kinds() else 0
    sorting = len(ref.attributes) if ref.article == "any" else 0
    return 1 + step + sorting + (_steps(ref.where.anchor) if ref.where and ref.where.anchor else 0)
