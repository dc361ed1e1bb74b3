"""Closed questions: what a yes/no question claims and what a multiple choice offers beside the right answer.

On photos the corpus's balance decides, so that no word tells the answer; drawn scenes are random already, and any wrong value does.
Where both are about the objects that a question names (which is further left), order and side are random, and need no balance.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import permutations

from comvint_hf.annotator.balance.cases import Case, coin, draw
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.facts.geometry import SIDES
from comvint_hf.annotator.facts.objects import is_different_colour
from comvint_hf.annotator.facts.scene import Facts
from comvint_hf.annotator.programs.compare import CORNERS
from comvint_hf.annotator.programs.execute import are_people_alike, evaluate
from comvint_hf.annotator.programs.knowledge import fields, is_same_content, lookup, overlap, similar_uses
from comvint_hf.annotator.programs.program import THEN, Outcome, Program, claim
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.knowledge import RENDERED_COLOURS, SHAPE_NAMES
from comvint_hf.annotator.words.vocabulary import all_classes_of, classes_of, could_be

OPEN_ONLY = frozenset(("vertical", "relative", "bigger", "more"))
"""Heads that are asked openly on photos: hats are above shirts and houses larger than cups, whatever the picture."""
AMONG = frozenset(("further", "nearer", "bigger"))
NUMBERS = frozenset(("count", "total", "difference", "all_legs", "all_wheels", "all_corners", "corners"))
NAMING = frozenset(("what", "name"))
WORDS = ("EXIT", "TAXI", "MILK", "OPEN", "STOP", "SALE", "TEA", "ZOO", "BUS", "FISH", "GOLD", "MAP")
PAINTS = ("red and yellow", "blue and yellow", "blue and red", "black and white", "green and orange")


def claimed_value(program: Program, facts: Facts, draws: Draws, truth: bool) -> str | None:
    """The value that a yes/no question claims, the right one if `truth`; `None` where it would tell, or nothing is surely wrong."""
    right = evaluate(program, facts)
    if right is None or program.head == "exists" or not facts.rendered and program.head in OPEN_ONLY:
        return None
    if facts.rendered or program.head in AMONG or program.head == "across":
        return right.value if truth else next(iter(_wrong_values(program, right, facts, draws, 1)), None)
    return draws.balance.claim(_case(program, right, facts, draws), truth)


def wrong_options(program: Program, facts: Facts, draws: Draws) -> list[str]:
    """Three wrong values for a multiple choice; [] where there are none, or they would tell."""
    right = evaluate(program, facts)
    if right is None or program.head == "exists" or not facts.rendered and program.head in OPEN_ONLY | {"across"}:
        return []
    if facts.rendered or program.head in AMONG:
        return _wrong_values(program, right, facts, draws, 3)
    return draws.balance.options(_case(program, right, facts, draws)) or []


def truth_of(program: Program, facts: Facts, draws: Draws) -> bool:
    """Whether a closed question about a program's value is to be true, where the recipe does not say."""
    return coin(_key(program, facts, draws))


def is_asked(program: Program, facts: Facts, draws: Draws, share: float) -> bool:
    """Whether a program is asked as a closed question: a share of them is, drawn before the answer is known."""
    return draw(_key(program, facts, draws), "closed") < share


def _key(program: Program, facts: Facts, draws: Draws) -> str:
    return f"{draws.corpus_seed}/{facts.scene.id}/{program}"


def _case(program: Program, right: Outcome, facts: Facts, draws: Draws) -> Case:
    """The program's question as a case, balanced with those that ask alike: of one verb, of one kind or of one noun.

    Colours of rare nouns are balanced together; answers to different verbs are not: nobody rides an umbrella.
    """
    head, ref = program.head, program.refs[0] if program.refs else None
    narrow = program.words[0] if head in ("what", "who") else ref.noun if ref else ""
    if ref and ref.where and ref.where.how != "side" and head in fields():
        narrow = f"{narrow}/{ref.where.word}"
    groups = (head,) if head in NUMBERS else (f"{head}/{narrow}", head) if head == "colour" else (f"{head}/{narrow}",)
    return Case(_key(program, facts, draws), groups, right.value, _wrongness(program, right, facts))


def _wrongness(program: Program, right: Outcome, facts: Facts):
    """Tells whether a value is surely wrong, from small sets alone: a pass over a corpus keeps one for each question."""
    obj = facts.by_tag.get(right.tags[0]) if right.tags else None
    match program.head:
        case "colour" if obj:
            return partial(_is_wrong_colour, obj.colours)
        case "who" if obj:
            return partial(_is_wrong_person, right.value, obj.possible_names)
        case "what" | "name":
            return partial(_is_wrong_name, right.value, facts.mentioned_classes, facts.general_classes)
        case head if head in fields() and obj:
            return partial(_is_wrong_knowledge, head, right.value, obj.possible_names, obj.phrase.core)
    return partial(_differs, right.value)


def _differs(right: str, value: str) -> bool:
    return value != right


def _is_wrong_colour(colours: frozenset[str], value: str) -> bool:
    return is_different_colour(value, colours)


def _is_wrong_person(right: str, calls: frozenset[str], value: str) -> bool:
    return not could_be(right, value) and not are_people_alike(right, value) and classes_of(value).isdisjoint(calls)


def _is_wrong_name(right: str, mentioned: frozenset[str], general: frozenset[str], value: str) -> bool:
    """Whether nothing that was said of the scene may be the value."""
    return not could_be(right, value) and classes_of(value).isdisjoint(mentioned) and all_classes_of(value).isdisjoint(general)


def _is_wrong_knowledge(head: str, right: str, calls: frozenset[str], core: str, value: str) -> bool:
    alike = head == "use" and value in similar_uses(core)
    return not alike and not overlap(value, right) and all(lookup(head, name) != value for name in calls)


def may_both_be_right(group: str, one: str, other: str) -> bool:
    """Whether two options of a group could both be right, so that a question may not offer them side by side."""
    head = group.partition("/")[0]
    if head == "colour":
        return not is_different_colour(one, {other})
    if head in fields():
        return is_same_content(one, other) or overlap(one, other)
    if head == "who":
        return could_be(one, other) or are_people_alike(one, other)
    return head in NAMING and (could_be(one, other) or _is_kind_of(one, other) or _is_kind_of(other, one))


def _is_kind_of(one: str, other: str) -> bool:
    known = knowledge.find_noun(one)
    return known is not None and known.kind == other


# Values of drawn scenes, and of questions that name their answers ---------------------------------------------------


def _wrong_values(program: Program, right: Outcome, facts: Facts, draws: Draws, count: int) -> list[str]:
    """Up to `count` different values that are surely wrong, in random order."""
    picked: list[str] = []
    for value in _pool(program, right.value, draws):
        outcome = evaluate(claim(program, value), facts) if value != right.value and value not in picked else None
        if outcome and outcome.value == "no" and not (count == 1 and value == "0"):
            picked.append(value)
            if len(picked) == count:
                break
    return picked


def _pool(program: Program, value: str, draws: Draws) -> Iterable[str]:
    if program.head in NUMBERS:
        step = {"all_legs": 4, "all_wheels": 2}.get(program.head, 1)
        least = 1 if program.head == "difference" else 0
        near = [int(value) + step * away for away in (-1, 1, 2, -2, 3) if int(value) + step * away >= least]
        near = [number for number in near if number or int(value) < 3][:4]
        return draws.shuffled(map(str, near))
    return draws.shuffled(dict.fromkeys(_fixed_values(program, value)))


def _fixed_values(program: Program, value: str) -> Iterable[str]:
    match program.head:
        case "colour":
            return RENDERED_COLOURS
        case "shape":
            return SHAPE_NAMES
        case "size":
            return ("large", "small")
        case "across":
            return ("left of", "right of")
        case "vertical":
            return ("above", "below")
        case "relative":
            return CORNERS if value in CORNERS else SIDES
        case "more":
            return [ref.noun for ref in program.refs]
        case "order":
            return [THEN.join(order) for order in permutations(value.split(THEN))]
        case "written":
            return WORDS
        case "mixed":
            return PAINTS
        case "like" | "twin":
            return program.words
        case "further" | "bigger":
            return map(str, program.refs)
        case "nearer":
            return map(str, program.refs[1:])
    return ()
