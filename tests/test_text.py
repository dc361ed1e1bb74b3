"""Singular and plural of nouns, by the common rules and by a caller's own."""

from dataclasses import replace

import pytest

from comvint_hf.text import ENGLISH, PLURAL_ONLY, is_plural, plural, singular


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("person", "people"), ("man", "men"), ("child", "children"), ("sheep", "sheep"), ("knife", "knives"), ("bus", "buses"),
        ("couch", "couches"), ("baby", "babies"), ("toothbrush", "toothbrushes"), ("box", "boxes"), ("mouse", "mice"), ("fireman", "firemen"),
        ("day", "days"), ("potted plant", "potted plants"), ("wine glass", "wine glasses"), ("traffic light", "traffic lights"),
        ("horse", "horses"), ("house", "houses"), ("shoe", "shoes"), ("bikini", "bikinis"), ("taxi", "taxis"),
    ],
)  # fmt: skip
def test_plurals_and_back(one, many):
    assert plural(one) == many
    assert singular(many) == one or one == "wine glass"
    assert plural(many) == many


@pytest.mark.parametrize("word", ["grass", "bus", "tennis", "jeans", "sheep", "gas", ""])
def test_words_that_only_look_like_plurals_stay(word):
    assert singular(word) == word


@pytest.mark.parametrize(
    ("word", "expected"), [("dogs", True), ("people", True), ("dog", False), ("glass", False), ("snow", False)]
)
def test_plurals_are_told_by_their_ending(word, expected):
    assert is_plural(word) is expected


def test_rules_are_a_parameter():
    pairs_too = replace(ENGLISH, unchanged=ENGLISH.unchanged - PLURAL_ONLY)
    assert singular("wine glasses") == "wine glasses"
    assert singular("wine glasses", pairs_too) == "wine glass"
