"""Complex reasoning: from what goes on in the scene and what one knows of the world to a conclusion.

On photos a question rests on at least two facts of the scene: who does what with what or where, as the captions or the relations
say, or several things in view. In drawn scenes it is a program that needs knowledge or several steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from comvint_hf.annotator.answers.pairs import make_pair
from comvint_hf.annotator.answers.subjects import Subject, View, matching_rules, tags_of, use_clause, view_of
from comvint_hf.annotator.answers.turns import open_turn
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.language import captions
from comvint_hf.annotator.language.captions import Doing
from comvint_hf.annotator.language.prose import say
from comvint_hf.annotator.programs import candidates
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import head_word, join_phrases, sentence, words
from comvint_hf.annotator.words.vocabulary import is_a
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair, Pairs

MOST_OF_A_KIND, MOST_ABOUT_ONE_DOING = 2, 3
"""How many questions of one kind a scene gets, and how many about one thing that somebody does."""
FEWEST_FACTS = 2
MOST_DRAWN = 24
"""Programs of a drawn scene that are looked at, more than a prompt asks for."""
OF_PEOPLE = ("next", "aim", "risk", "skill", "care", "gear")
OF_OTHERS = ("next", "aim", "risk")
"""What is asked of people, and of animals and vehicles, which nobody gives advice to."""
TELLING_VERBS = ("holding", "carrying", "riding", "using", "wearing", "pushing", "sitting on", "playing")
HIDING_VERBS = ("holding", "carrying", "riding", "using", "pushing", "playing")
INSIDE, OUTSIDE, SURFACES = words("inside"), words("outside"), words("surfaces")
LONGEST_DOING = 10
_WORD = re.compile(r"[a-z]+")
_Maker = Callable[[View, Draws], Iterator[tuple[str, Pair]]]


class Activity(NamedTuple):
    """What is known of an activity, see `wording/activities.toml`."""

    verbs: frozenset[str]
    needs: frozenset[str]
    bars: frozenset[str]
    known: dict[str, str]


@cache
def activities() -> tuple[Activity, ...]:
    """Every known activity, the first that fits counts."""
    return tuple(
        Activity(
            frozenset(entry["verbs"].split()),
            frozenset(entry.get("needs", "").split()),
            frozenset(entry.get("not", "").split()),
            {field: entry[field] for field in OF_PEOPLE if field in entry},
        )
        for entry in vocabulary.read_table("activities").values()
    )


def complex_reasoning(prompt: Prompt, random: Draws) -> Pairs:
    """Answer the prompt `svit/complex_reasoning`: as many pairs as the scene supports, at most `count`."""
    view = view_of(prompt.scene)
    pairs = list(_drawn(view, random)) if view.rendered else _pictured(view, random)
    avoid = prompt.blanks.get("avoid", ())
    different = list({pair.question: pair for pair in pairs if pair.question not in avoid}.values())
    return Pairs.model_construct(pairs=random.shuffled(different)[: prompt.blanks.get("count", 15)])


def _drawn(view: View, draws: Draws) -> Iterator[Pair]:
    groups = {**candidates.outside_knowledge(view.facts, draws), **candidates.cross_modal(view.facts, draws)}
    groups = {head: found for head, found in groups.items() if head not in ("colour", "shape", "size", "count", "written")}
    for program in candidates.select_programs(groups, MOST_DRAWN, view.facts, draws):
        if pair := open_turn(program, view.facts, draws):
            yield make_pair("reasoning", pair.evidence, pair.question, pair.answer)


def _pictured(view: View, draws: Draws) -> list[Pair]:
    """What rests on several facts; of each kind a few."""
    kept: dict[str, list[Pair]] = {}
    for make in MAKERS:
        for kind, pair in make(view, draws):
            pairs = kept.setdefault(kind, [])
            if len(pairs) < MOST_OF_A_KIND and len(set(pair.evidence)) >= FEWEST_FACTS:
                pairs.append(pair)
    return [pair for pairs in kept.values() for pair in pairs]


# From what somebody does ----------------------------------------------------------------------------------------------


def from_doings(view: View, draws: Draws) -> Iterator[tuple[str, Pair]]:
    """What follows from what a caption says that somebody does."""
    for doing in draws.shuffled(captions.doings(view.scene)):
        tags, activity = tags_of(doing, view), _activity_of(doing)
        if activity is None or len(tags) < FEWEST_FACTS or len(doing.doing.split()) > LONGEST_DOING:
            continue
        people = is_a(head_word(doing.subject.removeprefix("the ")), "person") or "people" in doing.subject
        kinds = [kind for kind in (OF_PEOPLE if people else OF_OTHERS) if kind in activity.known]
        for kind in draws.shuffled(kinds)[:MOST_ABOUT_ONE_DOING]:
            yield kind, _pair(kind, tags, draws, **_blanks(doing), **_value(activity.known[kind]))


def _activity_of(doing: Doing) -> Activity | None:
    said = set(_WORD.findall(doing.sentence.lower()))
    fitting = (
        known
        for known in activities()
        if doing.verb in known.verbs and said.isdisjoint(known.bars) and not (known.needs and said.isdisjoint(known.needs))
    )
    return next(fitting, None)


def _blanks(doing: Doing) -> dict[str, str]:
    did = f"{doing.subject} {doing.be} {doing.doing}"
    many = doing.be == "are"
    return {
        "the": doing.subject,
        "is": doing.be,
        "be": doing.be,
        "does": "do" if many else "does",
        "doing": doing.doing,
        "verb": doing.verb,
        "did": sentence(did),
        "did_clause": did,
    }


def _value(known: str) -> dict[str, str]:
    return {"value": known, "value_first": f"{known[:1].upper()}{known[1:]}"}


# From relations and knowledge -----------------------------------------------------------------------------------------


def _known_relations(view: View, draws: Draws, verbs: Iterable[str]) -> Iterator[tuple[Subject, str, Subject]]:
    """Somebody who does something with an object whose use is known."""
    for link in draws.shuffled(view.links):
        subject, target = view.subject_of(link.subject), view.subject_of(link.object)
        if link.verb not in verbs or not subject.person or target.obj.phrase.head in SURFACES or target.person:
            continue
        if subject.unique and target.noun and target.noun.use and "edible" not in target.noun.traits:
            yield subject, link.verb, target


def reasons(view: View, draws: Draws) -> Iterator[tuple[str, Pair]]:
    """Why somebody holds, wears or rides something."""
    for subject, verb, target in _known_relations(view, draws, TELLING_VERBS):
        plain = target.obj.phrase.head not in PROTECTIVE if verb == "wearing" else target.known_noun.kind in PLAIN_KINDS
        if plain:
            continue
        yield "why", _link_pair("why", subject, verb, target, draws)


PROTECTIVE = words("protective")
PLAIN_KINDS = frozenset(("bag", "container"))
"""Kinds that nobody wonders why somebody carries."""


def hidden_uses(view: View, draws: Draws) -> Iterator[tuple[str, Pair]]:
    """What an object is good for that the question does not name, but says who holds it."""
    for subject, verb, target in _known_relations(view, draws, HIDING_VERBS):
        same = [link for link in view.facts.links_from[subject.tag] if link.verb == verb]
        if len(same) == 1 and "object" in vocabulary.relations()[verb].asks:
            yield "hidden", _link_pair("hidden", subject, verb, target, draws)


def _link_pair(kind: str, subject: Subject, verb: str, target: Subject, draws: Draws) -> Pair:
    known, seen = use_clause(target), f"{subject.the} {subject.be} {verb} {target.a}"
    return _pair(
        kind,
        [subject.tag, target.tag],
        draws,
        **{"the": subject.the, "is": subject.be, "verb": verb, "object": target.a, "use": target.known_noun.use},
        known=sentence(known),
        seen=sentence(seen),
        seen_clause=seen,
        odoes=target.does,
    )


# From several things in view ------------------------------------------------------------------------------------------


def _onlookers(view: View, draws: Draws) -> list[tuple[str, str, list[str]]]:
    """Whom a question about the whole scene may be about: as a caption speaks of them, else as they are told apart."""
    told = [(doing.subject, doing.be, tags_of(doing, view)[:1]) for doing in captions.doings(view.scene)]
    known = [(item.the, item.be, [item.tag]) for item in view.subjects if item.obj.animate and not item.outer]
    return draws.shuffled(told or known)


def settings(view: View, draws: Draws) -> Iterator[tuple[str, Pair]]:
    """What kind of place somebody is in."""
    for (the, is_, tags), (rule, objects) in zip(_onlookers(view, draws), matching_rules(view, "setting"), strict=False):
        clues = join_phrases(list(dict.fromkeys(obj.a for obj in objects)))
        blanks = {"the": the, "is": is_, "do": "do" if is_ == "are" else "does", "clues": clues}
        blanks |= {"place": rule.concludes, "because": rule.because}
        yield "setting", _pair("setting", [*tags, *(obj.tag for obj in objects)], draws, **blanks)


def pursuits(view: View, draws: Draws) -> Iterator[tuple[str, Pair]]:
    """What somebody is probably doing, where no caption says so."""
    if captions.doings(view.scene):
        return
    for rule, (person, *others) in matching_rules(view, "activity"):
        if person.tag in view.by_tag and not person.obj.plural and not person.group:
            seen = f"{person.the} can be seen with {join_phrases([other.a for other in others])}"
            blanks = {"the": person.the, "is": person.be, "doing": rule.concludes, "because": rule.because}
            yield (
                "activity",
                _pair("activity", [person.tag, *(other.tag for other in others)], draws, seen=sentence(seen), **blanks),
            )


def weathers(view: View, draws: Draws) -> Iterator[tuple[str, Pair]]:
    """What clothes, snow and kites say about the weather; nothing where the scene may be inside."""
    indoor = any(item.noun and "indoor" in item.noun.traits for item in view.all_subjects)
    if INSIDE & view.facts.all_words or OUTSIDE.isdisjoint(view.facts.all_words) or indoor:
        return
    for (the, is_, tags), (rule, objects) in zip(_onlookers(view, draws), matching_rules(view, "weather"), strict=False):
        seen = f"one can see {join_phrases([obj.a for obj in objects])}"
        blanks = {"the": the, "is": is_, "seen": sentence(seen), "because": rule.because, "weather": rule.concludes}
        yield "weather", _pair("weather", [*tags, *(obj.tag for obj in objects)], draws, **blanks)


def _pair(kind: str, tags: Iterable[str], draws: Draws, **blanks: str) -> Pair:
    table = vocabulary.read_table("reasons")[kind]
    question, answer = say(draws, table["ask"], **blanks), say(draws, table["say"], **blanks)
    return make_pair(table["topic"], tags, question, answer)


MAKERS: tuple[_Maker, ...] = (from_doings, reasons, hidden_uses, settings, pursuits, weathers)
