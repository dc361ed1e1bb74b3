"""Reasoning about drawn shapes: sums, what if, colours as paint, what rolls, which way to go. All of it is certain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from comvint_hf.annotator.svit.context import Teller
from comvint_hf.annotator.svit.view import Subject
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.english import counted, listed, number_word, plural
from comvint_hf.generation.recipes.svit.stages import Pair

DIRECTIONS = {"to the left of": "left", "to the right of": "right", "above": "up", "below": "down"}


def _tags(teller: Teller) -> list[str]:
    return [thing.tag for thing in teller.facts.things]


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def corners(teller: Teller) -> Iterator[Pair]:
    """The sum of all corners."""
    kinds = Counter(thing.noun for thing in teller.facts.things)
    if 2 <= sum(kinds.values()) <= 5:
        steps = listed(
            [
                f"{counted(noun, number)} {_has(number)} {number_word(number * _corners(noun))} corners"
                for noun, number in kinds.items()
            ]
        )
        total = sum(number * _corners(noun) for noun, number in kinds.items())
        yield teller.reason("corners", _tags(teller), steps=steps, total=number_word(total))


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _corners(shape: str) -> int:
    return knowledge.shapes()[shape].corners


def removed(teller: Teller) -> Iterator[Pair]:
    """How many stay without those of one colour."""
    count = len(teller.facts.things)
    tally = Counter(thing.colour for thing in teller.facts.things)
    for colour, gone in teller.shuffled(tally.items()):
        if count > 1:
            left = count - gone
            yield teller.reason(
                "removed",
                _tags(teller),
                colour=colour,
                are=_be(count),
                all=counted("shape", count),
                gone=number_word(gone),
                gone_word=number_word(gone),
                be=_be(gone),
                left=_zero(left),
                left_word=_zero(left),
                stay="stays" if left == 1 else "stay",
            )


def _zero(number: int) -> str:
    return number_word(number) if number else "none"


def added(teller: Teller) -> Iterator[Pair]:
    """How many of a kind there would be with some more."""
    kinds = Counter(thing.noun for thing in teller.facts.things)
    for noun, number in teller.shuffled(kinds.items()):
        more = teller.random.randint(2, 4)
        tags = [thing.tag for thing in teller.facts.things if thing.noun == noun]
        blanks = {
            "more": number_word(more),
            "now": number_word(number),
            "number": counted(noun, number),
            "total": number_word(number + more),
        }
        yield teller.reason("added", tags, things=plural(noun), are=_be(number), **blanks)


def mixture(teller: Teller) -> Iterator[Pair]:
    """Which paint two colours give."""
    subjects = [item for item in teller.shuffled(teller.view.subjects) if item.thing.colour not in item.name.split(" ")]
    for number, one in enumerate(subjects):
        for two in subjects[number + 1 :]:
            result = knowledge.mixtures().get(frozenset((one.thing.colour, two.thing.colour)))
            if result:
                colours = {"first": one.thing.colour, "second": two.thing.colour, "result": result}
                yield teller.reason("mixture", [one, two], one=one.the, two=two.the, **colours)


def _told_by_place(teller: Teller) -> Iterator[tuple[Subject, dict[str, str]]]:
    """Shapes with where they are, the only one there."""
    places = Counter(item.place for item in teller.view.mentions)
    for subject in teller.shuffled(teller.view.subjects):
        if places[subject.place] == 1:
            yield subject, {"the": subject.the, "where": teller.where(subject)}


def like(teller: Teller) -> Iterator[Pair]:
    """An everyday thing of the same shape."""
    for subject, words in _told_by_place(teller):
        known = knowledge.shapes()[subject.thing.noun]
        colour = subject.thing.colour
        words["the"] = f"the {colour} shape" if _one_of(teller, colour) else f"the thing {words['where']}"
        yield teller.reason("like", [subject], **words, shape=known.name, like=known.like)


def _one_of(teller: Teller, colour: str | None) -> bool:
    return sum(thing.colour == colour for thing in teller.facts.things) == 1


def hint(teller: Teller) -> Iterator[Pair]:
    """Something known of the same colour."""
    for subject, words in _told_by_place(teller):
        colour = subject.thing.colour
        if colour not in subject.name.split(" "):
            yield teller.reason("hint", [subject], **words, colour=colour, hint=knowledge.colours()[colour].hint)


def rolls(teller: Teller) -> Iterator[Pair]:
    """Whether a shape could roll, or has corners: a coin says which answer is wanted, and so which of the two is asked."""
    for subject, words in _told_by_place(teller):
        known = knowledge.shapes()[subject.thing.noun]
        if _one_of(teller, subject.thing.colour):
            wanted = teller.coin()
            form = "" if known.rolls is wanted else "_corners"
            words["the"] = f"the {subject.thing.colour} shape"
            question = teller.say("rolls", f"ask{form}", **words)
            answer = teller.say("rolls", f"{'yes' if wanted else 'no'}{form}", **words, shape=known.name)
            yield teller.pair("reasoning", [subject], question, answer)


def warm(teller: Teller) -> Iterator[Pair]:
    """Whether a colour is warm or cool."""
    for subject, words in _told_by_place(teller):
        colour = subject.thing.colour
        if colour not in subject.name.split(" "):
            yield teller.reason(
                "warm", [subject], **words, colour=colour, warmth="warm" if knowledge.colours()[colour].warm else "cool"
            )


def odd(teller: Teller) -> Iterator[Pair]:
    """The one shape that is not like the others."""
    kinds = Counter(thing.noun for thing in teller.facts.things)
    if len(kinds) == 2 and min(kinds.values()) == 1 and sum(kinds.values()) >= 3:
        alone = min(kinds, key=kinds.__getitem__)
        subject = next((item for item in teller.view.subjects if item.thing.noun == alone), None)
        other = next(noun for noun in kinds if noun != alone)
        if subject:
            yield teller.reason("odd", _tags(teller), the=subject.the, things=plural(other))


def path(teller: Teller) -> Iterator[Pair]:
    """Which way leads from one shape to another that lies straight in that direction."""
    for two, one, side in teller.placed_pairs():
        if len(teller.facts.sides(two.thing, one.thing)) == 1:
            yield teller.reason("path", [one, two], one=one.the, two=two.the, side=side, direction=DIRECTIONS[side])


def more(teller: Teller) -> Iterator[Pair]:
    """Of which of two kinds there are more."""
    kinds = teller.shuffled(Counter(thing.noun for thing in teller.facts.things).items())
    if len(kinds) < 2:
        return
    (one, first), (two, second) = kinds[:2]
    winner = plural(one if first > second else two)
    words = {
        "one": plural(one),
        "two": plural(two),
        "first": counted(one, first),
        "second": counted(two, second),
        "are": _be(first),
    }
    tags = [thing.tag for thing in teller.facts.things if thing.noun in (one, two)]
    yield teller.reason("more", tags, "same" if first == second else "say", winner=winner, **words)


DRAWN = (corners, removed, added, mixture, like, hint, rolls, warm, odd, path, more)
