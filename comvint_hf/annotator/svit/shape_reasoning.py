"""Reasoning about rendered shapes: sums, what if, colours as paint, what rolls, which way to go. All of it is certain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from comvint_hf.annotator.svit.context import Context
from comvint_hf.annotator.svit.view import Subject
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.english import be, format_count, have, join_phrases, number_word
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.text import plural

DIRECTIONS = {"to the left of": "left", "to the right of": "right", "above": "up", "below": "down"}


def _tags(context: Context) -> list[str]:
    return [obj.tag for obj in context.facts.objects]


def corners(context: Context) -> Iterator[Pair]:
    """The sum of all corners."""
    kinds = Counter(obj.noun for obj in context.facts.objects)
    if 2 <= sum(kinds.values()) <= 5:
        steps = join_phrases(
            [
                f"{format_count(noun, number)} {have(number)} {number_word(number * _corners(noun))} corners"
                for noun, number in kinds.items()
            ]
        )
        total = sum(number * _corners(noun) for noun, number in kinds.items())
        yield context.reason("corners", _tags(context), steps=steps, total=number_word(total))


def _corners(shape: str) -> int:
    return knowledge.shapes()[shape].corners


def removed(context: Context) -> Iterator[Pair]:
    """How many stay without those of one colour."""
    count = len(context.facts.objects)
    tally = Counter(obj.colour for obj in context.facts.objects)
    for colour, gone in context.shuffled(tally.items()):
        if count > 1:
            left = count - gone
            yield context.reason(
                "removed",
                _tags(context),
                colour=colour,
                are=be(count),
                all=format_count("shape", count),
                gone=number_word(gone),
                gone_word=number_word(gone),
                be=be(gone),
                left=_zero(left),
                left_word=_zero(left),
                stay="stays" if left == 1 else "stay",
            )


def _zero(number: int) -> str:
    return number_word(number) if number else "none"


def added(context: Context) -> Iterator[Pair]:
    """How many of a kind there would be with some more."""
    kinds = Counter(obj.noun for obj in context.facts.objects)
    for noun, number in context.shuffled(kinds.items()):
        more = context.random.randint(2, 4)
        tags = [obj.tag for obj in context.facts.objects if obj.noun == noun]
        blanks = {
            "more": number_word(more),
            "now": number_word(number),
            "number": format_count(noun, number),
            "total": number_word(number + more),
        }
        yield context.reason("added", tags, things=plural(noun), are=be(number), **blanks)


def mixture(context: Context) -> Iterator[Pair]:
    """Which paint two colours give."""
    subjects = [item for item in context.shuffled(context.view.subjects) if item.obj.colour not in item.name.split(" ")]
    for number, one in enumerate(subjects):
        for two in subjects[number + 1 :]:
            result = knowledge.paint_results().get(frozenset((one.obj.colour, two.obj.colour)))
            if result:
                colours = {"first": one.obj.colour, "second": two.obj.colour, "result": result}
                yield context.reason("mixture", [one, two], one=one.the, two=two.the, **colours)


def _subjects_by_location(context: Context) -> Iterator[tuple[Subject, dict[str, str]]]:
    """Shapes with where they are, the only one there."""
    places = Counter(item.place for item in context.view.all_subjects)
    for subject in context.shuffled(context.view.subjects):
        if places[subject.place] == 1:
            yield subject, {"the": subject.the, "where": context.where(subject)}


def like(context: Context) -> Iterator[Pair]:
    """An everyday object of the same shape."""
    for subject, words in _subjects_by_location(context):
        known = knowledge.shapes()[subject.obj.noun]
        colour = subject.obj.colour
        words["the"] = f"the {colour} shape" if _one_of(context, colour) else f"the thing {words['where']}"
        yield context.reason("like", [subject], **words, shape=known.name, like=known.like)


def _one_of(context: Context, colour: str | None) -> bool:
    return sum(obj.colour == colour for obj in context.facts.objects) == 1


def hint(context: Context) -> Iterator[Pair]:
    """Something known of the same colour."""
    for subject, words in _subjects_by_location(context):
        colour = subject.obj.colour
        if colour not in subject.name.split(" "):
            yield context.reason("hint", [subject], **words, colour=colour, hint=knowledge.colours()[colour or ""].hint)


def can_roll(context: Context) -> Iterator[Pair]:
    """Whether a shape could roll, or has corners: a coin says which answer is wanted, and so which of the two is asked."""
    for subject, words in _subjects_by_location(context):
        known = knowledge.shapes()[subject.obj.noun]
        if _one_of(context, subject.obj.colour):
            wanted = context.draw_bool()
            form = "" if known.rolls is wanted else "_corners"
            words["the"] = f"the {subject.obj.colour} shape"
            question = context.render("rolls", f"ask{form}", **words)
            answer = context.render("rolls", f"{'yes' if wanted else 'no'}{form}", **words, shape=known.name)
            yield context.pair("reasoning", [subject], question, answer)


def warm(context: Context) -> Iterator[Pair]:
    """Whether a colour is warm or cool."""
    for subject, words in _subjects_by_location(context):
        colour = subject.obj.colour
        if colour not in subject.name.split(" "):
            yield context.reason(
                "warm", [subject], **words, colour=colour, warmth="warm" if knowledge.colours()[colour or ""].warm else "cool"
            )


def odd(context: Context) -> Iterator[Pair]:
    """The one shape that is not like the others."""
    kinds = Counter(obj.noun for obj in context.facts.objects)
    if len(kinds) == 2 and min(kinds.values()) == 1 and sum(kinds.values()) >= 3:
        alone = min(kinds, key=kinds.__getitem__)
        subject = next((item for item in context.view.subjects if item.obj.noun == alone), None)
        other = next(noun for noun in kinds if noun != alone)
        if subject:
            yield context.reason("odd", _tags(context), the=subject.the, things=plural(other))


def path(context: Context) -> Iterator[Pair]:
    """Which way leads from one shape to another that lies straight in that direction."""
    for two, one, side in context.position_pairs():
        if len(context.facts.relative_positions(two.obj, one.obj)) == 1:
            yield context.reason("path", [one, two], one=one.the, two=two.the, side=side, direction=DIRECTIONS[side])


def more(context: Context) -> Iterator[Pair]:
    """Of which of two kinds there are more."""
    kinds = context.shuffled(Counter(obj.noun for obj in context.facts.objects).items())
    if len(kinds) < 2:
        return
    (one, first), (two, second) = kinds[:2]
    winner = plural(one if first > second else two)
    words = {
        "one": plural(one),
        "two": plural(two),
        "first": format_count(one, first),
        "second": format_count(two, second),
        "are": be(first),
    }
    tags = [obj.tag for obj in context.facts.objects if obj.noun in (one, two)]
    yield context.reason("more", tags, "same" if first == second else "say", winner=winner, **words)


DRAWN = (corners, removed, added, mixture, like, hint, can_roll, warm, odd, path, more)
