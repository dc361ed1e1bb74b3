"""Rendered scenes: the same everywhere, annotated truly, drawn where the boxes say."""

import hashlib
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comvint_hf.errors import SourceError
from comvint_hf.sources.shapes import COLOURS, LEVELS, SHAPES, format_count, join_texts, make_scene, scenes
from comvint_hf.types import Scene

OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def told(one):
    """All that a scene says and shows."""
    return one.model_dump(exclude={"image"}), one.open().tobytes()


def test_scene_depends_on_seed_and_number_only():
    assert [told(one) for one in scenes(9, seed=4)][:5] == [told(one) for one in scenes(5, seed=4)]
    assert make_scene(0, seed=1).objects != make_scene(0, seed=2).objects


def test_scenes_are_the_same_on_every_machine():
    """The digest was written down once; a change of it changes every dataset built from shapes."""
    written = repr([item.model_dump(exclude={"image"}) for level in LEVELS for item in scenes(20, level=level)])
    assert hashlib.sha256(written.encode()).hexdigest()[:16] == "e23f7bf1ee030122"


def test_unknown_level_is_refused():
    with pytest.raises(SourceError, match="expected one of single, grid"):
        next(scenes(1, level="hard"))


@pytest.mark.parametrize("level", LEVELS)
def test_levels_keep_their_number_of_objects(level):
    counts = {len(item.objects) for item in scenes(300, level=level)}
    assert min(counts) == LEVELS[level].min_objects and max(counts) == LEVELS[level].max_objects


def test_image_is_lazy_and_can_be_sent_to_another_process():
    one = make_scene(3, level="free")
    assert pickle.loads(pickle.dumps(one)).open().tobytes() == one.open().tobytes()
    assert one.open().size == (one.width, one.height)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(LEVELS)))
def test_annotations_are_valid_records_and_relations_agree(index, level):
    one = Scene.model_validate(make_scene(index, level=level).model_dump())
    told = {(item.subject, item.predicate, item.object) for item in one.relations}
    assert told == {(item, OPPOSITE[predicate], subject) for subject, predicate, item in told}
    for subject, predicate, other in told:
        a, b = one.by_tag[subject].boxes[0], one.by_tag[other].boxes[0]
        axis = 0 if predicate in ("left of", "right of") else 1
        assert (a.centre[axis] < b.centre[axis]) == (predicate in ("left of", "above"))
    assert all(set(region.objects) <= set(one.by_tag) for region in one.regions)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_pixels_show_what_the_boxes_say(index):
    """Outside every box lies bare ground; an object reaches each side of its box in its own colour."""
    one = make_scene(index)
    picture = one.open()
    ground = picture.getpixel((0, 0))
    boxes = [tuple(round(value * 96) for value in box.xyxy) for item in (*one.objects, *one.texts) for box in boxes_of(item)]
    for x in range(96):
        for y in range(96):
            inside = any(left <= x < right and top <= y < bottom for left, top, right, bottom in boxes)
            assert inside or picture.getpixel((x, y)) == ground
    for item, (left, top, right, bottom) in zip(one.objects, boxes, strict=False):
        drawn = [
            (x, y) for x in range(left, right) for y in range(top, bottom) if near(picture.getpixel((x, y)), item.attributes[1])
        ]
        xs, ys = zip(*drawn, strict=True)
        assert (min(xs), min(ys), max(xs) + 1, max(ys) + 1) == (left, top, right, bottom)


def boxes_of(item):
    return item.boxes if hasattr(item, "boxes") else (item.box,)


def near(rgb, colour):
    return all(abs(value - wanted) <= 14 for value, wanted in zip(rgb, COLOURS[colour], strict=True))


@pytest.mark.parametrize("level", LEVELS)
def test_sentences_are_grammatical_and_true(level):
    for one in scenes(200, level=level):
        names = [item.name for item in one.objects]
        for sentence in (*one.captions, *(region.text for region in one.regions)):
            assert not re.search(r"\ba [aeio]", sentence) and "  " not in sentence
        for shape in SHAPES:
            wanted = format_count(shape, names.count(shape)) if shape in names else None
            assert (wanted in one.captions[1]) if wanted else shape not in one.captions[1]
        for question in one.questions:
            if match := re.fullmatch(r"What colour is the (\w+)\?", question.question):
                assert [item.attributes[1] for item in one.objects if item.name == match[1]] == [question.answer]


def test_some_scenes_hold_a_word():
    share = sum(bool(one.texts) for one in scenes(1000)) / 1000
    assert 0.1 < share < 0.2


def test_lists_read_as_in_a_sentence():
    assert join_texts(["a star"]) == "a star" and join_texts(["a", "b", "c"]) == "a, b and c"
