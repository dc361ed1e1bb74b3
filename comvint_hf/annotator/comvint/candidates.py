"""Which programs a scene offers: the first questions of each kind.

`chosen` lets only those through that come to a value on the scene. It writes no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, islice, pairwise, permutations
from random import Random

from comvint_hf.annotator.comvint.references import (
    PARTS,
    answerable,
    askable,
    landmarks,
    misspelt,
    references,
    relational,
    telling,
)
from comvint_hf.annotator.facts.scene import SIDES, SMALLEST, Facts, Thing
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import fields, know
from comvint_hf.annotator.programs.program import Program, Ref, Where, every, the
from comvint_hf.annotator.programs.search import known_of, resolve, use_of_thing
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import number_of
from comvint_hf.annotator.words.vocabulary import is_a

Groups = dict[str, list[Program]]
Groups = dict[str, list[Program]]
DRAWN_COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star")


def cross_modal(facts: Facts, random: Random) -> Groups:
    """First questions that combine what is seen in the picture, by head; not all of them have an answer."""
    return _grouped(program for maker in (_DRAWN if facts.drawn else _PHOTO) for program in maker(facts, random))


def outside_knowledge(facts: Facts, random: Random) -> Groups:
    """First questions that need the picture and knowledge of the world, by head; not all of them have an answer."""
    return _grouped(_drawn_knowledge(facts, random) if facts.drawn else _photo_knowledge(facts, random))


def _grouped(programs: Iterable[Program]) -> Groups:
    made: Groups = {}
    for program in programs:
        made.setdefault(program.head, []).append(program)
    return made


# Rendered shapes ------------------------------------------------------------------------------------------------------


def _looks(thing: Thing, hidden: str) -> Iterator[Ref]:
    """Simple references to a shape that do not give away one of its attributes."""
    size, colour = thing.attributes[:2]
    shown = {"colour": (size,), "size": (colour,), "shape": (size, colour), "": (size, colour)}[hidden]
    noun = "object" if hidden == "shape" else thing.noun
    yield the(noun)
    for attribute in shown[::-1]:
        yield the(noun, attribute)
    if len(shown) == 2:
        yield the(noun, *shown)


def _look(thing: Thing, hidden: str, facts: Facts) -> Ref | None:
    """The shortest of them that fits only this shape."""
    return next((ref for ref in _looks(thing, hidden) if (found := resolve(ref, facts)) and found[0] is thing), None)


def _drawn_looks(facts: Facts, random: Random) -> Iterator[Program]:
    for thing in facts.things:
        for hidden in ("colour", "shape", "size"):
            ref = _look(thing, hidden, facts)
            if ref and (len(facts.things) > 1 or ref.attributes or hidden != "shape"):
                yield Program(hidden, (ref,))


def _drawn_counts(facts: Facts, random: Random) -> Iterator[Program]:
    nouns = list(dict.fromkeys(thing.noun for thing in facts.things))
    for noun in (*nouns, "shape"):
        yield Program("count", (every(noun),))
    for thing in facts.things:
        yield Program("count", (every("shape", random.choice(thing.attributes[:2])),))
    for first, second in pairwise(nouns):
        yield Program("total", (every(first), every(second)))
        yield Program("more", (every(first), every(second)))
        yield Program("difference", (every(first), every(second)))
        yield Program("difference", (every(second), every(first)))


def _drawn_places(facts: Facts, random: Random) -> Iterator[Program]:
    refs = [ref for thing in facts.things if (ref := _look(thing, "", facts))]
    random.shuffle(refs)
    for first, second in list(permutations(refs[:4], 2))[:6]:
        yield Program("across", (first, second))
        yield Program("vertical", (first, second))
    for first, second in combinations(refs[:4], 2):
        yield Program("further", (random.choice(("left", "right")), first, second))
    if len(refs) > 2:
        yield Program("order", tuple(refs[:3]))
    yield Program("written")


def _drawn_knowledge(facts: Facts, random: Random) -> Iterator[Program]:
    hints = [knowledge.colours()[colour].hint for colour in DRAWN_COLOURS]
    twins = [shape.like for shape in knowledge.shapes().values()]
    for thing in facts.things:
        by_shape, by_colour = _look(thing, "colour", facts), _look(thing, "shape", facts)
        if by_shape:
            yield Program("mixed", (by_shape,))
            right = knowledge.colours()[thing.colour or ""].hint
            yield Program("like", (by_shape, *among(right, hints, 2, random)))
        if by_colour and thing.noun in knowledge.shapes():
            yield Program("corners", (by_colour,))
            yield Program("twin", (by_colour, *among(knowledge.shapes()[thing.noun].like, twins, 2, random)))


def among(right: str, pool: Iterable[str], wrong: int, random: Random) -> list[str]:
    """The right word among some others, in any order."""
    words = [right, *random.sample([word for word in pool if word != right], wrong)]
    random.shuffle(words)
    return words


# Photos ---------------------------------------------------------------------------------------------------------------


def _photo_links(facts: Facts, random: Random) -> Iterator[Program]:
    """What somebody holds, rides, sits on; who does so."""
    relations = vocabulary.relations()
    for link in facts.links:
        subject, target = facts.by_tag[link.subject], facts.by_tag[link.object]
        told = answerable(target) and not misspelt(target, facts)
        bare = " " not in link.verb and not relations[link.verb].animate  # "what is the man wearing the cap on?"
        if "object" in relations[link.verb].asks and told and not is_a(target.phrase.core, "person"):
            for ref in references(subject, facts, random, without=target.tag):
                if ref.simple or not bare:
                    yield Program("what", (ref, link.verb))
        if "subject" in relations[link.verb].asks and is_a(subject.phrase.core, "person") and subject.noun != "person":
            for ref in references(target, facts, random, without=subject.tag):
                yield Program("who", (link.verb, ref))


def _photo_colours(facts: Facts, random: Random) -> Iterator[Program]:
    for thing in facts.things:
        if thing.colour and thing.box.area >= SMALLEST:
            found = next(relational(thing, facts, random), None) or next(references(thing, facts, random, colour=False), None)
            if found and not set(found.attributes) & thing.colours:
                yield Program("colour", (found,))


def _photo_places(facts: Facts, random: Random) -> Iterator[Program]:
    """Comparisons of things by place and size."""
    known = landmarks(facts)[:]
    random.shuffle(known)
    refs = [ref for _, ref in known]
    for first, second in pairwise(refs[:6]):
        if first.noun != second.noun:
            yield Program("across", (first, second))
            yield Program("vertical", (second, first))
    for chosen in list(combinations(refs[:5], 3))[:4]:
        if len({ref.noun for ref in chosen}) == 3:
            yield Program("further", (random.choice(("left", "right")), *chosen))
            yield Program("order", chosen)
        yield Program("bigger", chosen)
    for first, second, third in list(permutations(refs[:5], 3))[:8]:
        yield Program("nearer", (first, second, third))
    if len(refs) == 2:
        yield Program("bigger", tuple(refs))


def _photo_counts(facts: Facts, random: Random) -> Iterator[Program]:
    """Sums and comparisons of numbers, and numbers on one side of something; only where all instances are annotated."""
    if not facts.exhaustive:
        return
    nouns = [
        noun
        for noun in dict.fromkeys(thing.noun for thing in facts.things)
        if facts.count(noun) and number_of(noun) == "singular"
    ]
    random.shuffle(nouns)
    for first, second in pairwise(nouns[:5]):
        if max(facts.count(first) or 0, facts.count(second) or 0) > 1:
            yield Program("total", (every(first), every(second)))
            yield Program("more", (every(first), every(second)))
            yield Program("difference", (every(first), every(second)))
            yield Program("difference", (every(second), every(first)))
    for noun in nouns[:5]:
        if (facts.count(noun) or 0) > 1:
            for anchor, ref in landmarks(facts):
                if anchor.noun != noun:
                    side = random.choice(SIDES[:2])
                    program = Program("count", (every(noun, where=Where("side", side, ref)),))
                    outcome = evaluate(program, facts)
                    if outcome and outcome.value != "0":
                        yield program


def _photo_names(facts: Facts, random: Random) -> Iterator[Program]:
    """Which animal, vehicle ... is on one side of something."""
    for thing, kind in _broad(facts):
        if facts.exhaustive:
            for anchor, ref in landmarks(facts):
                for side in facts.sides(thing, anchor)[:1]:
                    if not is_a(anchor.noun, kind) or anchor.noun != thing.noun:
                        yield Program("name", (every(kind, where=Where("side", side, ref)),))
        for link in facts.links_from.get(thing.tag, ()):
            for ref in references(facts.by_tag[link.object], facts, random, without=thing.tag):
                if link.verb not in ("has", "wearing"):
                    yield Program("name", (every(kind, where=Where("does", link.verb, ref)),))


def _broad(facts: Facts) -> Iterator[tuple[Thing, str]]:
    """Things with the broad kind one can ask of, people left out: they are not told apart by kind."""
    for thing in facts.things:
        if thing.box.area >= SMALLEST and not thing.plural and not is_a(thing.phrase.core, "person"):
            for kind in sorted(vocabulary.broad(thing.phrase.core) & vocabulary.broad_kinds()):
                if kind != thing.noun and askable(kind, facts) and is_a(thing.phrase.core, kind):
                    yield thing, kind


def _photo_knowledge(facts: Facts, random: Random) -> Iterator[Program]:
    """Knowledge about a thing that must be found in the picture first: by its broad kind, its place, or who holds it."""
    for thing in facts.things:
        if thing.box.area < SMALLEST or thing.phrase.head in PARTS or thing.plural and thing.phrase.count != 1:
            continue
        known = [field for field in fields() if known_of(thing, field)]
        refs = list(islice(_veiled(thing, facts, random), 3)) if known else []
        if not refs:
            continue
        for field in known:
            if field != "use" or not is_a(thing.phrase.core, "food"):
                yield Program(field, (random.choice(refs),))
        use = use_of_thing(thing)
        if use and telling(thing, use):
            yield Program("tool", (use,))
    for noun in dict.fromkeys(thing.noun for thing in facts.things):
        if facts.exhaustive and (facts.count(noun) or 0) > 1:
            if know("legs", noun) and not is_a(noun, "person"):
                yield Program("all_legs", (every(noun),))
            if know("wheels", noun) in ("2",):
                yield Program("all_wheels", (every(noun),))


def _veiled(thing: Thing, facts: Facts, random: Random) -> Iterator[Ref]:
    """References that do not name the thing, so that it must be recognised."""
    for ref in relational(thing, facts, random):
        if ref.noun not in (thing.noun, thing.phrase.core) and ref.where and ref.where.how != "for":
            yield ref
    for found, kind in _broad(facts):
        if found is thing:
            ref = the(kind)
            outcome = resolve(ref, facts)
            if outcome and outcome[0] is thing:
                yield ref


_DRAWN = (_drawn_looks, _drawn_counts, _drawn_places)
_PHOTO = (_photo_links, _photo_colours, _photo_places, _photo_counts, _photo_names)


def chosen(groups: Groups, count: int, facts: Facts, random: Random) -> list[Program]:
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
