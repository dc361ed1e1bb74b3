"""COCO scenes: the rules on hand-made files, and the counts of the real ones to the unit."""

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comvint_hf.errors import SourceError
from comvint_hf.sources import load_scenes


def scenes_of(folder, **options):
    stream = load_scenes(f"coco:{folder}", **options)
    return list(stream), stream.counts


def test_an_image_becomes_a_scene(instances, put, photo, tmp_path):
    instances(
        [(9, "000000000009.jpg")],
        [(31, 9, [10, 5, 20.5, 10]), (32, 9, [0, 0, 100, 50], {"iscrowd": 1}), (33, 9, [1, 1, 2, 2], {"category_id": 90})],
    )
    put("annotations/captions_val2017.json", {"annotations": [{"id": 1, "image_id": 9, "caption": " A man \n rides  a horse\n"}]})
    path = photo("images/000000000009.jpg")
    (scene,), counts = scenes_of(tmp_path)
    assert (scene.id, scene.source, scene.width, scene.height) == ("coco/9", "coco", 100, 50)
    assert scene.captions == ("A man rides a horse",)
    assert [(thing.tag, thing.key, thing.name, thing.kind) for thing in scene.objects] == [
        ("o1", "31", "person", "person"),
        ("o2", "32", "person", "crowd"),
        ("o3", "33", "toothbrush", "indoor"),
    ]
    assert scene.objects[0].boxes[0].xyxy == pytest.approx((0.1, 0.1, 0.305, 0.3))
    assert scene.image == path
    assert scene.meta["licence"] == "http://example.org/by/2.0/"
    assert scene.meta["split"] == "val2017"
    assert not counts


def test_2014_and_2017_files_of_one_image_are_one_scene(instances, put, photo, tmp_path):
    instances([(9, "000000000009.jpg")], [(31, 9, [10, 5, 20, 10])])
    instances([(9, "COCO_val2014_000000000009.jpg")], [(31, 9, [10, 5, 20, 10])], name="instances_val2014.json")
    for year in (2014, 2017):
        put(f"captions_val{year}.json", {"annotations": [{"id": 5, "image_id": 9, "caption": "A man."}]})
    path = photo("images/val2014/COCO_val2014_000000000009.jpg")
    (scene,), counts = scenes_of(tmp_path)
    assert len(scene.objects) == len(scene.captions) == 1
    assert scene.image == path
    assert counts == {
        "annotations of one id in several files, kept once": 1,
        "captions of one id in several files, kept once": 1,
    }


def test_what_cannot_be_used_is_dropped_with_a_reason(instances, put, tmp_path):
    path = instances(
        [(1, "../../etc/passwd"), (2, "2.jpg")],
        [
            (1, 1, [0, 0, 10, 0]),
            (2, 1, [95, 0, 10, 10]),
            (3, 1, [1, 2, 3]),
            (4, 1, [1, 1, 5, 5], {"category_id": 7}),
            (5, 77, [1, 1, 5, 5]),
            (6, None, [1, 1, 5, 5]),
            (7, 1, [1, 1, 5, 5], {"category_id": [1]}),
        ],
    )
    whole = json.loads(path.read_text())
    whole["images"] += [{"id": 3, "file_name": "3.jpg"}, {"file_name": "4.jpg", "width": 1, "height": 1}, "rubbish"]
    whole["annotations"].append("rubbish")
    put("annotations/instances_val2017.json", whole)
    put(
        "captions_val2017.json",
        {"annotations": [{"id": 1, "image_id": 1, "caption": " \n"}, {"id": 2, "image_id": 5, "caption": "x"}]},
    )
    put(
        "results/instances_val2014_fakebbox_results.json",
        [{"image_id": 42, "category_id": 18, "bbox": [1, 2, 3, 4], "score": 0.2}],
    )
    scenes, counts = scenes_of(tmp_path)
    assert [scene.id for scene in scenes] == ["coco/1", "coco/2"]
    assert [thing.key for thing in scenes[0].objects] == ["2"]
    assert scenes[0].image is None
    assert counts == {
        "zero-area boxes dropped": 1,
        "boxes clamped to the image": 1,
        "boxes without four numbers dropped": 1,
        "annotations dropped: unknown category": 2,
        "annotations dropped: unknown image": 1,
        "annotations dropped: no image id": 2,
        "images skipped: no id": 2,
        "images skipped: no width and height": 1,
        "captions dropped: empty or no image id": 1,
        "caption-only images ignored": 1,
        "file names refused because they leave the image folder": 1,
        "image files not found": 1,
        "instances files left out: they hold results, not annotations": 1,
    }


def test_captions_are_optional_and_results_are_none(instances, put, tmp_path):
    instances([(1, "1.jpg")])
    put("results/captions_val2014_fakecap_results.json", [{"image_id": 1, "caption": "made by a machine"}])
    (scene,), _ = scenes_of(tmp_path)
    assert scene.captions == ()


def test_a_linked_folder_is_searched_too(instances, tmp_path):
    instances([(1, "1.jpg")], name="elsewhere/instances_val2017.json")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/annotations").symlink_to(tmp_path / "elsewhere")
    assert len(scenes_of(tmp_path / "root")[0]) == 1


def test_an_image_without_annotations_keeps_its_captions(instances, put, tmp_path):
    instances([(1, "1.jpg")])
    put(
        "captions_val2017.json",
        {"annotations": [{"id": 1, "image_id": 1, "caption": "Fog."}, {"id": 2, "image_id": 1, "caption": "Fog."}]},
    )
    (scene,), _ = scenes_of(tmp_path)
    assert scene.objects == ()
    assert scene.captions == ("Fog.", "Fog.")  # two people said the same: the corpus counts both


def test_a_broken_file_is_an_error(instances, put, tmp_path):
    path = instances([(1, "1.jpg")], [(1, 1, [0, 0, 5, 5])])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"instances_val2017\.json is not whole JSON"):
        scenes_of(tmp_path)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 62), 1 << 62),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


ODD_ANNOTATIONS = st.dictionaries(st.sampled_from(["id", "image_id", "bbox", "category_id", "iscrowd"]), VALUES)
ODD_IMAGES = st.dictionaries(st.sampled_from(["id", "width", "height", "file_name", "license"]), VALUES)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(ODD_ANNOTATIONS, ODD_IMAGES)
def test_odd_values_never_crash(instances, tmp_path_factory, annotation, image):
    path = instances([(1, "1.jpg")], [(1, 1, [0, 0, 5, 5])])
    whole = json.loads(path.read_text())
    whole["annotations"].append(annotation)
    whole["images"].append(image)
    path.write_text(json.dumps(whole))
    scenes = list(load_scenes(f"coco:{path.parent}"))
    assert [thing.key for thing in scenes[0].objects if thing.key == "1"] == ["1"] or image.get("id") in (1, 1.0, "1")


@pytest.mark.parametrize(
    ("split", "annotations", "crowds", "top"),
    [
        ("train2017", 331, 3, {"person": 78, "book": 36, "car": 22, "cup": 14, "bowl": 12}),
        ("val2017", 314, 2, {"person": 56, "book": 30, "chair": 19, "bowl": 17, "boat": 16}),
    ],
)
def test_the_real_splits_have_their_counts(shared, tmp_path, split, annotations, crowds, top):
    for kind in ("instances", "captions"):
        (tmp_path / f"{kind}_{split}.json").symlink_to(shared / "coco" / f"{kind}_{split}.json")
    scenes, counts = scenes_of(tmp_path, images=shared / "coco" / "images")
    objects = [thing for scene in scenes for thing in scene.objects]
    assert (len(scenes), len(objects)) == (40, annotations)
    assert sum(thing.kind == "crowd" for thing in objects) == crowds
    assert dict(Counter(thing.name for thing in objects).most_common(5)) == top
    assert [len(scene.captions) for scene in scenes] == [5] * 40
    assert counts == {"image files not found": 27}
    assert sum(scene.image is not None for scene in scenes) == 13
    assert all(scene.open().size == (scene.width, scene.height) for scene in scenes if scene.image)
    areas = [box.area * scene.width * scene.height for scene in scenes for thing in scene.objects for box in thing.boxes]
    assert min(areas) > 1


def test_the_real_folder_joins_both_splits_and_ignores_what_only_has_captions(shared):
    scenes, counts = scenes_of(shared / "coco")
    assert len(scenes) == 80
    assert sum(len(scene.objects) for scene in scenes) == 331 + 314
    assert sum(len(scene.captions) for scene in scenes) == 400
    half = json.loads((shared / "coco" / "captions_val2017_half.json").read_text())["annotations"]
    also = json.loads((shared / "coco" / "captions_val2017.json").read_text())["annotations"]
    assert counts["captions of one id in several files, kept once"] == len(
        {row["id"] for row in half} & {row["id"] for row in also}
    )
    assert counts["caption-only images ignored"] == 2533 - len(
        {row["image_id"] for row in half} & {row["image_id"] for row in also}
    )


def test_the_real_captions_half_has_its_counts(shared, put, tmp_path):
    source = shared / "coco" / "captions_val2017_half.json"
    images = json.loads(source.read_text())["images"]
    put("instances_val2017.json", {"images": images, "annotations": [], "categories": []})
    (tmp_path / "captions_val2017.json").symlink_to(source)
    scenes, _ = scenes_of(tmp_path)
    captions = [caption for scene in scenes for caption in scene.captions]
    assert (len(scenes), len(captions)) == (2533, 12672)
    assert Counter(len(scene.captions) for scene in scenes) == {5: 2527, 6: 5, 7: 1}
    assert sum(len(caption.split()) for caption in captions) == 132359
    assert max(len(caption.split()) for caption in captions) == 50
    assert sum(len(scene.captions) - len(set(scene.captions)) for scene in scenes) == 3
    assert all(caption == " ".join(caption.split()) for caption in captions)
