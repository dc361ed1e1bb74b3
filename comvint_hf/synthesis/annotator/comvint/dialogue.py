"""Dialogues for the VLIT recipe from the scene alone: a thing and what follows from it, under the constraint asked for.

Each turn is a program that was evaluated on the scene; how it is said stands in `wording/comvint_dialogue.toml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random
from typing import NamedTuple

from comvint_hf.errors import ReplyError
from comvint_hf.synthesis.annotator.comvint import candidates, phrasing
from comvint_hf.synthesis.annotator.comvint import slots as words_of
from comvint_hf.synthesis.annotator.comvint.references import answerable, describable, landmarks
from comvint_hf.synthesis.annotator.facts.scene_facts import Facts, Thing, facts_of
from comvint_hf.synthesis.annotator.programs.evaluation import evaluate
from comvint_hf.synthesis.annotator.programs.knowing import fields
from comvint_hf.synthesis.annotator.programs.notation import Program, Ref
from comvint_hf.synthesis.annotator.words import knowledge, lexicon
from comvint_hf.synthesis.annotator.words.language import be, have, indefinite, sentence
from comvint_hf.synthesis.prompt import Prompt
from comvint_hf.synthesis.stages.svit import Pair
from comvint_hf.synthesis.stages.vlit import Conversation

SEEN = ("colour", "size", "across")
"""Follow-up questions that the picture answers."""
THOUGHT = ("use", "made_of", "young", "sound", "hint", "twin")
"""Follow-up questions that take knowledge."""


class Fact(NamedTuple):
    """Something about a thing: the follow-up's kind, its value, and the other thing it speaks of, if any."""

    kind: str
    value: str
    other: Ref | None = None
    tags: tuple[str, ...] = ()


@cache
def _wording() -> dict:
    return lexicon.read("comvint_dialogue")


def dialogue(prompt: Prompt, random: Random) -> Conversation:
    """One conversation under the prompt's constraint. Raises `ReplyError` where the scene has nothing for it."""
    facts, constraint = facts_of(prompt.scene), prompt.blanks["constraint"]
    turns = list(_reasoned(facts, random)) if constraint == "reasoned" else list(_about_one(facts, constraint, random))
    if not turns:
        raise ReplyError(f"the scene offers nothing for a conversation under the constraint {constraint!r}")
    return Conversation.model_construct(topic="", turns=turns)


def _about_one(facts: Facts, constraint: str, random: Random) -> Iterator[Pair]:
    """A thing, then what can be seen of it, then what the constraint asks for."""
    things = [(thing, ref) for thing, ref in describable(facts) if thing.phrase.number == "singular" and answerable(thing)]
    random.shuffle(things)
    for thing, ref in things:
        seen = list(_facts(thing, ref, facts, SEEN, random))
        thought = list(_facts(thing, ref, facts, THOUGHT, random))
        if not seen and not thought or constraint == "outside_knowledge" and not thought:
            continue
        opening = _pointed(thing, seen or thought, random) if constraint == "one_region" else _found(thing, random)
        follow = {"outside_knowledge": [*seen[:1], *thought[:2]], "negatives": seen[:1]}.get(constraint, [*seen, *thought])[:3]
        absent = _absent(facts, random) if constraint == "negatives" else []
        if constraint == "negatives" and not absent:
            return
        spoken = (seen or thought)[:1] if constraint == "one_region" else []
        turns = [opening, *(_followed(thing, fact, random) for fact in follow if fact not in spoken), *absent]
        if constraint != "multi_turn" or len(turns) > 1:
            yield from turns
            return


def _facts(thing: Thing, ref: Ref, facts: Facts, kinds: tuple[str, ...], random: Random) -> Iterator[Fact]:
    """What is certain of a thing, in any order, none of it said by its own description."""
    anchors = [other for known, other in landmarks(facts) if known is not thing and facts.apart(known, thing)]
    random.shuffle(anchors)
    options = list(kinds)
    random.shuffle(options)
    for kind in options:
        if kind in ("hint", "twin"):
            entry = knowledge.colours().get(thing.colour or "") if kind == "hint" else knowledge.shapes().get(thing.noun)
            value = (entry.hint if kind == "hint" else entry.like) if entry and facts.drawn else None
            if value:
                yield Fact(kind, value, None, (thing.tag,))
            continue
        programs = [Program(kind, (ref, other)) for other in anchors] if kind == "across" else [Program(kind, (ref,))]
        for program in programs:
            outcome = evaluate(program, facts) if kind in (*fields(), *SEEN) else None
            if outcome and outcome.value not in ref.attributes:
                yield Fact(kind, outcome.value, program.refs[1] if kind == "across" else None, outcome.tags)
                break


def _slots(thing: Thing) -> dict[str, str]:
    """The words that agree with a thing."""
    people = lexicon.is_a(thing.phrase.core, "person")
    return {
        "it": "this one" if people else "it",
        "It": "This one" if people else "It",
        "it_object": "this one" if people else "it",
        "its": "the" if people else "its",
        "Its": "The" if people else "Its",
        "is": be(thing.phrase.number),
        "Is": be(thing.phrase.number).capitalize(),
        "does": "does",
        "has": have(thing.phrase.number),
        "a_thing": indefinite(thing.noun),
    }


def _found(thing: Thing, random: Random) -> Pair:
    """Whether the thing is there: it is."""
    words = _wording()["opening"]
    slots = _slots(thing)
    return _pair(random.choice(words["there"]), random.choice(words["there_answer"]), slots, (thing.tag,))


def _pointed(thing: Thing, known: list[Fact], random: Random) -> Pair:
    """A first question that points at the thing by its reference, answered by one thing known of it."""
    words = _wording()
    slots = {**_slots(thing), "ref": f"the <st>{thing.noun}<ed>[{thing.tag}]"}
    answered = _followed(thing, known[0], random)
    asked = random.choice(words["opening"]["pointing"]).format_map(slots)
    return Pair.model_construct(topic="", evidence=answered.evidence, question=sentence(asked), answer=answered.answer)


def _followed(thing: Thing, fact: Fact, random: Random) -> Pair:
    words = _wording()["follow"][fact.kind]
    side = words_of.SIDE_WORDS.get(fact.value, fact.value)
    slots = {**_slots(thing), "value": side, "b": words_of.wordings(fact.other)[0] if fact.other else ""}
    return _pair(random.choice(words["ask"]), random.choice(words["answer"]), slots, fact.tags)


def _absent(facts: Facts, random: Random) -> list[Pair]:
    """A question for something plausible that is not there."""
    if facts.drawn:
        mine = {thing.noun for thing in facts.things}
        missing = [shape for shape in ("circle", "square", "triangle", "star") if shape not in mine]
        noun = random.choice(missing) if missing else None
    else:
        noun = next((word for word in facts.absent(random, 6) if lexicon.could_be(word, word)), None)
    if noun is None:
        return []
    words = _wording()["absent"]
    return [_pair(random.choice(words["ask"]), random.choice(words["answer"]), {"absent": indefinite(noun), "plain": noun}, ())]


def _reasoned(facts: Facts, random: Random) -> Iterator[Pair]:
    """Questions whose answers go step by step before they conclude."""
    words = _wording()["reasoned"]
    groups = {head: programs for head, programs in candidates.cross_modal(facts, random).items() if head in words}
    for program in candidates.chosen(groups, 2, facts, random):
        outcome = evaluate(program, facts)
        template = phrasing.Template.of(random.choice(words[program.head]))
        yield Pair.model_construct(
            topic="",
            evidence=list(outcome.tags) if outcome else [],
            question=phrasing.ask(program, facts, random),
            answer=phrasing.fill(template, phrasing.slots_of(program, facts, random)),
        )


def _pair(asked: str, answered: str, slots: dict[str, str], tags: tuple[str, ...]) -> Pair:
    return Pair.model_construct(
        topic="",
        evidence=list(tags),
        question=sentence(asked.format_map(slots)),
        answer=sentence(answered.format_map(slots)),
    )
