"""Single turns of a conversation: what is there and how many, how it looks, where it is, what it does.

Each takes a teller and gives a question with its answer, or `None` where nothing certain can be said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from comvint_hf.annotator.svit.context import OPPOSITE_WORDS, Context, part_of
from comvint_hf.annotator.svit.view import Subject
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import article, format_count, number_of
from comvint_hf.annotator.words.knowledge import RENDERED_COLOURS, SHAPE_NAMES
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.text import plural

_WORD = re.compile(r"[a-z\-]+")
COLOURLESS = frozenset(("liquid", "body of water", "movement of water", "view of the air above us"))
"""Kinds whose colour depends on the light."""
PATCHED = frozenset(("sidewalk", "path", "pavement", "floor", "street", "road", "building", "wall"))
"""Large objects of several colours, of which annotators note one."""


def counts(context: Context) -> list[tuple[str, int, list[str]]]:
    """Nouns whose number is certain, with it and the tags counted."""
    nouns = dict.fromkeys(
        obj.noun for obj in context.facts.objects if obj.phrase.number == "singular" and context.view.is_relevant(obj)
    )
    return [
        (noun, number, [obj.tag for obj in context.facts.candidates_for(noun)])
        for noun in nouns
        if (number := context.facts.count(noun)) and (number > 1 or context.random.random() < 0.3)
    ]


def existence(context: Context, subject: Subject | None, told: str = "") -> Pair | None:
    """Whether something is there; about `subject`, or about anything that was not `told`. A coin says which answer is wanted."""
    placed = subject is None
    if subject and subject.only_one:
        return None
    if context.draw_bool():
        subject = subject or next(iter(context.shuffled(_unknown_subjects(context, told))), None)
        return present(context, subject, placed) if subject else None
    return absent(context, subject) if subject or not told or any(_unknown_subjects(context, told)) else None


def _unknown_subjects(context: Context, told: str) -> Iterator[Subject]:
    """Subjects that one may ask for after these sentences, because no word of them says that they are there."""
    known = frozenset().union(*(vocabulary.all_classes_of(word) for word in _WORD.findall(told.lower())), ())
    for item in context.view.subjects:
        asked = item.obj.phrase.number != "plural" and not item.only_one and not (item.person and "person" in known)
        if asked and (
            item.obj.noun != item.name and context.view.rendered or vocabulary.classes_of(item.obj.phrase.core).isdisjoint(known)
        ):
            yield item


def present(context: Context, subject: Subject, placed: bool) -> Pair | None:
    """Ask for something that is there; the answer may tell its place if no later turn asks for it (`placed`)."""
    any_of = subject.a.replace("some ", "any ", 1) if subject.obj.plural else subject.a
    blanks = {
        "is": subject.be_a,
        "a": any_of,
        "any": "any" if subject.obj.plural or subject.obj.phrase.number == "mass" else "one",
    }
    question = context.render("existence", "ask", **blanks)
    if placed and subject.place and context.draw_bool():
        answer = context.render("existence", "yes_where", **{**blanks, "a": subject.a}, where=context.where(subject))
    else:
        answer = context.render("existence", "yes", **{**blanks, "a": subject.a})
    return context.pair("existence", [subject], question, answer)


def absent(context: Context, subject: Subject | None) -> Pair | None:
    """Ask for something that is not there; with a subject, the answer names it instead."""
    word = absent_word(context)
    if word is None:
        return None
    shape = {"is": "is", "a": f"{article(word)} {word}", "word": word, "any": "one"}
    if number_of(word) == "mass":
        shape |= {"a": f"any {word}", "any": "any"}
    elif plural(word) == word:
        shape |= {"is": "are", "a": f"any {word}", "any": "any"}
    question = context.render("existence", "ask", **shape)
    if subject:
        answer = context.render("existence", "no_but", **shape, other=subject.a, are=subject.be_a)
    else:
        answer = context.render("existence", "no", **shape)
    return context.pair("existence", [subject] if subject else [], question, answer)


def absent_word(context: Context) -> str | None:
    """A word for something that is surely absent, and plausible: a shape or a coloured shape in rendered scenes."""
    if not context.view.rendered:
        return next(iter(context.facts.sample_absent(context.random, 1)), None)
    objects = context.facts.objects
    there = {(obj.colour, obj.noun) for obj in objects}
    shapes = [name for name in SHAPE_NAMES if name not in {noun for _, noun in there}]
    mixed = [f"{colour} {name}" for colour in sorted(RENDERED_COLOURS) for name in SHAPE_NAMES if (colour, name) not in there]
    near = [words for words in mixed if any(words.split()[0] == colour or words.split()[1] == noun for colour, noun in there)]
    return context.random.choice(shapes if shapes and context.random.random() < 0.3 else near or mixed)


def count(context: Context, noun: str, number: int, tags: list[str]) -> Pair:
    return context.pair(
        "count",
        tags,
        context.render("count", "ask", things=plural(noun)),
        context.render("count", "say", are="is" if number == 1 else "are", number=format_count(noun, number)),
    )


def colour(context: Context, subject: Subject, follow: bool) -> Pair | None:
    shade = plain_colour(subject)
    return described(context, "colour", "colour", subject, follow, colour=shade) if shade else None


def plain_colour(subject: Subject) -> str | None:
    """The one colour that everybody would name, unless its name has it already; water, sky and paved ground have none."""
    colour = subject.obj.colour
    if colour is None or colour in subject.name.split(" ") or subject.obj.phrase.head in PATCHED:
        return None
    if subject.noun and subject.noun.kind in COLOURLESS:
        return None
    return colour


def attribute(context: Context, subject: Subject, follow: bool) -> Pair | None:
    found = [(kind, words) for kind, words in context.view.attributes(subject.obj) if words not in subject.name]
    if not found:
        return None
    kind, words = context.random.choice(found)
    return described(
        context, "material_seen" if kind == "material" else "attribute", "attribute", subject, follow, attribute=words
    )


def size(context: Context, subject: Subject, follow: bool) -> Pair | None:
    size = next((word for word in subject.obj.attributes if word in ("large", "small")), None)
    if not context.view.rendered or size is None or size in subject.name:
        return None
    return described(context, "size", "size", subject, follow, size=size)


def position(context: Context, subject: Subject, follow: bool) -> Pair | None:
    if subject.place is None or subject.outer:
        return None
    return described(context, "position", "position", subject, follow, where=context.where(subject))


def described(
    context: Context, kind: str, topic: str, subject: Subject, follow: bool, evidence: tuple[Subject, ...] = (), **blanks: str
) -> Pair:
    """A turn about one object; in a follow-up it is "it" in the question, and may be in the answer."""
    words = {
        "the": subject.the,
        "a": subject.a,
        "is": subject.be,
        "has": subject.has,
        "does": subject.does,
        "it": subject.it,
        "them": subject.object_pronoun,
        **blanks,
    }
    follow = follow and context.speaker.has(kind, "follow") and context.random.random() < 0.7
    if subject.it == "this person" and not follow:
        words["it"] = subject.the
    question = context.render(kind, "follow" if follow else "ask", **words)
    return context.pair(topic, [subject, *evidence], question, context.render(kind, "say", **words))


def side(context: Context, subject: Subject, follow: bool) -> Pair | None:
    for other in context.shuffled(context.view.subjects):
        if (
            other is not subject
            and not (other.outer and subject.outer)
            and not part_of(subject, other)
            and (context.view.rendered or other.is_clothing <= subject.is_clothing)
            and (side := context.side(subject, other))
        ):
            return compare_position(context, subject, other, side, follow)
    return None


def compare_position(context: Context, one: Subject, two: Subject, side: str, follow: bool) -> Pair:
    return described(context, "side", "relation", one, follow, (two,), one=one.the, two=two.the, side=side)


def side_check(context: Context, one: Subject, two: Subject, side: str) -> Pair:
    right = context.draw_bool()
    words = {"one": one.the, "two": two.the, "is": one.be, "it": one.it, "true": side}
    question = context.render("side_check", "ask", **words, side=side if right else OPPOSITE_WORDS[side])
    return context.pair(
        "relation", [one, two], question, context.render("side_check", "yes" if right else "no", **words, side=side)
    )


def colour_check(context: Context, subject: Subject) -> Pair | None:
    colour = plain_colour(subject)
    if not colour:
        return None
    right = context.draw_bool()
    asked = colour if right else context.other_colour(subject)
    words = {"the": subject.the, "is": subject.be, "it": subject.it, "colour": asked, "true": colour}
    return context.pair(
        "colour",
        [subject],
        context.render("colour_check", "ask", **words),
        context.render("colour_check", "yes" if right else "no", **words),
    )


def area(context: Context) -> Pair | None:
    subjects = context.shuffled(context.view.subjects)
    for one, two in pairwise(subjects):
        larger = context.facts.larger(one.obj, two.obj)
        if larger is not None and not (one.obj.plural or two.obj.plural or part_of(one, two)):
            large, small = (one, two) if larger else (two, one)
            words = {"one": one.the, "two": two.the, "large": large.the, "small": small.the}
            return context.turn("size", [one, two], "area", **words)
    return None


def linked(context: Context, subject: Subject, follow: bool) -> Pair | None:
    """What somebody is holding, riding, ...: asked only where one answer is to be expected."""
    links = [
        link
        for link in context.view.links_of(subject.tag, "object")
        if not vocabulary.relations()[link.verb].place and not context.view.subject_of(link.object).person
    ]
    return link_turn(context, "linked_object", "activity", subject, links, follow)


def linked_place(context: Context, subject: Subject, follow: bool) -> Pair | None:
    links = [link for link in context.view.links_of(subject.tag, "object") if vocabulary.relations()[link.verb].place]
    return link_turn(context, "linked_place", "relation", subject, links, follow)


def link_turn(context: Context, kind: str, topic: str, subject: Subject, links: list, follow: bool) -> Pair | None:
    if not links:
        return None
    link = context.random.choice(links)
    target = context.view.subject_of(link.object)
    words = target.a if target.tag not in context.view.by_tag else context.random.choice((target.a, target.the))
    return described(context, kind, topic, subject, follow, (target,), verb=link.verb, object=words)
