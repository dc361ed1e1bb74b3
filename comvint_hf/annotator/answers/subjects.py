"""What somebody would speak of in a scene: its subjects in words, where they are, and what is known of them.

Stands on `facts` (what is true) and `knowledge` (what everybody knows). It asks no question and draws nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from random import Random

from comvint_hf.annotator.facts.geometry import SIDE_WORDS, overlap
from comvint_hf.annotator.facts.objects import SceneObject, attribute_types
from comvint_hf.annotator.facts.scene import SMALLEST, Link, facts_of
from comvint_hf.annotator.language import captions
from comvint_hf.annotator.language.captions import Doing
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import COLLECTIVES, ONLY_ONES, PAIRS, article, be, words
from comvint_hf.annotator.words.knowledge import Noun, Rule
from comvint_hf.annotator.words.vocabulary import is_a
from comvint_hf.text import PLURAL_ONLY, plural
from comvint_hf.types import Box, Object, Scene

_LETTERS = re.compile(r"[a-z]+")
_MANY = re.compile(r"\b(?:it|its)\b")
MATERIAL_NOUNS = frozenset(["wood", "metal", "plastic", "glass", "brick", "stone", "concrete", "leather", "cardboard"])
MALE, FEMALE = frozenset(("man", "boy")), frozenset(("woman", "girl", "bride"))
BODY = words("body")
UNSEEN = frozenset(("shade", "shadow", "reflection")) | words("relatives")
"""What nobody would ask for: what is cast, and what people are to each other."""
HALVES = words("halves")
"""What everybody wears two of: nobody speaks of one."""
VAGUE = words("vague")
"""Words for whatever somebody wears."""
LARGE = 0.4
"""Share of the image from which something fills much of it, and is in no part of it."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An object in words. `name` tells it from all others ("large red circle"), `bare` is its noun phrase alone.

    `unique` says that `name` does tell it apart; `place` is a key of the wording table of places, `None` where no part of the image is clearly its own.
    """

    obj: SceneObject
    name: str
    bare: str
    place: str | None
    noun: Noun | None
    unique: bool = True

    @property
    def tag(self) -> str:
        return self.obj.tag

    @property
    def the(self) -> str:
        return f"the {self.name}"

    @property
    def known_noun(self) -> Noun:
        """`noun` of a subject about whose kind something is known."""
        assert self.noun is not None
        return self.noun

    @property
    def a(self) -> str:
        """As first mentioned; told apart by its attributes where it needs them, never by where it stands."""
        return f"{self._lead}{self.bare}"

    @property
    def the_ref(self) -> str:
        """The definite phrase as a reference."""
        return f"the <st>{self.name}<ed>[{self.tag}]"

    @property
    def a_ref(self) -> str:
        return f"{self._lead}<st>{self.bare}<ed>[{self.tag}]"

    @property
    def _lead(self) -> str:
        phrase = self.obj.phrase
        if self.only_one:
            return "the "
        if phrase.number == "singular":
            return f"{article(self.bare)} "
        if phrase.number == "mass":
            return ""
        return "a pair of " if phrase.head in PAIRS and len(self.obj.boxes) == 1 else "some "

    @property
    def be(self) -> str:
        return be(self.obj.phrase.number)

    @property
    def be_a(self) -> str:
        """ "is" or "are" for `a`: "there is a pair of skis"."""
        return "is" if self._lead.startswith("a pair") else self.be

    @property
    def does(self) -> str:
        return "do" if self.obj.plural else "does"

    @property
    def it(self) -> str:
        """The pronoun; a person of unknown sex is called one."""
        return self._pronoun("he", "she", "it", "they")

    def _pronoun(self, male: str, female: str, neuter: str, many: str) -> str:
        core = self.obj.phrase.core
        if self.obj.plural:
            return many
        if self.noun and self.noun.name in MALE:
            return male
        if self.noun and self.noun.name in FEMALE:
            return female
        return "this person" if is_a(core, "person") and not self.group else neuter

    @property
    def kind(self) -> str:
        """The kind in general, in the word that it was called by: "bikes", "broccoli", "scissors"."""
        word = self.kind_name
        return word if self.known_noun.mass or word in PLURAL_ONLY else plural(word)

    @property
    def kind_name(self) -> str:
        """The kind in the word that it was called by, in the singular: "bike"."""
        return knowledge.word_for(self.obj.phrase.core, self.known_noun)

    @property
    def outer(self) -> bool:
        """Whether only its place tells it apart: "leftmost car"."""
        return self.name.startswith(("leftmost ", "rightmost "))

    @property
    def only_one(self) -> bool:
        """Whether there is but one in the world, so that it is never "a": "sky"."""
        return self.bare in ONLY_ONES

    @property
    def group(self) -> bool:
        """Whether one word stands for several: "crowd", "team"."""
        return not self.obj.plural and (len(self.obj.boxes) > 1 or self.obj.phrase.head in COLLECTIVES)

    @property
    def is_clothing(self) -> bool:
        """Whether somebody wears it: then nothing else is told by where it is."""
        return is_a(self.obj.phrase.core, "piece of clothing")

    @property
    def person(self) -> bool:
        return is_a(self.obj.phrase.core, "person")


class View:
    """One scene as somebody speaks of it."""

    def __init__(self, scene: Scene) -> None:
        self.facts = facts_of(scene)
        self.scene = scene
        self.rendered = self.facts.rendered

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Objects that one may speak of by a definite description, as the corpus lists them."""
        return tuple(subject for obj in self.facts.objects if self.is_relevant(obj) and (subject := self._describe(obj)))

    @cached_property
    def by_tag(self) -> dict[str, Subject]:
        return {subject.tag: subject for subject in self.subjects}

    @cached_property
    def all_subjects(self) -> tuple[Subject, ...]:
        """Every object with a usual name, also where no description tells it from the others: good for "a car" only."""
        return tuple(self.make_subject(obj) for obj in self.facts.objects if self.is_relevant(obj))

    @cached_property
    def subject_candidates(self) -> tuple[Subject, ...]:
        """The subjects, and for each noun without one the largest object that it names."""
        nouns = {subject.obj.noun for subject in self.subjects}
        largest: dict[str, Subject] = {}
        for item in sorted(self.all_subjects, key=lambda item: -item.obj.box.area):
            if item.obj.noun not in nouns:
                largest.setdefault(item.obj.noun, item)
        return (*self.subjects, *largest.values())

    def is_relevant(self, obj: SceneObject) -> bool:
        """Whether a viewer would notice it, know its name and find it worth a word: nobody asks whether a man has hands."""
        if (
            obj.noun.startswith("no ")
            or " and " in obj.noun
            or obj.phrase.head in VAGUE
            or (BODY | UNSEEN) & {obj.phrase.head, obj.category.split("/")[0]}
            or (obj.phrase.head in HALVES and not obj.plural)
        ):
            return False
        return (
            obj.box.area >= SMALLEST
            and obj.tag not in self.facts.second_names
            and (self.noun_of(obj) is not None or not vocabulary.classes_of(obj.phrase.core).isdisjoint(vocabulary.kind_table()))
        )

    def make_subject(self, obj: SceneObject) -> Subject:
        return Subject(obj, obj.noun, obj.noun, self.place_of(obj), self.noun_of(obj), unique=False)

    def _describe(self, obj: SceneObject) -> Subject | None:
        found = self.facts.describe(obj)
        if found is None:
            return None
        bare = " ".join((*found.attributes, found.noun))
        return Subject(obj, found.text.removeprefix("the "), bare, self.place_of(obj), self.noun_of(obj))

    def noun_of(self, obj: SceneObject) -> Noun | None:
        """What is known of the object by what we call it, in COCO else by its category."""
        found = knowledge.find_noun(obj.phrase.core)
        if found and any(knowledge.find_noun(core) is None and core.endswith(f" {obj.phrase.head}") for core in obj.cores):
            return None  # another of its names is an exception: a cap that is a swim cap has no peak
        item = self.scene.by_tag[obj.tag] if found is None and self.facts.traits.category_names else None
        return knowledge.find_noun(item.name) if isinstance(item, Object) else found

    def place_of(self, obj: SceneObject) -> str | None:
        return place(obj.box, exact=self.rendered) if len(obj.boxes) == 1 or self.rendered else None

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Relations between objects that one may speak of; nobody stands in his clothes, and no dog is in front of "a dog"."""
        return tuple(
            link
            for link in self.facts.links
            if self._is_relevant_tag(link.subject) and self._is_relevant_tag(link.object) and not self._odd(link)
        )

    @cached_property
    def wearers(self) -> dict[str, list[str]]:
        """Who wears an object, by its tag."""
        worn: dict[str, list[str]] = {}
        for link in self.links:
            if link.verb == "wearing":
                worn.setdefault(link.object, []).append(link.subject)
        return worn

    def _odd(self, link: Link) -> bool:
        subject, target = self.facts.by_tag[link.subject], self.facts.by_tag[link.object]
        worn = target.category.startswith("clothing")
        return subject.noun == target.noun or worn and link.verb.endswith((" in", " on", " at"))

    def _is_relevant_tag(self, tag: str) -> bool:
        return self.is_relevant(self.facts.by_tag[tag])

    def attributes(self, obj: SceneObject) -> list[tuple[str, str]]:
        """What an object is like, as (kind, words that stand after "is"): ("material", "made of brick")."""
        kinds = attribute_types()
        return [
            (kinds[word], f"made of {word}" if word in MATERIAL_NOUNS else word)
            for word in obj.attributes
            if kinds[word] not in ("colour", "size", "length") and word not in obj.noun.split(" ")
        ]

    def where(self, subject: Subject, random: Random) -> str:
        """The subject's place in words; rendered scenes use the plainest, and few objects are right in a corner."""
        wordings: list[str] = vocabulary.read_table("places")[subject.place or ""]
        if not self.rendered and not in_corner(subject.obj.box):
            wordings = [words for words in wordings if "corner" not in words]
        return wordings[0] if self.rendered else random.choice(wordings)

    def position_pairs(self, random: Random) -> Iterator[tuple[Subject, Subject, str]]:
        """Pairs of subjects with a side in words, "to the left of", in random order, each pair once."""
        subjects = random.sample(self.subjects, len(self.subjects))
        for number, one in enumerate(subjects):
            for two in subjects[number + 1 :]:
                side = None if one.outer and two.outer else self._side(one, two, random)
                if side and not part_of(one, two):
                    yield one, two, side

    def _side(self, one: Subject, two: Subject, random: Random) -> str | None:
        """One side of `two` on which `one` clearly is, in photos the clearest; `None` if there is none."""
        if not self.rendered and ({one.obj.phrase.head, two.obj.phrase.head} & SURFACES or self._are_related(one, two)):
            return None
        found = self.facts.relative_positions(one.obj, two.obj)
        return SIDE_WORDS[random.choice(found)] if found else None

    def _are_related(self, one: Subject, two: Subject) -> bool:
        """Whether a relation joins two objects or their wearers: of a girl under a cart no one says that her hat is above it."""
        first, second = ({item.tag, *self.wearers.get(item.tag, ())} for item in (one, two))
        ends = ({link.subject, link.object} for link in self.links if link.verb != "wearing")
        return any(first & pair and second & pair for pair in ends)

    def subject_of(self, tag: str) -> Subject:
        """An object by its definite description if it has one, else as first mentioned."""
        return self.by_tag.get(tag) or self.make_subject(self.facts.by_tag[tag])


def place(box: Box, exact: bool = False) -> str | None:
    """The part of the image that a box is clearly in: "top left", "left", "middle", ...; `None` where it is in several.

    `exact` asks for the third that the centre is in, which is how rendered scenes are laid out.

    >>> place(Box(x1=0.0, y1=0.1, x2=0.2, y2=0.3)), place(Box(x1=0.05, y1=0.05, x2=0.95, y2=0.9))
    ('top left', None)
    """
    x, y = box.centre
    across: str | None
    down: str | None
    if exact:
        across, down = ("left", "", "right")[int(x * 3)], ("top", "", "bottom")[int(y * 3)]
    elif box.area > LARGE:
        return None
    else:
        across, down = _axis_part(box.x1, box.x2, "left", "right"), _axis_part(box.y1, box.y2, "top", "bottom")
    if across is None and down is None:
        return None
    return " ".join(filter(None, (down, across))) or ("middle" if across == down == "" else None)


def _axis_part(low: float, high: float, first: str, last: str) -> str | None:
    """Which end of an axis a span is clearly at, "" for its middle, `None` if that cannot be said."""
    centre = (low + high) / 2
    if centre < 0.36 and high <= 0.58:
        return first
    if centre > 0.64 and low >= 0.42:
        return last
    return "" if 0.4 <= centre <= 0.6 and high - low < 0.5 else None


def use_clause(subject: Subject) -> str:
    """What a kind is for: "people use knives to cut food"; what is eaten is not said to be used."""
    noun = subject.known_noun
    return f"with {subject.kind} one can {noun.use}" if "edible" in noun.traits else f"people use {subject.kind} to {noun.use}"


def view_of(scene: Scene) -> View:
    """The view of a scene, made once and kept with its facts."""
    facts = facts_of(scene)
    if View not in facts.memory:
        facts.memory[View] = View(scene)
    return facts.memory[View]


# Facts of several subjects ------------------------------------------------------------------------------------------

SURFACES = words("surfaces")
CORNER = 0.35
"""Share of the image's width and height in which an object must lie to be in a corner."""


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


COLOURLESS = frozenset(("liquid", "body of water", "movement of water", "view of the air above us"))
"""Kinds whose colour depends on the light."""
PATCHED = frozenset(("sidewalk", "path", "pavement", "floor", "street", "road", "building", "wall"))
"""Large objects of several colours, of which annotators note one."""


def plain_colour(subject: Subject) -> str | None:
    """The one colour that everybody would name, unless its name has it already; water, sky and paved ground have none."""
    colour = subject.obj.colour
    if colour is None or colour in subject.name.split(" ") or subject.obj.phrase.head in PATCHED:
        return None
    return None if subject.noun and subject.noun.kind in COLOURLESS else colour


def counts(view: View) -> list[tuple[str, int, list[str]]]:
    """Nouns whose number is certain, with it and the tags counted."""
    nouns = dict.fromkeys(obj.noun for obj in view.facts.objects if obj.phrase.number == "singular" and view.is_relevant(obj))
    return [
        (noun, number, [obj.tag for obj in view.facts.candidates_for(noun)])
        for noun in nouns
        if (number := view.facts.count(noun))
    ]


def tags_of(doing: Doing, view: View) -> list[str]:
    """The objects that a caption names: by its own tags, else the largest of each kind that it has a word for."""
    tied = captions.named_tags(view.scene, doing.sentence)
    if tied:
        return [tag for tag in dict.fromkeys(tied) if tag in view.facts.by_tag]
    said = [
        word for word in _LETTERS.findall(doing.sentence.lower()) if vocabulary.classes_of(word) & vocabulary.kind_table().keys()
    ]
    found: dict[str, str] = {}
    for obj in sorted(view.facts.objects, key=lambda obj: -obj.box.area):
        if any(vocabulary.could_be(word, obj.phrase.core) for word in said):
            found.setdefault(obj.phrase.head, obj.tag)
    return list(found.values())
