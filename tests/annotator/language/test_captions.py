"""Captions as sentences: which are whole, and which two of them one may say of the same picture."""

from __future__ import annotations

import pytest

from comvint_hf.annotator.language.captions import adds_content, caption_sentences
from comvint_hf.annotator.words.colors import may_describe_same
from comvint_hf.types import Scene


def sentences(*captions: str) -> list[str]:
    return caption_sentences(Scene(id="coco/1", source="coco", width=1, height=1, captions=captions))


@pytest.mark.parametrize(
    ("caption", "sentence"),
    [
        ("A man riding a wave on a surfboard", "A man is riding a wave on a surfboard."),
        ("Two dogs playing in the water .", "Two dogs are playing in the water."),
        ("A woman stands in the dining area at the table", "A woman stands in the dining area at the table."),
        ("A man is lying in bed with a black cat", "A man is lying in bed with a black cat."),
        ("A girl wearing a life vest floats in water", "A girl wearing a life vest floats in water."),
        ("A young female gymnast is laying down on a mat", "A young female gymnast is lying down on a mat."),
        ("A young woman in a blue hat reading a book", "The picture shows a young woman in a blue hat reading a book."),
        ("An old lady wearing a striped apron in her kitchen", "An old lady is wearing a striped apron in her kitchen."),
    ],
)
def test_whole_sentences_are_kept(caption, sentence):
    assert sentences(caption) == ([sentence] if sentence else [])


@pytest.mark.parametrize(
    "caption",
    [
        "The man wearing jacket is looking at the bike",
        "A man riding bike on the street with a dog",
        "A couple performs during dance competition.",
        "Four men standing behind fence and looking out",
        "The man in the hat is looking at he bike",
        "Two dog are playing in the waves at a beach",
        "A laughing girl holding a bucket splashes in the ocean",
        "Two women are enjoying each others company",
        "A lady waits because she decided to received a hair treatment",
        "A young man in a plaid shirts sits on the deck",
        "Four runners are racing at in indoor track meet",
        "A hockey played wearing a black jersey is surrounded by other players",
    ],
)
def test_slips_of_the_pen_are_no_sentences(caption):
    assert sentences(caption) == []


@pytest.mark.parametrize(
    ("one", "two", "fit"),
    [
        ("A brown and white dog holds a ball.", "A tan dog is playing.", False),
        ("A dog is sitting on top of a green truck.", "A dog is sitting on top of a white truck.", False),
        ("A big black dog runs.", "A puppy is running with a brown stick.", True),
        ("A man in a red shirt stands by a blue car.", "A man in a red shirt holds a blue ball.", True),
        ("A man in a red shirt stands by a blue car.", "A man in a blue shirt is standing by a red car.", False),
        ("A woman in a blue dress is standing.", "A woman walks through a crowd.", True),
    ],
)
def test_captions_that_see_other_colours_of_one_thing_are_not_both_said(one, two, fit):
    assert may_describe_same(one, two) is fit
    assert may_describe_same(two, one) is fit


@pytest.mark.parametrize(
    ("caption", "before", "more"),
    [
        ("Two dogs are running over the snow.", "A man is throwing a stick.", True),
        ("A dark poodle is tied to a post.", "A black poodle is leashed to a hydrant.", False),
        ("A passenger is walking into a bus.", "A woman is standing in the doorway.", False),
        ("Two children are practicing martial arts.", "Two boys are practicing karate.", False),
    ],
)
def test_a_second_caption_tells_something_else(caption, before, more):
    assert adds_content(caption, before) is more


@pytest.mark.parametrize(
    "caption",
    (
        "A dog is licking its lips while sitting beside two feeding tray.",
        "The fireman is looking something near him.",
        "One man riding a surfboard and one man laying on a surfboard.",
    ),
)
def test_what_was_written_in_haste_is_left_out(caption):
    assert caption_sentences(Scene(id="x/1", source="coco", width=1, height=1, captions=(caption,))) == []
