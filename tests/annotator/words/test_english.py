"""English for the annotator: what captions write, and what may not break it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.annotator.words import english
from comvint_hf.annotator.words.vocabulary import kind_table
from comvint_hf.text import SAME, plural


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("hour", "an hour"), ("unicorn", "a unicorn"), ("x-ray", "an x-ray"), ("umbrella", "an umbrella"), ("uniform", "a uniform"),
        ("honest man", "an honest man"), ("one-way sign", "a one-way sign"), ("SUV", "an SUV"), ("European car", "a European car"),
        ("unlit lamp", "an unlit lamp"), ("utensil", "a utensil"), ("scissors", "a pair of scissors"), ("people", "some people"),
        ("snow", "snow"), ("hot dog", "a hot dog"), ("blue jeans", "a pair of blue jeans"),
    ],
)  # fmt: skip
def test_articles_go_by_sound_and_number(phrase, expected):
    assert english.add_article(phrase) == expected


@pytest.mark.parametrize(
    ("raw", "the", "number", "count"),
    [
        ("A young man in a blue shirt", "the young man in a blue shirt", "singular", 1),
        ("Two men", "the men", "plural", 2),
        ("his hand", "the hand", "singular", None),
        ("people", "the people", "plural", None),
        ("a group of people", "the group of people", "singular", 1),
        ("woman's arm", "the woman's arm", "singular", None),
        ("TREES", "the trees", "plural", None),
        ("the firemen 's uniforms", "the firemen's uniforms", "plural", None),
        ("an American flag", "the American flag", "singular", 1),
        ("green and white apron", "the green and white apron", "singular", None),
        ("black pants", "the black pants", "plural", None),
        ("a pair of scissors", "the pair of scissors", "singular", 1),
        ("sunglasses", "the sunglasses", "plural", None),
        ("some snow", "the snow", "mass", None),
        ("three asian women", "the Asian women", "plural", 3),
        ("a christmas tree", "the Christmas tree", "singular", 1),
    ],
)
def test_noun_phrases_of_corpora(raw, the, number, count):
    phrase = english.noun_phrase(raw)
    assert (phrase.the, phrase.number, phrase.quantity) == (the, number, count)


@pytest.mark.parametrize(
    "raw",
    [
        "a third", "the other", "one", "some stacked orange", "a couple guys", "a group of woman", "Three women or girls",
        "the bottom of a slide", "hand-in-hand", "a group of", "two dog",
    ],
)  # fmt: skip
def test_half_a_phrase_is_no_name(raw):
    assert english.noun_phrase(raw) is None


@pytest.mark.parametrize(
    "raw", ["him", "something", "each other", "the end", "", "  ", "a", "on the", "$%&", "someone's lighter", "the background"]
)
def test_what_names_nothing_is_refused(raw):
    assert english.noun_phrase(raw) is None


def test_heads_ignore_what_follows():
    assert english.noun_phrase("Two young women in red dresses").head == "woman"
    assert english.noun_phrase("boys playing soccer").head == "boy"


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(raw):
    phrase = english.noun_phrase(raw)
    if phrase:
        assert phrase.text.startswith(phrase.core)
        assert phrase.head
        assert phrase.the == f"the {phrase.text}"
        assert not phrase.text.lower().startswith(("the ", "an "))


@given(st.lists(st.sampled_from(["a dog", "two cats", "a cow"]), min_size=1, max_size=5))
def test_a_list_has_one_and(items):
    text = english.join_phrases(items)
    assert text.count(" and ") == (len(items) > 1)
    assert all(item in text for item in items)


@pytest.mark.parametrize("kind", sorted(kind_table()))
def test_every_kind_can_be_counted(kind):
    assert english.format_count(kind, 1).startswith("one ")
    assert english.number_of(plural(kind)) in ("plural", "mass") or kind in SAME


def test_sentences_begin_large_and_end():
    assert english.sentence("is it red?") == "Is it red?"
    assert english.sentence("the dog is here") == "The dog is here."
