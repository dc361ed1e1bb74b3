"""Detail descriptions: what goes on, who wears and holds what, what else there is and where, in flowing sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from comvint_hf.annotator.answers.subjects import Subject, View, part_of, plain_colour, shared, view_of
from comvint_hf.annotator.draws import Draws
from comvint_hf.annotator.language import captions
from comvint_hf.annotator.language.prose import prose, say
from comvint_hf.annotator.language.regions import common_words, has_common_words, region_text
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import (
    NUMBER_OF_WORD,
    ONLY_ONES,
    add_article,
    be,
    format_count,
    head_word,
    join_phrases,
    number_of,
    sentence,
)
from comvint_hf.annotator.words.vocabulary import all_classes_of, could_be
from comvint_hf.errors import NothingLeftError
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Description
from comvint_hf.text import plural, singular

FEWEST_WORDS, FEWEST_THINGS = 20, 2
"""Fewer are no description of a photo."""
MOST_OTHERS, MOST_SIDES, MOST_REGIONS, MOST_LINKS = 8, 3, 4, 4
Told = tuple[str, list[str]]
"""A sentence, and the tags of what it mentions."""


def detail_description(prompt: Prompt, random: Draws) -> Description:
    """Answer the prompt `svit/detail_description`; the tags of what it mentions are its evidence."""
    view = view_of(prompt.scene)
    told = list(_drawn(view, random) if view.rendered else _Photo(view, random).told())
    tags = list(dict.fromkeys(tag for _, mentioned in told for tag in mentioned))
    text = " ".join(sentence for sentence, _ in told)
    if not view.rendered and (len(text.split()) < FEWEST_WORDS or len(tags) < FEWEST_THINGS):
        raise NothingLeftError(f"{prompt.scene.id} shows too little that can be described with certainty.")
    return Description.model_construct(evidence=tags, description=text)


def _drawn(view: View, draws: Draws) -> Iterator[Told]:
    """The number of shapes, then each with its place, then the writing: short and regular."""
    table, objects = vocabulary.read_table("description"), view.facts.objects
    number, ground = format_count("shape", len(objects)), view.scene.meta.get("background", "plain")
    yield say(draws, table["total"]["say"], number=number, are=be(len(objects)), ground=ground), []
    for subject in view.all_subjects:
        name = add_article(" ".join((*subject.obj.attributes, subject.obj.noun)))
        yield say(draws, table["item"]["say"][:7], a=name, where=view.where(subject, draws)), [subject.tag]
    for text in view.scene.texts:
        yield say(draws, table["text"]["say"], text=text.text), []


class _Photo:
    """One photo being described: what was named so far is not named as new again."""

    def __init__(self, view: View, draws: Draws) -> None:
        self.view, self.draws, self.facts = view, draws, view.facts
        self.table = vocabulary.read_table("description")
        sentences = [text for text in captions.caption_sentences(view.scene) if self._uses_same_names(text)]
        self.openings = sorted(sentences, key=lambda text: -len(text.split()))[:1]
        self.openings += [text for text in sentences if self.openings and captions.adds_content(text, self.openings[0])][:1]
        self.said = " ".join(self.openings)
        self.known = {item.tag for text in self.openings[:1] for item in self._named(text)}
        self.told_nouns = {item.obj.noun for text in self.openings[:1] for item in self._named(text)}
        self.details = list(self._details())

    def told(self) -> Iterator[Told]:
        """The sentences in order."""
        for text in self.openings[:1]:
            yield text, [item.tag for item in self._named(text)]
        if not self.openings:
            yield from self._contents([item for item in self._others() if item.obj.animate])
        yield from self._outfits()
        others = self._others()
        yield from self._links({*self.known, *(item.tag for item in others)})
        yield from self._contents([item for item in others if item.tag not in self.known])
        yield from self._sides()
        yield from self.details
        yield from ((text, []) for text in self.openings[1:])
        for written in self.view.scene.texts:
            yield say(self.draws, self.table["text"]["say"], text=written.text), []

    def _say(self, kind: str, **blanks: str) -> str:
        return say(self.draws, self.table[kind]["say"], **blanks)

    def _named(self, caption: str) -> list[Subject]:
        """What a caption names: by its tags, or by words for a kind of which there is one."""
        if self.facts.traits.category_names:
            return [item for item in self.view.subjects if _names(caption, item)]
        tags = {self.facts.second_names.get(tag, tag) for tag in captions.named_tags(self.view.scene, caption)}
        return [item for item in self.view.all_subjects if item.tag in tags]

    def _uses_same_names(self, caption: str) -> bool:
        """Whether a caption calls objects what we call them: a guy of one sentence and a young man of the next would be two."""
        words = set(caption.lower().rstrip(".").replace(",", "").split())
        return self.facts.traits.category_names or all(head_word(item.obj.noun).lower() in words for item in self._named(caption))

    def _with_looks(self, item: Subject) -> str:
        """An object as first mentioned, with its colour or another thing that can be seen of it."""
        shade = plain_colour(item)
        looks = [shade] if shade else [text for _, text in self.view.attributes(item.obj) if " " not in text][:1]
        if not looks or item.obj.plural and len(item.obj.boxes) > 1 and not shade or item.only_one:
            return item.a
        text = " ".join((*looks, item.bare)) if looks[0] not in item.bare.split(" ") else item.bare
        return add_article(text, item.obj.phrase.number)

    def _again(self, item: Subject) -> str | None:
        """An object that was mentioned before: "the man" where no other man was; `None` where it would be unclear."""
        return item.the if item.unique and not item.outer else None

    def _outfits(self) -> Iterator[Told]:
        """What somebody wears, all in one sentence."""
        worn: dict[str, list[Subject]] = {}
        for link in self.view.links:
            target = self.view.subject_of(link.object)
            if link.verb == "wearing" and head_word(target.obj.noun) not in self.said.split():
                worn.setdefault(link.subject, []).append(target)
        for tag, items in worn.items():
            wearer = self.view.subject_of(tag)
            who = self._again(wearer)
            if who:
                known = tag in self.known or not self.openings
                self.known |= {tag, *(item.tag for item in items)}
                what = join_phrases([self._with_looks(item) for item in items])
                yield sentence(f"{who if known else wearer.a} {wearer.be} wearing {what}"), [tag, *(item.tag for item in items)]

    def _links(self, known: set[str]) -> Iterator[Told]:
        """What is done and where by and with the `known` objects, unless the captions say so."""
        told: set[str] = set()
        for link in self.draws.shuffled(self.view.links):
            subject, target = self.view.subject_of(link.subject), self.view.subject_of(link.object)
            who = self._again(subject)
            said = _has_relation(self.said, link.verb, target) or link.verb in ("wearing", "has") or link.object in told
            said = said or any(_names(text, subject) and _names(text, target) for text, _ in self.details)
            if said or who is None or subject.tag in told or not {subject.tag, target.tag} <= known:
                continue
            told |= {subject.tag, target.tag}
            whom = self._again(target) if target.tag in self.known else None
            self.known |= {subject.tag, target.tag}
            yield sentence(f"{who} {subject.be} {link.verb} {whom or self._with_looks(target)}"), [subject.tag, target.tag]
            if len(told) >= 2 * MOST_LINKS:
                return

    def _others(self) -> list[Subject]:
        """The objects that were not named, without any that may be another one under a second name, the large ones first."""
        kept = [item for item in self.view.all_subjects if item.tag in self.known]
        first = len(kept)
        for item in sorted(self.view.all_subjects, key=lambda item: -item.obj.box.area):
            mentioned = any(self._may_mention(item, text) for text in self.openings)
            if not mentioned and not any(item is other or self._same(item, other) for other in kept):
                kept.append(item)
        return kept[first:]

    def _may_mention(self, item: Subject, caption: str) -> bool:
        """Whether a caption may speak of an object that it does not name by its tag: of one adult of several, or of it without a tag."""
        if item.person and captions.names_several_people(caption):
            return True
        words = caption.lower().rstrip(".").replace(",", "").split()
        if not captions.named_tags(self.view.scene, caption):
            return self.facts.traits.category_names and _names(caption, item)
        named = any(known.obj.noun == item.obj.noun for known in self._named(caption))
        return not named and head_word(item.obj.noun).lower() in words

    def _same(self, one: Subject, two: Subject) -> bool:
        """Whether two may be one object."""
        clothes = "piece of clothing" in all_classes_of(one.obj.phrase.core) | all_classes_of(two.obj.phrase.core)
        if one.person != two.person and clothes or _unlike(one, two):
            return False
        if one.person and two.person and one.obj.plural != two.obj.plural and shared(one, two) > 0.7:
            return True  # the woman is one of the women
        related = one.obj.noun != two.obj.noun and could_be(one.obj.phrase.core, two.obj.phrase.core)
        return not self.facts.are_distinct(one.obj, two.obj) or (related and shared(one, two) > 0.5)

    def _contents(self, others: list[Subject]) -> Iterator[Told]:
        """What else there is: numbers where they are certain, "a" or "some" where they are not."""
        groups: dict[str, list[Subject]] = {}
        for item in others:
            groups.setdefault(item.obj.phrase.head if self.facts.traits.free_text_names else item.obj.noun, []).append(item)
        chosen, before = [*groups.items()][:MOST_OTHERS], bool(self.known)
        for number, start in enumerate(range(0, len(chosen), 4)):
            chunk = chosen[start : start + 4]
            items = [item for _, members in chunk for item in members]
            self.known |= {item.tag for item in items}
            phrases = [self._several(noun, members) for noun, members in chunk]
            plainly = "are" if _is_several(phrases[0]) else "is"
            form = self.table["count"]["more" if before or number else "say"]
            yield prose(self.draws.choice(form).format(list=join_phrases(phrases), are=plainly)), [item.tag for item in items]

    def _several(self, noun: str, items: list[Subject]) -> str:
        """Objects of one noun, with their number if it is certain."""
        if singular(noun) in ONLY_ONES:
            return f"the {singular(noun)}"
        if len(items) == 1 and (not self.facts.exhaustive or len(self.facts.candidates_for(noun)) == 1):
            another = self.facts.traits.phrase_objects and noun in self.told_nouns and items[0].obj.phrase.number == "singular"
            return f"another {noun}" if another else self._with_looks(items[0])
        number = self.facts.count(noun) if items[0].obj.phrase.number == "singular" else None
        return format_count(noun, number) if number else f"some {plural(noun)}"

    def _sides(self) -> Iterator[Told]:
        """How some of them lie to each other; nothing of clothes, whose wearers were told."""
        number, told = 0, set()
        linked = {frozenset((link.subject, link.object)) for link in self.view.links}
        for one, two, side in self.view.position_pairs(self.draws):
            plain = not (one.is_clothing or two.is_clothing or one.outer or two.outer) and not part_of(one, two)
            if not plain or {one.tag, two.tag} in linked or not {one.tag, two.tag} <= self.known or one.tag in told:
                continue
            told.add(one.tag)
            number += 1
            yield self._say("side", one=one.the, two=two.the, side=side, **{"is": one.be}), [one.tag, two.tag]
            if number == MOST_SIDES:
                break
        placed = {item.place: item for item in self.view.subjects if item.place and not item.is_clothing and not item.outer}
        for item in [item for item in placed.values() if item.tag in self.known - told][: MOST_SIDES - number]:
            yield self._say("again", the=item.the, where=self.view.where(item, self.draws), **{"is": item.be}), [item.tag]

    def _details(self) -> Iterator[Told]:
        """Details in the words of their describers, none that says again what was said."""
        said = set(self.said.lower().split())
        number, usual = 0, common_words(self.view.scene)
        for region in self.draws.shuffled(self.view.scene.regions):
            text = region_text(region.text)
            words = set(text.split()) if text else set()
            if not text or not has_common_words(text, usual) or len(words & said) > len(words) / 2:
                continue
            said |= words
            number += 1
            many = text.startswith(("two ", "three ", "four ", "some ", "a couple of "))
            yield self._say("region", text=text, **{"is": "are" if many else "is"}), [region.tag]
            if number == MOST_REGIONS:
                return


def _unlike(one: Subject, two: Subject) -> bool:
    """Whether their names are known to mean different objects: a shirt and a backpack in one box are two."""
    cores = one.obj.phrase.core, two.obj.phrase.core
    return all(vocabulary.classes_of(core) & vocabulary.kind_table().keys() for core in cores) and not could_be(*cores)


def _has_relation(text: str, verb: str, target: Subject) -> bool:
    """Whether a text has the target's name and a form of the verb."""
    words = text.lower().replace(".", "").split()
    core = target.obj.phrase.core
    named = target.obj.phrase.head in words or any(could_be(word, core) for word in _known(words))
    starts = ("lay", "lie", "lyi") if verb.startswith("lying") else (verb[:3],)
    return named and (verb in ("on", "in", "at") or any(word.startswith(starts) for word in words))


def _is_several(phrase: str) -> bool:
    """Whether "there are" goes before a phrase: "some handbags", "two sheep", not "some snow"."""
    first = phrase.partition(" ")[0]
    return NUMBER_OF_WORD.get(first, 0) > 1 or first == "some" and number_of(phrase) != "mass" or number_of(phrase) == "plural"


def _names(text: str, item: Subject) -> bool:
    """Whether a text has a word for an object."""
    return any(
        could_be(word, item.obj.phrase.core) for word in _known(map(singular, text.lower().rstrip(".").replace(",", "").split()))
    )


def _known(words: Iterable[str]) -> list[str]:
    listed = list(words)
    pairs = map(" ".join, pairwise(listed))
    return [word for word in (*listed, *pairs) if vocabulary.classes_of(word) & vocabulary.kind_table().keys()]
