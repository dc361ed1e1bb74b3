"""What a program comes to on a scene: a value and the tags it rests on, or `None` where the scene leaves it open.

Yes/no programs give "yes" or "no". This file knows no wording.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from comvint_hf.annotator.facts.objects import SceneObject, is_different_colour
from comvint_hf.annotator.programs import compare, count
from comvint_hf.annotator.programs.knowledge import CORNERED, fields, lookup, overlap, similar_uses
from comvint_hf.annotator.programs.program import Outcome, Program, Ref, parse_ref
from comvint_hf.annotator.programs.search import find, hidden_kind, known_of, one
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import COLLECTIVES, ONLY_ONES
from comvint_hf.annotator.words.vocabulary import could_be, is_a

if TYPE_CHECKING:
    from comvint_hf.annotator.facts.scene import Facts


def evaluate(program: Program, facts: Facts) -> Outcome | None:
    """What a program comes to on a scene and the tags it rests on; `None` where the scene leaves it open."""
    known = facts.values
    if program not in known:
        known[program] = EVALUATE[program.head](program, facts) if program.head in EVALUATE else _know(program, facts)
    return known[program]


def _colour(program: Program, facts: Facts) -> Outcome | None:
    """Its colour, unless the question says it."""
    found = one(program, facts)
    colour = _plain_colour(found[0]) if found else None
    ref = program.refs[0]
    return Outcome(colour, found[1]) if found and colour and colour not in (*ref.attributes, *ref.noun.split(" ")) else None


UNPAINTED = ("water", "grass", "street", "sidewalk", "beach", "mountain", "tree", "plant", "floor", "light", "building", "wall")
"""Kinds whose colour depends on the light, or that have several of which annotators note one."""


def _plain_colour(obj: SceneObject) -> str | None:
    """The colour that anybody would name."""
    return None if any(is_a(obj.phrase.core, kind) for kind in UNPAINTED) else obj.colour


def _shape(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts)
    return Outcome(found[0].noun, found[1]) if found and facts.rendered else None


def _size(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts)
    if found is None or not facts.rendered:
        return None
    size = next((word for word in found[0].attributes if word in ("large", "small")), None)
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
        facts.rendered
        and not found.unsure
        or facts.is_absent(ref.noun)
        or not found.unsure
        and facts.exhaustive
        and facts.count(ref.noun) is not None
    ):
        return Outcome("no", found.anchors)
    return None


def _only_its_anchor(ref: Ref) -> bool:
    """Whether nothing but the object that it is told by can be what it says."""
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
    obj = found.sure[0]
    linked = ref.where is not None and ref.where.how in ("does", "done")
    if not linked and (hidden_kind(obj, ref.noun, facts) or facts.hidden_more(obj, ref.noun)):
        return None
    return Outcome(obj.noun, (obj.tag, *found.anchors))


def _find_object(program: Program, facts: Facts) -> Outcome | None:
    """What somebody holds, rides, sits on ...: the only object linked so."""
    found = one(program, facts)
    if found is None:
        return None
    objects = {link.object for link in facts.links_from.get(found[0].tag, ()) if link.verb == program.words[0]}
    doubts = any((subject, verb) == (found[0].tag, program.words[0]) for subject, verb, _ in facts.doubtful_links)
    if len(objects) != 1 or found[0].plural or doubts:
        return None
    obj = facts.by_tag[objects.pop()]
    return Outcome(obj.noun, (obj.tag, *found[1])) if obj.noun not in ONLY_ONES else None


def _find_subject(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts)
    if found is None:
        return None
    subjects = {link.subject for link in facts.links_to.get(found[0].tag, ()) if link.verb == program.words[0]}
    doubts = any((verb, target) == (program.words[0], found[0].tag) for _, verb, target in facts.doubtful_links)
    if len(subjects) != 1 or doubts:
        return None
    obj = facts.by_tag[subjects.pop()]
    return Outcome(obj.noun, (obj.tag, *found[1])) if obj.animate and obj.phrase.head not in COLLECTIVES else None


def _written(program: Program, facts: Facts) -> Outcome | None:
    texts = facts.scene.texts
    return Outcome(texts[0].text, ()) if len(texts) == 1 and program else None


def _know(program: Program, facts: Facts) -> Outcome | None:
    """A field of knowledge about one object."""
    found = one(program, facts) if program.head in fields() else None
    value = known_of(found[0], program.head) if found else None
    return Outcome(value, found[1]) if found and value else None


def _corners(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts) if facts.rendered else None
    shape = knowledge.shapes().get(found[0].noun) if found else None
    return Outcome(str(shape.corners), found[1]) if found and shape and shape.name in CORNERED else None


def _mixed(program: Program, facts: Facts) -> Outcome | None:
    found = one(program, facts) if facts.rendered else None
    for pair, gives in knowledge.paint_results().items():
        if found and gives == found[0].colour:
            return Outcome(" and ".join(sorted(pair)), found[1])
    return None


def _like(program: Program, facts: Facts) -> Outcome | None:
    """Which of the words has the object's colour ("ripe tomatoes") or shape ("a coin")."""
    found = one(program, facts) if facts.rendered else None
    if found is None:
        return None
    obj = found[0]
    colour, shape = knowledge.colours().get(_plain_colour(obj) or ""), knowledge.shapes().get(obj.noun)
    value = (colour.hint if colour else None) if program.head == "like" else (shape.like if shape else None)
    return Outcome(value, found[1]) if value in program.words else None


def _is(program: Program, facts: Facts) -> Outcome | None:
    """Whether a question's answer is a value: yes, or no where nobody could call it so."""
    question, value = program.claimed
    right = evaluate(question, facts)
    if right is None:
        return None
    if right.value == value:
        return Outcome("yes", right.tags)
    return Outcome("no", right.tags) if is_wrong(question, right, value, facts) else None


def is_wrong(question: Program, right: Outcome, value: str, facts: Facts) -> bool:
    """Whether `value` is surely wrong for a question whose right outcome is known."""
    match question.head:
        case "colour":
            return is_different_colour(value, facts.by_tag[right.tags[0]].colours)
        case "who":
            calls = facts.by_tag[right.tags[0]].possible_names
            return (
                not could_be(right.value, value)
                and not are_people_alike(right.value, value)
                and vocabulary.classes_of(value).isdisjoint(calls)
            )
        case "further" | "nearer" | "bigger":
            return value in map(str, question.refs) or facts.is_absent(parse_ref(value).noun)
        case "name" | "what":
            objects = facts.candidates_for(value)
            linked = question.head == "what" and _is_related(right, objects, facts)
            return not could_be(right.value, value) and (facts.is_absent(value) or bool(objects) and not linked)
        case head if head in fields():
            calls = facts.by_tag[right.tags[0]].possible_names
            alike = head == "use" and value in similar_uses(facts.by_tag[right.tags[0]].phrase.core)
            return not alike and not overlap(value, right.value) and all(lookup(head, name) != value for name in calls)
    return value != right.value


def are_people_alike(first: str, second: str) -> bool:
    """Whether two words for people differ in age only, which two viewers may see differently."""
    same = ({"man", "boy"}, {"woman", "girl"}, {"child", "boy", "girl"})
    return any(
        not vocabulary.classes_of(first).isdisjoint(pair) and not vocabulary.classes_of(second).isdisjoint(pair) for pair in same
    )


def _is_related(right: Outcome, objects: list[SceneObject], facts: Facts) -> bool:
    """Whether one of `things` may also be what is held, ridden ... for any verb: then it is no wrong answer."""
    tags = {obj.tag for obj in objects}
    known = right.tags[1] if len(right.tags) > 1 else right.tags[0]
    return any(known in (link.subject, link.object) and tags & {link.subject, link.object} for link in facts.links)


EVALUATE: dict[str, Callable[[Program, Facts], Outcome | None]] = {
    "colour": _colour, "shape": _shape, "size": _size, "exists": _exists, "written": _written,
    "name": _name, "what": _find_object, "who": _find_subject, 
    "corners": _corners, "mixed": _mixed, "like": _like, "twin": _like, "is": _is,
    "count": count.count, "total": count.total, "difference": count.difference, "more": count.more,
    "all_legs": count.multiply_by("legs"), "all_wheels": count.multiply_by("wheels"), "all_corners": count.multiply_by("corners"),
    "across": compare.side, "vertical": compare.side, "relative": compare.relative, "order": compare.order,
    "further": compare.furthest, "nearer": compare.nearest, "bigger": compare.largest,
}  # fmt: skip
"""Every head that is not a field of knowledge."""
KNOWING = frozenset(("all_legs", "all_wheels", "all_corners", "corners", "mixed", "like", "twin"))


@lru_cache(maxsize=65536)
def complexity(program: Program) -> int:
    """Steps of reasoning: one for the head (two if it needs knowledge), and one for each object, place or use on the way.

    What is counted takes one step more for each attribute by which it must be sorted out.

    >>> from comvint_hf.annotator.programs.program import parse_program
    >>> [complexity(parse_program(text)) for text in ("colour(the(circle))", "colour(the(circle; left of the(star)))")]
    [2, 4]
    """
    if program.head == "is":
        return complexity(program.claimed[0])
    head = 2 if program.head in KNOWING or program.head in fields() else 1
    return head + sum(_steps(ref) for ref in program.refs)


def _steps(ref: Ref) -> int:
    step = 1 if ref.where and ref.where.how != "furthest" or ref.article == "the" and ref.noun in vocabulary.parent_names() else 0
    sorting = len(ref.attributes) if ref.article == "any" else 0
    return 1 + step + sorting + (_steps(ref.where.anchor) if ref.where and ref.where.anchor else 0)
