"""The everyday knowledge: every category is known, every field reads well in its sentence, and every name leads somewhere."""

from __future__ import annotations

import re

import pytest

from comvint_hf.annotator.words import knowledge, vocabulary
from comvint_hf.annotator.words.knowledge import Noun
from comvint_hf.sources import load_scenes
from comvint_hf.types import Scene

COCO = {kind.name for kind in vocabulary.kind_table().values() if kind.coco}
NOUNS = list(knowledge.nouns().values())
VERBLESS = re.compile(r"^(?:a|an|the|is|are|it|they)\b")


def test_all_coco_categories_and_enough_others_are_known():
    assert len(COCO) == 80 and COCO <= knowledge.nouns().keys()
    assert len(NOUNS) >= 230
    assert {"circle", "square", "triangle", "star"} <= knowledge.shapes().keys()
    assert {"red", "green", "blue", "yellow", "purple", "orange"} <= knowledge.colours().keys()


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.name)
def test_fields_fit_their_sentences(noun: Noun):
    for verb in (noun.use, noun.care):
        assert not verb or (verb[0].islower() and not verb.endswith(".") and not VERBLESS.match(verb)), verb
    for sentence in (noun.fact, noun.danger):
        assert not sentence or (sentence[0].isupper() and sentence.endswith(".") and sentence.count(".") <= 2), sentence
    for phrase in (noun.kind, noun.place, noun.made_of):
        assert not phrase or (phrase[0].islower() and not phrase.endswith(".")) or phrase.startswith(("Africa", "Asia")), phrase
    assert noun.fact, f"{noun.name} has no fact"
    assert not noun.made_of.startswith(("a ", "an ", "two ")), f"{noun.made_of!r} is no material"
    assert not re.match(r"(?:an?|the) ", noun.kind)


def test_names_lead_somewhere_and_to_one_noun_only():
    words = [word for noun in NOUNS for word in (noun.name, *noun.synonyms)]
    assert len(words) == len(set(words)), [word for word in words if words.count(word) > 1]
    assert {word for noun in NOUNS for word in noun.goes_with} <= knowledge.nouns().keys()
    rules = [rule for asks in ("setting", "activity", "weather") for rule in knowledge.rules(asks)]
    assert len(rules) >= 30
    assert {word for rule in rules for group in (*rule.all, rule.none) for word in group} <= knowledge.nouns().keys()


def test_conclusions_read_on():
    for rule in knowledge.rules("activity"):
        assert re.match(r"[a-z]+ing\b|on ", rule.concludes), rule.concludes
        assert rule.next and rule.skill and rule.because.endswith(".")
    for rule in knowledge.rules("setting"):
        assert re.match(r"(?:an?|the) ", rule.concludes), rule.concludes


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("young men", "man"),
        ("wine glasses", "wine glass"),
        ("Hot Dogs", "hot dog"),
        ("red-striped umbrellas", "umbrella"),
        ("bikes", "bicycle"),
        ("sofa", "couch"),
        ("license plate", None),
        ("toy train", None),
        ("life jacket", None),
        ("swim suit", None),
        ("gravestone", None),
        ("", None),
    ],
)
def test_known(said, name):
    found = knowledge.find_noun(said)
    assert (found.name if found else None) == name


def test_mixtures_and_shapes_are_right():
    assert knowledge.paint_results() == {
        frozenset(("red", "yellow")): "orange",
        frozenset(("blue", "yellow")): "green",
        frozenset(("red", "blue")): "purple",
    }
    assert {name: shape.corners for name, shape in knowledge.shapes().items()} == {
        "circle": 0, "square": 4, "triangle": 3, "star": 10, "rectangle": 4,
    }  # fmt: skip
    assert [name for name, shape in knowledge.shapes().items() if shape.rolls] == ["circle"]


def test_most_things_of_photos_are_known(shared):
    def share(scenes: list[Scene]) -> float:
        names = [item.name for scene in scenes for item in scene.objects if item.boxes]
        return sum(knowledge.find_noun(name) is not None for name in names) / len(names)

    assert share(list(load_scenes(f"coco:{shared / 'coco'}"))) == 1
    assert share(list(load_scenes(f"flickr30k:{shared / 'flickr30k_entities'}"))) > 0.5
