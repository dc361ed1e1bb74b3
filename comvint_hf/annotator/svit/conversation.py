"""Conversations: up to three of up to five turns, each on a theme of its own, in which later turns follow from earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from comvint_hf.annotator.svit import captions
from comvint_hf.annotator.svit.context import Context, matching_rules
from comvint_hf.annotator.svit.turns import (
    area,
    attribute,
    colour,
    colour_check,
    compare_position,
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
from comvint_hf.annotator.words.english import add_article, article, join_phrases
from comvint_hf.annotator.words.vocabulary import is_a
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Dialogue, Dialogues, Pair

FEWEST_TURNS = 2
_Turn = Callable[[Context, Subject, bool], Pair | None]


def conversation(prompt: Prompt, random: Random) -> Dialogues:
    """Answer the prompt `svit/conversation`: as many conversations as the scene supports, at most `count`."""
    context = Context(prompt, random, "svit_conversation")
    most = prompt.blanks.get("turns", 5)
    told: list[Dialogue] = []
    used: set[str] = set()
    for theme, turns in _themes(context):
        fresh = [turn for turn in turns if turn.question.casefold() not in used][:most]
        if len(fresh) >= FEWEST_TURNS:
            used.update(turn.question.casefold() for turn in fresh)
            told.append(Dialogue.model_construct(topic=theme, turns=fresh))
        if len(told) == prompt.blanks.get("count", 3):
            break
    return Dialogues.model_construct(dialogues=told)


def _themes(context: Context) -> Iterator[tuple[str, list[Pair]]]:
    """Themes with their turns, in random order; up to three are about single objects, clothes the last of them."""
    subjects = context.shuffled(item for item in context.view.subjects if not item.outer)
    subjects.sort(key=lambda item: is_a(item.obj.phrase.core, "piece of clothing"))
    themes: list[tuple[str, Callable[[], list[Pair]]]] = [
        ("overview", lambda: _overview(context)),
        ("numbers", lambda: _numbers(context)),
        ("layout", lambda: _layout(context)),
        *((subject.obj.noun, lambda subject=subject: _about(context, subject)) for subject in subjects[:2]),
        *((subject.obj.noun, lambda subject=subject: _about(context, subject)) for subject in subjects[2:3]),
    ]
    for name, make in context.shuffled(themes):
        yield name, make()


def _overview(context: Context) -> list[Pair]:
    """From what is going on to what is there, and what kind of place it is."""
    turns = [*_activity(context)]
    if context.view.rendered:
        turns = [_contents(context), *_text(context)]
    else:
        turns += filter(None, (existence(context, None, _answers(turns)),))
    subject = _pick_subject(context, turns)
    if subject:
        placed = position(context, subject, False)
        doing = linked(context, subject, bool(placed) or context.view.rendered)
        turns += filter(None, (placed, None if doing and _is_known(context, doing, turns) else doing))
    return [*turns, *_setting(context), *_next(context)]


def _about(context: Context, subject: Subject) -> list[Pair]:
    """One object: whether it is there, how it looks, where it is, what it does, then what is known of it."""
    opening = existence(context, subject)
    looks = [turn for make in (colour, attribute, size) if (turn := make(context, subject, True))][:2]
    around: list[_Turn] = context.shuffled((position, linked, side, linked_place))
    seen = [turn for make in around if (turn := make(context, subject, True))][:2]
    if not context.view.rendered:
        seen.sort(key=lambda turn: turn.topic != "position")  # "and where is it?" is odd once one knows that
    general = (
        (_use_turn, _fact_turn, _common_location, _care_turn)
        if subject.obj.attributes
        else (_use_turn, _fact_turn, _common_location, _material_turn, _care_turn)
    )
    known = [turn for make in context.shuffled(general) if (turn := make(context, subject, True))]
    if context.view.rendered:
        known = []
    if opening is None:
        first = [make(context, subject, False) for make in context.shuffled((position, linked, side, colour))]
        opening = next(filter(None, first), None)
        seen = [turn for turn in seen if opening and turn.topic != opening.topic]
        looks = [turn for turn in looks if opening and turn.topic != opening.topic]
    return [*([opening] if opening else []), *looks, *seen, *known[:2]] if opening else []


def _layout(context: Context) -> list[Pair]:
    """How objects lie to each other; the second turn stays with the first object where it can."""
    pairs = list(context.position_pairs())
    if not pairs:
        return []
    one, two, place = pairs[0]
    more = [(a, b, where) for a, b, where in pairs[1:] if one in (a, b)] + [pair for pair in pairs[1:] if one not in pair[:2]]
    turns = [side_check(context, one, two, place) if context.draw_bool() else compare_position(context, one, two, place, False)]
    for a, b, where in more[:2]:
        turns.append(compare_position(context, a, b, where, False) if context.draw_bool() else side_check(context, a, b, where))
    turns += filter(None, (area(context), colour_check(context, one), position(context, one, False)))
    return turns


def _numbers(context: Context) -> list[Pair]:
    """How many there are of what; only where every instance is known."""
    turns = []
    if context.view.rendered:
        turns.append(count(context, "shape", len(context.facts.objects), [obj.tag for obj in context.facts.objects]))
    for noun, number, tags in context.shuffled(counts(context))[:2]:
        turns.append(count(context, noun, number, tags))
    if not turns:
        return []
    closed = existence(context, None, _answers(turns))
    subject = _pick_subject(context, [closed] if closed else [])
    extra = [colour_check(context, subject), position(context, subject, False), area(context)] if subject else []
    return [*turns, *([closed] if closed else []), *filter(None, extra)]


def _is_known(context: Context, turn: Pair, before: list[Pair]) -> bool:
    """Whether a caption said already what somebody holds or rides: it names the object."""
    words = _answers([told for told in before if told.topic == "activity"]).lower().replace(".", " ").split()
    return any(context.facts.by_tag[tag].phrase.core.split(" ")[-1] in words for tag in turn.evidence[1:])


def _answers(turns: list[Pair]) -> str:
    return " ".join(turn.answer for turn in turns)


def _pick_subject(context: Context, turns: list[Pair]) -> Subject | None:
    """A subject that no turn about existence has told of: it may have told its place."""
    told = {tag for turn in turns if turn.topic == "existence" for tag in turn.evidence}
    return next((item for item in context.shuffled(context.view.subjects) if item.tag not in told), None)


def _activity(context: Context) -> list[Pair]:
    told = context.shuffled(captions.caption_sentences(context.view.scene))
    told = [*told[:1], *[caption for caption in told[1:] if captions.adds_content(caption, told[0])][:1]]
    kinds = ("activity", "activity_more")
    return [
        context.pair("activity", [], context.render(kind, "ask"), context.render(kind, "say", caption=text))
        for kind, text in zip(kinds, told, strict=False)
    ]


def _contents(context: Context) -> Pair:
    objects = context.facts.objects
    words = [f"{article(text)} {text}" for obj in objects for text in [" ".join((*obj.attributes, obj.noun))]]
    answer = context.render("contents", "say", list=join_phrases(words))
    return context.pair("contents", [obj.tag for obj in objects], context.render("contents", "ask"), answer)


def _text(context: Context) -> list[Pair]:
    return [
        context.pair("text", [], context.render("text", "ask"), context.render("text", "say", text=text.text))
        for text in context.view.scene.texts[:1]
    ]


def _setting(context: Context) -> list[Pair]:
    for rule, objects in context.shuffled(matching_rules(context.view, "setting"))[:1]:
        clues = join_phrases(list(dict.fromkeys(obj.a for obj in objects)))
        words = {"place": rule.concludes, "clues": clues, "are": objects[0].be_a}
        return [context.pair("reasoning", objects, context.render("setting", "ask"), context.render("setting", "say", **words))]
    return []


def _next(context: Context) -> list[Pair]:
    for rule, (person, *others) in context.shuffled(matching_rules(context.view, "activity")):
        if person.tag in context.view.by_tag and rule.next and not person.obj.plural:
            words = {"the": person.the, "it": person.it, "doing": rule.concludes, "next": rule.next}
            return [context.turn("reasoning", [person, *others], "next", **words)]
    return []


def _known(context: Context, kind: str, subject: Subject, follow: bool, field: str) -> Pair | None:
    """A turn of general knowledge about what the object is."""
    noun = subject.noun
    value = getattr(noun, field) if noun else ""
    if noun is None or not value or subject.person:
        return None
    words: dict[str, str] = {
        "bare": subject.kind,
        "be": generic_be(noun),
        "one": add_article(noun.name if noun.mass else subject.kind_name),
        "fact": value,
        "use": value,
        "place": value,
        "material": value,
        "care": value,
    }
    return described(context, kind, "knowledge", subject, follow, (), **words)


def _use_turn(context: Context, subject: Subject, follow: bool) -> Pair | None:
    if subject.noun and "edible" in subject.noun.traits:
        return None
    return _known(context, "use", subject, follow, "use")


def _fact_turn(context: Context, subject: Subject, follow: bool) -> Pair | None:
    return _known(context, "fact", subject, follow, "fact")


def _common_location(context: Context, subject: Subject, follow: bool) -> Pair | None:
    return _known(context, "place", subject, follow, "place")


def _material_turn(context: Context, subject: Subject, follow: bool) -> Pair | None:
    return _known(context, "material", subject, follow, "made_of")


def _care_turn(context: Context, subject: Subject, follow: bool) -> Pair | None:
    return _known(context, "care", subject, follow, "care")
