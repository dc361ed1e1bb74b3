"""Reasoning from several objects to a conclusion: places, activities, weather, and why somebody holds or wears something."""

from __future__ import annotations

from collections.abc import Iterator

from comvint_hf.annotator.svit.context import SURFACES, Context, matching_rules
from comvint_hf.annotator.svit.templates import clause
from comvint_hf.annotator.svit.view import Subject, use_clause
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import join_phrases, words
from comvint_hf.annotator.words.knowledge import Rule
from comvint_hf.generation.recipes.svit.stages import Pair

TELLING_VERBS = ("holding", "carrying", "riding", "using", "wearing", "pushing", "sitting on", "playing")
INSIDE, OUTSIDE = words("inside"), words("outside")
HIDING_VERBS = ("holding", "carrying", "riding", "using", "pushing", "sitting on", "playing")


def setting(context: Context) -> Iterator[Pair]:
    """What kind of place it is."""
    for rule, objects in context.shuffled(matching_rules(context.view, "setting")):
        clues = join_phrases(list(dict.fromkeys(obj.a for obj in objects)))
        yield context.reason(
            "setting",
            list(objects),
            clues=clues,
            are=objects[0].be_a,
            place=rule.concludes,
            because=rule.because,
            because_clause=clause(rule.because),
        )


def inside_or_outside(context: Context) -> Iterator[Pair]:
    """Inside or outside, by at least two kinds of objects that are at home there, and none that speak against it."""
    known = [item for item in context.view.all_subjects if item.noun and item.obj.box.area > 0.01]
    sorted_out = {
        side: list({item.known_noun.name: item for item in known if side in item.known_noun.traits}.values())
        for side in ("indoor", "outdoor")
    }
    for side, other in (("indoor", "outdoor"), ("outdoor", "indoor")):
        if len(sorted_out[side]) >= 2 and not sorted_out[other]:
            objects = context.shuffled(sorted_out[side])[:3]
            spoken = [context.view.subject_of(obj.tag) for obj in objects]
            clues = join_phrases([obj.a for obj in spoken])
            yield context.reason("indoors", spoken, clues=clues, are=spoken[0].be_a, be="are", inside=f"{side}s")


def _active(context: Context, field: str) -> Iterator[tuple[Rule, Subject, list[Subject]]]:
    """Rules of activity that fit one person who can be told from all others."""
    for rule, (person, *others) in context.shuffled(matching_rules(context.view, "activity")):
        if person.tag in context.view.by_tag and not person.obj.plural and not person.group and getattr(rule, field):
            yield rule, person, others


def _activity_answers(context: Context, kind: str, field: str) -> Iterator[Pair]:
    for rule, person, others in _active(context, field):
        seen = f"{person.the} can be seen with {join_phrases([other.a for other in others])}"
        yield context.reason(
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


def activity(context: Context) -> Iterator[Pair]:
    """What somebody is probably doing."""
    yield from _activity_answers(context, "activity", "concludes")


def group_activity(context: Context) -> Iterator[Pair]:
    """What people do here, where nobody can be told from the others."""
    for rule, (person, *others) in context.shuffled(matching_rules(context.view, "activity")):
        if not person.unique:
            seen = f"one can see {join_phrases([obj.a for obj in (person, *others)])}"
            yield context.reason(
                "pastime", [person, *others], seen=f"{seen}.", seen_clause=seen, because=rule.because, doing=rule.concludes
            )


def next_action(context: Context) -> Iterator[Pair]:
    """What somebody will probably do next."""
    yield from _activity_answers(context, "next", "next")


def skill(context: Context) -> Iterator[Pair]:
    """What somebody must be good at."""
    yield from _activity_answers(context, "skill", "skill")


def weather(context: Context) -> Iterator[Pair]:
    """What clothes, snow and kites say about the weather; nothing where the scene may be inside."""
    if (
        INSIDE & context.facts.all_words
        or OUTSIDE.isdisjoint(context.facts.all_words)
        or any(item.noun and "indoor" in item.noun.traits for item in context.view.all_subjects)
    ):
        return
    for rule, objects in context.shuffled(matching_rules(context.view, "weather")):
        seen = f"one can see {join_phrases([obj.a for obj in objects])}"
        yield context.reason(
            "weather", list(objects), seen=f"{seen}.", seen_clause=seen, because=rule.because, weather=rule.concludes
        )


def _relations_with_knowledge(context: Context, verbs: tuple[str, ...], field: str) -> Iterator[tuple[Subject, str, Subject]]:
    """Somebody who does something to an object of which a field is known."""
    for link in context.shuffled(context.view.links):
        subject = context.view.subject_of(link.subject)
        if link.verb not in verbs or not subject.obj.animate:
            continue
        target = context.view.subject_of(link.object)
        ground = target.obj.phrase.head in SURFACES
        if target.noun and getattr(target.noun, field) and not (ground or target.person or "edible" in target.noun.traits):
            yield subject, link.verb, target


def reason_for(context: Context) -> Iterator[Pair]:
    """Why somebody is wearing, holding or riding something."""
    for subject, verb, target in _relations_with_knowledge(context, TELLING_VERBS, "use"):
        if not subject.person:
            continue
        yield _link_reason(context, "why", subject, verb, target, use_clause(target), use=target.known_noun.use)


def hidden_use(context: Context) -> Iterator[Pair]:
    """What an object is for that the question does not name, but says who holds it."""
    for subject, verb, target in _unique_relations(context, "use"):
        yield _link_reason(context, "hidden", subject, verb, target, use_clause(target))


def hidden_material(context: Context) -> Iterator[Pair]:
    """What an object is made of that the question does not name, but says who holds it."""
    for subject, verb, target in _unique_relations(context, "made_of"):
        made = f"{target.kind} {'is' if target.known_noun.mass else 'are'} usually made of {target.known_noun.made_of}"
        yield _link_reason(context, "material", subject, verb, target, made)


def _unique_relations(context: Context, field: str) -> Iterator[tuple[Subject, str, Subject]]:
    """Links whose object is the only one of its subject and verb, of which one may ask."""
    for subject, verb, target in _relations_with_knowledge(context, HIDING_VERBS, field):
        same = [link for link in context.facts.links_from[subject.tag] if link.verb == verb]
        if len(same) == 1 and subject.unique and "object" in vocabulary.relations()[verb].asks:
            yield subject, verb, target


def _link_reason(context: Context, kind: str, subject: Subject, verb: str, target: Subject, said: str, **blanks: str) -> Pair:
    words = {
        "the": subject.with_article,
        "is": subject.be,
        "does": subject.does,
        "verb": verb,
        "object": target.a.removeprefix("some "),
        "known": f"{said}.",
        "clause": said,
    }
    return context.reason(kind, [subject, target], **words, **blanks)
