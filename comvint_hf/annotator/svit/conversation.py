"""Conversations: up to three of up to five turns, each on a theme of its own, in which later turns follow from earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from comvint_hf.annotator.svit import captions
from comvint_hf.annotator.svit.context import Teller, conclusions
from comvint_hf.annotator.svit.turns import (
    area,
    attribute,
    colour,
    colour_check,
    compared,
    count,
    counts,
    described,
    existence,
    linked,
    linked_place,
    position,
    side,
    side_check,
    size,
)
from comvint_hf.annotator.svit.view import Subject, generic_be
from comvint_hf.annotator.words.english import article, indefinite, listed
from comvint_hf.annotator.words.vocabulary import is_a
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Dialogue, Dialogues, Pair

FEWEST_TURNS = 2
_Turn = Callable[[Teller, Subject, bool], Pair | None]


def conversation(prompt: Prompt, random: Random) -> Dialogues:
    """Answer the prompt `svit/conversation`: as many conversations as the scene supports, at most `count`."""
    teller = Teller(prompt, random, "svit_conversation")
    most = prompt.blanks.get("turns", 5)
    told: list[Dialogue] = []
    used: set[str] = set()
    for theme, turns in _themes(teller):
        fresh = [turn for turn in turns if turn.question.casefold() not in used][:most]
        if len(fresh) >= FEWEST_TURNS:
            used.update(turn.question.casefold() for turn in fresh)
            told.append(Dialogue.model_construct(topic=theme, turns=fresh))
        if len(told) == prompt.blanks.get("count", 3):
            break
    return Dialogues.model_construct(dialogues=told)


def _themes(teller: Teller) -> Iterator[tuple[str, list[Pair]]]:
    """Themes with their turns, in random order; up to three are about single things, clothes the last of them."""
    subjects = teller.shuffled(item for item in teller.view.subjects if not item.outer)
    subjects.sort(key=lambda item: is_a(item.thing.phrase.core, "piece of clothing"))
    themes: list[tuple[str, Callable[[], list[Pair]]]] = [
        ("overview", lambda: _overview(teller)),
        ("numbers", lambda: _numbers(teller)),
        ("layout", lambda: _layout(teller)),
        *((subject.thing.noun, lambda subject=subject: _about(teller, subject)) for subject in subjects[:2]),
        *((subject.thing.noun, lambda subject=subject: _about(teller, subject)) for subject in subjects[2:3]),
    ]
    for name, make in teller.shuffled(themes):
        yield name, make()


def _overview(teller: Teller) -> list[Pair]:
    """From what is going on to what is there, and what kind of place it is."""
    turns = [*_activity(teller)]
    if teller.view.drawn:
        turns = [_contents(teller), *_text(teller)]
    else:
        turns += filter(None, (existence(teller, None, _answers(turns)),))
    subject = _another(teller, turns)
    if subject:
        placed = position(teller, subject, False)
        doing = linked(teller, subject, bool(placed) or teller.view.drawn)
        turns += filter(None, (placed, None if doing and _is_told(teller, doing, turns) else doing))
    return [*turns, *_setting(teller), *_next(teller)]


def _about(teller: Teller, subject: Subject) -> list[Pair]:
    """One thing: whether it is there, how it looks, where it is, what it does, then what is known of it."""
    opening = existence(teller, subject)
    looks = [turn for make in (colour, attribute, size) if (turn := make(teller, subject, True))][:2]
    around: list[_Turn] = teller.shuffled((position, linked, side, linked_place))
    seen = [turn for make in around if (turn := make(teller, subject, True))][:2]
    if not teller.view.drawn:
        seen.sort(key=lambda turn: turn.topic != "position")  # "and where is it?" is odd once one knows that
    general = (_use, _fact, _usual_place, _care) if subject.thing.attributes else (_use, _fact, _usual_place, _material, _care)
    known = [turn for make in teller.shuffled(general) if (turn := make(teller, subject, True))]
    if teller.view.drawn:
        known = []
    if opening is None:
        first = [make(teller, subject, False) for make in teller.shuffled((position, linked, side, colour))]
        opening = next(filter(None, first), None)
        seen = [turn for turn in seen if opening and turn.topic != opening.topic]
        looks = [turn for turn in looks if opening and turn.topic != opening.topic]
    return [*([opening] if opening else []), *looks, *seen, *known[:2]] if opening else []


def _layout(teller: Teller) -> list[Pair]:
    """How things lie to each other; the second turn stays with the first thing where it can."""
    pairs = list(teller.placed_pairs())
    if not pairs:
        return []
    one, two, place = pairs[0]
    more = [(a, b, where) for a, b, where in pairs[1:] if one in (a, b)] + [pair for pair in pairs[1:] if one not in pair[:2]]
    turns = [side_check(teller, one, two, place) if teller.coin() else compared(teller, one, two, place, False)]
    for a, b, where in more[:2]:
        turns.append(compared(teller, a, b, where, False) if teller.coin() else side_check(teller, a, b, where))
    turns += filter(None, (area(teller), colour_check(teller, one), position(teller, one, False)))
    return turns


def _numbers(teller: Teller) -> list[Pair]:
    """How many there are of what; only where every instance is known."""
    turns = []
    if teller.view.drawn:
        turns.append(count(teller, "shape", len(teller.facts.things), [thing.tag for thing in teller.facts.things]))
    for noun, number, tags in teller.shuffled(counts(teller))[:2]:
        turns.append(count(teller, noun, number, tags))
    if not turns:
        return []
    closed = existence(teller, None, _answers(turns))
    subject = _another(teller, [closed] if closed else [])
    extra = [colour_check(teller, subject), position(teller, subject, False), area(teller)] if subject else []
    return [*turns, *([closed] if closed else []), *filter(None, extra)]


def _is_told(teller: Teller, turn: Pair, before: list[Pair]) -> bool:
    """Whether a caption said already what somebody holds or rides: it names the thing."""
    words = _answers([told for told in before if told.topic == "activity"]).lower().replace(".", " ").split()
    return any(teller.facts.by_tag[tag].phrase.core.split(" ")[-1] in words for tag in turn.evidence[1:])


def _answers(turns: list[Pair]) -> str:
    return " ".join(turn.answer for turn in turns)


def _another(teller: Teller, turns: list[Pair]) -> Subject | None:
    """A subject that no turn about existence has told of: it may have told its place."""
    told = {tag for turn in turns if turn.topic == "existence" for tag in turn.evidence}
    return next((item for item in teller.shuffled(teller.view.subjects) if item.tag not in told), None)


def _activity(teller: Teller) -> list[Pair]:
    told = teller.shuffled(captions.spoken(teller.view.scene))
    told = [*told[:1], *[caption for caption in told[1:] if captions.says_more(caption, told[0])][:1]]
    kinds = ("activity", "activity_more")
    return [
        teller.pair("activity", [], teller.say(kind, "ask"), teller.say(kind, "say", caption=text))
        for kind, text in zip(kinds, told, strict=False)
    ]


def _contents(teller: Teller) -> Pair:
    things = teller.facts.things
    words = [f"{article(text)} {text}" for thing in things for text in [" ".join((*thing.attributes, thing.noun))]]
    answer = teller.say("contents", "say", list=listed(words))
    return teller.pair("contents", [thing.tag for thing in things], teller.say("contents", "ask"), answer)


def _text(teller: Teller) -> list[Pair]:
    return [
        teller.pair("text", [], teller.say("text", "ask"), teller.say("text", "say", text=text.text))
        for text in teller.view.scene.texts[:1]
    ]


def _setting(teller: Teller) -> list[Pair]:
    for rule, things in teller.shuffled(conclusions(teller.view, "setting"))[:1]:
        clues = listed(list(dict.fromkeys(thing.a for thing in things)))
        words = {"place": rule.concludes, "clues": clues, "are": things[0].be_a}
        return [teller.pair("reasoning", things, teller.say("setting", "ask"), teller.say("setting", "say", **words))]
    return []


def _next(teller: Teller) -> list[Pair]:
    for rule, (person, *others) in teller.shuffled(conclusions(teller.view, "activity")):
        if person.tag in teller.view.by_tag and rule.next and not person.thing.plural:
            words = {"the": person.the, "it": person.it, "doing": rule.concludes, "next": rule.next}
            return [
                teller.pair(
                    "reasoning", [person, *others], teller.say("next", "ask", **words), teller.say("next", "say", **words)
                )
            ]
    return []


def _known(teller: Teller, kind: str, subject: Subject, follow: bool, field: str) -> Pair | None:
    """A turn of general knowledge about what the thing is."""
    noun = subject.noun
    value = getattr(noun, field) if noun else ""
    if not value or subject.person:
        return None
    words = {
        "bare": subject.kind,
        "be": generic_be(noun),
        "one": indefinite(noun.name if noun.mass else subject.kind_name),
        "fact": value,
        "use": value,
        "place": value,
        "material": value,
        "care": value,
    }
    return described(teller, kind, "knowledge", subject, follow, **words)


def _use(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    if subject.noun and "edible" in subject.noun.traits:
        return None
    return _known(teller, "use", subject, follow, "use")


def _fact(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    return _known(teller, "fact", subject, follow, "fact")


def _usual_place(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    return _known(teller, "place", subject, follow, "place")


def _material(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    return _known(teller, "material", subject, follow, "made_of")


def _care(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    return _known(teller, "care", subject, follow, "care")
