"""What somebody would speak of in a scene: its subjects in words, where they are, and what is known of them.

Stands on `facts` (what is true) and `knowledge` (what everybody knows). It asks no question and draws nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from comvint_hf.annotator.facts.objects import Thing, attribute_kinds
from comvint_hf.annotator.facts.scene import SMALLEST, Link, facts_of
from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.english import COLLECTIVES, ONLY_ONES, PAIRS, PLURAL_ONLY, article, be, plural, words
from comvint_hf.annotator.words.knowledge import Noun
from comvint_hf.annotator.words.vocabulary import is_a
from comvint_hf.types import Box, Scene

_MANY = re.compile(r"\b(?:it|its)\b")
SIDE_WORDS = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}
MATERIAL_NOUNS = frozenset(["wood", "metal", "plastic", "glass", "brick", "stone", "concrete", "leather", "cardboard"])
MALE, FEMALE = frozenset(("man", "boy")), frozenset(("woman", "girl", "bride"))
BODY = frozenset(
    [
        "bodyparts",
        "arm",
        "leg",
        "hand",
        "finger",
        "chin",
        "head",
        "face",
        "wrist",
        "nose",
        "ear",
        "eye",
        "mouth",
        "neck",
        "shoulder",
        "foot",
        "knee",
        "elbow",
        "lip",
        "tooth",
        "hair",
        "beard",
        "lap",
    ]
)
UNSEEN = frozenset(("shade", "shadow", "reflection")) | words("relatives")
"""What nobody would ask for: what is cast, and what people are to each other."""
HALVES = words("halves")
"""What everybody wears two of: nobody speaks of one."""
VAGUE = words("vague")
"""Words for whatever somebody wears."""
LARGE = 0.4
"""Share of the picture from which something fills much of it, and is in no part of it."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A thing in words. `name` tells it from all others ("large red circle"), `bare` is its noun phrase alone.

    `unique` says that `name` does tell it apart; `place` is a key of the wording table of places, `None` where no part of the picture is clearly its own.
    """

    thing: Thing
    name: str
    bare: str
    place: str | None
    noun: Noun | None
    unique: bool = True

    @property
    def tag(self) -> str:
        return self.thing.tag

    @property
    def the(self) -> str:
        return f"the {self.name}"

    @property
    def spoken(self) -> str:
        """With the article that fits: "the dog", or "a dog" where there may be others."""
        return self.the if self.unique else self.a

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
        phrase = self.thing.phrase
        if self.only_one:
            return "the "
        if phrase.number == "singular":
            return f"{article(self.bare)} "
        if phrase.number == "mass":
            return ""
        return "a pair of " if phrase.head in PAIRS and len(self.thing.boxes) == 1 else "some "

    @property
    def be(self) -> str:
        return be(self.thing.phrase.number)

    @property
    def be_a(self) -> str:
        """ "is" or "are" for `a`: "there is a pair of skis"."""
        return "is" if self._lead.startswith("a pair") else self.be

    @property
    def has(self) -> str:
        return "have" if self.thing.plural else "has"

    @property
    def does(self) -> str:
        return "do" if self.thing.plural else "does"

    @property
    def it(self) -> str:
        """The pronoun; a person of unknown sex is called one."""
        return self._pronoun("he", "she", "it", "they")

    @property
    def objective(self) -> str:
        return self._pronoun("him", "her", "it", "them")

    def _pronoun(self, male: str, female: str, thing: str, many: str) -> str:
        core = self.thing.phrase.core
        if self.thing.plural:
            return many
        if self.noun and self.noun.name in MALE:
            return male
        if self.noun and self.noun.name in FEMALE:
            return female
        return "this person" if is_a(core, "person") and not self.group else thing

    @property
    def care(self) -> str:
        """What one should mind about it, or about them."""
        return (
            _MANY.sub(lambda word: {"it": "them", "its": "their"}[word[0]], self.noun.care)
            if self.thing.plural
            else self.noun.care
        )

    @property
    def kind(self) -> str:
        """The kind in general, in the word that it was called by: "bikes", "broccoli", "scissors"."""
        word = self.kind_name
        return word if self.noun.mass or word in PLURAL_ONLY else plural(word)

    @property
    def kind_name(self) -> str:
        """The kind in the word that it was called by, in the singular: "bike"."""
        return knowledge.word_for(self.thing.phrase.core, self.noun)

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
        return not self.thing.plural and (len(self.thing.boxes) > 1 or self.thing.phrase.head in COLLECTIVES)

    @property
    def clothes(self) -> bool:
        """Whether somebody wears it: then nothing else is told by where it is."""
        return is_a(self.thing.phrase.core, "piece of clothing")

    @property
    def person(self) -> bool:
        return is_a(self.thing.phrase.core, "person")


class View:
    """One scene as somebody speaks of it."""

    def __init__(self, scene: Scene) -> None:
        self.facts = facts_of(scene)
        self.scene = scene
        self.drawn = self.facts.drawn

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Things that one may speak of by a definite description, as the corpus lists them."""
        return tuple(subject for thing in self.facts.things if self.sayable(thing) and (subject := self._definite(thing)))

    @cached_property
    def by_tag(self) -> dict[str, Subject]:
        return {subject.tag: subject for subject in self.subjects}

    @cached_property
    def mentions(self) -> tuple[Subject, ...]:
        """Every thing with a usual name, also where no description tells it from the others: good for "a car" only."""
        return tuple(self.mention(thing) for thing in self.facts.things if self.sayable(thing))

    @cached_property
    def speakable(self) -> tuple[Subject, ...]:
        """The subjects, and for each noun without one the largest thing that it names."""
        nouns = {subject.thing.noun for subject in self.subjects}
        largest: dict[str, Subject] = {}
        for item in sorted(self.mentions, key=lambda item: -item.thing.box.area):
            if item.thing.noun not in nouns:
                largest.setdefault(item.thing.noun, item)
        return (*self.subjects, *largest.values())

    def sayable(self, thing: Thing) -> bool:
        """Whether a viewer would notice it, know its name and find it worth a word: nobody asks whether a man has hands."""
        if (
            thing.noun.startswith("no ")
            or " and " in thing.noun
            or thing.phrase.head in VAGUE
            or (BODY | UNSEEN) & {thing.phrase.head, thing.category.split("/")[0]}
            or (thing.phrase.head in HALVES and not thing.plural)
        ):
            return False
        return (
            thing.box.area >= SMALLEST
            and thing.tag not in self.facts.second_names
            and (self.noun_of(thing) is not None or not vocabulary.meanings(thing.phrase.core).isdisjoint(vocabulary.kinds()))
        )

    def mention(self, thing: Thing) -> Subject:
        return Subject(thing, thing.noun, thing.noun, self.place_of(thing), self.noun_of(thing), unique=False)

    def _definite(self, thing: Thing) -> Subject | None:
        found = self.facts.the(thing)
        if found is None:
            return None
        bare = " ".join((*found.attributes, found.noun))
        return Subject(thing, found.text.removeprefix("the "), bare, self.place_of(thing), self.noun_of(thing))

    def noun_of(self, thing: Thing) -> Noun | None:
        """What is known of the thing by what we call it, in COCO else by its category."""
        found = knowledge.known(thing.phrase.core)
        if found and any(knowledge.known(core) is None and core.endswith(f" {thing.phrase.head}") for core in thing.cores):
            return None  # another of its names is an exception: a cap that is a swim cap has no peak
        return found or (knowledge.known(self.scene.by_tag[thing.tag].name) if self.scene.source == "coco" else None)

    def place_of(self, thing: Thing) -> str | None:
        return place(thing.box, exact=self.drawn) if len(thing.boxes) == 1 or self.drawn else None

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Relations between things that one may speak of; nobody stands in his clothes, and no dog is in front of "a dog"."""
        return tuple(
            link for link in self.facts.links if self._spoken(link.subject) and self._spoken(link.object) and not self._odd(link)
        )

    @cached_property
    def wearers(self) -> dict[str, list[str]]:
        """Who wears a thing, by its tag."""
        worn: dict[str, list[str]] = {}
        for link in self.links:
            if link.verb == "wearing":
                worn.setdefault(link.object, []).append(link.subject)
        return worn

    def _odd(self, link: Link) -> bool:
        subject, target = self.facts.by_tag[link.subject], self.facts.by_tag[link.object]
        worn = target.category.startswith("clothing")
        return subject.noun == target.noun or worn and link.verb.endswith((" in", " on", " at"))

    def links_of(self, tag: str, asks: str) -> list[Link]:
        """Relations from a thing whose object one may ask for, to things one may speak of."""
        return [link for link in self.links if link.subject == tag and asks in vocabulary.relations()[link.verb].asks]

    def _spoken(self, tag: str) -> bool:
        return self.sayable(self.facts.by_tag[tag])

    def attributes(self, thing: Thing) -> list[tuple[str, str]]:
        """What a thing is like, as (kind, words that stand after "is"): ("material", "made of brick")."""
        kinds = attribute_kinds()
        return [
            (kinds[word], f"made of {word}" if word in MATERIAL_NOUNS else word)
            for word in thing.attributes
            if kinds[word] not in ("colour", "size", "length") and word not in thing.noun.split(" ")
        ]

    def mentioned(self, tag: str) -> Subject:
        """A thing by its definite description if it has one, else as first mentioned."""
        return self.by_tag.get(tag) or self.mention(self.facts.by_tag[tag])


def place(box: Box, exact: bool = False) -> str | None:
    """The part of the picture that a box is clearly in: "top left", "left", "middle", ...; `None` where it is in several.

    `exact` asks for the third that the centre is in, which is how drawn scenes are laid out.

    >>> place(Box(x1=0.0, y1=0.1, x2=0.2, y2=0.3)), place(Box(x1=0.05, y1=0.05, x2=0.95, y2=0.9))
    ('top left', None)
    """
    x, y = box.centre
    if exact:
        across, down = ("left", "", "right")[int(x * 3)], ("top", "", "bottom")[int(y * 3)]
    elif box.area > LARGE:
        return None
    else:
        across, down = _third(box.x1, box.x2, "left", "right"), _third(box.y1, box.y2, "top", "bottom")
    if across is None and down is None:
        return None
    return " ".join(filter(None, (down, across))) or ("middle" if across == down == "" else None)


def _third(low: float, high: float, first: str, last: str) -> str | None:
    """Which end of an axis a span is clearly at, "" for its middle, `None` if that cannot be said."""
    centre = (low + high) / 2
    if centre < 0.36 and high <= 0.58:
        return first
    if centre > 0.64 and low >= 0.42:
        return last
    return "" if 0.4 <= centre <= 0.6 and high - low < 0.5 else None


def generic_be(noun: Noun) -> str:
    return "is" if noun.mass else "are"


def use_clause(subject: Subject) -> str:
    """What a kind is for: "people use knives to cut food"; what is eaten is not said to be used."""
    if "edible" in subject.noun.traits:
        return f"with {subject.kind} one can {subject.noun.use}"
    return f"people use {subject.kind} to {subject.noun.use}"


def view_of(scene: Scene) -> View:
    """The view of a scene, made once and kept with its facts."""
    facts = facts_of(scene)
    if View not in facts.memory:
        facts.memory[View] = View(scene)
    return facts.memory[View]
