"""Datasets that `load_dataset` opens become scenes: their columns, boxes, ids, photos and terms."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as Pictures

from comvint_hf.dataset.splits import assign_split
from comvint_hf.errors import SourceError
from comvint_hf.sources import load_scenes
from comvint_hf.sources.datasets_rows import name_licence

COLOURS = ("red", "green", "blue", "white", "black")


def picture(colour: str = "red", size: tuple[int, int] = (100, 50)) -> Pictures.Image:
    return Pictures.new("RGB", size, colour)


def save(tmp_path, columns: dict, features: dict, name: str = "set") -> str:
    """Write a dataset as the Hub stores it; returns its source."""
    Dataset.from_dict(columns, features=Features(features)).to_parquet(tmp_path / name / "train.parquet")
    return f"dataset:{tmp_path / name}"


@pytest.fixture
def detection(tmp_path) -> str:
    kind = {"bbox": List(List(Value("float32"))), "category": List(ClassLabel(names=["cat", "traffic_light"]))}
    boxes = [[[10, 5, 20, 20]], [[0, 0, 100, 50], [50, 25, 10, 10]]]
    columns = {
        "image_id": [7, 8],
        "image": [picture(), picture("blue")],
        "width": [100, 100],
        "height": [50, 50],
        "objects": [{"bbox": boxes[0], "category": [1]}, {"bbox": boxes[1], "category": [0, 1]}],
    }
    number = Value("int64")
    return save(tmp_path, columns, {"image_id": number, "image": Image(), "width": number, "height": number, "objects": kind})


def test_a_detection_set_gives_named_boxes(detection):
    stream = load_scenes(detection)
    first, second = stream
    assert first.id == "dataset/set/train/7"
    assert [(item.name, item.boxes[0].xyxy) for item in first.objects] == [("traffic light", (0.1, 0.1, 0.3, 0.5))]
    assert [item.name for item in second.objects] == ["cat", "traffic light"]
    assert first.open().getpixel((0, 0)) == (255, 0, 0)
    assert "read: boxes as xywh in pixels" in stream.counts


def test_the_user_may_say_how_boxes_are_written(detection):
    (first, _) = load_scenes(f"{detection},boxes=xyxy")
    assert first.objects[0].boxes[0].xyxy == (0.1, 0.1, 0.2, 0.4)


def test_rows_of_one_image_next_to_each_other_are_one_scene(tmp_path):
    columns = {
        "image": [picture(), picture(), picture("blue")],
        "image_id": [1, 1, 2],
        "question": ["What?", "Where?", "Who?"],
        "answers": [["cat", "cat", "dog"], ["here"], [""]],
    }
    text = Value("string")
    spec = save(tmp_path, columns, {"image": Image(), "image_id": Value("int64"), "question": text, "answers": List(text)})
    stream = load_scenes(spec)
    first, second = stream
    assert [(asked.question, asked.answer) for asked in first.questions] == [("What?", "cat"), ("Where?", "here")]
    assert second.questions == ()
    assert stream.counts["questions dropped: no answer"] == 1


def test_one_id_for_two_photos_is_two_images_and_one_photo_twice_stays_in_its_split(tmp_path):
    columns = {
        "image": [picture(colour) for colour in ("red", "blue", "red", "green")],
        "image_id": ["0", "1", "0", "1"],
        "caption": ["a", "b", "c", "d"],
    }
    spec = save(tmp_path, columns, {"image": Image(), "image_id": Value("string"), "caption": Value("string")})
    stream = load_scenes(spec)
    scenes = list(stream)
    assert [scene.id.rpartition("/")[2] for scene in scenes] == ["0", "1", "0-2", "1-2"]
    assert scenes[2].meta["split_id"] == scenes[0].id
    assert "split_id" not in scenes[3].meta
    for share in (0.1, 0.5, 0.9):
        assert assign_split(scenes[0], share) == assign_split(scenes[2], share)
    assert stream.counts["images of an id that another photo has, told apart by a number"] == 1
    assert stream.counts["rows whose image came before, kept as an image of their own in the same split"] == 1


def test_writing_in_thousandths(tmp_path):
    columns = {"image": [picture()], "words": [["STOP"]], "bboxes": [[[500, 500, 900, 1000]]], "ner_tags": [[0]]}
    kinds = {"words": List(Value("string")), "bboxes": List(List(Value("int64"))), "ner_tags": List(ClassLabel(names=["O"]))}
    (scene,) = load_scenes(save(tmp_path, columns, {"image": Image(), **kinds}))
    assert [(text.text, text.box.xyxy) for text in scene.texts] == [("STOP", (0.5, 0.5, 0.9, 1.0))]


def test_a_scene_graph_with_relations_by_id(tmp_path):
    columns = {
        "image": [picture()],
        "objects": [[{"object_id": 5, "name": "cat", "box": [0, 0, 9, 9]}, {"object_id": 6, "name": "mat", "box": [0, 9, 9, 9]}]],
        "relationships": [[{"subject": 5, "predicate": "On", "object": 6}, {"subject": 5, "predicate": "by", "object": 9}]],
        "regions": [[{"phrase": "a cat", "bbox": [0, 0, 9, 9]}]],
    }
    box, text, number = List(Value("int64")), Value("string"), Value("int64")
    kinds = {
        "objects": List({"object_id": number, "name": text, "box": box}),
        "relationships": List({"subject": number, "predicate": text, "object": number}),
        "regions": List({"phrase": text, "bbox": box}),
    }
    stream = load_scenes(save(tmp_path, columns, {"image": Image(), **kinds}))
    (scene,) = stream
    assert [(scene.by_tag[r.subject].name, r.predicate, scene.by_tag[r.object].name) for r in scene.relations] == [
        ("cat", "on", "mat")
    ]
    assert scene.regions[0].text == "a cat"
    assert stream.counts["relations dropped: unknown object or no predicate"] == 1


def test_a_choice_is_answered_by_its_option(tmp_path):
    columns = {"image": [picture()], "question": ["Which?"], "choices": [["a hat", "a cat"]], "answer": [1]}
    kinds = {"question": Value("string"), "choices": List(Value("string")), "answer": Value("int64")}
    (scene,) = load_scenes(save(tmp_path, columns, {"image": Image(), **kinds}))
    assert scene.questions[0].answer == "a cat"


def test_a_row_that_names_a_file_of_this_machine_does_not_get_it(tmp_path):
    secret = tmp_path / "secret.png"
    picture("black").save(secret)
    rows = [{"image": {"bytes": None, "path": str(secret)}, "caption": "x", "width": 100, "height": 50}]
    features = Features(
        {
            "image": {"bytes": Value("binary"), "path": Value("string")},
            "caption": Value("string"),
            "width": Value("int64"),
            "height": Value("int64"),
        }
    )
    Dataset.from_list(rows, features=features).to_parquet(tmp_path / "set" / "train.parquet")
    stream = load_scenes(f"dataset:{tmp_path / 'set'}")
    (scene,) = stream
    assert scene.image is None
    assert stream.counts["images refused: a row names a file outside the dataset"] == 1


def test_rows_that_name_files_find_them_under_images(tmp_path):
    picture("green").save(tmp_path / "photos.png")
    (tmp_path / "photos").mkdir()
    picture("green").save(tmp_path / "photos" / "a.png")
    spec = save(tmp_path, {"file_name": ["a.png"], "caption": ["x"]}, {"file_name": Value("string"), "caption": Value("string")})
    (scene,) = load_scenes(spec, images=tmp_path / "photos")
    assert (scene.width, scene.height) == (100, 50)


def test_a_folder_of_save_to_disk_is_opened_too(tmp_path):
    Dataset.from_dict(
        {"image": [picture()], "text": ["A cat."]}, features=Features({"image": Image(), "text": Value("string")})
    ).save_to_disk(tmp_path / "disk")
    (scene,) = load_scenes(f"dataset:{tmp_path / 'disk'}")
    assert scene.captions == ("A cat.",)


def test_photos_with_metadata_beside_them(tmp_path):
    folder = tmp_path / "mine" / "train"
    folder.mkdir(parents=True)
    for number in range(2):
        picture(COLOURS[number]).save(folder / f"{number}.png")
    lines = [{"file_name": f"{number}.png", "caption": f"Photo {number}."} for number in range(2)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scenes = list(load_scenes(f"imagefolder:{tmp_path / 'mine'}"))
    assert [scene.captions for scene in scenes] == [("Photo 0.",), ("Photo 1.",)]
    assert all(scene.id.startswith("imagefolder/mine/train/") for scene in scenes)


def test_photos_in_folders_of_classes(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        picture().save(tmp_path / "mine" / name / "1.png")
    scenes = list(load_scenes(f"imagefolder:{tmp_path / 'mine'}"))
    assert [[item.name for item in scene.objects] for scene in scenes] == [["cat"], ["dog"]]
    assert len({scene.id for scene in scenes}) == 2


def test_photos_without_any_metadata_are_scenes_without_annotations(tmp_path):
    (tmp_path / "mine").mkdir()
    for number in range(3):
        picture(COLOURS[number]).save(tmp_path / "mine" / f"{number}.png")
    scenes = list(load_scenes(f"imagefolder:{tmp_path / 'mine'}"))
    assert len(scenes) == 3
    assert all((scene.width, scene.height) == (100, 50) and not scene.objects and not scene.captions for scene in scenes)


def test_a_set_without_images_is_refused_with_its_columns(tmp_path):
    spec = save(tmp_path, {"prompt": ["x"], "completion": ["y"]}, {"prompt": Value("string"), "completion": Value("string")})
    with pytest.raises(SourceError, match="no column of images among prompt, completion"):
        list(load_scenes(spec))


def test_a_wrong_split_or_a_folder_of_nothing_is_refused(detection, tmp_path):
    with pytest.raises(SourceError, match="no split 'val': expected train"):
        list(load_scenes(f"{detection},split=val"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="cannot be loaded"):
        list(load_scenes(f"dataset:{tmp_path / 'empty'}"))


def test_a_declared_licence_decides_whether_images_may_be_shared(detection):
    assert not load_scenes(detection).licence.images_may_be_shared
    assert load_scenes(f"{detection},licence=cc-by-4.0").licence.images_may_be_shared


@pytest.mark.parametrize(
    ("name", "shared"), [("CC-BY-SA-4.0", True), ("cc-by-nc-nd-4.0", False), ("mit", True), ("other", False), ("", False)]
)
def test_only_known_open_licences_let_images_be_shared(name, shared):
    assert name_licence(name, "The card").images_may_be_shared is shared
