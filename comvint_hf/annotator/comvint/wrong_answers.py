"""What a question's answer is not: wrong values that are surely wrong, and related questions where there are too few.

Yes/no questions take one wrong value, multiple choice three. It writes no text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import permutations
from random import Random

from comvint_hf.annotator.comvint.references import PARTS, UNWORTHY, is_common, landmark_references, unique_references
from comvint_hf.annotator.facts.geometry import SIDES, overlap
from comvint_hf.annotator.facts.objects import SceneObject
from comvint_hf.annotator.facts.scene import Facts
from comvint_hf.annotator.programs.compare import CORNERS
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import GENERAL, fields, is_same_content, values
from comvint_hf.annotator.programs.program import THEN, Outcome, Program, claim, the
from comvint_hf.annotator.programs.search import known_of, one
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import COLOURS, number_of
from comvint_hf.annotator.words.knowledge import BASIC_COLOURS, RENDERED_COLOURS, SHAPE_NAMES
from comvint_hf.annotator.words.vocabulary import could_be, is_a

WORDS = ("EXIT", "TAXI", "MILK", "OPEN", "STOP", "SALE", "TEA", "ZOO", "BUS", "FISH", "GOLD", "MAP")
PAINTS = ("red and yellow", "blue and yellow", "blue and red", "black and white", "green and orange")
NUMBERS = frozenset(("count", "total", "difference", "all_legs", "all_wheels", "all_corners", "corners"))
NAMING = ("what", "who", "name", "tool")
CHOSEN = frozenset(("further", "nearer", "bigger"))
"""Heads whose value is one of the objects they name."""


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
            or any(_is_same(program, value, other) for other in picked)
            or program.head in NAMING
            and _is_same_class(value, right.value)
        ):
            continue
        outcome = evaluate(claim(program, value), facts)
        if outcome and outcome.value == "no":
            picked.append(value)
            if len(picked) == count:
                break
    return picked


def _is_same(program: Program, value: str, other: str) -> bool:
    """Whether two wrong values could be taken for one another."""
    if program.head in fields():
        return is_same_content(value, other)
    return program.head in NAMING and could_be(value, other)


def _is_same_class(value: str, right: str) -> bool:
    """Whether one is the kind of the other: a bench is a seat."""
    one, other = knowledge.find_noun(value), knowledge.find_noun(right)
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
        near = sorted({known for obj in facts.objects if (known := known_of(obj, head))})
        kindred = _related_values(head, facts.by_tag[right.tags[0]], program.refs[0].noun)
        if head in GENERAL and count == 1 and (kindred or head == "use"):
            return _shuffled(kindred, random)  # whether a bag lets daylight in is no question
        usual = sorted(word for word in values(head) if head != "made_of" or not _UNLIKELY.search(word))
        near = near if head != "made_of" else [word for word in near if not _UNLIKELY.search(word)]
        return _shuffled(kindred, random) + _shuffled(near, random) + _shuffled(usual, random)
    if head in CHOSEN:
        named = [str(ref) for ref in (program.refs[1:] if head == "nearer" else program.refs)]
        absent = () if facts.rendered or len(named) > 3 else _same_number(facts.sample_absent(random, 6), "singular")
        return (*_shuffled(named, random), *(str(the(noun)) for noun in absent))
    return _shuffled(_fixed_values(program, value), random)


_UNLIKELY = re.compile(r" with |\b(?:asphalt|concrete|bricks?)\b")
"""Materials that nobody would guess: of one object only, or of what is built on the ground."""


def _related_values(field: str, obj: SceneObject, asked: str) -> list[str]:
    """What is known of other objects of the same kind, or of the broad kind that is `asked` for, in fields that speak of many."""
    known = knowledge.find_noun(obj.phrase.core)
    if known is None or field not in GENERAL:
        return []
    broad = asked if asked in vocabulary.parent_names() else ""
    alike = (noun for noun in knowledge.nouns().values() if (is_a(noun.name, broad) if broad else noun.kind == known.kind))
    return sorted({getattr(noun, field) for noun in alike} & set(values(field)))


def _fixed_values(program: Program, value: str) -> list[str]:
    """The values of heads that have few."""
    match program.head:
        case "shape":
            return list(SHAPE_NAMES)
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
    """Colours of other objects in the image first, then the others."""
    near = sorted({colour for obj in facts.objects for colour in obj.colours})
    others = sorted(RENDERED_COLOURS if facts.rendered else {*BASIC_COLOURS} & {*COLOURS.values()})
    return _shuffled(near, random) + _shuffled(others, random)


def _step(head: str) -> int:
    return {"all_legs": 4, "all_wheels": 2, "all_corners": 1}.get(head, 1)


def _numbers(right: int, random: Random, least: int, step: int) -> list[str]:
    """Numbers close by."""
    near = [right + step * away for away in (-1, 1, 2, -2, 3) if right + step * away >= least]
    near = [number for number in near if number or right < 3][:4]
    return _shuffled([str(number) for number in near], random)


def _nouns(program: Program, value: str, facts: Facts, random: Random) -> Iterator[str]:
    """Absent kinds of the same broad kind, other objects of the image, then any absent kind."""
    broad = next(
        (kind for kind in sorted(vocabulary.all_classes_of(value)) if kind in vocabulary.parent_names() and kind != value), ""
    )
    if program.head == "name":
        broad = program.refs[0].noun
    number = number_of(value)
    if program.head == "who":
        yield from _shuffled([noun for noun in PEOPLE if number_of(noun) == number], random)
        return
    if program.head == "what" and program.words[0].split(" ")[0] in RESTING:
        places = [*(obj.noun for obj in facts.objects), *facts.sample_absent(random, 24, beside=(value,))]
        found = one(program, facts)
        lifeless = found is not None and not found[0].animate
        fits = _can_walk_on if program.words[0].startswith(STRIDING) else partial(_can_hold, value) if lifeless else _can_carry
        beside = {obj.noun for obj in facts.objects if found and overlap(obj.box, found[0].box)}  # a plate's table holds, too
        yield from _same_number(
            _shuffled([noun for noun in dict.fromkeys(places) if fits(noun) and noun not in beside], random), number
        )
        return
    if broad and broad != "person":
        yield from _same_number(facts.sample_absent(random, 6, broad, beside=(value,)), number)
    if program.head != "name":
        others = sorted({obj.noun for obj, _ in landmark_references(facts) if not obj.animate})
        yield from _same_number(_shuffled(others, random)[:2], number)
        yield from _same_number(facts.sample_absent(random, 12, beside=(value,)), number)


RESTING = ("sitting", "standing", "lying", "parked", "walking", "on", "under", "behind", "in")
"""First words of verbs that say where somebody or something is: of "on a clock" no one needs to be told that it is wrong."""
CARRYING = ("piece of furniture", "vehicle", "street", "sidewalk", "grass", "beach", "building", "skateboard") + (
    "surfboard",
    "snowboard",
)


STRIDING = ("walking", "running", "standing")
TRODDEN = ("street", "sidewalk", "grass", "beach", "bridge", "stairs", "floor", "field")
"""Where one goes: who walks on something is on no bed."""


def _can_walk_on(noun: str) -> bool:
    return any(is_a(noun, kind) for kind in TRODDEN)


HOLDING = (
    ("piece of furniture", "plate", "tray", "shelf", "counter"),
    TRODDEN,
    ("building", "wall", "fence", "door", "sign", "piece of clothing"),
    ("vehicle",),
)
"""Kinds that hold objects of one sort: no screen is on an airplane, and no parking meter on a couch."""


def _can_hold(right: str, noun: str) -> bool:
    """Whether a lifeless object that is on or in the `right` one might have been on or in the other."""
    kinds = next((kinds for kinds in HOLDING if any(is_a(right, kind) for kind in kinds)), ())
    return any(is_a(noun, kind) for kind in kinds)


def _can_carry(noun: str) -> bool:
    """Whether people and objects are often found on or in it."""
    return any(is_a(noun, kind) for kind in CARRYING)


def _same_number(nouns: Iterable[str], number: str) -> Iterator[str]:
    """Inanimate or not, but of one number: "a cup" among "a plate" and "a fork"."""
    return (noun for noun in nouns if number == "mass" or number_of(noun) == number)


PEOPLE = (
    "man", "woman", "boy", "girl", "old man", "old woman", "young man", "young woman", "little boy", "little girl",
    "men", "women", "boys", "girls", "young men", "young women", "little boys", "little girls",
)  # fmt: skip


# Other questions about the same object ---------------------------------------------------------------------------------


def multiple_choice_programs(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """Programs for multiple choice, the given one first, then ones that ask for something close to it."""
    if program.head in CHOSEN:
        yield from _among_four(program, facts, random)
        if not facts.rendered and _is_plain_noun(program, facts):
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
        yield from (Program(head, (program.refs[0],)) for head in ("colour", "shape") if _is_hidden(head, program))
    yield from _visible_class_programs(program, facts, random)


def _is_hidden(head: str, program: Program) -> bool:
    """Whether a program's first object can be asked for its colour or shape, which it does not name."""
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
    """The same comparison among four objects."""
    if len(program.refs) - (program.head == "nearer") >= 4:
        yield program
    objects = unique_references(facts) if facts.rendered else landmark_references(facts)
    known = [ref for _, ref in objects if ref not in program.refs]
    for _ in range(4):
        random.shuffle(known)
        yield Program(
            program.head, (*program.words, *program.refs, *known)[: len(program.words) + 4 + (program.head == "nearer")]
        )


def _is_plain_noun(program: Program, facts: Facts) -> bool:
    """Whether the right object is called by its noun alone, as the absent objects are that stand beside it."""
    right = evaluate(program, facts)
    return right is not None and ";" not in right.value


def _four_words(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    right = evaluate(program, facts)
    if right is None:
        return
    if program.head == "like":
        pool = [
            knowledge.colours()[colour].hint for colour in (RENDERED_COLOURS if facts.rendered else sorted(knowledge.colours()))
        ]
    else:
        pool = [shape.like for shape in knowledge.shapes().values()]
    wrong = random.sample(sorted(word for word in set(pool) if word != right.value), 3)
    yield Program(program.head, (program.refs[0], right.value, *wrong))


def _visible_class_programs(program: Program, facts: Facts, random: Random) -> Iterator[Program]:
    """Which one of four kinds is in the image at all."""
    if facts.rendered:
        return
    outcome = evaluate(program, facts)
    there = [facts.by_tag[tag] for tag in (outcome.tags if outcome else ()) if tag in facts.by_tag]
    for obj in (*there, *facts.objects):
        plain = UNWORTHY & set(obj.category.split("/")) or any(
            is_a(obj.phrase.core, kind) for kind in ("person", "piece of clothing")
        )
        if number_of(obj.noun) == "singular" and is_common(obj) and not plain and obj.phrase.head not in PARTS:
            absent = [noun for noun in facts.sample_absent(random, 8, beside=(obj.noun,)) if number_of(noun) == "singular"]
            if len(absent) >= 3:
                yield Program("seen", (obj.noun, *absent[:3]))
