"""Dialogues for the VLIT recipe from the scene alone: an object and what follows from it, under the constraint asked for.

Each turn is a program that was evaluated on the scene; how it is said stands in `wording/comvint_dialogue.toml`. Whether
something is there is asked in pairs, one object that is and one that is not, in any order and in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from random import Random
from typing import NamedTuple

from comvint_hf.annotator.comvint import candidates, template_slots, templates
from comvint_hf.annotator.comvint.existence import can_ask_existence
from comvint_hf.annotator.comvint.references import is_answerable, landmark_references, unique_references
from comvint_hf.annotator.facts.geometry import SIDE_WORDS
from comvint_hf.annotator.facts.objects import SceneObject
from comvint_hf.annotator.facts.scene import Facts, facts_of
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import fields
from comvint_hf.annotator.programs.program import Program, Ref, every
from comvint_hf.annotator.programs.search import similar_items
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import add_article, sentence
from comvint_hf.annotator.words.knowledge import RENDERED_COLOURS, SHAPE_NAMES
from comvint_hf.errors import NothingLeftError
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.generation.recipes.vlit.stages import Conversation

SEEN = ("colour", "size", "across", "vertical")
"""Questions about an object that the image answers."""
PAIRED_SHARE = 0.25
"""Share of dialogues of several turns that begin with what is there and what is not."""
MOST_TURNS = 4
"""Turns about one object; its absent companion comes on top."""
SIZES = ("large", "small")


class Fact(NamedTuple):
    """Something certain about an object: its kind, its value, the other object it speaks of, and the program that asks for it."""

    kind: str
    value: str
    tags: tuple[str, ...]
    other: Ref | None = None
    program: Program | None = None


class DialogueSubject(NamedTuple):
    """An object that a dialogue can be about, how it is referred to, what can be seen of it and what one knows of it."""

    obj: SceneObject
    ref: Ref
    seen: list[Fact]
    thought: list[Fact]


@cache
def _templates() -> dict:
    return vocabulary.read_table("comvint_dialogue")


def dialogue(prompt: Prompt, random: Random) -> Conversation:
    """One conversation under the prompt's constraint. Raises `NothingLeftError` where the scene has nothing for it."""
    facts, constraint = facts_of(prompt.scene), prompt.blanks["constraint"]
    turns = _step_by_step(facts, random) if constraint == "reasoned" else _turns_about_object(facts, constraint, random)
    if not turns:
        raise NothingLeftError(f"the scene offers nothing for a conversation under the constraint {constraint!r}")
    return Conversation.model_construct(topic="", turns=turns)


def _turns_about_object(facts: Facts, constraint: str, random: Random) -> list[Pair]:
    """Turns about the first object, in random order, that has what the constraint asks for."""
    makers = [_MAKERS[constraint]]
    if constraint == "multi_turn" and random.random() < PAIRED_SHARE:
        makers.insert(0, _with_absent)
    made = (make(topic, facts, random) for make in makers for topic in _subject_candidates(facts, random))
    return next((turns for turns in made if turns and (constraint != "multi_turn" or _has_later_question(turns))), [])


def _has_later_question(turns: list[Pair]) -> bool:
    """Whether a later question goes back to an earlier one: two about what is there and what is not do not."""
    return len(turns) > 2 or len(turns) == 2 and not turns[-1].answer.startswith(("Yes, ", "No, "))


def _subject_candidates(facts: Facts, random: Random) -> Iterator[DialogueSubject]:
    objects = [(obj, ref) for obj, ref in unique_references(facts) if obj.phrase.number == "singular" and is_answerable(obj)]
    random.shuffle(objects)
    for obj, ref in objects:
        yield DialogueSubject(
            obj, ref, list(_visible_facts(obj, ref, facts, random)), list(_known_facts(obj, ref, facts, random))
        )


def _visible_facts(obj: SceneObject, ref: Ref, facts: Facts, random: Random) -> Iterator[Fact]:
    """What the image shows of an object beyond its own description, in any order."""
    anchors = [other for known, other in landmark_references(facts) if known is not obj and facts.are_distinct(known, obj)]
    random.shuffle(anchors)
    for kind in random.sample(SEEN, len(SEEN)):
        programs = [Program(kind, (ref, other)) for other in anchors] if kind in SEEN[2:] else [Program(kind, (ref,))]
        for program in programs:
            outcome = evaluate(program, facts)
            if outcome and outcome.value not in ref.attributes:
                yield Fact(kind, outcome.value, outcome.tags, program.refs[1] if len(program.refs) > 1 else None, program)
                break


def _known_facts(obj: SceneObject, ref: Ref, facts: Facts, random: Random) -> Iterator[Fact]:
    """What one knows of such an object, in any order."""
    if facts.rendered:
        known = [Fact(kind, value, (obj.tag,)) for kind, value in zip(("hint", "twin"), similar_items(obj, facts), strict=False)]
        yield from random.sample(known, len(known))
        return
    for field in random.sample(fields(), len(fields())):
        program = Program(field, (ref,))
        if outcome := evaluate(program, facts):
            yield Fact(field, outcome.value, outcome.tags, None, program)


# Constraints ----------------------------------------------------------------------------------------------------------


def _with_knowledge(topic: DialogueSubject, facts: Facts, random: Random) -> list[Pair]:
    """What is seen, then what one knows."""
    if not topic.thought:
        return []
    return _build_turns([*topic.seen[:1], *topic.thought[:2]], topic, facts, random)


def _of_several_turns(topic: DialogueSubject, facts: Facts, random: Random) -> list[Pair]:
    known = [*topic.seen, *topic.thought][:MOST_TURNS]
    return _build_turns(known, topic, facts, random)


def _build_turns(known: list[Fact], topic: DialogueSubject, facts: Facts, random: Random) -> list[Pair]:
    """A first question that names the object, then questions that say "it"."""
    first = next((fact for fact in known if fact.program), None)
    if first is None or first.program is None:
        return []
    opening = Pair.model_construct(
        topic="",
        evidence=list(first.tags),
        question=templates.ask(first.program, facts, random),
        answer=templates.answer(first.program, facts, random),
    )
    return [opening, *(_next_turn(topic.obj, fact, random) for fact in known if fact is not first)]


def _about_region(topic: DialogueSubject, facts: Facts, random: Random) -> list[Pair]:
    """A first question that points at the object by its reference; all others are about it, too."""
    known = [*topic.seen, *topic.thought][:MOST_TURNS]
    if not known:
        return []
    words, ref = _templates()["pointing"], f"the <st>{topic.obj.noun}<ed>[{topic.obj.tag}]"
    told = topic.seen[:2] if len(topic.seen) > 1 and random.random() < 0.5 else []
    first, *others = [_next_turn(topic.obj, fact, random, opens=fact is known[0]) for fact in known]
    if told:
        asked, answered = random.choice(words["describe"]).format(ref=ref), f"{first.answer} {others.pop(0).answer}"
    else:
        asked, answered = random.choice(words["ask"]).format(ref=ref, question=first.question), first.answer
    tags = dict.fromkeys(tag for fact in told or known[:1] for tag in fact.tags)
    opening = Pair.model_construct(topic="", evidence=list(tags), question=sentence(asked), answer=answered)
    return [opening, *others]


def _with_absent(topic: DialogueSubject, facts: Facts, random: Random) -> list[Pair]:
    """Whether the object is there and whether something else is, in any order, and what else can be said of the object."""
    asked = every(topic.ref.noun, *topic.ref.attributes)
    if topic.ref.where or not can_ask_existence(topic.obj, facts) or not _exists("yes", asked, facts):
        return []
    missing = next((ref for ref in _missing(asked, facts, random) if _exists("no", ref, facts)), None)
    if missing is None:
        return []
    about = [_next_turn(topic.obj, fact, random) for fact in (*topic.seen[:1], *topic.thought[:1])]
    there, position = (asked, "yes", (topic.obj.tag,)), random.randrange(2)
    if position == 0:
        return [_existence_turn(missing, "no", (), "first", random), _existence_turn(*there, "then", random), *about]
    return [_existence_turn(*there, "first", random), *about, _existence_turn(missing, "no", (), "then", random)]


def _step_by_step(facts: Facts, random: Random) -> list[Pair]:
    """Questions whose answers go step by step before they conclude."""
    words = _templates()["reasoned"]
    groups = {head: programs for head, programs in candidates.cross_modal(facts, random).items() if head in words}
    return [_step_turn(program, words, facts, random) for program in candidates.select_programs(groups, 2, facts, random)]


_MAKERS = {
    "outside_knowledge": _with_knowledge,
    "multi_turn": _of_several_turns,
    "one_region": _about_region,
    "negatives": _with_absent,
}


# Turns ----------------------------------------------------------------------------------------------------------------


def _step_turn(program: Program, words: dict[str, list[str]], facts: Facts, random: Random) -> Pair:
    outcome = evaluate(program, facts)
    template = templates.Template.of(random.choice(words[program.head]))
    return Pair.model_construct(
        topic="",
        evidence=list(outcome.tags) if outcome else [],
        question=templates.ask(program, facts, random),
        answer=templates.fill(template, templates.make_slots(program, facts, random)),
    )


def _next_turn(obj: SceneObject, fact: Fact, random: Random, opens: bool = False) -> Pair:
    """A question that says "it" for the object, without "and" where it opens a dialogue; people are named again."""
    words = _templates()["follow"][fact.kind]
    asks = [ask for ask in words["ask"] if not (opens and ask.startswith("And "))]
    it = f"the {obj.noun}" if vocabulary.is_a(obj.phrase.core, "person") else "it"
    its = "its" if it == "it" else f"{it}'s"
    slots = {"it": it, "It": sentence(it, ""), "its": its, "Its": sentence(its, "")}
    slots |= {"value": SIDE_WORDS.get(fact.value, fact.value), "b": _phrase(fact.other)}
    return Pair.model_construct(
        topic="",
        evidence=list(fact.tags),
        question=sentence(random.choice(asks).format_map(slots)),
        answer=sentence(random.choice(words["answer"]).format_map(slots)),
    )


def _phrase(ref: Ref | None) -> str:
    return template_slots.phrase_variants(ref)[0] if ref else ""


def _existence_turn(ref: Ref, answer: str, tags: tuple[str, ...], place: str, random: Random) -> Pair:
    """A question whether there is something, in words that do not tell the answer."""
    words, said = _templates()["existence"], " ".join((*ref.attributes, ref.noun))
    slots = {"a": add_article(said), "no": said}
    return Pair.model_construct(
        topic="",
        evidence=list(tags),
        question=sentence(random.choice(words[place]).format_map(slots)),
        answer=sentence(random.choice(words[answer]).format_map(slots)),
    )


def _missing(like: Ref, facts: Facts, random: Random) -> Iterator[Ref]:
    """What may be absent and could as well be there: rendered shapes told apart as `like` is, or plausible kinds of objects."""
    if not facts.rendered:
        yield from map(every, facts.sample_absent(random, 6, beside=(like.noun,)))
        return
    pools = [SIZES if word in SIZES else RENDERED_COLOURS for word in like.attributes]
    options = [every(noun, *words) for noun in SHAPE_NAMES for words in product(*pools)]
    near = [ref for ref in options if ref.noun == like.noun or not set(ref.attributes).isdisjoint(like.attributes)]
    for pool in (near if like.attributes else options, options):
        yield from random.sample(pool, len(pool))


def _exists(answer: str, ref: Ref, facts: Facts) -> bool:
    outcome = evaluate(Program("exists", (ref,)), facts)
    return outcome is not None and outcome.value == answer
