"""Conversations: up to three of up to five turns; each begins with what somebody does or with what is there, and follows from it."""

from __future__ import annotations

from collections.abc import Iterator

from comvint_hf.annotator.answers import presence
from comvint_hf.annotator.answers.offers import Offer, follow, offers
from comvint_hf.annotator.answers.pairs import make_pair
from comvint_hf.annotator.answers.subjects import View, tags_of, view_of
from comvint_hf.annotator.answers.turns import turn
from comvint_hf.annotator.balance.cases import draw
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.language import captions
from comvint_hf.annotator.language.prose import say
from comvint_hf.annotator.words.english import add_article, head_word, join_phrases, sentence
from comvint_hf.annotator.words.vocabulary import read_table
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Dialogue, Dialogues, Pair
from comvint_hf.text import singular

FEWEST_TURNS = 2
PRESENCE_SHARE = 0.7
"""Share of the photos that are asked whether something is there."""
CLOSED_SHARE = 0.4
"""Share of the questions of a conversation that are asked by yes or no, where the balance allows it."""


def conversation(prompt: Prompt, random: Draws) -> Dialogues:
    """Answer the prompt `svit/conversation`: as many conversations as the scene supports, at most `count`."""
    view, most = view_of(prompt.scene), prompt.blanks.get("turns", 5)
    pool = offers(view.facts, random)
    told: list[Dialogue] = []
    asked: set[str] = set()
    for theme, opening in _openings(view, pool, random):
        turns = [
            pair for pair in (opening, *_turns(view, opening, pool, most - 1, random)) if pair.question.casefold() not in asked
        ]
        if len(turns) >= FEWEST_TURNS and turns[0].question not in prompt.blanks.get("avoid", ()):
            asked.update(pair.question.casefold() for pair in turns)
            told.append(Dialogue.model_construct(topic=theme, turns=turns))
        if len(told) == prompt.blanks.get("count", 3):
            break
    return Dialogues.model_construct(dialogues=told)


def _turns(view: View, opening: Pair, pool: list[Offer], most: int, draws: Draws) -> Iterator[Pair]:
    """What follows from an opening; where nothing does, any question of the scene."""
    new = [offer for offer in pool if not _is_told(offer, opening)]
    tags = opening.evidence if any(not offer.tags.isdisjoint(opening.evidence) for offer in new) else ()
    for offer in follow(new, tags, most):
        pool.remove(offer)
        if pair := turn(offer.program, view.facts, draws, CLOSED_SHARE):
            yield pair


def _is_told(offer: Offer, opening: Pair) -> bool:
    """Whether an answer says already what a program asks: who carries what."""
    said = {singular(word) for word in opening.answer.lower().rstrip(".").replace(",", "").split()}
    return offer.program.head in ("what", "who", "name") and singular(head_word(offer.outcome.value).lower()) in said


def _openings(view: View, pool: list[Offer], draws: Draws) -> Iterator[tuple[str, Pair]]:
    """Ways to begin: with whether something is there, with what somebody does, or with any question."""
    found = list(_contents(view, draws) if view.rendered else _doings(view, draws))
    asked = view.rendered or draw(f"{draws.corpus_seed}/{view.scene.id}/conversation", "asked") < PRESENCE_SHARE
    there = presence.presence(view.facts, draws, "conversation") if asked else None
    # Nothing was said yet, so that no earlier answer tells what is there.
    openings = [*found[:2], *([("existence", there)] if there else [])]
    yield from draws.shuffled(openings)
    for offer in follow(pool, (), 2):
        if pair := turn(offer.program, view.facts, draws, CLOSED_SHARE):
            yield pair.topic, pair


def _doings(view: View, draws: Draws) -> Iterator[tuple[str, Pair]]:
    """What somebody does, as a caption says it."""
    for doing in draws.shuffled(captions.doings(view.scene)):
        question = say(draws, read_table("conversation")["doing"]["ask"], the=doing.subject, be=doing.be)
        answer = sentence(f"{doing.subject} {doing.be} {doing.doing}")
        yield doing.verb, make_pair("activity", tags_of(doing, view), question, answer)


def _contents(view: View, draws: Draws) -> Iterator[tuple[str, Pair]]:
    """What a drawn scene shows, and what is written in it."""
    table, objects = read_table("conversation"), view.facts.objects
    things = join_phrases([add_article(" ".join((*obj.attributes, obj.noun))) for obj in objects])
    words = table["contents"]
    yield (
        "overview",
        make_pair("contents", [obj.tag for obj in objects], say(draws, words["ask"]), say(draws, words["say"], list=things)),
    )
    for text in view.scene.texts[:1]:
        words = table["text"]
        yield "text", make_pair("text", [], say(draws, words["ask"]), say(draws, words["say"], text=text.text))
