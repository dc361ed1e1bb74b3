"""Checks: each gives its reason or nothing, and the reason names what was found."""

import asyncio

import pytest

from comvint_hf.records import Box, Edit, Object, Region, Sample, Scene, Turn
from comvint_hf.synthesis import checks

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
    assert checks.first_failure(said(), checks.CLEAN) is None
    assert (
        checks.first_failure(said("Who is <st>he<ed>[o1]?", "A <st>man<ed>[o1], [r1]."), (*checks.CLEAN, checks.ungrounded))
        is None
    )


def test_an_empty_turn_is_rejected():
    assert checks.empty(said(answer="  ")) == "empty turn"
    assert checks.empty(Sample(scene=SCENE)) == "empty turn"


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
    assert checks.leak(said(answer=text)).startswith("source leak")


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
    assert checks.leak(said(answer=text)) is None


@pytest.mark.parametrize("text", ["I'm sorry, I cannot see the image.", "As an AI I do not know.", "That cannot be determined."])
def test_refusals_are_rejected(text):
    assert checks.refusal(said(answer=text)).startswith("refusal")


@pytest.mark.parametrize("text", ["<image> A man.", "A man <IMG> waits.", "See <|image_pad|> here."])
def test_image_placeholders_are_rejected(text):
    assert checks.placeholder(said(answer=text)).startswith("image placeholder")


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
    assert checks.references(said(answer=answer)).startswith(reason)


def test_evidence_must_be_the_scenes_own():
    assert checks.references(said(evidence=("o1", "o7"))) == "unknown evidence: [o7]"
    assert checks.references(said(evidence=("o1", "r1"))) is None


def test_a_tag_outside_the_markers_is_loose():
    assert checks.loose_tag(said(answer="The man [o1] waits.")) == "tag outside markers: [o1]"


def test_length_depends_on_the_task():
    long = "word " * 200
    assert checks.too_long(said(answer=long)) == "too long: 200 words, at most 120"
    assert checks.too_long(said(answer=long, task="detail_description")) is None


def test_a_referring_sample_points_on_both_sides():
    assert checks.ungrounded(said("Who is it?", "A <st>man<ed>[o1].")) == "no object referred to by the user"
    assert checks.ungrounded(said("Who is <st>he<ed>[o1]?", "A man.")) == "no object referred to by the assistant"


def test_a_rewrite_that_changes_nothing_is_a_copy():
    assert checks.copy(said().rewrite("complicate: one more hop", Turn("who WAITS? ", "He does."))) == "the rewrite is a copy"
    assert checks.copy(said().rewrite("complicate: one more hop", Turn("Who waits at the door?", "He does."))) is None
    assert checks.copy(said()) is None


def test_a_failed_attempt_is_no_rewrite():
    """What could not be made harder keeps its words, and that is no copy of itself."""
    failed = checks.failed(1, said().reject("no usable reply"))
    assert failed.stage == "complicate 1 failed: no usable reply"
    assert checks.copy(said(history=(failed,))) is None
    before = Edit(stage="complicate: one more hop", instruction="Who waits?", response="A man.")
    assert checks.copy(said(history=(before, failed))) == "the rewrite is a copy"


def test_the_stage_rejects_with_the_first_reason():
    (made,) = asyncio.run(checks.check(said(answer="As an AI, <image>"), None))
    assert made.reason.startswith("image placeholder")
    (kept,) = asyncio.run(checks.check(said(), None))
    assert kept.reason is None
