"""Relations read from captions: only what one clause says of the things that it names."""

from __future__ import annotations

import re

import pytest

from comvint_hf.annotator.facts.scene import facts_of
from comvint_hf.types import Box, Object, Scene

KINDS = {
    "people": ("man", "men", "woman", "women", "people", "boy", "girl", "girls", "person", "crowd", "children", "group", "third"),
    "animals": ("dog", "horse"),
    "clothing": ("shirt", "hat", "hats", "umbrella"),
}


def scene_of(*captions: str) -> Scene:
    """A Flickr30k picture whose captions name things as `[phrase/tag]`; a tag's names are all its phrases."""
    names: dict[str, list[str]] = {}
    for caption in captions:
        for phrase, tag in re.findall(r"\[([^/\]]+)/(\w+)\]", caption):
            names.setdefault(tag, []).append(phrase)
    objects = [
        Object(tag=tag, key=tag, name=said[0], names=tuple(said), kind=_kind(said[0]), boxes=_boxes(said[0], place))
        for place, (tag, said) in enumerate(names.items())
    ]
    grounded = tuple(re.sub(r"\[([^/\]]+)/(\w+)\]", r"<st>\1<ed>[\2]", caption) for caption in captions)
    return Scene(
        id="flickr30k/1", source="flickr30k", width=500, height=400, objects=tuple(objects),
        captions=tuple(re.sub(r"\[([^/\]]+)/\w+\]", r"\1", caption) for caption in captions), meta={"grounded_captions": grounded},
    )  # fmt: skip


def _kind(phrase: str) -> str:
    words = set(phrase.split())
    return next((kind for kind, nouns in KINDS.items() if words & set(nouns)), "other")


def _boxes(phrase: str, place: int) -> tuple[Box, ...]:
    many = phrase.split()[-1] in ("men", "women", "people", "children", "hats", "bikes", "laptops", "girls")
    return tuple(Box(x1=0.1 * place, y1=0.3 * row, x2=0.1 * place + 0.09, y2=0.3 * row + 0.25) for row in range(2 if many else 1))


def said(*captions: str) -> set[tuple[str, str, str]]:
    return {(link.subject, link.verb, link.object) for link in facts_of(scene_of(*captions)).links}


def test_a_clause_says_what_it_says():
    assert said("[A man/o1] in [a hat/o2] is holding [a cup/o3] .") == {("o1", "wearing", "o2"), ("o1", "holding", "o3")}
    assert said("[A man/o1] and [a woman/o2] sit on [a bench/o3] .") == {("o1", "sitting on", "o3"), ("o2", "sitting on", "o3")}


@pytest.mark.parametrize("word", ("while", "as", "and", "because", "that", "when", "but"))
def test_a_relation_stops_where_another_clause_begins(word):
    assert said(f"[Two men/o1] hug {word} [a woman/o2] watches .") == set()


@pytest.mark.parametrize("name", ("a third", "another", "one", "the other", "the second", "someone"))
def test_a_relation_takes_no_ordinal_or_pronoun_for_a_name(name):
    assert said(f"[A man/o1] hugs [{name}/o2] .", "[A woman/o2] is there .") == set()


def test_working_on_something_is_not_using_it():
    assert said("[A man/o1] is working on [a roof/o2] .") == {("o1", "working on", "o2")}
    assert said("[A man/o1] is using [a ladder/o2] .") == {("o1", "using", "o2")}


@pytest.mark.parametrize(
    "caption",
    [
        "[A girl/o1] standing in [a crowd/o2] holding [a sign/o3] .",
        "[A girl/o1] with [a dog/o2] holding [a sign/o3] .",
    ],
)
def test_nobody_does_what_the_one_before_may_do(caption):
    assert not {link for link in said(caption) if link[1] == "holding"}


@pytest.mark.parametrize(
    "caption",
    [
        "[A woman/o1] with [three children/o2] fishing .",
        "[Two girls/o1] are about to feed [an apple/o2] to [a horse/o3] .",
        "[Three boys/o1] sitting around [a rock/o2] .",
        "[A man/o1] in [a paper/o2] breathing [mask/o3] .",
        "[A nun/o1] on [a cellphone/o2] .",
        "[A boy/o1] sitting at [the bottom of a slide/o2] .",
        "[A woman/o1] riding [bikes/o2] .",
        "[A woman/o1] with [an umbrella/o2] .",
        "[Two men/o1] wearing [a shirt/o2] .",
    ],
)
def test_relations_that_were_cut_short_are_left_out(caption):
    assert said(caption) == set()


def test_what_several_have_together_nobody_has_alone():
    assert said("[A man/o1] and [a woman/o2] using [laptops/o3] .") == set()
    assert said("[Two men/o1] using [laptops/o2] .") == {("o1", "using", "o2")}


def test_a_shirt_that_two_wear_is_nobody_s():
    """One of the two tags is wrong; which one, nobody knows."""
    assert said("[A man/o1] in [a hat/o2] waits .", "[The boy/o3] wearing [a hat/o2] sits on [a bench/o4] .") == {
        ("o3", "sitting on", "o4")
    }


def test_one_tag_for_a_man_and_his_guitar_is_neither():
    assert facts_of(scene_of("[A man/o1] plays .", "[The guitar/o1] is played .")).objects == ()
