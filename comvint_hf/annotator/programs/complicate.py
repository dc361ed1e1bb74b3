"""Harder versions of a program: one more hop through the image, or one more piece of knowledge.

Every version that leaves this file evaluates to a value on the scene and takes more steps than the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

from comvint_hf.annotator.facts.geometry import SIDES
from comvint_hf.annotator.facts.objects import SceneObject
from comvint_hf.annotator.facts.scene import Facts
from comvint_hf.annotator.programs.candidates import sample_options
from comvint_hf.annotator.programs.execute import complexity, evaluate
from comvint_hf.annotator.programs.knowledge import GENERAL, fields
from comvint_hf.annotator.programs.program import THING, Program, Ref, Where, refs_in, replace, the
from comvint_hf.annotator.programs.references import (
    can_form_clause,
    is_answerable,
    landmark_references,
    relational,
    unique_references,
)
from comvint_hf.annotator.programs.search import find, resolve, similar_items
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.knowledge import RENDERED_COLOURS
from comvint_hf.annotator.words.vocabulary import is_a

Step = tuple[str, Program]
"""What a step takes, "hop" or "knowledge", and the program that it leads to."""
HOPS_A_VEIL = 3
"""How often an object is reached through another for each time that it is told by what one knows of it."""


def complicate_program(program: Program, facts: Facts, random: Random) -> Iterator[Step]:
    """Versions of a program that take one step more, as ("hop" or "knowledge", program), in random order.

    The right answer stays as it is, but where a question for an object becomes one for what the object is for.
    """
    before = evaluate(program, facts)
    ways = _extensions(program, facts, random) if before else []
    while ways:
        way = random.choice(ways)
        change, step = next(way, ("", None))
        if step is None:
            ways.remove(way)
        elif (version := order_references(step)) and complexity(version) > complexity(program) and is_readable(version, facts):
            after = evaluate(version, facts)
            free = change == "knowledge" or program.head != version.head or program.head not in SAME_VALUE
            if before and after and (free or after.value == before.value):
                yield change, version


MOST_HOPS, MOST_HOPS_ON_PHOTOS, MOST_HOPS_IN_ALL = 2, 1, 3
"""Objects that one reference, and all references of a question, may lead through before nobody follows them."""


def is_readable(program: Program, facts: Facts) -> bool:
    """Whether a reader can follow all references: no long chains, and no "what is the man wearing the hat on?"."""
    hops = [_depth(ref) for ref in program.refs]
    stranded = program.head == "what" and sum(hops) > 0 and not can_form_clause(program.words[0])
    most = MOST_HOPS if facts.rendered else MOST_HOPS_ON_PHOTOS
    return max(hops, default=0) <= most and sum(hops) <= MOST_HOPS_IN_ALL and not stranded


def _depth(ref: Ref) -> int:
    if ref.where is None or ref.where.how == "furthest":
        return 0
    return 1 + (_depth(ref.where.anchor) if ref.where.anchor else 0)


SAME_VALUE = frozenset(("colour", "shape", "size", "across", "vertical", "who", "corners", "mixed", "like", "twin", *GENERAL))


def _extensions(program: Program, facts: Facts, random: Random) -> list[Iterator[Step]]:
    """The ways to go on, each a source of steps; the commonest, one object through another, stands there several times."""
    ways = [_ask_knowledge(program, facts, random), _ask_other_relation(program, facts)]
    if not facts.rendered:
        ways.append(_ask_position_or_colour(program, facts, random))
    for ref in refs_in(program):
        if ref.article == "the" and (ref.simple or ref.where and ref.where.how == "like") and (found := resolve(ref, facts)):
            ways += HOPS_A_VEIL * [_refer_through_other(program, ref, found[0], facts, random)]
            if facts.rendered or ref in _final_references(program):
                ways.append(_refer_indirectly(program, ref, found[0], facts))
    if program.head in COUNTED and facts.exhaustive:
        ways += [_count_with_attribute(program, facts, random), _count_on_side(program, facts, random)]
    return ways


def _final_references(program: Program) -> list[Ref]:
    """References that end a phrase, where a longer one reads well: not the woman in "the hat that the woman is wearing"."""
    ends = [ref.where.anchor for ref in program.refs if ref.where and ref.where.anchor and ref.where.how != "done"]
    return [*program.refs, *ends]


def _count_on_side(program: Program, facts: Facts, random: Random) -> Iterator[Step]:
    """Count only what lies on one side of something."""
    if program.head != "count" or program.refs[0].where:
        return
    known = unique_references(facts) if facts.rendered else landmark_references(facts)
    for anchor, other in random.sample(known, len(known)):
        if anchor.noun != program.refs[0].noun or facts.rendered:
            side = random.choice(SIDES if facts.rendered else SIDES[:2])
            longer = program.refs[0]._replace(where=Where("side", side, other))
            counted = find(longer, facts)
            if counted and counted.sure:
                yield "hop", Program("count", (longer,))


def _refer_through_other(program: Program, ref: Ref, obj: SceneObject, facts: Facts, random: Random) -> Iterator[Step]:
    """The object found through another one that the question did not need before."""
    outcome = evaluate(program, facts)
    used = set(outcome.tags) if outcome else set()
    for longer in islice(relational(obj, facts, random), MOST_WAYS):
        found = resolve(longer, facts)
        new = found and used.isdisjoint(found[1][1:]) and not _is_repeated_side(program, longer)
        if new and is_needed(longer, facts) and _is_safe(program, ref, longer, obj):
            yield "hop", replace(program, ref, longer)


def _refer_indirectly(program: Program, ref: Ref, obj: SceneObject, facts: Facts) -> Iterator[Step]:
    """A drawn object spoken of by what it looks like."""
    if facts.rendered:
        for place, likeness in enumerate(similar_items(obj, facts)):
            if program.head not in GIVEN_AWAY[place] and ref.simple:
                yield from _refer_by_knowledge(program, ref, the("object", where=Where("like", likeness)), obj, facts)


def _refer_by_knowledge(program: Program, ref: Ref, veiled: Ref, obj: SceneObject, facts: Facts) -> Iterator[Step]:
    found = resolve(veiled, facts)
    if found and found[0] is obj:
        yield "knowledge", replace(program, ref, veiled)


GIVEN_AWAY = (("colour", "mixed", "like"), ("shape", "corners", "twin"))
"""Heads whose answer a likeness in colour, and one in shape, would give away."""
COUNTED = frozenset(("count", "total", "difference", "more", "all_corners"))


def _count_with_attribute(program: Program, facts: Facts, random: Random) -> Iterator[Step]:
    """Count only the objects of one more attribute. Of two groups the second comes first: "small stars and squares" is unclear."""
    *first, last = program.refs
    for words in _add_attribute(last, facts, random):
        yield "hop", Program(program.head, (*first, last._replace(attributes=words)))
    if first and last.attributes:
        for words in _add_attribute(first[0], facts, random):
            yield "hop", Program(program.head, (first[0]._replace(attributes=words), last))


def _add_attribute(ref: Ref, facts: Facts, random: Random) -> list[tuple[str, ...]]:
    """The attributes of a group with one more that some of its rendered shapes have; size comes before colour."""
    if not facts.rendered or ref.where or len(ref.attributes) > 1:
        return []
    shapes = [obj.attributes[:2] for obj in facts.objects if ref.noun in obj.possible_names]
    if ref.attributes:
        found = sorted({pair for pair in shapes if ref.attributes[0] in pair})
    else:
        found = sorted({(word,) for pair in shapes for word in pair})
    return random.sample(found, len(found))


def _is_repeated_side(program: Program, ref: Ref) -> bool:
    """Whether a reference by left or right stands in a question for left or right: "is what is right of X right of Y?"."""
    sides = {"across": SIDES[:2], "vertical": SIDES[2:]}.get(program.head, ())
    return ref.where is not None and ref.where.how == "side" and ref.where.word in sides


MOST_WAYS = 6
"""Ways to reach an object that are looked at, drawn from all: one is taken in the end."""


def is_needed(ref: Ref, facts: Facts) -> bool:
    """Whether a reference would be open without what narrows it: else the detour is idle."""
    return ref.noun == THING or resolve(ref._replace(where=None), facts) is None


def order_references(program: Program) -> Program | None:
    """A comparison with its described objects last, so that a list of them can be read; `None` if it has two."""
    if program.head not in ("further", "nearer", "bigger", "order"):
        return program
    first = program.refs[: program.head == "nearer"]
    listed = program.refs[len(first) :]
    long = tuple(ref for ref in listed if not ref.simple)
    if len(long) > 1:
        return None
    return Program(program.head, (*program.words, *first, *(ref for ref in listed if ref.simple), *long))


def _is_safe(program: Program, old: Ref, new: Ref, obj: SceneObject) -> bool:
    """Whether the longer reference keeps what is asked hidden: not the shape in a question for the shape."""
    if program.head in ("shape", "corners", "twin"):
        return new.noun == "object"
    if program.head in fields() and program.refs and old == program.refs[0]:
        return new.noun != obj.noun
    return True


def _ask_other_relation(program: Program, facts: Facts) -> Iterator[Step]:
    """From somebody who does something to what else they wear, hold or sit on."""
    if program.head not in ("what", "who"):
        return
    outcome = evaluate(program, facts)
    first, second = (facts.by_tag[tag] for tag in outcome.tags[:2]) if outcome and len(outcome.tags) > 1 else (None, None)
    subject, target = (second, first) if program.head == "what" else (first, second)
    simple = next((ref for known, ref in unique_references(facts) if known is target), None)
    if subject is None or simple is None or subject.plural:
        return
    for noun in dict.fromkeys((subject.noun, "person" if is_a(subject.phrase.core, "person") else subject.noun)):
        whose = the(noun, where=Where("does", program.words[0], simple))
        for link in facts.links_from.get(subject.tag, ()):
            other = facts.by_tag[link.object]
            if other is target or not is_answerable(other) or not vocabulary.relations()[link.verb].animate:
                continue
            if "object" in vocabulary.relations()[link.verb].asks and not is_a(other.phrase.core, "person"):
                yield "hop", Program("what", (whose, link.verb))
            if can_form_clause(link.verb):
                yield "hop", Program("colour", (the(other.noun, where=Where("done", link.verb, whose)),))


def _ask_position_or_colour(program: Program, facts: Facts, random: Random) -> Iterator[Step]:
    """From which object it is to where it is, or to its colour."""
    ref = _refer_to_answer(program, facts)
    found = resolve(ref, facts) if ref else None
    if ref is None or found is None:
        return
    obj, tags = found
    if not is_a(obj.phrase.core, "person"):
        yield "hop", Program("colour", (ref,))
    known = landmark_references(facts)
    for anchor, other in random.sample(known, len(known)):
        if anchor.tag not in tags and facts.are_distinct(obj, anchor):
            yield "hop", Program("across", (ref, other))


def _refer_to_answer(program: Program, facts: Facts) -> Ref | None:
    """The object that a question asks for, referred to by what the question says of it."""
    outcome = evaluate(program, facts)
    if outcome is None:
        return None
    match program.head:
        case "what" if can_form_clause(program.words[0]):
            kind = outcome.value if facts.by_tag[outcome.tags[0]].animate else THING
            return the(kind, where=Where("done", program.words[0], program.refs[0]))
        case "who":
            return the(outcome.value, where=Where("does", program.words[0], program.refs[0]))
        case "name":
            return program.refs[0]._replace(article="the")
    return None


def _ask_knowledge(program: Program, facts: Facts, random: Random) -> Iterator[Step]:
    """Ask what the object is for that was asked for."""
    if program.head == "what":
        subject, verb = program.refs[0], program.words[0]
        outcome = evaluate(program, facts)
        if can_form_clause(verb) and outcome and not facts.by_tag[outcome.tags[0]].animate:
            eaten = is_a(facts.by_tag[outcome.tags[0]].phrase.core, "food")
            for field in fields():
                if not (eaten and field == "use"):
                    yield "knowledge", Program(field, (the(THING, where=Where("done", verb, subject)),))
    if program.head == "name":
        ref = program.refs[0]
        for field in fields():
            yield "knowledge", Program(field, (ref._replace(article="the"),))
    if program.head == "colour":
        found = resolve(program.refs[0], facts)
        hints = [knowledge.colours()[colour].hint for colour in RENDERED_COLOURS]
        if facts.rendered and found and found[0].colour in knowledge.colours():
            words = sample_options(knowledge.colours()[found[0].colour].hint, hints, 2, random)
            yield "knowledge", Program("like", (program.refs[0], *words))
    if program.head == "count" and program.refs[0].where is None and not program.refs[0].attributes:
        for head in ("all_corners",) if facts.rendered else ("all_legs", "all_wheels"):
            yield "knowledge", Program(head, program.refs)
    if program.head in ("all_legs", "all_wheels"):
        ref = program.refs[0]
        for anchor, other in landmark_references(facts):
            if anchor.noun != ref.noun:
                for side in SIDES[:2]:
                    longer = ref._replace(where=Where("side", side, other))
                    counted = find(longer, facts)
                    if counted and counted.sure:
                        yield "hop", Program(program.head, (longer,))
