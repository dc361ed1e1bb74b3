"""What models write for tags and markers, read into one notation."""

import pytest

from comvint_hf.generation.references import example_pointers, example_tags, read_tags, tidy_references, tie_captions
from comvint_hf.generation.stage import parse_tags
from comvint_hf.types import Box, Object, Region, Scene

BOX = Box(x1=0.1, y1=0.1, x2=0.4, y2=0.9)
SCENE = Scene(
    id="toy/1",
    source="toy",
    width=100,
    height=100,
    captions=("A man in a hat walks two dogs.",),
    objects=(
        Object(tag="o1", key="1", name="A man", names=("A man", "The guy"), boxes=(BOX,), kind="people"),
        Object(tag="o2", key="2", name="hat", boxes=(BOX,)),
        Object(tag="o3", key="3", name="dog", boxes=(BOX,)),
        Object(tag="o4", key="4", name="dog", boxes=(BOX,)),
        Object(tag="o5", key="5", name="sky"),
    ),
    regions=(Region(tag="r1", text="a man waits", box=BOX),),
    meta={"grounded_captions": ("<st>A man<ed>[o1] in <st>a hat<ed>[o2] walks <st>two dogs<ed>[o3], [o4].",)},
)


@pytest.mark.parametrize(
    "entry", ["o1", "[o1]", "O1", "`o1`", "<o1>", "(o1)", "{o1}", "object 1", "Object #1", "o1: A man", "o_1", "[O1] man", "'o1'"]
)
def test_a_tag_is_read_in_any_notation(entry):
    assert parse_tags([entry], SCENE) == parse_tags([entry]) == ("o1",)


def test_several_tags_names_and_numbers_are_read():
    assert parse_tags(["o1, o2 and r1", "region 1", "o2"], SCENE) == ("o1", "o2", "r1")
    assert parse_tags(["dog", "the guy", "2"], SCENE) == ("o3", "o4", "o1", "o2")


def test_what_refers_to_nothing_is_left_out_where_the_scene_is_known():
    assert parse_tags(["the whole picture", "o1"], SCENE) == ("o1",)
    assert parse_tags(["the whole picture", "o1"]) == ("the whole picture", "o1")
    assert read_tags("for 2 people or 3") == []
    assert parse_tags(["o9"], SCENE) == ("o9",), "a tag that the scene does not have is for the checks to reject"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("The <st>man<ed>[o1] waits.", "The <st>man<ed>[o1] waits."),
        ("The <st>man</st>[o1] waits.", "The <st>man<ed>[o1] waits."),
        ("The <st>man</ed> [O1] waits.", "The <st>man<ed>[o1] waits."),
        ("The <st>man<ed>o1, who waits.", "The <st>man<ed>[o1], who waits."),
        ("The <st>man<ed>(o1) waits.", "The <st>man<ed>[o1] waits."),
        ("The <st>man [o1]<ed> waits.", "The <st>man<ed>[o1] waits."),
        ("Two <st>dogs<ed>[o3, o4].", "Two <st>dogs<ed>[o3], [o4]."),
        ("Two <st>dogs<ed>[o3] and [o4] run.", "Two <st>dogs<ed>[o3], [o4] run."),
        ("A man [o1] has a hat [o2].", "A <st>man<ed>[o1] has a <st>hat<ed>[o2]."),
        ("What does [o1] do?", "What does [o1] do?"),
        ("A cat [o3] runs.", "A cat [o3] runs."),
    ],
)
def test_references_get_one_notation(written, read):
    assert tidy_references(written, SCENE, pointing=True) == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("The man [o1] waits.", "The man waits."),
        ("The <st>man<ed>[o1] waits.", "The man waits."),
        ("What does [o1] do?", "What does [o1] do?"),
        ("A cat [o3] runs.", "A cat [o3] runs."),
        ("No tags here.", "No tags here."),
    ],
)
def test_where_text_points_at_nothing_a_tag_after_its_name_is_left_out(written, read):
    """A tag in place of a name stays, for the checks to reject."""
    assert tidy_references(written, SCENE, pointing=False) == read


def test_prompts_show_captions_with_their_references_and_examples_of_the_scenes_own():
    assert list(tie_captions(SCENE)) == ["A man [o1] in a hat [o2] walks two dogs [o3], [o4]."]
    assert list(tie_captions(SCENE.model_copy(update={"meta": {}}))) == list(SCENE.captions)
    assert example_tags(SCENE) == ["o1", "o2"]
    assert example_pointers(SCENE) == ["<st>man<ed>[o1]", "<st>dogs<ed>[o3], [o4]"]
    assert example_tags(SCENE.model_copy(update={"objects": ()})) == ["r1"]
