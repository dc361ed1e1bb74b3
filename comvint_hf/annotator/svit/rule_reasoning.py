"""Reasoning from several things to a conclusion: places, activities, weather, and why somebody holds or wears something."""

from __future__ import annotations

from collections.abc import Iterator

from comvint_hf.annotator.svit.context import SURFACES, Teller, conclusions
from comvint_hf.annotator.svit.templates import clause
from comvint_hf.annotator.svit.view import Subject, use_clause
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import listed, words
from comvint_hf.annotator.words.knowledge import Rule
from comvint_hf.generation.recipes.svit.stages import Pair

TELLING_VERBS = ("holding", "carrying", "riding", "using", "wearing", "pushing", "sitting on", "playing")
INSIDE, OUTSIDE = words("inside"), words("outside")
HIDING_VERBS = ("holding", "carrying", "riding", "using", "pushing", "sitting on", "playing")


def setting(teller: Teller) -> Iterator[Pair]:
    """What kind of place it is."""
    for rule, things in teller.shuffled(conclusions(teller.view, "setting")):
        clues = listed(list(dict.fromkeys(thing.a for thing in things)))
        yield teller.reason(
            "setting",
            list(things),
            clues=clues,
            are=things[0].be_a,
            place=rule.concludes,
            because=rule.because,
            because_clause=clause(rule.because),
        )


def indoors(teller: Teller) -> Iterator[Pair]:
    """Inside or outside, by at least two kinds of things that are at home there, and none that speak against it."""
    known = [item for item in teller.view.mentions if item.noun and item.thing.box.area > 0.01]
    sorted_out = {
        side: list({item.noun.name: item for item in known if side in item.noun.traits}.values())
        for side in ("indoor", "outdoor")
    }
    for side, other in (("indoor", "outdoor"), ("outdoor", "indoor")):
        if len(sorted_out[side]) >= 2 and not sorted_out[other]:
            things = teller.shuffled(sorted_out[side])[:3]
            spoken = [teller.view.mentioned(thing.tag) for thing in things]
            clues = listed([thing.a for thing in spoken])
            yield teller.reason("indoors", spoken, clues=clues, are=spoken[0].be_a, be="are", inside=f"{side}s")


def _active(teller: Teller, field: str) -> Iterator[tuple[Rule, Subject, list[Subject]]]:
    """Rules of activity that fit one person who can be told from all others."""
    for rule, (person, *others) in teller.shuffled(conclusions(teller.view, "activity")):
        if person.tag in teller.view.by_tag and not person.thing.plural and not person.group and getattr(rule, field):
            yield rule, person, others


def _acting(teller: Teller, kind: str, field: str) -> Iterator[Pair]:
    for rule, person, others in _active(teller, field):
        seen = f"{person.the} can be seen with {listed([other.a for other in others])}"
        yield teller.reason(
            kind,
            [person, *others],
            the=person.the,
            doing=rule.concludes,
            because=rule.because,
            next=rule.next,
            skill=rule.skill,
            seen=f"{seen}.",
            seen_clause=seen,
        )


def activity(teller: Teller) -> Iterator[Pair]:
    """What somebody is probably doing."""
    yield from _acting(teller, "activity", "concludes")


def pastime(teller: Teller) -> Iterator[Pair]:
    """What people do here, where nobody can be told from the others."""
    for rule, (person, *others) in teller.shuffled(conclusions(teller.view, "activity")):
        if not person.unique:
            seen = f"one can see {listed([thing.a for thing in (person, *others)])}"
            yield teller.reason(
                "pastime",
                [person, *others],
                seen=f"{seen}.",
                seen_clause=seen,
                because=rule.because,
                doing=rule.concludes,
            )


def next_moment(teller: Teller) -> Iterator[Pair]:
    """What somebody will probably do next."""
    yield from _acting(teller, "next", "next")


def skill(teller: Teller) -> Iterator[Pair]:
    """What somebody must be good at."""
    yield from _acting(teller, "skill", "skill")


def weather(teller: Teller) -> Iterator[Pair]:
    """What clothes, snow and kites say about the weather; nothing where the scene may be inside."""
    if (
        INSIDE & teller.facts.said
        or OUTSIDE.isdisjoint(teller.facts.said)
        or any(item.noun and "indoor" in item.noun.traits for item in teller.view.mentions)
    ):
        return
    for rule, things in teller.shuffled(conclusions(teller.view, "weather")):
        seen = f"one can see {listed([thing.a for thing in things])}"
        yield teller.reason(
            "weather", list(things), seen=f"{seen}.", seen_clause=seen, because=rule.because, weather=rule.concludes
        )


def _linked(teller: Teller, verbs: tuple[str, ...], field: str) -> Iterator[tuple[Subject, str, Subject]]:
    """Somebody who does something to a thing of which a field is known."""
    for link in teller.shuffled(teller.view.links):
        subject = teller.view.mentioned(link.subject)
        if link.verb not in verbs or not subject.thing.animate:
            continue
        target = teller.view.mentioned(link.object)
        ground = target.thing.phrase.head in SURFACES
        if target.noun and getattr(target.noun, field) and not (ground or target.person or "edible" in target.noun.traits):
            yield subject, link.verb, target


def why(teller: Teller) -> Iterator[Pair]:
    """Why somebody is wearing, holding or riding something."""
    for subject, verb, target in _linked(teller, TELLING_VERBS, "use"):
        if not subject.person:
            continue
        yield _link_reason(teller, "why", subject, verb, target, use_clause(target), use=target.noun.use)


def hidden(teller: Teller) -> Iterator[Pair]:
    """What a thing is for that the question does not name, but says who holds it."""
    for subject, verb, target in _only(teller, "use"):
        yield _link_reason(teller, "hidden", subject, verb, target, use_clause(target))


def material(teller: Teller) -> Iterator[Pair]:
    """What a thing is made of that the question does not name, but says who holds it."""
    for subject, verb, target in _only(teller, "made_of"):
        made = f"{target.kind} {'is' if target.noun.mass else 'are'} usually made of {target.noun.made_of}"
        yield _link_reason(teller, "material", subject, verb, target, made)


def _only(teller: Teller, field: str) -> Iterator[tuple[Subject, str, Subject]]:
    """Links whose object is the only one of its subject and verb, of which one may ask."""
    for subject, verb, target in _linked(teller, HIDING_VERBS, field):
        same = [link for link in teller.facts.links_from[subject.tag] if link.verb == verb]
        if len(same) == 1 and subject.unique and "object" in vocabulary.relations()[verb].asks:
            yield subject, verb, target


def _link_reason(teller: Teller, kind: str, subject: Subject, verb: str, target: Subject, said: str, **blanks: str) -> Pair:
    words = {
        "the": subject.spoken,
        "is": subject.be,
        "does": subject.does,
        "verb": verb,
        "object": target.a.removeprefix("some "),
        "known": f"{said}.",
        "clause": said,
    }
    return teller.reason(kind, [subject, target], **words, **blanks)
