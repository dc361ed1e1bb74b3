"""What a question's answer is not: wrong values that are surely wrong, and related questions where there are too few.

Yes/no questions take one wrong value, multiple choice three. It writes no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import permutations
from random import Random

from comvint_hf.annotator.comvint.candidates import DRAWN_COLOURS, SHAPES
from comvint_hf.annotator.comvint.references import PARTS, UNWORTHY, describable, familiar, landmarks
from comvint_hf.annotator.facts.geometry import overlap
from comvint_hf.annotator.facts.scene import SIDES, Facts, Thing
from comvint_hf.annotator.programs.compare import CORNERS
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import GENERAL, fields, says_the_same, values
from comvint_hf.annotator.programs.program import THEN, Outcome, Program, claim, the
from comvint_hf.annotator.programs.search import known_of, one
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import COLOURS, number_of
from comvint_hf.annotator.words.vocabulary import could_be, is_a

WORDS = ("EXIT", "TAXI", "MILK", "OPEN", "STOP", "SALE", "TEA", "ZOO", "BUS", "FISH", "GOLD", "MAP")
PAINTS = ("red and yellow", "blue and yellow", "blue and red", "black and white", "green and orange")
NUMBERS = frozenset(("count", "total", "difference", "all_legs", "all_wheels", "all_corners", "corners"))
NAMING = ("what", "who", "name", "tool")
CHOSEN = frozenset(("further", "nearer", "bigger"))
"""Heads whose value is one of the things they name."""


def wrong_values(program: Program, facts: Facts, random: Random, count: int) -> list[str]:
    """Up to `count` values that are surely wrong for a program and different from one another, plausible ones first."""
    right = evaluate(program, facts)
    if right is None:
        return []
    picked: list[str] = []
    for value in _pool(program, right, facts, random, count):
        if (
            value == right.value
            or value in picked
            or count == 1
            and value == "0"
            or any(_same(program, value, other) for other in picked)
            or program.head in NAMING
            and _one_kind(value, right.value)
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
    if program.head in fields():
        return says_the_same(value, other)
    return program.head in NAMING and could_be(value, other)


def _one_kind(value: str, right: str) -> bool:
    """Whether one is the kind of the other: a bench is a seat."""
    one, other = knowledge.known(value), knowledge.known(right)
    return (one is not None and one.kind == right) or (other is not None and other.kind == value)


def _pool(program: Program, right: Outcome, facts: Facts, random: Random, count: int) -> Iterable[str]:
    head, value = program.head, right.value
    if head == "colour":
        return _colours(facts, random)
    if head in NUMBERS:
        return _numbers(int(value), random, least=1 if head == "difference" else 0, step=_step(head))
    if head in NAMING:
        return _nouns(program, value, facts, random)
    if head in fields():
        near = sorted({value for thing in facts.things if (value := known_of(thing, head))})
        kindred = _kindred(head, facts.by_tag[right.tags[0]], program.refs[0].noun)
        if head in GENERAL and count == 1 and (kindred or head == "use"):
            return _shuffled(kindred, random)  # whether a bag lets daylight in is no question
        usual = sorted(value for value in values(head) if head != "made_of" or not _UNLIKELY.search(value))
        near = near if head != "made_of" else [value for value in near if not _UNLIKELY.search(value)]
        return _shuffled(kindred, random) + _shuffled(near, random) + _shuffled(usual, random)
    if head in CHOSEN:
        named = [str(ref) for ref in (program.refs[1:] if head == "nearer" else program.refs)]
        absent = () if facts.drawn or len(named) > 3 else _alike(facts.absent(random, 6), "singular")
        return (*_shuffled(named, random), *(str(the(noun)) for noun in absent))
    return _shuffled(_listed(program, value), random)


_UNLIKELY = re.compile(r" with |\b(?:asphalt|concrete|bricks?)\b")
"""Materials that nobody would guess: of one thing only, or of what is built on the ground."""


def _kindred(field: str, thing: Thing, asked: str) -> list[str]:
    """What is known of other things of the same kind, or of the broad kind that is `asked` for, in fields that speak of many."""
    known = knowledge.known(thing.phrase.core)
    if known is None or field not in GENERAL:
        return []
    broad = asked if asked in vocabulary.broad_kinds() else ""
    alike = (noun for noun in knowledge.nouns().values() if (is_a(noun.name, broad) if broad else noun.kind == known.kind))
    return sorted({getattr(noun, field) for noun in alike} & set(values(field)))


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
    broad = next((kind for kind in sorted(vocabulary.broad(value)) if kind in vocabulary.broad_kinds() and kind != value), "")
    if program.head == "name":
        broad = program.refs[0].noun
    number = number_of(value)
    if program.head == "who":
        yield from _shuffled([noun for noun in PEOPLE if number_of(noun) == number], random)
        return
    if program.head == "what" and program.words[0].split(" ")[0] in RESTING:
        places = [*(thing.noun for thing in facts.things), *facts.absent(random, 24, beside=(value,))]
        found = one(program, facts)
        lifeless = found is not None and not found[0].animate
        fits = _trodden if program.words[0].startswith(STRIDING) else partial(_holds, value) if lifeless else _carries
        beside = {
            thing.noun for thing in facts.things if found and overlap(thing.box, found[0].box)
        }  # a plate's table holds, too
        yield from _alike(
            _shuffled([noun for noun in dict.fromkeys(places) if fits(noun) and noun not in beside], random), number
        )
        return
    if broad and broad != "person":
        yield from _alike(facts.absent(random, 6, broad, beside=(value,)), number)
    if program.head != "name":
        others = sorted({thing.noun for thing, _ in landmarks(facts) if not thing.animate})
        yield from _alike(_shuffled(others, random)[:2], number)
        yield from _alike(facts.absent(random, 12, beside=(value,)), number)


RESTING = ("sitting", "standing", "lying", "parked", "walking", "on", "under", "behind", "in")
"""First words of verbs that say where somebody or something is: of "on a clock" no one needs to be told that it is wrong."""
CARRYING = (
    "piece of furniture",
    "vehicle",
    "street",
    "sidewalk",
    "grass",
    "beach",
    "building",
    "skateboard",
    "surfboard",
    "snowboard",
)


STRIDING = ("walking", "running", "standing")
TRODDEN = ("street", "sidewalk", "grass", "beach", "bridge", "stairs", "floor", "field")
"""Where one goes: who walks on something is on no bed."""


def _trodden(noun: str) -> bool:
    return any(is_a(noun, kind) for kind in TRODDEN)


HOLDING = (
    ("piece of furniture", "plate", "tray", "shelf", "counter"),
    TRODDEN,
    ("building", "wall", "fence", "door", "sign", "piece of clothing"),
    ("vehicle",),
)
"""Kinds that hold things of one sort: no screen is on an airplane, and no parking meter on a couch."""


def _holds(right: str, noun: str) -> bool:
    """Whether a lifeless thing that is on or in the `right` one might have been on or in the other."""
    kinds = next((kinds for kinds in HOLDING if any(is_a(right, kind) for kind in kinds)), ())
    return any(is_a(noun, kind) for kind in kinds)


def _carries(noun: str) -> bool:
    """Whether people and things are often found on or in it."""
    return any(is_a(noun, kind) for kind in CARRYING)


def _alike(nouns: Iterable[str], number: str) -> Iterator[str]:
    """Inanimate or not, but of one number: "a cup" among "a plate" and "a fork"."""
    return (noun for noun in nouns if number == "mass" or number_of(noun) == number)


PEOPLE = (
    "man", "woman", "boy", "girl", "old man", "old woman", "young man", "young woman", "little boy", "little girl",
    "men", "women", "boys", "girls", "young men", "young women", "little boys", "little girls",
)  # fmt: skip


# Other questions about the same thing ---------------------------------------------------------------------------------


def choosable(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """Programs for multiple choice, the given one first, then ones that ask for something close to it."""
    if program.head in CHOSEN:
        yield from _among_four(program, facts, random)
        if not facts.drawn and _bare(program, facts):
            yield program
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
        yield from (Program(head, (program.refs[0],)) for head in ("colour", "shape") if _hidden(head, program))
    yield from _seen(program, facts, random)


def _hidden(head: str, program: Program) -> bool:
    """Whether a program's first thing can be asked for its colour or shape, which it does not name."""
    ref = program.refs[0]
    like = ref.where.word if ref.where and ref.where.how == "like" else ""
    if head == program.head:
        return False
    if head == "colour":
        return not set(ref.attributes) & set(COLOURS.values()) and like not in {
            colour.hint for colour in knowledge.colours().values()
        }
    return ref.noun == "object" and like not in {shape.like for shape in knowledge.shapes().values()}


def _among_four(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """The same comparison among four things."""
    if len(program.refs) - (program.head == "nearer") >= 4:
        yield program
    things = describable(facts) if facts.drawn else landmarks(facts)
    known = [ref for _, ref in things if ref not in program.refs]
    for _ in range(4):
        random.shuffle(known)
        yield Program(
            program.head, (*program.words, *program.refs, *known)[: len(program.words) + 4 + (program.head == "nearer")]
        )


def _bare(program: Program, facts: Facts) -> bool:
    """Whether the right thing is called by its noun alone, as the absent things are that stand beside it."""
    right = evaluate(program, facts)
    return right is not None and ";" not in right.value


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
        if number_of(thing.noun) == "singular" and familiar(thing) and not plain and thing.phrase.head not in PARTS:
            absent = [noun for noun in facts.absent(random, 8, beside=(thing.noun,)) if number_of(noun) == "singular"]
            if len(absent) >= 3:
                yield Program("seen", (thing.noun, *absent[:3]))
