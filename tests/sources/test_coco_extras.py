"""COCO-Text, COCO Attributes and VQA beside COCO's own files."""

import pytest

from comvint_hf.sources import load_scenes

WRITING = {
    "imgs": {"1": {"id": 1}},
    "anns": {
        "10": {"id": 10, "image_id": 1, "bbox": [10, 5, 20, 20], "utf8_string": "STOP", "legibility": "legible"},
        "11": {"id": 11, "image_id": 1, "bbox": [10, 5, 20, 20], "utf8_string": "", "legibility": "illegible"},
        "12": {"id": 12, "image_id": 1, "bbox": None, "utf8_string": "GO"},
        "13": {"id": 13, "image_id": 9, "bbox": [0, 0, 1, 1], "utf8_string": "elsewhere"},
    },
    "imgToAnns": {"1": [10, 11]},
}
ATTRIBUTES = {
    "attributes": [{"id": 1, "name": "Red"}, {"id": 2, "name": "wooden"}],
    "patch_id_to_ann_id": {"5": 7},
    "ann_vecs": {"5": [0.9, 0.2], "6": [1.0, 1.0]},
}
QUESTIONS = {
    "questions": [
        {"image_id": 1, "question": "What is it?", "question_id": 100},
        {"image_id": 1, "question": "Who?", "question_id": 101},
    ]
}
ANSWERS = {
    "annotations": [{"image_id": 1, "question_id": 100, "multiple_choice_answer": "a sign", "answers": []}, {"question_id": None}]
}


@pytest.fixture
def coco(instances, put, tmp_path):
    instances([(1, "1.jpg")], [(7, 1, [0, 0, 50, 25]), (8, 1, [50, 25, 50, 25])])
    put("cocotext.v2.json", WRITING)
    put("annotations/coco_attributes.json", ATTRIBUTES)
    put("vqa/v2_OpenEnded_mscoco_val2014_questions.json", QUESTIONS)
    put("vqa/v2_mscoco_val2014_annotations.json", ANSWERS)
    return load_scenes(f"coco:{tmp_path}")


def test_writing_attributes_and_questions_are_joined_by_their_ids(coco):
    (scene,) = coco
    assert [(text.text, text.box and text.box.xyxy) for text in scene.texts] == [("STOP", (0.1, 0.1, 0.3, 0.5)), ("GO", None)]
    assert [item.attributes for item in scene.objects] == [("red",), ()]
    assert [(asked.question, asked.answer) for asked in scene.questions] == [("What is it?", "a sign")]


def test_what_is_left_out_is_counted(coco):
    list(coco)
    assert coco.counts["writing left out: nobody could read it"] == 1
    assert coco.counts["answers dropped: no text or question id"] == 1
    assert coco.counts["boxes without four numbers dropped"] == 1


def test_a_pickle_is_never_opened(instances, put, tmp_path):
    instances([(1, "1.jpg")])
    put("cocottributes_eccv_version.jbl", b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
    stream = load_scenes(f"coco:{tmp_path}")
    list(stream)
    assert stream.counts["attribute files left out: a pickle may run any code, so only JSON is read"] == 1


def test_files_of_another_form_cost_themselves_only(instances, put, tmp_path):
    instances([(1, "1.jpg")], [(7, 1, [0, 0, 50, 25])])
    put("coco_attributes.json", {"attributes": 5, "ann_vecs": [], "patch_id_to_ann_id": {}})
    put("cocotext.json", {"anns": {"1": 5, "2": None, "3": {"image_id": 1, "utf8_string": ["x"]}}})
    (scene,) = load_scenes(f"coco:{tmp_path}")
    assert (scene.texts, scene.questions) == ((), ())
