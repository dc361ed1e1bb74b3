"""What a question's answer is not: wrong values that are surely wrong, and related questions where there are too few.

Yes/no questions take one wrong value, multiple choice three. It writes no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations
from random import Random

from comvint_hf.synthesis.annotator.comvint.candidates import DRAWN_COLOURS
from comvint_hf.synthesis.annotator.comvint.references import UNWORTHY, describable, familiar, telling
from comvint_hf.synthesis.annotator.facts.scene_facts import SIDES, Facts
from comvint_hf.synthesis.annotator.programs.comparing import CORNERS
from comvint_hf.synthesis.annotator.programs.evaluation import evaluate
from comvint_hf.synthesis.annotator.programs.finding import known_of, use_of_thing
from comvint_hf.synthesis.annotator.programs.knowing import fields, values
from comvint_hf.synthesis.annotator.programs.notation import THEN, Outcome, Program, Where, claim, every, refs_in, the
from comvint_hf.synthesis.annotator.words import knowledge, lexicon
from comvint_hf.synthesis.annotator.words.language import COLOURS, number_of
from comvint_hf.synthesis.annotator.words.lexicon import could_be, is_a

SHAPES = ("circle", "square", "triangle", "star")
WORDS = ("EXIT", "TAXI", "MILK", "OPEN", "STOP", "SALE", "TEA", "ZOO", "BUS", "FISH", "GOLD", "MAP")
PAINTS = ("red and yellow", "blue and yellow", "blue and red", "black and white", "green and orange")
NUMBERS = frozenset(("count", "total", "difference", "all_legs", "all_wheels", "all_corners", "corners"))
CHOSEN = frozenset(("further", "nearer", "bigger"))
"""Heads whose value is one of the things they name."""


def wrong_values(program: Program, facts: Facts, random: Random, count: int) -> list[str]:
    """Up to `count` values that are surely wrong for a program and different from one another, plausible ones first."""
    right = evaluate(program, facts)
    if right is None:
        return []
    picked: list[str] = []
    for value in _pool(program, right, facts, random):
        if (
            value == right.value
            or value in picked
            or count == 1
            and value == "0"
            or any(_same(program, value, other) for other in picked)
        ):
            continue
        outcome = evaluate(claim(program, value), facts)
        if outcome and outcome.value == "no":
            picked.append(value)
            if len(picked) == count:
                break
    return picked


def _same(program: Program, value: str, other: str) -> bool:
    """Whether two wrong values could be taken for one another."""
    return program.head in ("name", "what", "who", "tool") and could_be(value, other)


def _pool(program: Program, right: Outcome, facts: Facts, random: Random) -> Iterable[str]:
    head, value = program.head, right.value
    if head == "colour":
        return _colours(facts, random)
    if head in NUMBERS:
        return _numbers(int(value), random, least=1 if head == "difference" else 0, step=_step(head))
    if head in ("what", "who", "name", "tool"):
        return _nouns(program, value, facts, random)
    if head in fields():
        near = sorted({value for thing in facts.things if (value := known_of(thing, head))})
        return _shuffled(near, random) + _shuffled(sorted(values(head)), random)
    if head in CHOSEN:
        named = [str(ref) for ref in (program.refs[1:] if head == "nearer" else program.refs)]
        absent = () if facts.drawn else _alike(facts.absent(random, 6), "singular")
        return (*_shuffled(named, random), *(str(the(noun)) for noun in absent))
    return _shuffled(_listed(program, value), random)


def _listed(program: Program, value: str) -> list[str]:
    """The values of heads that have few."""
    match program.head:
        case "shape":
            return list(SHAPES)
        case "size":
            return ["large", "small"]
        case "across":
            return ["left of", "right of"]
        case "vertical":
            return ["above", "below"]
        case "relative":
            return list(CORNERS if value in CORNERS else SIDES)
        case "more":
            return [ref.noun for ref in program.refs]
        case "order":
            return [THEN.join(order) for order in permutations(value.split(THEN))]
        case "written":
            return list(WORDS)
        case "mixed":
            return list(PAINTS)
        case "like" | "twin" | "seen":
            return list(program.words)
    return []


def _shuffled(pool: list[str], random: Random) -> list[str]:
    random.shuffle(pool)
    return pool


def _colours(facts: Facts, random: Random) -> list[str]:
    """Colours of other things in the picture first, then the others."""
    near = sorted({colour for thing in facts.things for colour in thing.colours})
    others = sorted(DRAWN_COLOURS if facts.drawn else {*COMMON_COLOURS} & {*COLOURS.values()})
    return _shuffled(near, random) + _shuffled(others, random)


COMMON_COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white", "brown", "pink", "grey")


def _step(head: str) -> int:
    return {"all_legs": 4, "all_wheels": 2, "all_corners": 1}.get(head, 1)


def _numbers(right: int, random: Random, least: int, step: int) -> list[str]:
    """Numbers close by."""
    near = [right + step * away for away in (-1, 1, 2, -2, 3) if right + step * away >= least]
    near = [number for number in near if number or right < 3][:4]
    return _shuffled([str(number) for number in near], random)


def _nouns(program: Program, value: str, facts: Facts, random: Random) -> Iterator[str]:
    """Absent kinds of the same broad kind, other things of the picture, then any absent kind."""
    broad = next((kind for kind in sorted(lexicon.broad(value)) if kind in lexicon.broad_kinds() and kind != value), "")
    if program.head == "name":
        broad = program.refs[0].noun
    number = number_of(value)
    if program.head == "who":
        yield from _shuffled([noun for noun in PEOPLE if number_of(noun) == number], random)
        return
    if broad and broad != "person":
        yield from _alike(facts.absent(random, 6, broad, beside=(value,)), number)
    if program.head != "name":
        others = sorted({thing.noun for thing, _ in describable(facts) if not thing.animate and thing.category != "bodyparts"})
        yield from _alike(_shuffled(others, random)[:2], number)
        yield from _alike(facts.absent(random, 12, beside=(value,)), number)


def _alike(nouns: Iterable[str], number: str) -> Iterator[str]:
    """Inanimate or not, but of one number: "a cup" among "a plate" and "a fork"."""
    return (noun for noun in nouns if number == "mass" or number_of(noun) == number)


PEOPLE = ("man", "woman", "boy", "girl", "old man", "old woman", "men", "women", "boys", "girls")


# Other questions about the same thing ---------------------------------------------------------------------------------


def choosable(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """Programs for multiple choice, the given one first, then ones that ask for something close to it."""
    if program.head in CHOSEN and facts.drawn:
        yield from _among_four(program, facts, random)
    elif program.head in ("across", "vertical"):
        yield Program("relative", program.refs)
        yield Program("relative", program.refs[::-1])
    elif program.head == "more":
        yield Program("difference", program.refs)
        yield Program("difference", program.refs[::-1])
        yield Program("total", program.refs)
    elif program.head in ("like", "twin"):
        yield from _four_words(program, facts, random)
    else:
        yield program
    if program.refs and program.refs[0].article == "the":
        for head in ("colour", "shape"):
            if (
                head != program.head
                and not (head == "shape" and program.refs[0].noun != "object")
                and not (head == "colour" and set(program.refs[0].attributes) & set(DRAWN_COLOURS))
            ):
                yield Program(head, (program.refs[0],))
    yield from _seen(program, facts, random)


def _among_four(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """The same comparison among four things."""
    if len(program.refs) - (program.head == "nearer") >= 4:
        yield program
    known = [ref for _, ref in describable(facts) if ref not in program.refs]
    for _ in range(4):
        random.shuffle(known)
        yield Program(
            program.head, (*program.words, *program.refs, *known)[: len(program.words) + 4 + (program.head == "nearer")]
        )


def _four_words(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    right = evaluate(program, facts)
    if right is None:
        return
    if program.head == "like":
        pool = [knowledge.colours()[colour].hint for colour in (DRAWN_COLOURS if facts.drawn else sorted(knowledge.colours()))]
    else:
        pool = [shape.like for shape in knowledge.shapes().values()]
    wrong = random.sample(sorted(word for word in set(pool) if word != right.value), 3)
    yield Program(program.head, (program.refs[0], right.value, *wrong))


def _seen(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """Which one of four kinds is in the picture at all."""
    if facts.drawn:
        return
    outcome = evaluate(program, facts)
    there = [facts.by_tag[tag] for tag in (outcome.tags if outcome else ()) if tag in facts.by_tag]
    for thing in (*there, *facts.things):
        plain = UNWORTHY & set(thing.category.split("/")) or any(
            is_a(thing.phrase.core, kind) for kind in ("person", "piece of clothing")
        )
        if number_of(thing.noun) == "singular" and familiar(thing) and not plain:
            absent = [noun for noun in facts.absent(random, 8, beside=(thing.noun,)) if number_of(noun) == "singular"]
            if len(absent) >= 3:
                yield Program("seen", (thing.noun, *absent[:3]))


# Whether something is there -------------------------------------------------------------------------------------------


def existence(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether something is there, answered `wanted`, close to what a program is about."""
    found = _drawn_existence(facts, random) if facts.drawn else _photo_existence(program, facts, random, wanted)
    for version in found:
        outcome = evaluate(version, facts)
        if outcome and outcome.value == wanted:
            yield version


def _drawn_existence(facts: Facts, random: Random) -> Iterator[Program]:
    """Shapes by kind and colour; those that share one of the two with a shape of the picture first."""
    mine = [(colour, noun) for thing in facts.things for colour in thing.colours for noun in (thing.noun,)]
    near = [(colour, noun) for noun in SHAPES for colour in DRAWN_COLOURS if any(colour == c or noun == n for c, n in mine)]
    random.shuffle(near)
    for colour, noun in near:
        form = random.randrange(4)
        if form == 0:
            yield Program("exists", (every(noun),))
        elif form == 1:
            yield Program("exists", (every("shape", colour),))
        yield Program("exists", (every(noun, colour),))
    for colour, noun in mine:
        yield Program("exists", (every(noun, colour),))


def _photo_existence(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """A thing of the picture, or a plausible one that is absent; with the place that the program spoke of where there is one."""
    where = next((ref.where for ref in refs_in(program) if ref.where and ref.where.how == "side"), None)
    if where is None and program.head in ("across", "vertical") and len(program.refs) == 2:
        outcome = evaluate(program, facts)
        where = Where("side", outcome.value, program.refs[1]) if outcome and program.refs[1].simple else None
    if wanted == "no":
        for noun in facts.absent(random, 6):
            yield Program("exists", (every(noun, where=where if random.random() < 0.5 else None),))
            yield Program("exists", (every(noun),))
        return
    outcome = evaluate(program, facts)
    about = [facts.by_tag[tag] for tag in (outcome.tags if outcome else ()) if tag in facts.by_tag]
    for thing in (*about, *_shuffled(list(facts.things), random)):
        worthy = (
            familiar(thing) and not UNWORTHY & set(thing.category.split("/")) and not is_a(thing.phrase.core, "piece of clothing")
        )
        if worthy and thing.phrase.number == "singular" and len(thing.noun.split(" ")) <= 3:
            for place in (where, None):
                yield Program("exists", (every(thing.noun, where=place),))


def serving(program: Program, facts: Facts, random: Random, wanted: str) -> Iterator[Program]:
    """Questions whether something serves a use, answered `wanted`."""
    if facts.drawn:
        return
    uses = (
        sorted({value for thing in facts.things if (value := use_of_thing(thing)) and telling(thing, value)})
        if wanted == "yes"
        else sorted(values("use"))
    )
    for use in _shuffled(uses, random)[:24]:
        version = Program("serves", (use,))
        outcome = evaluate(version, facts)
        if outcome and outcome.value == wanted:
            yield version
