"""Dialogues for the VLIT recipe: a few turns about the same objects, under the constraint that the prompt names."""

from __future__ import annotations

from collections.abc import Callable

from comvint_hf.annotator.answers import presence
from comvint_hf.annotator.answers.closed import AMONG
from comvint_hf.annotator.answers.offers import Offer, follow, offers
from comvint_hf.annotator.answers.pairs import make_pair
from comvint_hf.annotator.answers.turns import closed_turn, open_turn, topic_of, turn
from comvint_hf.annotator.balance.cases import draw
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.facts.scene import Facts, facts_of
from comvint_hf.annotator.language import templates
from comvint_hf.annotator.language.slots import is_person
from comvint_hf.annotator.programs import candidates
from comvint_hf.annotator.programs.program import THING
from comvint_hf.annotator.words.vocabulary import read_table
from comvint_hf.errors import NothingLeftError
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.generation.recipes.vlit.stages import Conversation

MOST_TURNS = 3
CLOSED_SHARE = 0.35
NEGATIVES_SHARE = 0.5
"""Share of the scenes whose dialogue about what is absent is written: other questions are rarer, and presence is not to rule the set."""
_Maker = Callable[[Facts, Draws], list[Pair]]


def dialogue(prompt: Prompt, random: Draws) -> Conversation:
    """One conversation under the prompt's constraint. Raises `NothingLeftError` where the scene has nothing for it."""
    constraint = prompt.blanks["constraint"]
    turns = MAKERS[constraint](facts_of(prompt.scene), random)
    if not turns:
        raise NothingLeftError(f"the scene offers nothing for a conversation under the constraint {constraint!r}")
    return Conversation.model_construct(topic="", turns=turns)


def _with_knowledge(facts: Facts, draws: Draws) -> list[Pair]:
    """What is seen of an object, then what one knows of it."""
    pool = offers(facts, draws)
    known = next((offer for offer in pool if offer.knows), None)
    if known is None:
        return _drawn_knowledge(facts, draws)
    last = open_turn(known.program, facts, draws)
    seen = [offer for offer in pool if not offer.knows]
    first = next(follow(seen, known.tags, 1), None)
    opening = turn(first.program, facts, draws, CLOSED_SHARE) if first else None
    return [pair for pair in (opening, last) if pair] if last else []


def _drawn_knowledge(facts: Facts, draws: Draws) -> list[Pair]:
    """What drawn shapes are like, or how many corners they have."""
    found = candidates.select_programs(candidates.outside_knowledge(facts, draws), 2, facts, draws) if facts.rendered else []
    return [pair for program in found if (pair := open_turn(program, facts, draws))]


def _building_on(facts: Facts, draws: Draws) -> list[Pair]:
    """A question that names an object, then questions that say "it"."""
    by_subject: dict[object, list[Offer]] = {}
    for offer in offers(facts, draws):
        ref = offer.program.refs[0] if offer.program.refs else None
        if ref and ref.article == "the" and ref.noun != THING and not is_person(ref.noun) and offer.program.head not in AMONG:
            by_subject.setdefault(ref, []).append(offer)
    for found in draws.shuffled(found for found in by_subject.values() if len(found) > 1):
        different = {offer.form: offer for offer in found}
        first, *others = sorted(different.values(), key=lambda offer: offer.knows)
        opening = turn(first.program, facts, draws, CLOSED_SHARE)
        kept = [pair for offer in others if (pair := _going_on(offer, facts, draws))][: MOST_TURNS - 1]
        if opening and kept:
            return [opening, *kept]
    return []


def _going_on(offer: Offer, facts: Facts, draws: Draws) -> Pair | None:
    """A question that says "it": one that names something else, too, or claims an answer, or it would be asked everywhere."""
    if facts.rendered or len(offer.program.refs) > 1 or offer.program.words:
        return turn(offer.program, facts, draws, CLOSED_SHARE, "it")
    return closed_turn(offer.program, facts, draws, "it")


def _about_region(facts: Facts, draws: Draws) -> list[Pair]:
    """A first question that points at an object by its reference; all others are about it, too."""
    pool = [offer for offer in offers(facts, draws) if offer.program.head not in AMONG]
    pool = [offer for offer in pool if offer.program.refs and offer.program.refs[0].article == "the"]
    for start in pool:
        same = [offer for offer in pool if offer.program.refs[0] == start.program.refs[0]]
        opening = turn(start.program, facts, draws, CLOSED_SHARE, "pointed")
        if opening and "<st>" in opening.question:
            others = {offer.form: offer for offer in same if offer.form != start.form}
            later = [pair for offer in others.values() if (pair := _going_on(offer, facts, draws))]
            return [opening, *later[: MOST_TURNS - 1]]
    return []


def _with_absent(facts: Facts, draws: Draws) -> list[Pair]:
    """Whether something is there that is, and something that is not, in any order; then something about what is there."""
    if draw(f"{draws.corpus_seed}/{facts.scene.id}/negatives", "asked") > NEGATIVES_SHARE:
        return []
    absent = presence.presence_of(False, facts, draws, "negatives")
    there = presence.presence_of(True, facts, draws, "negatives")
    if absent is None or there is None or absent.question == there.question:
        return []
    pairs = draws.shuffled((absent, there))
    later = next(follow(offers(facts, draws), there.evidence, 1), None)
    more = open_turn(later.program, facts, draws) if later else None
    return [*pairs, more] if more else pairs


def _step_by_step(facts: Facts, draws: Draws) -> list[Pair]:
    """Questions whose answers go step by step before they conclude."""
    words = read_table("dialogue")["reasoned"]
    made: list[Pair] = []
    asked: set[tuple[str, ...]] = set()
    for offer in offers(facts, draws):
        if offer.program.head in words and len(made) < MOST_TURNS - 1 and offer.form not in asked:
            asked.add(offer.form)
            template = templates.Template.of(draws.choice(words[offer.program.head]))
            answer = templates.fill(template, templates.make_slots(offer.program, facts, draws))
            made.append(
                make_pair(topic_of(offer.program), offer.outcome.tags, templates.ask(offer.program, facts, draws), answer)
            )
    return made


MAKERS: dict[str, _Maker] = {
    "outside_knowledge": _with_knowledge,
    "multi_turn": _building_on,
    "one_region": _about_region,
    "negatives": _with_absent,
    "reasoned": _step_by_step,
}
