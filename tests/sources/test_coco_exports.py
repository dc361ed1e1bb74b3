"""What annotation tools and people's own converters export in COCO's form: read as it is meant, or refused or counted with a reason."""

import gzip
import json

import pyarrow
import pytest
from PIL import Image

from comvint_hf.errors import SourceError
from comvint_hf.sources import image_files, load_scenes
from comvint_hf.sources.annotations import CLAMPED, IN_FIRST_PIXEL, OUTSIDE, UNREADABLE
from comvint_hf.sources.coco import OTHER_PHOTO
from comvint_hf.sources.coco_files import CLASHING, FROM_POLYGON, SEVERAL_NAMES, SIZE_FROM_PHOTO, TWICE

NAME = "instances_a.json"
CATEGORIES = [{"id": 1, "name": "dog", "supercategory": "animal"}, {"id": 2, "name": "cup", "supercategory": "kitchen"}]


def image(id=1, name="a.jpg", **more):
    return {"id": id, "file_name": name, "width": 100, "height": 50} | more


def box(id=1, image=1, bbox=(0, 0, 20, 20), **more):
    return {"id": id, "image_id": image, "category_id": 1, "bbox": list(bbox)} | more


def export(images=(), annotations=(), categories=CATEGORIES, **more):
    return {"images": list(images) or [image()], "annotations": list(annotations), "categories": categories} | more


def read(folder, **options):
    stream = load_scenes(f"coco:{folder}", **options)
    return list(stream), stream.counts


def names(scene):
    return [(thing.key, thing.name, thing.kind) for thing in scene.objects]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (export([image("1", width="100", height="50.0")], [box("1", "1", ("0", "0", "20", "20"), category_id="1")]), "1"),
        (export([image(1.0)], [box(7.0, 1.0, category_id=1.0)]), "7"),
        (export([image("a-1")], [box("x-1", "a-1")]), "x-1"),
        (export([image("007")], [box(1, 7)]), "1"),
        (export([image()], [box(None)]), ""),
        (export([image()], [box(iscrowd="0")]), "1"),
        (export([image()], [box(iscrowd="false")]), "1"),
        (export([image()], [box(iscrowd=0.0)]), "1"),
        (export([image()], [box(iscrowd=None)]), "1"),
    ],
    ids=["texts", "floats", "words", "zeros", "no id", "0", "false", "0.0", "null"],
)
def test_numbers_ids_and_flags_of_any_spelling(put, tmp_path, given, found):
    put(NAME, given)
    (scene,), _ = read(tmp_path)
    assert names(scene) == [(found, "dog", "animal")] and scene.objects[0].boxes[0].xyxy == (0, 0, 0.2, 0.4)


@pytest.mark.parametrize("flag", [1, True, "1", "true", "True", 1.0])
def test_a_crowd_of_any_spelling(put, tmp_path, flag):
    put(NAME, export([image()], [box(iscrowd=flag)]))
    assert names(read(tmp_path)[0][0]) == [("1", "dog", "crowd")]


@pytest.mark.parametrize(
    "size", [{}, {"width": 0, "height": 0}, {"width": None, "height": "x"}, {"width": 100}, {"width": 10**30}]
)
def test_a_missing_size_comes_from_the_photo_as_it_is_shown(put, photo, tmp_path, size):
    put(NAME, export([{"id": 1, "file_name": "a.jpg"} | size, {"id": 2, "file_name": "gone.jpg"} | size], [box()]))
    path = photo("images/a.jpg", (50, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    (scene,), counts = read(tmp_path)
    assert (scene.width, scene.height) == (100, 50)
    assert counts == {SIZE_FROM_PHOTO: 1, "images skipped: no width and height": 1}
    assert (
        counts.lost == {"images skipped: no width and height": 1}
        and "gone.jpg" in counts.examples["images skipped: no width and height"][0]
    )


@pytest.mark.parametrize(
    ("name", "lies"),
    [
        ("images\\a.jpg", "images/a.jpg"),
        ("./images//a.jpg", "images/a.jpg"),
        ("..\\..\\media\\upload\\4\\b.jpg", "images/b.jpg"),
        ("C:\\Users\\me\\set\\a.jpg", "images/a.jpg"),
        ("/home/me/set/train/a.jpg", "images/a.jpg"),
        ("file:///home/me/a%20b.jpg", "a b.jpg"),
        ("https://bucket.s3.amazonaws.com/set/a.jpg?X-Amz-Signature=1", "images/a.jpg"),
        ("/data/local-files/?d=set%5Ca.jpg", "set/a.jpg"),
        ("/data/upload/4/1a2b3c4d-a.jpg", "images/a.jpg"),
        ("1a2b3c4d-a.jpg", "images/a.jpg"),
    ],
)
def test_a_file_name_of_another_machine_finds_its_photo(put, photo, tmp_path, name, lies):
    put(NAME, export([image(name=name)], [box()]))
    path = photo(lies, (100, 50))
    (scene,), counts = read(tmp_path)
    assert scene.image == path and set(counts) <= {image_files.RENAMED} and not counts.lost


def test_two_names_never_lead_to_one_photo_by_their_last_part(put, photo, tmp_path):
    put(NAME, export([image(1, "/home/me/x/0.jpg"), image(2, "/home/me/y/0.jpg"), image(3, "/home/me/x/1.jpg")]))
    photo("images/0.jpg", (100, 50))
    found = photo("images/1.jpg", (100, 50))
    scenes, counts = read(tmp_path)
    assert [scene.image for scene in scenes] == [None, None, found]
    assert counts == {image_files.MISSING: 2, image_files.RENAMED: 1}


@pytest.mark.parametrize(
    "layout",
    [
        ("train/_annotations.coco.json", "valid/_annotations.coco.json", "train/{}", "valid/{}"),
        ("annotations/instances_train.json", "annotations/instances_valid.json", "train/{}", "valid/{}"),
        ("annotations/instances_train.json", "annotations/instances_valid.json", "images/train/{}", "images/valid/{}"),
        (
            "train/annotations/instances_default.json",
            "valid/annotations/instances_default.json",
            "train/images/{}",
            "valid/images/{}",
        ),
        ("train.json", "valid.json", "train/{}", "valid/{}"),
        ("train/result.json", "valid/result.json", "train/images/{}", "valid/images/{}"),
    ],
    ids=["Roboflow", "renamed", "images", "CVAT", "plain", "Label Studio"],
)
@pytest.mark.parametrize("same_name", [False, True])
def test_splits_that_number_from_zero_are_images_of_their_own(put, photo, tmp_path, layout, same_name):
    files = ["0.jpg", "0.jpg"] if same_name else ["t0.jpg", "v0.jpg"]
    for place, category in enumerate((1, 2)):
        put(layout[place], export([image(0, files[place])], [box(0, 0, category_id=category)]))
    paths = [photo(layout[2 + place].format(files[place]), (100, 50)) for place in (0, 1)]
    scenes, counts = read(tmp_path)
    assert [[thing.name for thing in scene.objects] for scene in scenes] == [["dog"], ["cup"]]
    assert [scene.image for scene in scenes] == paths and len({scene.id for scene in scenes}) == 2 and not counts.lost
    assert all("train" in one.id for one in scenes[:1]) and all("valid" in one.id for one in scenes[1:])


def test_one_photo_in_two_files_is_one_image(put, photo, tmp_path):
    for name, category in (("instances_dogs.json", 1), ("instances_cups.json", 2)):
        put(name, export([image(3, "photo.jpg")], [box(1, 3, category_id=category)]))
    photo("images/photo.jpg", (100, 50))
    (scene,), _ = read(tmp_path)
    assert scene.id == "coco/3" and names(scene) == [("1", "cup", "kitchen"), ("1", "dog", "animal")]


def test_without_photos_splits_of_one_name_are_kept_apart_and_other_files_joined(put, tmp_path):
    for name in ("x/instances_train.json", "x/instances_valid.json"):
        put(name, export([image(0, "0.jpg")], [box(0, 0)]))
    for name in ("y/instances_dogs.json", "y/instances_cups.json"):
        put(name, export([image(0, "0.jpg")], [box(name, 0)]))
    for folder, ids in (("x", ["coco/train/0", "coco/valid/0"]), ("y", ["coco/0"])):
        assert [scene.id for scene in read(tmp_path / folder)[0]] == ids


def test_another_size_is_another_photo(put, tmp_path):
    put("instances_train.json", export([image(0, "0.jpg")], [box(0, 0)]))
    put("instances_valid.json", export([image(0, "0.jpg", width=70)], [box(0, 0)]))
    scenes, _ = read(tmp_path)
    assert [(scene.id, scene.width) for scene in scenes] == [("coco/train/0", 100), ("coco/valid/0", 70)]


def test_captions_stay_with_their_photo(put, tmp_path):
    for split in ("train", "valid"):
        put(f"instances_{split}.json", export([image(0, f"{split}.jpg")], [box(0, 0)]))
        put(f"captions_{split}.json", {"annotations": [{"id": 1, "image_id": 0, "caption": f"Of {split}."}]})
    put(
        "captions_named.json",
        {"images": [image(0, "valid.jpg")], "annotations": [{"id": 9, "image_id": 0, "caption": "By name."}]},
    )
    put(
        "captions_other.json",
        {"images": [image(0, "else.jpg")], "annotations": [{"id": 9, "image_id": 0, "caption": "Of none."}]},
    )
    scenes, counts = read(tmp_path)
    assert [scene.captions for scene in scenes] == [("Of train.",), ("By name.", "Of valid.")]
    assert counts.lost == {OTHER_PHOTO: 1, "image files not found": 2}


def test_one_id_for_all_annotations_keeps_them_all_but_repetitions(put, tmp_path):
    put(NAME, export([image()], [box(1), box(1, bbox=(50, 0, 20, 20)), box(1, category_id=2), box(1)]))
    (scene,), counts = read(tmp_path)
    assert len(scene.objects) == 3 and counts["annotations of one id repeated in one file, kept once"] == 1


def test_one_id_for_two_photos_in_one_file_is_no_image(put, tmp_path):
    put(NAME, export([image(1, "a.jpg"), image(1, "b.jpg"), image(2, "c.jpg"), image(2, "c.jpg")], [box(1, 1), box(2, 2)]))
    (scene,), counts = read(tmp_path)
    assert scene.id == "coco/2" and counts[CLASHING] == 2 and counts[TWICE] == 1
    assert "image 1 is a.jpg, b.jpg" in counts.examples[CLASHING][0]
    assert counts["annotations dropped: unknown image"] == 1


def test_categories_of_one_id_or_without_a_name(put, tmp_path):
    categories = [
        *CATEGORIES,
        {"id": 1, "name": "dog", "supercategory": "pet"},
        {"id": 3, "name": None},
        {"id": 4},
        {"id": 2, "name": "mug"},
    ]
    put(NAME, export([image()], [box(n, category_id=n) for n in (1, 2, 3, 4, 5)], categories))
    (scene,), counts = read(tmp_path)
    assert names(scene) == [("1", "dog", "pet")]
    assert counts[SEVERAL_NAMES] == 1 and counts["annotations dropped: unknown category"] == 3
    assert "category 2, cup, mug" in counts.examples[SEVERAL_NAMES][0]


def test_a_polygon_gives_the_box_that_is_missing(put, tmp_path):
    polygon = [[10, 5, 30, 5, 30, 25], [12, 40, 20, 45, 20, 40]]
    given = [
        box(1, bbox=(), segmentation=polygon),
        box(2, bbox=(), segmentation={"counts": [1], "size": [1, 1]}),
        box(3, bbox=()),
    ]
    given[2].pop("bbox")
    put(NAME, export([image()], given))
    (scene,), counts = read(tmp_path)
    assert [thing.boxes[0].xyxy for thing in scene.objects] == [(0.1, 0.1, 0.3, 0.9)]
    assert counts[FROM_POLYGON] == 1 and counts[UNREADABLE] == 2


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([(0.1, 0.2, 0.5, 0.6)] * 3, "numbers between 0 and 1: read as COCO's pixels .* read as fractions"),
        ([(0, 0, 1, 1), (0.25, 0.25, 0.5, 0.5)], "numbers between 0 and 1"),
        ([("0.1", "0.2", "0.5", "0.6")], "numbers between 0 and 1"),
        (
            [(10, 10, 90, 40), (50, 20, 95, 48), (5, 5, 20, 20)],
            "read as COCO's .x, y, width, height., and all lie within them read as corners",
        ),
        ([(60, 30, 100, 50)], "read as corners"),
    ],
)
def test_boxes_that_are_surely_of_another_form_are_refused_with_both_readings(put, tmp_path, boxes, said):
    put(NAME, export([image()], [box(n, bbox=numbers) for n, numbers in enumerate(boxes)]))
    with pytest.raises(SourceError, match=said) as refusal:
        read(tmp_path)
    assert NAME in str(refusal.value)


@pytest.mark.parametrize(
    ("boxes", "kept", "reason"),
    [
        ([(0.1, 0.2, 0.5, 0.6), (10, 10, 20, 20)], 1, IN_FIRST_PIXEL),  # one odd box is no other form
        ([(90, 40, 20, 20), (0, 0, 10, 10)], 2, CLAMPED),
        ([(5, 5, 20, 20), (10, 10, 95, 30)], 2, CLAMPED),
        ([(200, 0, 5, 5), (1, 1, 5, 5)], 1, OUTSIDE),
        ([(float("nan"), 0, 5, 5), (1, 1, 5, 5)], 1, UNREADABLE),
        ([(None, 0, 5, 5), (1, 1, 5, 5)], 1, UNREADABLE),
    ],
)
def test_a_single_odd_box_costs_itself(put, tmp_path, boxes, kept, reason):
    put(NAME, export([image()], [box(n, bbox=numbers) for n, numbers in enumerate(boxes)]))
    (scene,), counts = read(tmp_path)
    assert len(scene.objects) == kept and counts[reason] == 1 and counts.examples[reason]


@pytest.mark.parametrize("form", ["mark", "utf-16", "gzip", "zstd", "name"])
def test_files_of_other_encodings_and_packings(put, tmp_path, form):
    text = json.dumps(export([image()], [box()], [{"id": 1, "name": "caf\u00e9\u2028"}]), ensure_ascii=False)
    data = text.encode()
    packed = {
        "mark": b"\xef\xbb\xbf" + data,
        "utf-16": text.encode("utf-16"),
        "gzip": gzip.compress(data),
        "zstd": pyarrow.compress(data, codec="zstd", asbytes=True),
        "name": data,
    }[form]
    put({"gzip": f"{NAME}.gz", "zstd": f"{NAME}.zst", "name": "labels.json"}.get(form, NAME), packed)
    (scene,), _ = read(tmp_path)
    assert names(scene) == [("1", "caf\u00e9", "")]


def test_annotations_without_an_image_and_of_unknown_ones_are_counted(put, tmp_path):
    put(NAME, export([image()], [box(1), box(2, None), box(3, 99), box(4, [1]), box(5, True)]))
    (scene,), counts = read(tmp_path)
    assert len(scene.objects) == 1
    assert counts["annotations dropped: no image id"] == 3 and counts["annotations dropped: unknown image"] == 1


def test_json_files_of_another_kind_are_no_annotations(put, tmp_path):
    put("package.json", {"images": [], "name": "x"})
    put("results.json", [{"image_id": 1}])
    put("broken.json", "{")
    with pytest.raises(SourceError, match="No COCO annotations under"):
        read(tmp_path)
