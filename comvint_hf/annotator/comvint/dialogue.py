"""Dialogues for the VLIT recipe from the scene alone: a thing and what follows from it, under the constraint asked for.

Each turn is a program that was evaluated on the scene; how it is said stands in `wording/comvint_dialogue.toml`. Whether
something is there is asked in pairs, one thing that is and one that is not, in any order and in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from random import Random
from typing import NamedTuple

from comvint_hf.annotator.comvint import candidates, templates
from comvint_hf.annotator.comvint import template_slots as words_of
from comvint_hf.annotator.comvint.candidates import SHAPES
from comvint_hf.annotator.comvint.existence import noticeable
from comvint_hf.annotator.comvint.references import answerable, describable, landmarks
from comvint_hf.annotator.facts.scene import Facts, Thing, facts_of
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import fields
from comvint_hf.annotator.programs.program import Program, Ref, every
from comvint_hf.annotator.programs.search import likenesses
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import indefinite, sentence
from comvint_hf.errors import NothingLeftError
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.generation.recipes.vlit.stages import Conversation

SEEN = ("colour", "size", "across", "vertical")
"""Questions about a thing that the picture answers."""
PAIRED_SHARE = 0.25
"""Share of dialogues of several turns that begin with what is there and what is not."""
MOST_TURNS = 4
"""Turns about one thing; its absent companion comes on top."""
SIZES = ("large", "small")


class Fact(NamedTuple):
    """Something certain about a thing: its kind, its value, the other thing it speaks of, and the program that asks for it."""

    kind: str
    value: str
    tags: tuple[str, ...]
    other: Ref | None = None
    program: Program | None = None


class Topic(NamedTuple):
    """A thing that a dialogue can be about, how it is referred to, what can be seen of it and what one knows of it."""

    thing: Thing
    ref: Ref
    seen: list[Fact]
    thought: list[Fact]


@cache
def _wording() -> dict:
    return vocabulary.read("comvint_dialogue")


def dialogue(prompt: Prompt, random: Random) -> Conversation:
    """One conversation under the prompt's constraint. Raises `NothingLeftError` where the scene has nothing for it."""
    facts, constraint = facts_of(prompt.scene), prompt.blanks["constraint"]
    turns = _reasoned(facts, random) if constraint == "reasoned" else _about_one(facts, constraint, random)
    if not turns:
        raise NothingLeftError(f"the scene offers nothing for a conversation under the constraint {constraint!r}")
    return Conversation.model_construct(topic="", turns=turns)


def _about_one(facts: Facts, constraint: str, random: Random) -> list[Pair]:
    """Turns about the first thing, in random order, that has what the constraint asks for."""
    makers = [_MAKERS[constraint]]
    if constraint == "multi_turn" and random.random() < PAIRED_SHARE:
        makers.insert(0, _with_absent)
    made = (make(topic, facts, random) for make in makers for topic in _topics(facts, random))
    return next((turns for turns in made if turns and (constraint != "multi_turn" or _follows(turns))), [])


def _follows(turns: list[Pair]) -> bool:
    """Whether a later question goes back to an earlier one: two about what is there and what is not do not."""
    return len(turns) > 2 or len(turns) == 2 and not turns[-1].answer.startswith(("Yes, ", "No, "))


def _topics(facts: Facts, random: Random) -> Iterator[Topic]:
    things = [(thing, ref) for thing, ref in describable(facts) if thing.phrase.number == "singular" and answerable(thing)]
    random.shuffle(things)
    for thing, ref in things:
        yield Topic(thing, ref, list(_seen(thing, ref, facts, random)), list(_thought(thing, ref, facts, random)))


def _seen(thing: Thing, ref: Ref, facts: Facts, random: Random) -> Iterator[Fact]:
    """What the picture shows of a thing beyond its own description, in any order."""
    anchors = [other for known, other in landmarks(facts) if known is not thing and facts.apart(known, thing)]
    random.shuffle(anchors)
    for kind in random.sample(SEEN, len(SEEN)):
        programs = [Program(kind, (ref, other)) for other in anchors] if kind in SEEN[2:] else [Program(kind, (ref,))]
        for program in programs:
            outcome = evaluate(program, facts)
            if outcome and outcome.value not in ref.attributes:
                yield Fact(kind, outcome.value, outcome.tags, program.refs[1] if len(program.refs) > 1 else None, program)
                break


def _thought(thing: Thing, ref: Ref, facts: Facts, random: Random) -> Iterator[Fact]:
    """What one knows of such a thing, in any order."""
    if facts.drawn:
        known = [Fact(kind, value, (thing.tag,)) for kind, value in zip(("hint", "twin"), likenesses(thing, facts), strict=False)]
        yield from random.sample(known, len(known))
        return
    for field in random.sample(fields(), len(fields())):
        program = Program(field, (ref,))
        if outcome := evaluate(program, facts):
            yield Fact(field, outcome.value, outcome.tags, None, program)


# Constraints ----------------------------------------------------------------------------------------------------------


def _with_knowledge(topic: Topic, facts: Facts, random: Random) -> list[Pair]:
    """What is seen, then what one knows."""
    if not topic.thought:
        return []
    return _opened([*topic.seen[:1], *topic.thought[:2]], topic, facts, random)


def _of_several_turns(topic: Topic, facts: Facts, random: Random) -> list[Pair]:
    known = [*topic.seen, *topic.thought][:MOST_TURNS]
    return _opened(known, topic, facts, random)


def _opened(known: list[Fact], topic: Topic, facts: Facts, random: Random) -> list[Pair]:
    """A first question that names the thing, then questions that say "it"."""
    first = next((fact for fact in known if fact.program), None)
    if first is None or first.program is None:
        return []
    opening = Pair.model_construct(
        topic="",
        evidence=list(first.tags),
        question=templates.ask(first.program, facts, random),
        answer=templates.answer(first.program, facts, random),
    )
    return [opening, *(_followed(topic.thing, fact, random) for fact in known if fact is not first)]


def _pointed(topic: Topic, facts: Facts, random: Random) -> list[Pair]:
    """A first question that points at the thing by its reference; all others are about it, too."""
    known = [*topic.seen, *topic.thought][:MOST_TURNS]
    if not known:
        return []
    words, ref = _wording()["pointing"], f"the <st>{topic.thing.noun}<ed>[{topic.thing.tag}]"
    told = topic.seen[:2] if len(topic.seen) > 1 and random.random() < 0.5 else []
    first, *others = [_followed(topic.thing, fact, random, opens=fact is known[0]) for fact in known]
    if told:
        asked, answered = random.choice(words["describe"]).format(ref=ref), f"{first.answer} {others.pop(0).answer}"
    else:
        asked, answered = random.choice(words["ask"]).format(ref=ref, question=first.question), first.answer
    tags = dict.fromkeys(tag for fact in told or known[:1] for tag in fact.tags)
    opening = Pair.model_construct(topic="", evidence=list(tags), question=sentence(asked), answer=answered)
    return [opening, *others]


def _with_absent(topic: Topic, facts: Facts, random: Random) -> list[Pair]:
    """Whether the thing is there and whether something else is, in any order, and what else can be said of the thing."""
    asked = every(topic.ref.noun, *topic.ref.attributes)
    if topic.ref.where or not noticeable(topic.thing, facts) or not _is("yes", asked, facts):
        return []
    missing = next((ref for ref in _missing(asked, facts, random) if _is("no", ref, facts)), None)
    if missing is None:
        return []
    about = [_followed(topic.thing, fact, random) for fact in (*topic.seen[:1], *topic.thought[:1])]
    there, position = (asked, "yes", (topic.thing.tag,)), random.randrange(2)
    if position == 0:
        return [_existing(missing, "no", (), "first", random), _existing(*there, "then", random), *about]
    return [_existing(*there, "first", random), *about, _existing(missing, "no", (), "then", random)]


def _reasoned(facts: Facts, random: Random) -> list[Pair]:
    """Questions whose answers go step by step before they conclude."""
    words = _wording()["reasoned"]
    groups = {head: programs for head, programs in candidates.cross_modal(facts, random).items() if head in words}
    return [_in_steps(program, words, facts, random) for program in candidates.chosen(groups, 2, facts, random)]


_MAKERS = {
    "outside_knowledge": _with_knowledge,
    "multi_turn": _of_several_turns,
    "one_region": _pointed,
    "negatives": _with_absent,
}


# Turns ----------------------------------------------------------------------------------------------------------------


def _in_steps(program: Program, words: dict[str, list[str]], facts: Facts, random: Random) -> Pair:
    outcome = evaluate(program, facts)
    template = templates.Template.of(random.choice(words[program.head]))
    return Pair.model_construct(
        topic="",
        evidence=list(outcome.tags) if outcome else [],
        question=templates.ask(program, facts, random),
        answer=templates.fill(template, templates.slots_of(program, facts, random)),
    )


def _followed(thing: Thing, fact: Fact, random: Random, opens: bool = False) -> Pair:
    """A question that says "it" for the thing, without "and" where it opens a dialogue; people are named again."""
    words = _wording()["follow"][fact.kind]
    asks = [ask for ask in words["ask"] if not (opens and ask.startswith("And "))]
    it = f"the {thing.noun}" if vocabulary.is_a(thing.phrase.core, "person") else "it"
    its = "its" if it == "it" else f"{it}'s"
    slots = {"it": it, "It": sentence(it, ""), "its": its, "Its": sentence(its, "")}
    slots |= {"value": words_of.SIDE_WORDS.get(fact.value, fact.value), "b": _said(fact.other)}
    return Pair.model_construct(
        topic="",
        evidence=list(fact.tags),
        question=sentence(random.choice(asks).format_map(slots)),
        answer=sentence(random.choice(words["answer"]).format_map(slots)),
    )


def _said(ref: Ref | None) -> str:
    return words_of.wordings(ref)[0] if ref else ""


def _existing(ref: Ref, answer: str, tags: tuple[str, ...], place: str, random: Random) -> Pair:
    """A question whether there is something, in words that do not tell the answer."""
    words, said = _wording()["existence"], " ".join((*ref.attributes, ref.noun))
    slots = {"a": indefinite(said), "no": said}
    return Pair.model_construct(
        topic="",
        evidence=list(tags),
        question=sentence(random.choice(words[place]).format_map(slots)),
        answer=sentence(random.choice(words[answer]).format_map(slots)),
    )


def _missing(like: Ref, facts: Facts, random: Random) -> Iterator[Ref]:
    """What may be absent and could as well be there: drawn shapes told apart as `like` is, or plausible kinds of things."""
    if not facts.drawn:
        yield from map(every, facts.absent(random, 6, beside=(like.noun,)))
        return
    pools = [SIZES if word in SIZES else candidates.DRAWN_COLOURS for word in like.attributes]
    options = [every(noun, *words) for noun in SHAPES for words in product(*pools)]
    near = [ref for ref in options if ref.noun == like.noun or not set(ref.attributes).isdisjoint(like.attributes)]
    for pool in (near if like.attributes else options, options):
        yield from random.sample(pool, len(pool))


def _is(answer: str, ref: Ref, facts: Facts) -> bool:
    outcome = evaluate(Program("exists", (ref,)), facts)
    return outcome is not None and outcome.value == answer
