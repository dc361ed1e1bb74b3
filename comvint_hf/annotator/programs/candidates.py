"""Which programs a scene offers: the first questions of each kind.

`select_programs` lets only those through that come to a value on the scene. It writes no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, islice, pairwise, permutations
from random import Random

from comvint_hf.annotator.facts.geometry import SIDES
from comvint_hf.annotator.facts.objects import SceneObject
from comvint_hf.annotator.facts.scene import SMALLEST, Facts
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import fields, lookup
from comvint_hf.annotator.programs.program import Program, Ref, Where, every, the
from comvint_hf.annotator.programs.references import (
    PARTS,
    can_ask_class,
    is_answerable,
    is_misspelt,
    landmark_references,
    references,
    relational,
    unique_references,
)
from comvint_hf.annotator.programs.search import known_of, resolve
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import number_of, words
from comvint_hf.annotator.words.knowledge import RENDERED_COLOURS
from comvint_hf.annotator.words.vocabulary import is_a

Groups = dict[str, list[Program]]
PROTECTIVE = words("protective")
"""What is worn for a purpose: of a shirt nobody asks what it is for."""


def cross_modal(facts: Facts, random: Random) -> Groups:
    """First questions that combine what is seen in the image, by head; not all of them have an answer."""
    return _group_by_head(program for maker in (_DRAWN if facts.rendered else _PHOTO) for program in maker(facts, random))


def outside_knowledge(facts: Facts, random: Random) -> Groups:
    """First questions that need the image and knowledge of the world, by head; not all of them have an answer."""
    return _group_by_head(_rendered_knowledge(facts, random) if facts.rendered else _photo_knowledge(facts, random))


def _group_by_head(programs: Iterable[Program]) -> Groups:
    made: Groups = {}
    for program in programs:
        made.setdefault(program.head, []).append(program)
    return made


# Rendered shapes ------------------------------------------------------------------------------------------------------


def _simple_references(obj: SceneObject, hidden: str) -> Iterator[Ref]:
    """Simple references to a shape that do not give away one of its attributes."""
    size, colour = obj.attributes[:2]
    shown = {"colour": (size,), "size": (colour,), "shape": (size, colour), "": (size, colour)}[hidden]
    noun = "object" if hidden == "shape" else obj.noun
    yield the(noun)
    for attribute in shown[::-1]:
        yield the(noun, attribute)
    if len(shown) == 2:
        yield the(noun, *shown)


def _shortest_reference(obj: SceneObject, hidden: str, facts: Facts) -> Ref | None:
    """The shortest of them that fits only this shape."""
    return next((ref for ref in _simple_references(obj, hidden) if (found := resolve(ref, facts)) and found[0] is obj), None)


def _rendered_attributes(facts: Facts, random: Random) -> Iterator[Program]:
    for obj in facts.objects:
        for hidden in ("colour", "shape", "size"):
            ref = _shortest_reference(obj, hidden, facts)
            if ref and (len(facts.objects) > 1 or ref.attributes or hidden != "shape"):
                yield Program(hidden, (ref,))


def _rendered_counts(facts: Facts, random: Random) -> Iterator[Program]:
    nouns = list(dict.fromkeys(obj.noun for obj in facts.objects))
    for noun in (*nouns, "shape"):
        yield Program("count", (every(noun),))
    for obj in facts.objects:
        yield Program("count", (every("shape", random.choice(obj.attributes[:2])),))
    for first, second in pairwise(nouns):
        yield Program("total", (every(first), every(second)))
        yield Program("more", (every(first), every(second)))
        yield Program("difference", (every(first), every(second)))
        yield Program("difference", (every(second), every(first)))


def _rendered_positions(facts: Facts, random: Random) -> Iterator[Program]:
    refs = [ref for obj in facts.objects if (ref := _shortest_reference(obj, "", facts))]
    random.shuffle(refs)
    for first, second in list(permutations(refs[:4], 2))[:6]:
        yield Program("across", (first, second))
        yield Program("vertical", (first, second))
    for first, second in combinations(refs[:4], 2):
        yield Program("further", (random.choice(("left", "right")), first, second))
    if len(refs) > 2:
        yield Program("order", tuple(refs[:3]))
    yield Program("written")


def _rendered_knowledge(facts: Facts, random: Random) -> Iterator[Program]:
    hints = [knowledge.colours()[colour].hint for colour in RENDERED_COLOURS]
    twins = [shape.like for shape in knowledge.shapes().values()]
    for obj in facts.objects:
        by_shape, by_colour = _shortest_reference(obj, "colour", facts), _shortest_reference(obj, "shape", facts)
        if by_shape:
            yield Program("mixed", (by_shape,))
            right = knowledge.colours()[obj.colour or ""].hint
            yield Program("like", (by_shape, *sample_options(right, hints, 2, random)))
        if by_colour and obj.noun in knowledge.shapes():
            yield Program("corners", (by_colour,))
            yield Program("twin", (by_colour, *sample_options(knowledge.shapes()[obj.noun].like, twins, 2, random)))


def sample_options(right: str, pool: Iterable[str], wrong: int, random: Random) -> list[str]:
    """The right word among some others, in any order."""
    words = [right, *random.sample([word for word in pool if word != right], wrong)]
    random.shuffle(words)
    return words


def among_four(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """The same comparison among four objects."""
    first = program.head == "nearer"
    if len(program.refs) - first >= 4:
        yield program
    objects = unique_references(facts) if facts.rendered else landmark_references(facts)
    known = [ref for _, ref in objects if ref not in program.refs]
    for _ in range(4 if len(known) + len(program.refs) - first >= 4 else 0):
        random.shuffle(known)
        yield Program(program.head, (*program.words, *program.refs, *known)[: len(program.words) + 4 + first])


def among_four_words(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """What a drawn shape is like, among four well known objects."""
    right = evaluate(program, facts)
    hints = [knowledge.colours()[colour].hint for colour in RENDERED_COLOURS]
    pool = hints if program.head == "like" else [shape.like for shape in knowledge.shapes().values()]
    if right:
        yield Program(program.head, (program.refs[0], right.value, *random.sample(sorted(set(pool) - {right.value}), 3)))


# Photos ---------------------------------------------------------------------------------------------------------------


def _photo_links(facts: Facts, random: Random) -> Iterator[Program]:
    """What somebody holds, rides, sits on; who does so."""
    relations = vocabulary.relations()
    for link in facts.links:
        subject, target = facts.by_tag[link.subject], facts.by_tag[link.object]
        told = is_answerable(target) and not is_misspelt(target, facts)
        bare = " " not in link.verb and not relations[link.verb].animate  # "what is the man wearing the cap on?"
        if "object" in relations[link.verb].asks and told and not is_a(target.phrase.core, "person"):
            for ref in references(subject, facts, random, without=target.tag):
                if ref.simple or not bare:
                    yield Program("what", (ref, link.verb))
        if "subject" in relations[link.verb].asks and is_a(subject.phrase.core, "person") and subject.noun != "person":
            for ref in references(target, facts, random, without=subject.tag):
                yield Program("who", (link.verb, ref))


def _photo_colours(facts: Facts, random: Random) -> Iterator[Program]:
    for obj in facts.objects:
        if obj.colour and obj.box.area >= SMALLEST:
            found = next(relational(obj, facts, random), None) or next(references(obj, facts, random, colour=False), None)
            if found and not set(found.attributes) & obj.colours:
                yield Program("colour", (found,))


def _photo_positions(facts: Facts, random: Random) -> Iterator[Program]:
    """Comparisons of objects by place, in any order: of heights nobody need be told that a hat is above a shirt."""
    known = landmark_references(facts)[:]
    random.shuffle(known)
    refs = [ref for _, ref in known]
    for first, second in pairwise(refs[:6]):
        if first.noun != second.noun:
            yield Program("across", (first, second))
    for chosen in list(combinations(refs[:5], 3))[:4]:
        if len({ref.noun for ref in chosen}) == 3:
            yield Program("further", (random.choice(("left", "right")), *chosen))


def _photo_counts(facts: Facts, random: Random) -> Iterator[Program]:
    """Sums and comparisons of numbers, and numbers on one side of something; only where all instances are annotated."""
    if not facts.exhaustive:
        return
    nouns = [
        noun for noun in dict.fromkeys(obj.noun for obj in facts.objects) if facts.count(noun) and number_of(noun) == "singular"
    ]
    random.shuffle(nouns)
    for first, second in pairwise(nouns[:5]):
        if max(facts.count(first) or 0, facts.count(second) or 0) > 1:
            yield Program("more", (every(first), every(second)))
            yield Program("difference", (every(first), every(second)))
            yield Program("difference", (every(second), every(first)))
    for noun in nouns[:5]:
        if (facts.count(noun) or 0) > 1:
            for anchor, ref in landmark_references(facts):
                if anchor.noun != noun:
                    side = random.choice(SIDES[:2])
                    program = Program("count", (every(noun, where=Where("side", side, ref)),))
                    outcome = evaluate(program, facts)
                    if outcome and outcome.value != "0":
                        yield program


def _photo_names(facts: Facts, random: Random) -> Iterator[Program]:
    """Which animal, vehicle ... is on one side of something."""
    for obj, kind in _objects_by_class(facts):
        if facts.exhaustive:
            for anchor, ref in landmark_references(facts):
                for side in facts.relative_positions(obj, anchor)[:1]:
                    if not is_a(anchor.noun, kind) or anchor.noun != obj.noun:
                        yield Program("name", (every(kind, where=Where("side", side, ref)),))
        for link in facts.links_from.get(obj.tag, ()):
            for ref in references(facts.by_tag[link.object], facts, random, without=obj.tag):
                if link.verb not in ("has", "wearing"):
                    yield Program("name", (every(kind, where=Where("does", link.verb, ref)),))


def _objects_by_class(facts: Facts) -> Iterator[tuple[SceneObject, str]]:
    """Objects with the broad kind one can ask of, people left out: they are not told apart by kind."""
    for obj in facts.objects:
        if obj.box.area >= SMALLEST and not obj.plural and not is_a(obj.phrase.core, "person"):
            for kind in sorted(vocabulary.all_classes_of(obj.phrase.core) & vocabulary.parent_names()):
                if kind != obj.noun and can_ask_class(kind, facts) and is_a(obj.phrase.core, kind):
                    yield obj, kind


def _photo_knowledge(facts: Facts, random: Random) -> Iterator[Program]:
    """Knowledge about an object that must be found in the image first: by its broad kind, its place, or who holds it."""
    for obj in facts.objects:
        worn = is_a(obj.phrase.core, "piece of clothing") and obj.phrase.head not in PROTECTIVE
        if worn or obj.box.area < SMALLEST or obj.phrase.head in PARTS or obj.plural and obj.phrase.quantity != 1:
            continue
        known = [field for field in fields() if known_of(obj, field)]
        refs = list(islice(_indirect_references(obj, facts, random), 3)) if known else []
        if not refs:
            continue
        for field in known:
            if field != "use" or not is_a(obj.phrase.core, "food"):
                yield Program(field, (random.choice(refs),))
    for noun in dict.fromkeys(obj.noun for obj in facts.objects):
        if facts.exhaustive and (facts.count(noun) or 0) > 1:
            if lookup("legs", noun) and not is_a(noun, "person"):
                yield Program("all_legs", (every(noun),))
            if lookup("wheels", noun) in ("2",):
                yield Program("all_wheels", (every(noun),))


def _indirect_references(obj: SceneObject, facts: Facts, random: Random) -> Iterator[Ref]:
    """References that do not name the object, so that it must be recognised: by a relation, or by its broad kind and its place."""
    for ref in relational(obj, facts, random):
        if ref.noun not in (obj.noun, obj.phrase.core) and ref.where:
            yield ref
    for kind in (kind for found, kind in _objects_by_class(facts) if found is obj):
        outcome = resolve(the(kind), facts)
        if outcome and outcome[0] is obj:
            if obj.colour:
                yield the(kind, obj.colour)
            for anchor, ref in landmark_references(facts):
                for side in facts.relative_positions(obj, anchor)[:1]:
                    yield the(kind, where=Where("side", side, ref))


_DRAWN = (_rendered_attributes, _rendered_counts, _rendered_positions)
_PHOTO = (_photo_links, _photo_colours, _photo_positions, _photo_counts, _photo_names)


def select_programs(groups: Groups, count: int, facts: Facts, random: Random) -> list[Program]:
    """Programs that have an answer, from as many different heads as there are, one after another, none twice."""
    heads = sorted(groups)
    random.shuffle(heads)
    picked: list[Program] = []
    pools = {head: random.sample(groups[head], len(groups[head])) for head in heads}
    while len(picked) < count and any(pools.values()):
        for head in heads:
            while pools[head]:
                program = pools[head].pop()
                if program not in picked and evaluate(program, facts):
                    picked.append(program)
                    break
            if len(picked) == count:
                break
    return picked
