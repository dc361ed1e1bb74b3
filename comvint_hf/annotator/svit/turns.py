"""Single turns of a conversation: what is there and how many, how it looks, where it is, what it does.

Each takes a teller and gives a question with its answer, or `None` where nothing certain can be said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from comvint_hf.annotator.svit.context import DRAWN_COLOURS, OPPOSITE_WORDS, Teller, part_of
from comvint_hf.annotator.svit.view import Subject
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import article, counted, number_of, plural
from comvint_hf.generation.recipes.svit.stages import Pair

_WORD = re.compile(r"[a-z\-]+")
SHAPE_NAMES = ("circle", "square", "triangle", "star")
COLOURLESS = frozenset(("liquid", "body of water", "movement of water", "view of the air above us"))
"""Kinds whose colour depends on the light."""
PATCHED = frozenset(("sidewalk", "path", "pavement", "floor", "street", "road", "building", "wall"))
"""Large things of several colours, of which annotators note one."""


def counts(teller: Teller) -> list[tuple[str, int, list[str]]]:
    """Nouns whose number is certain, with it and the tags counted."""
    nouns = dict.fromkeys(
        thing.noun for thing in teller.facts.things if thing.phrase.number == "singular" and teller.view.sayable(thing)
    )
    return [
        (noun, number, [thing.tag for thing in teller.facts.called(noun)])
        for noun in nouns
        if (number := teller.facts.count(noun)) and (number > 1 or teller.random.random() < 0.3)
    ]


def existence(teller: Teller, subject: Subject | None, told: str = "") -> Pair | None:
    """Whether something is there; about `subject`, or about anything that was not `told`. A coin says which answer is wanted."""
    placed = subject is None
    if subject and subject.only_one:
        return None
    if teller.coin():
        subject = subject or next(iter(teller.shuffled(_untold(teller, told))), None)
        return present(teller, subject, placed) if subject else None
    return absent(teller, subject) if subject or not told or any(_untold(teller, told)) else None


def _untold(teller: Teller, told: str) -> Iterator[Subject]:
    """Subjects that one may ask for after these sentences, because no word of them says that they are there."""
    known = frozenset().union(*(vocabulary.broad(word) for word in _WORD.findall(told.lower())), ())
    for item in teller.view.subjects:
        asked = item.thing.phrase.number != "plural" and not item.only_one and not (item.person and "person" in known)
        if asked and (
            item.thing.noun != item.name and teller.view.drawn or vocabulary.meanings(item.thing.phrase.core).isdisjoint(known)
        ):
            yield item


def present(teller: Teller, subject: Subject, placed: bool) -> Pair | None:
    """Ask for something that is there; the answer may tell its place if no later turn asks for it (`placed`)."""
    any_of = subject.a.replace("some ", "any ", 1) if subject.thing.plural else subject.a
    blanks = {
        "is": subject.be_a,
        "a": any_of,
        "any": "any" if subject.thing.plural or subject.thing.phrase.number == "mass" else "one",
    }
    question = teller.say("existence", "ask", **blanks)
    if placed and subject.place and teller.coin():
        answer = teller.say("existence", "yes_where", **{**blanks, "a": subject.a}, where=teller.where(subject))
    else:
        answer = teller.say("existence", "yes", **{**blanks, "a": subject.a})
    return teller.pair("existence", [subject], question, answer)


def absent(teller: Teller, subject: Subject | None) -> Pair | None:
    """Ask for something that is not there; with a subject, the answer names it instead."""
    word = absent_word(teller)
    if word is None:
        return None
    shape = {"is": "is", "a": f"{article(word)} {word}", "word": word, "any": "one"}
    if number_of(word) == "mass":
        shape |= {"a": f"any {word}", "any": "any"}
    elif plural(word) == word:
        shape |= {"is": "are", "a": f"any {word}", "any": "any"}
    question = teller.say("existence", "ask", **shape)
    if subject:
        answer = teller.say("existence", "no_but", **shape, other=subject.a, are=subject.be_a)
    else:
        answer = teller.say("existence", "no", **shape)
    return teller.pair("existence", [subject] if subject else [], question, answer)


def absent_word(teller: Teller) -> str | None:
    """A word for something that is surely absent, and plausible: a shape or a coloured shape in drawn scenes."""
    if not teller.view.drawn:
        return next(iter(teller.facts.absent(teller.random, 1)), None)
    things = teller.facts.things
    there = {(thing.colour, thing.noun) for thing in things}
    shapes = [name for name in SHAPE_NAMES if name not in {noun for _, noun in there}]
    mixed = [f"{colour} {name}" for colour in sorted(DRAWN_COLOURS) for name in SHAPE_NAMES if (colour, name) not in there]
    near = [words for words in mixed if any(words.split()[0] == colour or words.split()[1] == noun for colour, noun in there)]
    return teller.random.choice(shapes if shapes and teller.random.random() < 0.3 else near or mixed)


def count(teller: Teller, noun: str, number: int, tags: list[str]) -> Pair:
    return teller.pair(
        "count",
        tags,
        teller.say("count", "ask", things=plural(noun)),
        teller.say("count", "say", are="is" if number == 1 else "are", number=counted(noun, number)),
    )


def colour(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    if not plain_colour(subject):
        return None
    return described(teller, "colour", "colour", subject, follow, colour=subject.thing.colour)


def plain_colour(subject: Subject) -> str | None:
    """The one colour that everybody would name, unless its name has it already; water, sky and paved ground have none."""
    colour = subject.thing.colour
    if colour is None or colour in subject.name.split(" ") or subject.thing.phrase.head in PATCHED:
        return None
    if subject.noun and subject.noun.kind in COLOURLESS:
        return None
    return colour


def attribute(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    found = [(kind, words) for kind, words in teller.view.attributes(subject.thing) if words not in subject.name]
    if not found:
        return None
    kind, words = teller.random.choice(found)
    return described(
        teller, "material_seen" if kind == "material" else "attribute", "attribute", subject, follow, attribute=words
    )


def size(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    size = next((word for word in subject.thing.attributes if word in ("large", "small")), None)
    if not teller.view.drawn or size is None or size in subject.name:
        return None
    return described(teller, "size", "size", subject, follow, size=size)


def position(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    if subject.place is None or subject.outer:
        return None
    return described(teller, "position", "position", subject, follow, where=teller.where(subject))


def described(teller: Teller, kind: str, topic: str, subject: Subject, follow: bool, evidence: tuple = (), **blanks: str) -> Pair:
    """A turn about one thing; in a follow-up it is "it" in the question, and may be in the answer."""
    words = {
        "the": subject.the,
        "a": subject.a,
        "is": subject.be,
        "has": subject.has,
        "does": subject.does,
        "it": subject.it,
        "them": subject.objective,
        **blanks,
    }
    follow = follow and teller.speaker.has(kind, "follow") and teller.random.random() < 0.7
    if subject.it == "this person" and not follow:
        words["it"] = subject.the
    question = teller.say(kind, "follow" if follow else "ask", **words)
    return teller.pair(topic, [subject, *evidence], question, teller.say(kind, "say", **words))


def side(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    for other in teller.shuffled(teller.view.subjects):
        if (
            other is not subject
            and not (other.outer and subject.outer)
            and not part_of(subject, other)
            and (teller.view.drawn or other.clothes <= subject.clothes)
            and (side := teller.side(subject, other))
        ):
            return compared(teller, subject, other, side, follow)
    return None


def compared(teller: Teller, one: Subject, two: Subject, side: str, follow: bool) -> Pair:
    return described(teller, "side", "relation", one, follow, (two,), one=one.the, two=two.the, side=side)


def side_check(teller: Teller, one: Subject, two: Subject, side: str) -> Pair:
    right = teller.coin()
    words = {"one": one.the, "two": two.the, "is": one.be, "it": one.it, "true": side}
    question = teller.say("side_check", "ask", **words, side=side if right else OPPOSITE_WORDS[side])
    return teller.pair("relation", [one, two], question, teller.say("side_check", "yes" if right else "no", **words, side=side))


def colour_check(teller: Teller, subject: Subject) -> Pair | None:
    colour = plain_colour(subject)
    if not colour:
        return None
    right = teller.coin()
    asked = colour if right else teller.other_colour(subject)
    words = {"the": subject.the, "is": subject.be, "it": subject.it, "colour": asked, "true": colour}
    return teller.pair(
        "colour",
        [subject],
        teller.say("colour_check", "ask", **words),
        teller.say("colour_check", "yes" if right else "no", **words),
    )


def area(teller: Teller) -> Pair | None:
    subjects = teller.shuffled(teller.view.subjects)
    for one, two in pairwise(subjects):
        larger = teller.facts.larger(one.thing, two.thing)
        if larger is not None and not (one.thing.plural or two.thing.plural or part_of(one, two)):
            large, small = (one, two) if larger else (two, one)
            words = {"one": one.the, "two": two.the, "large": large.the, "small": small.the}
            return teller.pair("size", [one, two], teller.say("area", "ask", **words), teller.say("area", "say", **words))
    return None


def linked(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    """What somebody is holding, riding, ...: asked only where one answer is to be expected."""
    links = [
        link
        for link in teller.view.links_of(subject.tag, "object")
        if not vocabulary.relations()[link.verb].place and not teller.view.mentioned(link.object).person
    ]
    return link_turn(teller, "linked_object", "activity", subject, links, follow)


def linked_place(teller: Teller, subject: Subject, follow: bool) -> Pair | None:
    links = [link for link in teller.view.links_of(subject.tag, "object") if vocabulary.relations()[link.verb].place]
    return link_turn(teller, "linked_place", "relation", subject, links, follow)


def link_turn(teller: Teller, kind: str, topic: str, subject: Subject, links: list, follow: bool) -> Pair | None:
    if not links:
        return None
    link = teller.random.choice(links)
    target = teller.view.mentioned(link.object)
    words = target.a if target.tag not in teller.view.by_tag else teller.random.choice((target.a, target.the))
    return described(teller, kind, topic, subject, follow, (target,), verb=link.verb, object=words)
