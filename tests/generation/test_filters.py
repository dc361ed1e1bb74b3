"""Checks: each gives its reason or nothing, and the reason names what was found."""

import asyncio

import pytest

from comvint_hf.generation import filters
from comvint_hf.types import Box, Edit, Object, Region, Sample, Scene, Text, Turn

SCENE = Scene(
    id="toy/1",
    source="toy",
    width=100,
    height=100,
    objects=(
        Object(tag="o1", key="1", name="man", boxes=(Box(x1=0.1, y1=0.1, x2=0.4, y2=0.9),)),
        Object(tag="o2", key="2", name="sky"),
    ),
    regions=(Region(tag="r1", text="a man waits", box=Box(x1=0.1, y1=0.1, x2=0.4, y2=0.9)),),
)


def said(question="Who waits?", answer="A man waits.", **changes):
    return Sample(scene=SCENE).write([Turn(question, answer)], **changes)


def test_a_good_sample_passes_every_check():
    assert filters.find_failure(said(), filters.CHECKS) is None
    assert (
        filters.find_failure(
            said("Who is <st>he<ed>[o1]?", "A <st>man<ed>[o1], [r1]."), (*filters.CHECKS, filters.check_grounding)
        )
        is None
    )


def test_an_empty_turn_is_rejected():
    assert filters.check_turns(said(answer="  ")) == "empty turn"
    assert filters.check_turns(Sample(scene=SCENE)) == "empty turn"


@pytest.mark.parametrize(
    "text",
    [
        "Based on the given captions, a man waits.",
        "According to the description, he waits.",
        "The caption says that he waits.",
        "It is not mentioned in the picture's data.",
        "The bounding boxes show that he is left.",
        "From the provided information he waits.",
        "The descriptions suggest that he waits.",
    ],
)
def test_talk_about_the_source_is_a_leak(text):
    assert filters.check_source_leak(said(answer=text)).startswith("source leak")


@pytest.mark.parametrize(
    "text",
    [
        "A sign gives information to visitors.",
        "He opens a cardboard box.",
        "The context of the fight is unknown to the dog.",
        "A book of descriptions lies on the table.",
        "He leans on a scene painter's ladder.",
    ],
)
def test_pictures_may_hold_such_words(text):
    assert filters.check_source_leak(said(answer=text)) is None


@pytest.mark.parametrize("text", ["I'm sorry, I cannot see the image.", "As an AI I do not know.", "That cannot be determined."])
def test_refusals_are_rejected(text):
    assert filters.check_refusal(said(answer=text)).startswith("refusal")


@pytest.mark.parametrize("text", ["<image> A man.", "A man <IMG> waits.", "See <|image_pad|> here."])
def test_image_placeholders_are_rejected(text):
    assert filters.check_placeholder(said(answer=text)).startswith("image placeholder")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("A <st>dog<ed>[o9] waits.", "unknown reference"),
        ("The <st>sky<ed>[o2] is blue.", "unknown reference"),
        ("A <st>man<ed>[0.1, 0.2, 0.3, 0.4] waits.", "coordinates instead of a reference"),
        ("A <st>man waits.", "broken grounding markers"),
        ("A man<ed> waits.", "broken grounding markers"),
    ],
)
def test_references_must_be_the_scenes_own(answer, reason):
    assert filters.check_references(said(answer=answer)).startswith(reason)


def test_evidence_must_be_the_scenes_own():
    assert filters.check_references(said(evidence=("o1", "o7"))) == "unknown evidence: [o7]"
    assert filters.check_references(said(evidence=("o1", "r1"))) is None


def test_a_tag_outside_the_markers_is_loose():
    assert filters.check_loose_tags(said(answer="The man [o1] waits.")) == "tag outside markers: [o1]"


def test_length_depends_on_the_task():
    long = "word " * 200
    assert filters.check_length(said(answer=long)) == "too long: 200 words, at most 120"
    assert filters.check_length(said(answer=long, task="detail_description")) is None


def test_a_referring_sample_points_on_both_sides():
    assert filters.check_grounding(said("Who is it?", "A <st>man<ed>[o1].")) == "no object referred to by the user"
    assert filters.check_grounding(said("Who is <st>he<ed>[o1]?", "A man.")) == "no object referred to by the assistant"


@pytest.mark.parametrize(
    ("question", "copied"), [("who WAITS? ", True), ("Who waits, then?", False), ("Who waits", True), ("Who, waits?!", True)]
)
def test_a_rewrite_that_changes_nothing_is_a_copy(question, copied):
    rewrite = said().rewrite("complicate: one more hop", Turn(question, "He does."))
    assert filters.check_copy(rewrite) == ("the rewrite is a copy" if copied else None)


def test_going_back_to_the_first_version_is_a_copy_too():
    twice = said().rewrite("complicate: one more hop", Turn("Who waits there?", "He.")).rewrite("mine", Turn("Who waits?", "He."))
    assert filters.check_copy(twice) == "the rewrite is a copy"
    assert filters.check_copy(said()) is None


def test_a_failed_attempt_is_no_rewrite():
    """What could not be made harder keeps its words, and that is no copy of itself."""
    failed = filters.make_failure_note(1, said().reject("no usable reply"))
    assert failed.stage == "complicate 1 failed: no usable reply"
    assert filters.check_copy(said(history=(failed,))) is None
    before = Edit(stage="complicate: one more hop", instruction="Who waits?", response="A man.")
    assert filters.check_copy(said(history=(before, failed))) == "the rewrite is a copy"
    assert filters.previous_version(said(history=(before, failed))) == before


# Reasoning samples ------------------------------------------------------------------------------------------------------


def reasoned(question="Who waits there?", answer="A man waits.", **changes):
    return said(question, answer, **{"task": "cross_modal", "evidence": ("o1",)} | changes)


def test_a_reasoning_answer_rests_on_something():
    assert filters.check_evidence(reasoned()) is None
    assert filters.check_evidence(reasoned(evidence=())) == "no evidence"
    assert filters.check_evidence(reasoned(evidence=(), task="outside_knowledge")) == "no evidence"
    assert filters.check_evidence(reasoned("Is he old?", "Yes", evidence=(), format="bool")) == "no evidence"
    assert filters.check_evidence(reasoned("Is there a dog?", "No", evidence=(), format="bool")) is None
    assert filters.check_evidence(said()) is None, "a conversation need not name any"


def test_writing_and_a_scene_without_tags_cannot_be_pointed_at():
    reading = Sample(scene=SCENE.model_copy(update={"texts": (Text(text="STOP"),)}), task="cross_modal")
    assert filters.check_evidence(reading.write([Turn("What does it say?", "It says STOP.")])) is None
    assert filters.check_evidence(reading.write([Turn("What does it say?", "It says GO.")])) == "no evidence"
    captioned = Sample(scene=Scene(id="toy/2", source="toy", width=9, height=9, captions=("A man.",)), task="cross_modal")
    assert filters.check_evidence(captioned.write([Turn("Who is it?", "A man.")])) is None


@pytest.mark.parametrize(("words", "bad"), [(2, True), (3, False), (80, False), (81, True)])
def test_a_reasoning_question_has_bounds(words, bad):
    asked = reasoned(" ".join(["who"] * words))
    assert bool(filters.check_question_length(asked)) is bad
    assert filters.check_question_length(asked.model_copy(update={"task": "conversation"})) is None
    options = "\n".join(f"{letter}. {'long ' * 30}{letter}" for letter in "ABCD")
    assert filters.check_question_length(reasoned(f"Which one is it?\n{options}", "A", format="choice")) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Welche Farbe hat der Hut des Mannes, der neben dem Hund sitzt?", "Er hat einen roten Hut."),
        ("Quelle est la couleur du chapeau de l'homme assis sur le banc?", "Le chapeau est rouge."),
        ("¿De qué color es el sombrero del hombre que está sentado?", "El sombrero del hombre es rojo."),
        ("Que cor tem o chapéu do homem sentado ao lado do cachorro?", "O chapéu é vermelho."),
        ("Di che colore è il cappello dell'uomo seduto sulla panchina?", "Il cappello è rosso."),
        ("What does the man wear?", "他戴着一顶红色的帽子站在喷泉旁边"),
        ("Кто это?", "Человек в шляпе."),
    ],
)
def test_another_language_is_seen(question, answer):
    assert filters.check_language(said(question, answer)).startswith("not English")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Colour?", "Red."),
        ("How many?", "3"),
        ("What does the sign say?", "It says 出口, which means exit."),
        ("Name the café.", "Café Größenwahn"),
        ("Dog breed, size, coat, tail, ears?", "Dachshund, small, smooth, long, floppy."),
        ("Do dogs chase cats here? Answer yes or no.", "Yes"),
    ],
)
def test_short_and_quoting_rows_are_english(question, answer):
    assert filters.check_language(said(question, answer)) is None


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Is he old?", "Yes", None),
        ("When it rains, does he wait?", "No", None),
        ("Is he old?", "Maybe", "answer is 'Maybe', expected Yes or No"),
        ("What does he wear?", "Yes", "a yes/no question that asks 'what'"),
        ("Whatever he wears, is it red?", "Yes", None),
    ],
)
def test_a_yes_no_question_asks_for_yes_or_no(question, answer, reason):
    assert filters.check_yes_no(said(question, answer, format="bool")) == reason
    assert filters.check_yes_no(said(question, answer)) is None


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        (["red", "blue", "green", "pink"], "A", None),
        (["a red cup", "the red cup.", "green", "pink"], "C", "expected four different options"),
        (["red", "blue", "green"], "A", "expected four different options"),
        (["red", "blue", "green", "pink"], "E", "expected four different options"),
        (["the man who holds a big umbrella", "the dog", "the cat", "a cup"], "A", "the right option stands out"),
        (["the man who holds a big umbrella", "the dog", "the cat", "a cup"], "B", None),
        (["fire engine", "car", "bus", "van"], "A", None),
        (
            ["wax", "waterproof cloth on poles", "two lenses in a frame", "wood and metal rods"],
            "A",
            "the right option stands out",
        ),
    ],
)
def test_four_options_differ_and_none_stands_out(options, answer, reason):
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False))
    found = filters.check_options(said(f"Which one is it?\n{listed}\nAnswer with the letter.", answer, format="choice"))
    assert found is None if reason is None else found.startswith(reason)


def test_the_stage_rejects_with_the_first_reason():
    (made,) = asyncio.run(filters.check(said(answer="As an AI, <image>"), None))
    assert made.reason.startswith("image placeholder")
    (kept,) = asyncio.run(filters.check(said(), None))
    assert kept.reason is None


# What language models write -----------------------------------------------------------------------------------------------


def test_a_phrase_that_is_not_its_object_is_rejected():
    wrong = said(answer="The <st>existence<ed>[o1] is clear.")
    assert filters.check_phrases(wrong) == "phrase is not its object: 'existence' for [o1] 'man'"
    assert filters.check_phrases(said(answer="The <st>waiter<ed>[o1] rests, and <st>he<ed>[r1] smiles.")) is None
    assert filters.check_phrases(wrong.replace(generator="annotations")) is None


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        ("What colour is the red car?", "It is red.", True),
        ("Why is the man waiting for the bus?", "Because he is waiting for the bus.", True),
        ("What is next to the man?", "The man.", True),
        ("Is the car red?", "The car is red.", False),
        ("Is the car red or blue?", "It is red.", False),
        ("Which is it, red or blue?", "Blue.", False),
        ("Where is the cup?", "On the table.", False),
        ("Where is the man?", "The <st>man<ed>[o1].", False),
        ("How many men wait?", "Two men wait.", False),
    ],
)
def test_a_question_must_not_tell_its_answer(question, answer, told):
    assert bool(filters.check_tells_answer(said(question, answer))) == told


@pytest.mark.parametrize("text", ["string", "Write as somebody who is looking at the picture itself.", "answer", "..."])
def test_a_copy_of_the_prompt_is_rejected(text):
    assert filters.check_prompt_copy(said(answer=text)).startswith("copy of the prompt")
    assert filters.check_prompt_copy(said(question=text)).startswith("copy of the prompt")


def test_a_request_for_a_place_or_a_description_is_no_leak():
    assert filters.check_source_leak(said("Give a bounding box of the man.", "Here.", topic="grounding")) is None
    assert filters.check_source_leak(said("Give a description of the scene.", "A man.", task="detail_description")) is None
    assert filters.check_source_leak(said("Give a bounding box of the man.", "Here.")) is not None


@pytest.mark.parametrize(
    ("task", "words"),
    [("conversation", 50), ("referring_qa", 50), ("complex_reasoning", 80), ("vlit", 120), ("detail_description", 450)],
)
def test_no_length_that_a_prompt_allows_is_too_long(task, words):
    """Writers count badly: half as many again are still taken."""
    assert filters.check_length(said(answer="word " * int(1.5 * words), task=task)) is None
    assert filters.check_length(said(answer="word " * 1000, task=task)) is not None
