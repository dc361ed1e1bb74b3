"""Visual Genome scenes: the rules on hand-made files, and the counts of the real ones to the unit."""

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comvint_hf.errors import SourceError
from comvint_hf.sources import load_scenes


def thing(key: int, name: str, *box: float, **more: object) -> dict:
    x, y, w, h = box or (10, 5, 20, 10)
    return {"object_id": key, "names": [name], "x": x, "y": y, "w": w, "h": h, "synsets": [], "merged_object_ids": []} | more


def region(key: int, phrase: str, *box: float, **more: object) -> dict:
    x, y, width, height = box or (0, 0, 50, 25)
    return {"region_id": key, "phrase": phrase, "x": x, "y": y, "width": width, "height": height} | more


def one(folder, **options):
    stream = load_scenes(f"visual_genome:{folder}", **options)
    (scene,) = stream
    return scene, {reason: count for reason, count in stream.counts.items() if reason != "image files not found"}


def test_the_files_of_an_image_become_one_scene(genome, photo):
    rides = {"predicate": " RIDES ", "subject": {"object_id": 11, "name": "man"}, "object": {"object_id": 12, "names": ["bike"]}}
    attributes = [{"object_id": 11, "attributes": ["Tall", "tall ", "old"]}, {"object_id": 12}]
    phrase = region(5, "a man\n on a  bike ", objects=[{"object_id": 11}, {"object_id": 12}])
    folder = genome(
        objects=[{"image_id": 1, "objects": [thing(11, " Man ", synsets=["man.n.01"]), thing(12, "bike", 0, 0, 100, 50)]}],
        attributes=[{"image_id": 1, "attributes": attributes}],
        relationships=[{"image_id": 1, "relationships": [rides]}],
        region_graphs=[{"image_id": 1, "regions": [phrase]}],
        question_answers=[{"id": 1, "qas": [{"question": "Who rides?", "answer": "A man."}, {"question": "", "answer": "x"}]}],
    )
    path = photo("VG_100K_2/1.jpg", (100, 50))
    scene, counts = one(folder)
    assert (scene.id, scene.width, scene.height, scene.image) == ("visual_genome/1", 100, 50, path)
    man, bike = scene.objects
    assert (man.tag, man.key, man.name, man.attributes, man.kind) == ("o1", "11", "Man", ("tall", "old"), "man.n.01")
    assert man.boxes[0].xyxy == pytest.approx((0.1, 0.1, 0.3, 0.3))
    assert (bike.tag, bike.boxes[0].xyxy) == ("o2", (0, 0, 1, 1))
    assert [(part.tag, part.text, part.objects) for part in scene.regions] == [("r1", "a man on a bike", ("o1", "o2"))]
    assert [(fact.subject, fact.predicate, fact.object) for fact in scene.relations] == [("o1", "rides", "o2")]
    assert [(item.question, item.answer) for item in scene.questions] == [("Who rides?", "A man.")]
    assert counts == {"questions dropped: empty": 1}


def test_merged_ids_lead_to_the_object_that_took_them_in(genome):
    folder = genome(
        objects=[{"image_id": 1, "objects": [thing(11, "man", merged_object_ids=[21, 12]), thing(12, "bike")]}],
        attributes_image1={"image_id": 1, "attributes": [{"object_id": 21, "attributes": ["young"]}]},
        region_graphs=[
            {"image_id": 1, "regions": [region(5, "man", objects=[{"object_id": 21}, {"object_id": 11}, {"object_id": 99}])]}
        ],
        relationships=[
            {
                "image_id": 1,
                "relationships": [
                    {"predicate": "on", "subject_id": 21, "object_id": 12},
                    {"predicate": "ON", "subject": {"object_id": 11}, "object": {"object_id": 12}},
                    {"predicate": "of", "subject_id": 21, "object_id": 11},
                    {"predicate": "by", "subject_id": 99, "object_id": 11},
                    {"predicate": " ", "subject_id": 12, "object_id": 11},
                ],
            }
        ],
    )
    scene, counts = one(folder)
    assert scene.objects[0].attributes == ("young",)
    assert scene.regions[0].objects == ("o1",)
    assert [(fact.subject, fact.predicate, fact.object) for fact in scene.relations] == [("o1", "on", "o2")]  # 12 is itself
    assert counts == {
        "region references dropped: unknown object": 1,
        "region references folded: the same object": 1,
        "relations folded: said before": 1,
        "relations dropped: an object to itself": 1,
        "relations dropped: unknown object": 1,
        "relations dropped: no predicate": 1,
    }


def test_boxes_are_clamped_or_dropped_with_a_count(genome):
    listed = [
        thing(1, "curtains", 90, 0, 11, 50),
        thing(2, "dot", 5, 5, 0, 9),
        thing(3, "sky", -2, -2, 10, 10),
        thing(4, "far", 200, 0, 5, 5),
        thing(5, "line", 5, 5, 9, -1),
        thing(6, "?", None, 5, 9, 1),
        thing(7, ""),
        thing(3, "sky again"),
        thing(3, "sky again"),
    ]
    regions = [region(1, "flat", 0, 0, 9, 0), region(2, " "), region(3, "wide", 0, 0, 101, 50)]
    others = [{"image_id": 2, "relationships": [{"predicate": "on"}]}]
    roles = {"region_descriptions": [{"id": 1, "regions": regions}], "relationships": others}
    scene, counts = one(genome(objects=[{"image_id": 1, "objects": listed}], **roles))
    assert [(item.tag, item.key) for item in scene.objects] == [("o1", "1"), ("o2", "3"), ("o3", "3")]  # two things of one id
    assert scene.objects[0].boxes[0].xyxy == (0.9, 0.0, 1.0, 1.0)
    assert [part.text for part in scene.regions] == ["wide"]
    assert counts == {
        "boxes clamped to the image": 3,
        "zero-area boxes dropped": 3,
        "boxes outside the image dropped": 1,
        "boxes without four numbers dropped": 1,
        "objects dropped: no id or no name": 1,
        "objects whose id another object of the image has: references go to the first": 1,
        "regions dropped: no phrase": 1,
        "objects of one id and content, kept once": 1,
        "images skipped: no size in image_data.json, no readable image file and no boxes": 1,
    }


def test_a_single_name_serves_as_well_as_a_list(genome):
    item = {"object_id": 1, "name": "cat", "x": 1, "y": 1, "w": 5, "h": 5}
    scene, _ = one(genome(objects=[{"image_id": 1, "objects": [item, thing(2, "x", names=["car", "taxi", "car "])]}]))
    assert [(known.name, known.names) for known in scene.objects] == [("cat", ("cat",)), ("car", ("car", "taxi"))]


def test_descriptions_and_graphs_are_one_list_of_regions(genome):
    folder = genome(
        objects=[{"image_id": 1, "objects": [thing(11, "man")]}],
        region_descriptions=[{"id": 1, "regions": [region(5, "a man"), region(6, "a sky")]}],
        region_graphs=[{"image_id": 1, "regions": [region(5, "a man", objects=[{"object_id": 11}]), region(7, "a sea")]}],
    )
    scene, _ = one(folder)
    assert [(part.text, part.objects) for part in scene.regions] == [("a man", ("o1",)), ("a sky", ()), ("a sea", ())]


def test_graphs_lend_their_relations_where_there_is_no_file_of_them(genome):
    objects = [{"image_id": 1, "objects": [thing(11, "man"), thing(12, "bike")]}]
    graph = region(5, "a man", relationships=[{"predicate": "on", "subject_id": 11, "object_id": 12}])
    folder = genome(objects=objects, region_graphs=[{"image_id": 1, "regions": [graph]}])
    assert [fact.predicate for fact in one(folder)[0].relations] == ["on"]
    genome(relationships=[{"image_id": 1, "relationships": []}])
    assert one(folder)[0].relations == ()


def test_the_size_comes_from_the_data_else_the_photo_else_the_boxes(genome, photo):
    numbers = (1, 2, 3, 4)
    folder = genome(sized=(1,), objects=[{"image_id": number, "objects": [thing(number, "cat")]} for number in numbers])
    photo("images/1.jpg", (7, 7))
    photo("VG_100K/2.jpg", (60, 40))
    (folder / "images/4.jpg").write_bytes(b"rotten")
    stream = load_scenes(f"visual_genome:{folder}")
    assert [(scene.id, scene.width, scene.height) for scene in stream] == [
        ("visual_genome/1", 100, 50),
        ("visual_genome/2", 60, 40),
        ("visual_genome/3", 30, 15),
        ("visual_genome/4", 30, 15),
    ]
    assert stream.counts == {
        "images whose size is the extent of their boxes: image_data.json and the photo are missing": 2,
        "image files not found": 1,
    }


def test_files_need_not_be_in_order(genome):
    numbers = [3, 1, 2]
    folder = genome(
        sized=(1, 2, 3),
        objects=[{"image_id": number, "objects": [thing(number, f"cat {number}")]} for number in numbers],
        region_descriptions=[{"id": number, "regions": [region(number, f"part {number}")]} for number in reversed(numbers)],
    )
    scenes = list(load_scenes(f"visual_genome:{folder}"))
    assert [(scene.objects[0].name, scene.regions[0].text) for scene in scenes] == [(f"cat {n}", f"part {n}") for n in (1, 2, 3)]


@pytest.mark.parametrize("year", [2014, 2017])
def test_captions_are_joined_by_coco_id(genome, put, year):
    data = [{"image_id": n, "width": 100, "height": 50, "coco_id": coco} for n, coco in ((1, 248774), (2, None), (3, 5))]
    folder = genome(objects=[{"image_id": number, "objects": [thing(number, "cat")]} for number in (1, 2, 3)], image_data=data)
    put(f"coco/annotations/captions_val{year}.json", {"annotations": [{"id": 1, "image_id": 248774, "caption": " A cat . \n"}]})
    stream = load_scenes(f"visual_genome:{folder},coco:{folder}/coco")
    assert [scene.captions for scene in stream] == [("A cat .",), (), ()]
    assert stream.counts["images whose coco_id has no captions"] == 1
    assert next(iter(stream)).meta["coco_id"] == 248774


def test_a_coco_folder_without_captions_is_refused(genome, tmp_path):
    folder = genome(objects=[{"image_id": 1, "objects": [thing(1, "cat")]}])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="captions_"):
        load_scenes(f"visual_genome:{folder},coco:{folder}/empty")


def test_a_truncated_file_is_an_error(genome, tmp_path):
    folder = genome(objects=[{"image_id": 1, "objects": [thing(1, "cat")]}])
    path = tmp_path / "objects.json"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SourceError, match=r"objects\.json is not whole JSON"):
        list(load_scenes(f"visual_genome:{folder}"))


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(1 << 62), 1 << 62),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["object_id", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ["object_id", "names", "name", "x", "y", "w", "h", "synsets", "merged_object_ids", "attributes", "phrase"]
FIELDS += ["objects", "predicate", "subject", "object", "question", "relationships"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES), VALUES)
def test_odd_values_never_crash(genome, odd, odder):
    odd = {"object_id": 7} | odd
    folder = genome(
        objects=[{"image_id": 1, "objects": [thing(1, "cat"), thing(2, "dog") | odd, odder]}],
        attributes=[{"image_id": 1, "attributes": [odd, odder]}],
        relationships=[{"image_id": 1, "relationships": [odd, odder]}],
        region_graphs=[{"image_id": 1, "regions": [region(1, "a cat") | odd, odder]}],
        question_answers=[{"id": 1, "qas": [odd, odder]}, odder if isinstance(odder, dict) else {}],
    )
    scene, _ = one(folder)
    assert scene.objects[0].name == "cat"


def test_an_image_of_questions_alone_is_skipped(genome):
    asked = [{"id": 2, "qas": [{"question": "Who?", "answer": "A man."}]}]
    _, counts = one(genome(sized=(1, 2), objects=[{"image_id": 1, "objects": [thing(1, "cat")]}], question_answers=asked))
    assert counts == {"images skipped: no objects and no regions": 1}


def test_relations_alone_give_scenes(genome):
    ends = [{**thing(11, "man"), "synsets": ["man.n.01"]}, thing(12, "bike")]
    fact = {"predicate": "ON", "subject": ends[0], "object": ends[1]}
    folder = genome(sized=(1,), relationships=[{"image_id": 1, "relationships": [fact, fact]}])
    (scene,) = load_scenes(f"visual_genome:{folder}")
    assert [(known.name, known.kind) for known in scene.objects] == [("man", "man.n.01"), ("bike", "")]
    assert [(scene.by_tag[known.subject].name, known.predicate) for known in scene.relations] == [("man", "on")]


def test_region_descriptions_alone_give_scenes_also_in_comvints_own_layout(genome, put, tmp_path):
    put("vg/region_descriptions.json", [{"id": 1, "regions": [region(5, "a man on a bike")]}, {"id": 2, "regions": []}])
    stream = load_scenes(f"visual_genome:{tmp_path}")
    (scene,) = stream
    assert [part.text for part in scene.regions] == ["a man on a bike"]
    assert stream.counts["images skipped: no size in image_data.json, no readable image file and no boxes"] == 1


REAL = ("objects", "region_graphs", "relationships", "attributes_image1", "attributes_image2", "question_answers")


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """The real files beside sizes for all their images (only three photos could be had)."""
    folder = tmp_path_factory.mktemp("genome")
    for name in REAL:
        (folder / f"{name}.json").symlink_to(shared / "visual_genome" / f"{name}.json")
    numbers = [entry["image_id"] for entry in json.loads((folder / "objects.json").read_text())]
    sizes = [{"image_id": number, "width": 1024, "height": 1024} for number in numbers]
    (folder / "image_data.json").write_text(json.dumps(sizes))
    stream = load_scenes(f"visual_genome:{folder}")
    return list(stream), stream.counts


def test_the_real_files_have_their_counts(real, shared):
    scenes, counts = real
    assert len(scenes) == 30
    scenes = scenes[:10]  # the images of objects.json; relations alone give the others
    objects = [known for scene in scenes for known in scene.objects]
    regions = [part for scene in scenes for part in scene.regions]
    assert (len(scenes), len(objects), len(regions)) == (10, 313, 2077)
    assert sum(known.kind == "" for known in objects) == 21
    assert sum(len(known.names) > 1 for known in objects) == 0
    names = [Counter(known.name for known in scene.objects) for scene in scenes]
    assert sum(count for named in names for count in named.values() if count > 1) == 92
    identical = [Counter(known.boxes for known in scene.objects) for scene in scenes]
    assert sum(count - 1 for boxes in identical for count in boxes.values()) == 2
    assert sum(part.text.isupper() for part in regions) == 2
    folded = [Counter(part.text.lower() for part in scene.regions) for scene in scenes]
    assert sum(count - 1 for texts in folded for count in texts.values()) >= 123
    assert all(part.text == " ".join(part.text.split()) for part in regions)
    graphs = json.loads((shared / "visual_genome" / "region_graphs.json").read_text())
    assert sum(not part["objects"] for graph in graphs for part in graph["regions"]) == 1419
    assert not any(reason.startswith("boxes") for reason in counts.lost)


def test_every_real_reference_is_kept_or_counted(real):
    scenes, counts = real
    kept = sum(len(part.objects) for scene in scenes for part in scene.regions)
    assert counts["region references dropped: unknown object"] == 90 - 36
    assert kept + counts["region references folded: the same object"] == 1057 - (90 - 36)


def test_every_real_relation_is_kept_or_counted(real, shared):
    scenes, counts = real
    entries = json.loads((shared / "visual_genome" / "relationships.json").read_text())
    nameless = sum(len(entry["relationships"]) for entry in entries if "image_id" not in entry)
    relations = [fact for scene in scenes for fact in scene.relations]
    assert all(fact.predicate == fact.predicate.lower() for fact in relations)
    lost = sum(count for reason, count in counts.items() if reason.startswith("relations "))
    assert len(relations) + lost + nameless == 1036
    assert counts["relationships.json: entries without an image id skipped"] == 1
    assert counts["images whose objects were taken from relations, regions and attributes: objects.json has none"] == 31 - 1 - 10


def test_real_attributes_reach_their_objects(real, shared):
    scenes, _ = real
    first = {known.key: known for known in scenes[0].objects}
    assert first["1058498"].attributes[:2] == ("green", "tall")
    assert "sidewalk" in first["1058534"].attributes  # through the merged id 5046
    assert not any(known.attributes for scene in scenes[2:] for known in scene.objects)
    assert [len(scene.questions) for scene in scenes if scene.id == "visual_genome/5"] == [3]


def test_the_real_folder_takes_sizes_from_its_photos(shared):
    stream = load_scenes(f"visual_genome:{shared / 'visual_genome'}")
    scenes = list(stream)
    assert [(scene.id, scene.open().size) for scene in scenes if scene.image] == [
        (f"visual_genome/{number}", (scene.width, scene.height)) for number, scene in zip((1, 2, 5), scenes, strict=False)
    ]
    assert sum(len(scene.objects) for scene in scenes[:3]) == 87
    assert sum(len(scene.regions) for scene in scenes[:3]) == 766
    assert stream.counts["images whose size is the extent of their boxes: image_data.json and the photo are missing"] == 27
    assert stream.counts["boxes clamped to the image"] == 0


def test_packed_files_and_numbers_as_text_are_read(genome, put):
    import gzip

    item = {"object_id": "7", "names": ["dog"], "x": "1", "y": 1.0, "w": "20", "h": 20}
    entries = [{"image_id": "1", "objects": [item, {**item, "object_id": 8, "x": 0.1, "y": 0.1, "w": 0.5, "h": 0.5}]}]
    folder = genome(image_data=[{"image_id": 1.0, "width": "100", "height": "50"}])
    put("objects.json.gz", gzip.compress(json.dumps(entries).encode()))
    scene, counts = one(folder)
    assert [(known.key, known.boxes[0].xyxy) for known in scene.objects] == [("7", (0.01, 0.02, 0.21, 0.42))]
    assert counts["boxes dropped: all their numbers lie between 0 and 1, as if they were fractions and not pixels"] == 1
