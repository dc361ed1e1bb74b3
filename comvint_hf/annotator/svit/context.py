"""What the four SVIT answers share: a scene, wordings, places and pairs, and rules that fit what is seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from random import Random

from comvint_hf.annotator.facts.geometry import SIDE_WORDS, overlap
from comvint_hf.annotator.facts.objects import is_different_colour
from comvint_hf.annotator.svit.templates import Speaker, tables
from comvint_hf.annotator.svit.view import Subject, View, view_of
from comvint_hf.annotator.words import knowledge
from comvint_hf.annotator.words.english import words
from comvint_hf.annotator.words.knowledge import BASIC_COLOURS, RENDERED_COLOURS, Rule
from comvint_hf.annotator.words.vocabulary import is_a
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.types import Box


class Context:
    """One prompt being answered: what is seen, and a speaker for its wordings."""

    def __init__(self, prompt: Prompt, random: Random, wording: str) -> None:
        self.view: View = view_of(prompt.scene)
        self.facts = self.view.facts
        self.random = random
        self.speaker = Speaker(wording, random, self.view.rendered)
        self.render = self.speaker.render

    def pair(self, topic: str, evidence: Iterable[Subject | str], question: str, answer: str) -> Pair:
        """A question with its answer and the tags it rests on."""
        tags = [item if isinstance(item, str) else item.tag for item in evidence]
        return Pair.model_construct(topic=topic, evidence=list(dict.fromkeys(tags)), question=question, answer=answer)

    def turn(self, topic: str, evidence: Iterable[Subject | str], kind: str, /, **blanks: object) -> Pair:
        """A question of one kind with its answer."""
        return self.pair(topic, evidence, self.render(kind, "ask", **blanks), self.render(kind, "say", **blanks))

    def reason(self, kind: str, evidence: Iterable[Subject | str], form: str = "say", /, **blanks: object) -> Pair:
        """A question of one kind with its answer; the topic stands in the wording table."""
        question, answer = self.render(kind, "ask", **blanks), self.render(kind, form, **blanks)
        return self.pair(self.speaker.tables[kind]["topic"], evidence, question, answer)

    def draw_bool(self) -> bool:
        """Whether the next closed question is to be answered by yes: that is why both come equally often."""
        return self.random.random() < 0.5

    def shuffled(self, items: Iterable) -> list:
        listed = list(items)
        self.random.shuffle(listed)
        return listed

    def where(self, subject: Subject) -> str:
        """The subject's place in words; rendered scenes use the plainest, and few objects are right in a corner."""
        assert subject.place is not None
        wordings: list[str] = tables("svit_places")[subject.place]
        if not self.view.rendered and not in_corner(subject.obj.box):
            wordings = [words for words in wordings if "corner" not in words]
        return wordings[0] if self.view.rendered else self.random.choice(wordings)

    def side(self, one: Subject, two: Subject) -> str | None:
        """One side of `two` on which `one` clearly is, as in "to the left of", in photos the clearest; `None` if there is none."""
        if not self.view.rendered and ({one.obj.phrase.head, two.obj.phrase.head} & SURFACES or self._are_related(one, two)):
            return None
        found = self.facts.relative_positions(one.obj, two.obj)
        return SIDE_WORDS[self.random.choice(found)] if found else None

    def _are_related(self, one: Subject, two: Subject) -> bool:
        """Whether a relation joins two objects or their wearers: of a girl under a cart no one says that her hat is above it."""
        first, second = ({item.tag, *self.view.wearers.get(item.tag, ())} for item in (one, two))
        ends = ({link.subject, link.object} for link in self.view.links if link.verb != "wearing")
        return any(first & pair and second & pair for pair in ends)

    def position_pairs(self) -> Iterator[tuple[Subject, Subject, str]]:
        """Pairs of subjects with a clear side, in random order, each pair once."""
        subjects = self.shuffled(self.view.subjects)
        for number, one in enumerate(subjects):
            for two in subjects[number + 1 :]:
                if not (one.outer and two.outer) and (side := self.side(one, two)) and not part_of(one, two):
                    yield one, two, side

    def other_colour(self, subject: Subject) -> str:
        """A colour that nobody would give the subject, one that is in the image where possible."""
        seen = {obj.colour for obj in self.facts.objects if obj.colour}
        usual = [
            colour
            for colour in BASIC_COLOURS
            if is_different_colour(colour, subject.obj.colours) and (not self.view.rendered or colour in RENDERED_COLOURS)
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
"""Share of the image's width and height in which an object must lie to be in a corner."""
OPPOSITE_WORDS = {"to the left of": "to the right of", "to the right of": "to the left of", "above": "below", "below": "above"}


def in_corner(box: Box) -> bool:
    """Whether a box lies wholly near a corner of the image."""
    across = box.x2 <= CORNER or box.x1 >= 1 - CORNER
    return across and (box.y2 <= CORNER or box.y1 >= 1 - CORNER)


def part_of(one: Subject, two: Subject) -> bool:
    """Whether one box lies in the other, or the objects may be one: nobody would say that a shirt is left of its wearer."""
    return overlap(one.obj.box, two.obj.box) > 0.4


def shared(one: Subject, two: Subject) -> float:
    """The largest share of the smaller box that a box of one and a box of the other have in common."""
    return max(overlap(a, b) for a, b in product(one.obj.boxes, two.obj.boxes))


def is_named(subject: Subject, names: Iterable[str]) -> bool:
    """Whether the subject is one of these nouns of `knowledge`; "person" is anybody."""
    return (subject.noun is not None and subject.noun.name in names) or ("person" in names and subject.person)


def matching_rules(view: View, asks: str) -> Iterator[tuple[Rule, tuple[Subject, ...]]]:
    """Rules of knowledge that the visible objects fulfil, with one object for each of their groups."""
    objects = [item for item in view.all_subjects if asks != "activity" or not is_named(item, ("baby",))]
    for rule in knowledge.rules(asks):
        said = view.facts.all_words
        if any(is_named(obj, rule.none) for obj in objects) or (rule.said and rule.said.isdisjoint(said)) or rule.unsaid & said:
            continue
        choices = [[obj for obj in objects if is_named(obj, group)] for group in rule.all]
        found = next(
            (
                picked
                for picked in product(*(sorted(choice, key=lambda obj: -obj.obj.box.area)[:6] for choice in choices))
                if _different(picked) and (not rule.touch or shared(picked[0], picked[1]) >= rule.touch)
            ),
            None,
        )
        if found:
            yield rule, tuple(view.subject_of(obj.tag) for obj in found)


def _different(subjects: tuple[Subject, ...]) -> bool:
    nouns = [subject.noun.name if subject.noun else subject.obj.noun for subject in subjects]
    return len(set(nouns)) == len(nouns) and not (len(subjects) > 1 and all(is_a(noun, "person") for noun in nouns))
