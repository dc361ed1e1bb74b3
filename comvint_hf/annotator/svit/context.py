"""What the four SVIT answers share: a scene, wordings, places and pairs, and rules that fit what is seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from random import Random

from comvint_hf.annotator.facts.geometry import overlap
from comvint_hf.annotator.facts.objects import unlike
from comvint_hf.annotator.svit.templates import Speaker, tables
from comvint_hf.annotator.svit.view import SIDE_WORDS, Subject, View, view_of
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.english import words
from comvint_hf.annotator.words.knowledge import Rule
from comvint_hf.annotator.words.vocabulary import is_a
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.types import Box


class Teller:
    """One prompt being answered: what is seen, and a speaker for its wordings."""

    def __init__(self, prompt: Prompt, random: Random, wording: str) -> None:
        self.view: View = view_of(prompt.scene)
        self.facts = self.view.facts
        self.random = random
        self.speaker = Speaker(wording, random, self.view.drawn)
        self.say = self.speaker.say

    def pair(self, topic: str, evidence: Iterable[Subject | str], question: str, answer: str) -> Pair:
        """A question with its answer and the tags it rests on."""
        tags = [item if isinstance(item, str) else item.tag for item in evidence]
        return Pair.model_construct(topic=topic, evidence=list(dict.fromkeys(tags)), question=question, answer=answer)

    def reason(self, kind: str, evidence: Iterable[Subject | str], form: str = "say", /, **blanks: object) -> Pair:
        """A question of one kind with its answer; the topic stands in the wording table."""
        question, answer = self.say(kind, "ask", **blanks), self.say(kind, form, **blanks)
        return self.pair(self.speaker.tables[kind]["topic"], evidence, question, answer)

    def coin(self) -> bool:
        """Whether the next closed question is to be answered by yes: that is why both come equally often."""
        return self.random.random() < 0.5

    def shuffled(self, items: Iterable) -> list:
        listed = list(items)
        self.random.shuffle(listed)
        return listed

    def where(self, subject: Subject) -> str:
        """The subject's place in words; drawn scenes use the plainest, and few things are right in a corner."""
        wordings = tables("svit_places")[subject.place]
        if not self.view.drawn and not in_corner(subject.thing.box):
            wordings = [words for words in wordings if "corner" not in words]
        return wordings[0] if self.view.drawn else self.random.choice(wordings)

    def side(self, one: Subject, two: Subject) -> str | None:
        """One side of `two` on which `one` clearly is, as in "to the left of", in photos the clearest; `None` if there is none."""
        if not self.view.drawn and ({one.thing.phrase.head, two.thing.phrase.head} & SURFACES or self._joined(one, two)):
            return None
        found = self.facts.sides(one.thing, two.thing)
        return SIDE_WORDS[self.random.choice(found)] if found else None

    def _joined(self, one: Subject, two: Subject) -> bool:
        """Whether a relation joins two things or their wearers: of a girl under a cart no one says that her hat is above it."""
        first, second = ({item.tag, *self.view.wearers.get(item.tag, ())} for item in (one, two))
        ends = ({link.subject, link.object} for link in self.view.links if link.verb != "wearing")
        return any(first & pair and second & pair for pair in ends)

    def placed_pairs(self) -> Iterator[tuple[Subject, Subject, str]]:
        """Pairs of subjects with a clear side, in random order, each pair once."""
        subjects = self.shuffled(self.view.subjects)
        for number, one in enumerate(subjects):
            for two in subjects[number + 1 :]:
                if not (one.outer and two.outer) and (side := self.side(one, two)) and not part_of(one, two):
                    yield one, two, side

    def other_colour(self, subject: Subject) -> str:
        """A colour that nobody would give the subject, one that is in the picture where possible."""
        seen = {thing.colour for thing in self.facts.things if thing.colour}
        usual = [
            colour
            for colour in BASIC_COLOURS
            if unlike(colour, subject.thing.colours) and (not self.view.drawn or colour in DRAWN_COLOURS)
        ]
        near = [colour for colour in usual if colour in seen]
        return self.random.choice(near or usual)

    def seen(self, subject: Subject) -> str:
        """A sentence that says that the subject is there, and where if that is clear."""
        if subject.place is None:
            return self.random.choice((f"There {subject.be_a} {subject.a}.", f"One can see {subject.a}."))
        where = self.where(subject)
        return self.random.choice((f"There {subject.be_a} {subject.a} {where}.", f"One can see {subject.a} {where}."))


SURFACES = words("surfaces")
CORNER = 0.35
"""Share of the picture's width and height in which a thing must lie to be in a corner."""
BASIC_COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white", "brown", "pink", "grey")
DRAWN_COLOURS = frozenset(BASIC_COLOURS[:6])
OPPOSITE_WORDS = {"to the left of": "to the right of", "to the right of": "to the left of", "above": "below", "below": "above"}


def in_corner(box: Box) -> bool:
    """Whether a box lies wholly near a corner of the picture."""
    across = box.x2 <= CORNER or box.x1 >= 1 - CORNER
    return across and (box.y2 <= CORNER or box.y1 >= 1 - CORNER)


def part_of(one: Subject, two: Subject) -> bool:
    """Whether one box lies in the other, or the things may be one: nobody would say that a shirt is left of its wearer."""
    return overlap(one.thing.box, two.thing.box) > 0.4


def shared(one: Subject, two: Subject) -> float:
    """The largest share of the smaller box that a box of one and a box of the other have in common."""
    return max(overlap(a, b) for a, b in product(one.thing.boxes, two.thing.boxes))


def called(subject: Subject, names: Iterable[str]) -> bool:
    """Whether the subject is one of these nouns of `knowledge`; "person" is anybody."""
    return (subject.noun is not None and subject.noun.name in names) or ("person" in names and subject.person)


def conclusions(view: View, asks: str) -> Iterator[tuple[Rule, tuple[Subject, ...]]]:
    """Rules of knowledge that the visible things fulfil, with one thing for each of their groups."""
    things = [item for item in view.mentions if asks != "activity" or not called(item, ("baby",))]
    for rule in knowledge.rules(asks):
        said = view.facts.said
        if any(called(thing, rule.none) for thing in things) or (rule.said and rule.said.isdisjoint(said)) or rule.unsaid & said:
            continue
        choices = [[thing for thing in things if called(thing, group)] for group in rule.all]
        found = next(
            (
                picked
                for picked in product(*(sorted(choice, key=lambda thing: -thing.thing.box.area)[:6] for choice in choices))
                if _different(picked) and (not rule.touch or shared(picked[0], picked[1]) >= rule.touch)
            ),
            None,
        )
        if found:
            yield rule, tuple(view.mentioned(thing.tag) for thing in found)


def _different(subjects: tuple[Subject, ...]) -> bool:
    nouns = [subject.noun.name if subject.noun else subject.thing.noun for subject in subjects]
    return len(set(nouns)) == len(nouns) and not (len(subjects) > 1 and all(is_a(noun, "person") for noun in nouns))
