"""Reasons of the newer sources that their own tests do not meet."""

from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Pictures

from comvint_hf.sources import load_scenes


def test_beside_coco_what_is_no_attribute_file_and_no_question(instances, put, tmp_path):
    instances([(1, "1.jpg")], [(7, 1, [0, 0, 50, 25])])
    put("annotations/coco_attributes.json", {"attributes": 1})
    put("v2_OpenEnded_mscoco_val2014_questions.json", {"questions": [{"image_id": 1, "question": " ", "question_id": 1}, 7]})
    put("v2_mscoco_val2014_annotations.json", {"annotations": []})
    stream = load_scenes(f"coco:{tmp_path}")
    assert len(list(stream)) == 1
    assert stream.counts["attribute files left out: they lack attributes, ann_vecs or patch_id_to_ann_id"] == 1
    assert stream.counts["questions dropped: no text, question id or image id"] == 2


def test_of_a_table_further_images_missing_images_and_numbers_without_names(tmp_path):
    red = Pictures.new("RGB", (100, 50), "red")
    columns = {
        "images": [[red, red], []],
        "caption": ["A.", "B."],
        "objects": [
            {"bbox": [[10.0, 5.0, 20.0, 20.0], [0.0, 0.0, 90.0, 40.0]], "category": [3, 4]},
            {"bbox": [], "category": []},
        ],
    }
    kind = {"bbox": List(List(Value("float32"))), "category": List(Value("int64"))}
    (tmp_path / "set").mkdir()
    rows = Dataset.from_dict(columns, features=Features({"images": List(Image()), "caption": Value("string"), "objects": kind}))
    rows.to_parquet(tmp_path / "set" / "train.parquet")
    stream = load_scenes(f"dataset:{tmp_path / 'set'}")
    assert len(list(stream)) == 1
    assert stream.counts["images left out: a row's first image is its scene"] == 1
    assert stream.counts["images skipped: no readable image, and no width and height"] == 1
    assert stream.counts["objects dropped: their category is a number without a name"] == 2


def test_a_voc_file_that_cannot_be_read(put, tmp_path):
    size = "<size><width>100</width><height>50</height></size>"
    box = "<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>25</ymax></bndbox>"
    good = f"<annotation><filename>a.jpg</filename>{size}<object><name>cat</name>{box}</object></annotation>"
    put("Annotations/a.xml", good)
    put("Annotations/b.xml", b"x" * (17 << 20))
    stream = load_scenes(f"voc:{tmp_path}")
    assert len(list(stream)) == 1 and stream.counts["annotation files skipped: they cannot be read"] == 1
