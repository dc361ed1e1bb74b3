"""Which column is what, in the layouts of well-known datasets of the Hub, each rebuilt in small."""

import pytest

from comvint_hf.errors import SourceError
from comvint_hf.sources.columns import find_columns, parse_columns, read_items

IMAGE = {"bytes": b"", "path": None}
LAYOUTS = {
    "detection, a record of lists (cppe-5)": (
        {
            "image_id": 1,
            "image": IMAGE,
            "width": 4,
            "height": 3,
            "objects": {"id": [1], "area": [2], "bbox": [[0, 0, 2, 2]], "category": [3]},
        },
        {
            "image": "image",
            "image_id": "image_id",
            "objects.bbox": "objects.bbox",
            "objects.category": "objects.category",
            "objects.id": "objects.id",
        },
    ),
    "detection, a list of records": (
        {"image": IMAGE, "annotations": [{"bbox": [0, 0, 2, 2], "category_id": 3, "iscrowd": 0}]},
        {
            "objects.bbox": "annotations.bbox",
            "objects.category": "annotations.category_id",
            "objects.crowd": "annotations.iscrowd",
        },
    ),
    "detection, columns side by side": (
        {"image": IMAGE, "bboxes": [[0, 0, 2, 2]], "labels": ["cat"], "captions": ["A cat.", "It sits."]},
        {"objects.bbox": "bboxes", "objects.category": "labels", "caption": "captions"},
    ),
    "captions, one record with lists (COCO on the Hub)": (
        {"image": IMAGE, "cocoid": 5, "sentences": {"raw": ["A cat."], "tokens": [["a"]]}},
        {"caption": "sentences", "image_id": "cocoid"},
    ),
    "captions, plain text": ({"image": IMAGE, "text": "A cat."}, {"caption": "text"}),
    "questions, ten answers (VQAv2)": (
        {
            "image": IMAGE,
            "question": "What?",
            "multiple_choice_answer": "cat",
            "answers": [{"answer": "cat"}],
            "question_id": 1,
            "image_id": 7,
        },
        {"questions.question": "question", "questions.answer": "multiple_choice_answer", "image_id": "image_id"},
    ),
    "questions, turns of a user and an assistant (the_cauldron)": (
        {"images": [IMAGE], "texts": [{"user": "What?", "assistant": "A cat.", "source": "x"}]},
        {"image": "images", "questions.question": "texts.user", "questions.answer": "texts.assistant"},
    ),
    "writing, words and boxes (FUNSD)": (
        {"id": "0", "words": ["STOP", "GO"], "bboxes": [[0, 0, 5, 5], [5, 5, 9, 9]], "ner_tags": [0, 1], "image": IMAGE},
        {"texts.text": "words", "texts.bbox": "bboxes"},
    ),
    "referring expressions, one box a row (RefCOCO)": (
        {
            "question_id": "1",
            "image": IMAGE,
            "bbox": [0.0, 0.0, 2.0, 2.0],
            "captions": ["the cat", "left cat"],
            "file_name": "a.jpg",
        },
        {"regions.bbox": "bbox", "regions.text": "captions", "file_name": "file_name"},
    ),
    "scene graph": (
        {
            "image": IMAGE,
            "objects": [{"object_id": 1, "name": "cat", "box": [0, 0, 2, 2], "attributes": ["red"]}],
            "relationships": [{"subject": 1, "predicate": "on", "object": 2}],
            "regions": [{"phrase": "a cat", "bbox": [0, 0, 2, 2]}],
        },
        {
            "objects.attributes": "objects.attributes",
            "relations.predicate": "relationships.predicate",
            "regions.text": "regions.phrase",
        },
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_columns_of_a_usual_layout_are_found(layout):
    row, expected = LAYOUTS[layout]
    found = find_columns([row], {})
    assert found.items() >= expected.items(), found
    assert len(set(found.values())) == len(found), "a column has one role"


def test_words_beside_boxes_are_no_labels():
    row, _ = LAYOUTS["writing, words and boxes (FUNSD)"]
    assert not any(role.startswith("objects") for role in find_columns([row], {}))


def test_captions_beside_boxes_are_no_phrases():
    row, _ = LAYOUTS["detection, columns side by side"]
    assert not any(role.startswith("regions") for role in find_columns([row], {}))


def test_a_column_is_found_though_its_first_rows_are_empty():
    rows = [
        {"image": IMAGE, "objects": {"bbox": [], "category": []}},
        {"image": None, "objects": {"bbox": [[0, 0, 1, 1]], "category": ["cat"]}},
    ]
    assert find_columns(rows, {})["objects.bbox"] == "objects.bbox"


def test_what_the_user_says_goes_first():
    row = {"image": IMAGE, "caption": "x", "my": {"boxes": [[0, 0, 1, 1]], "what": ["cat"]}}
    given = parse_columns("objects.bbox=my.boxes;objects.category=my.what;caption=")
    assert find_columns([row], given) == {"image": "image", "objects.bbox": "my.boxes", "objects.category": "my.what"}


@pytest.mark.parametrize("text", ["bbox=a", "objects.bbox", "=x"])
def test_a_mapping_of_another_form_is_refused_with_the_roles(text):
    with pytest.raises(SourceError, match="objects.bbox"):
        parse_columns(text)


def test_a_column_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(SourceError, match="'boxes': the columns are image, bbox"):
        find_columns([{"image": IMAGE, "bbox": []}], parse_columns("objects.bbox=boxes"))


def test_items_of_unequal_lists_end_with_the_longest():
    paths = {"objects.bbox": "b", "objects.category": "c"}
    assert list(read_items({"b": [[0, 0, 1, 1], None], "c": ["cat"]}, paths, "objects")) == [
        {"bbox": [0, 0, 1, 1], "category": "cat"}
    ]
