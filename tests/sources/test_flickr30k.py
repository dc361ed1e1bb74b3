"""Flickr30k Entities: the rules on hand-made files, the official parse, and the counts of the real files to the unit."""

import csv
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.grounding import render, strip_grounding
from comvint_hf.sources import load_scenes
from comvint_hf.sources.flickr30k import UNMENTIONED
from comvint_hf.sources.flickr30k_files import parse_caption, read_annotation, read_captions


def boxed(names: str, *edges: int) -> str:
    named = "".join(f"<name>{name}</name>" for name in names.split())
    corners = "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
    return f"<object>{named}<bndbox>{corners}</bndbox></object>"


def flagged(name: str, **flags: int) -> str:
    return f"<object><name>{name}</name>{''.join(f'<{flag}>{value}</{flag}>' for flag, value in flags.items())}</object>"


OBJECTS = (
    boxed("1 4", 1, 1, 50, 25)
    + boxed("1", 51, 26, 100, 50)
    + boxed("9", 10, 10, 10, 10)
    + flagged("2", scene=1, nobndbox=1)
    + flagged("3", scene=0, nobndbox=1)
)
SENTENCES = (
    "[/EN#1/people Two men] in [/EN#2/vehicles/scene a boat] see [/EN#0/notvisual it] .\n"
    "[/EN#1/people The men] and [/EN#4/clothing/people his  hat] have [/EN#3/other fun]\n"
    "Nothing marked here .\n"
)


def one(folder, **options):
    stream = load_scenes(f"flickr30k:{folder}", **options)
    (scene,) = stream
    return scene, stream.counts


def test_an_entity_becomes_one_object(flickr):
    scene, counts = one(flickr("77", OBJECTS, SENTENCES))
    assert (scene.id, scene.width, scene.height, scene.image) == ("flickr30k/77", 100, 50, None)
    assert scene.captions == (
        "Two men in a boat see it .",
        "The men and his hat have fun",
        "Nothing marked here .",
    )
    assert [(thing.tag, thing.key, thing.names, thing.kind, len(thing.boxes)) for thing in scene.objects] == [
        ("o1", "1", ("Two men", "The men"), "people", 2),
        ("o2", "2", ("a boat",), "vehicles/scene/nobox", 0),
        ("o3", "4", ("his hat",), "clothing/people", 1),
        ("o4", "3", ("fun",), "other/nobox", 0),
        ("o5", "9", ("something",), UNMENTIONED, 1),
    ]
    assert scene.meta["scene_tags"] == ("o2",)
    assert scene.meta["nobox_tags"] == ("o2", "o4")
    assert counts == {"image files not found": 1}


def test_raw_pixels_are_one_based_and_inclusive(flickr):
    scene, _ = one(flickr("77", OBJECTS, SENTENCES))
    first, second = scene.by_tag["o1"].boxes
    assert first.xyxy == (0.0, 0.0, 0.5, 0.5)
    assert second.xyxy == (0.5, 0.5, 1.0, 1.0)  # no gap, no overlap
    assert scene.by_tag["o5"].boxes[0].area == pytest.approx(1 / 5000)  # one pixel has an area


def test_grounded_captions_point_at_what_has_a_box(flickr):
    scene, _ = one(flickr("77", OBJECTS, SENTENCES))
    assert scene.meta["grounded_captions"] == (
        "<st>Two men<ed>[o1] in a boat see it .",
        "<st>The men<ed>[o1] and <st>his hat<ed>[o3] have fun",
        "Nothing marked here .",
    )
    assert render(scene.meta["grounded_captions"][0], scene).boxes == scene.by_tag["o1"].boxes


def test_unrelated_captions_are_left_out(flickr, put):
    folder = flickr("77", OBJECTS, SENTENCES)
    put("UNRELATED_CAPTIONS", "# format: <imageID> <sentence number>\n77 2\n78 1\n77 nonsense")
    scene, counts = one(folder)
    assert len(scene.captions) == len(scene.meta["grounded_captions"]) == 2
    assert counts["captions left out: unrelated to their image"] == 1
    assert scene.objects[0].names == ("Two men",)
    assert {thing.key: thing.kind for thing in scene.objects}["4"] == UNMENTIONED


def test_splits_and_photos_are_found(flickr, put, photo):
    folder = flickr("77", OBJECTS, SENTENCES)
    put("val.txt", "76\n77\n")
    path = photo("flickr30k-images/77.jpg")
    scene, counts = one(folder)
    assert scene.meta["split"] == "val"
    assert scene.image == path
    assert not counts


def test_the_file_name_inside_the_xml_is_not_followed(flickr, put, photo):
    photo("secret.jpg")
    folder = flickr("77", OBJECTS, SENTENCES)
    xml = (folder / "Annotations/77.xml").read_text().replace("77.jpg", "../secret.jpg")
    put("Annotations/77.xml", xml)
    assert one(folder)[0].image is None


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><annotation>&i;</annotation>"
)
BAD_XML = {
    "images skipped: their XML declares a document type or entities": [
        BOMB.encode(),
        BOMB.encode("utf-16"),
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>',
    ],
    "images skipped: their XML is broken": [b"", b"<annotation>", b"\x00\xff", b'<?xml version="1.0" encoding="nonsense"?><a/>'],
    "images skipped: no width and height in their XML": [
        b"<annotation/>",
        b"<annotation><size><width>0</width><height>5</height></size></annotation>",
        b"<annotation><size><width>wide</width><height>5</height></size></annotation>",
    ],
}


@pytest.mark.parametrize(
    ("reason", "content"), [(reason, content) for reason, contents in BAD_XML.items() for content in contents]
)
def test_one_bad_file_among_good_ones_is_a_counted_skip(flickr, put, reason, content):
    folder = flickr("77", OBJECTS, SENTENCES)
    flickr("78", OBJECTS, SENTENCES)
    put("Annotations/78.xml", content)
    scene, counts = one(folder)
    assert scene.id == "flickr30k/77"
    assert counts[reason] == 1


def test_lonely_and_unreadable_files_are_counted(flickr, put):
    folder = flickr("77", OBJECTS, SENTENCES)
    put("Annotations/1.xml", "<annotation/>")
    put("Sentences/2.txt", "Hello .")
    (folder / "Annotations/3.xml").mkdir()
    put("Sentences/3.txt", "Hello .")
    _, counts = one(folder)
    assert counts["images skipped: not in Sentences/*.txt"] == 1
    assert counts["images skipped: not in Annotations/*.xml"] == 1
    assert counts["images skipped: a file cannot be read"] == 1


def test_boxes_that_are_none_are_counted(flickr):
    objects = OBJECTS + boxed("5", 90, 40, 120, 60) + boxed("6", 20, 20, 10, 30) + "<object><name>7</name><bndbox/></object>"
    scene, counts = one(flickr("77", objects, SENTENCES))
    assert {thing.key for thing in scene.objects} == {"1", "2", "3", "4", "5", "9"}
    assert counts == {
        "image files not found": 1,
        "boxes clamped to the image": 1,
        "zero-area boxes dropped": 1,
        "boxes without four numbers dropped": 1,
    }


def test_broken_text_is_counted(flickr, put):
    folder = flickr("77", OBJECTS, "A [/EN#1/people man .\nA fine [/EN#1/people man] .\n")
    scene, counts = one(folder)
    assert scene.captions == ("A fine man .",)
    assert counts["captions dropped: a phrase mark is broken"] == 1
    put("Sentences/77.txt", b"Caf\xe9 .")
    assert one(folder)[1]["captions files with bytes that are not UTF-8"] == 1


WORDS = st.lists(
    st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="[]<>"), min_size=1, max_size=6),
    min_size=1,
    max_size=3,
)
PIECES = st.one_of(
    WORDS.map(lambda words: (None, (), " ".join(words))),
    st.tuples(
        st.integers(0, 10**6).map(str),
        st.lists(st.sampled_from(["people", "scene", "other"]), min_size=1, max_size=3),
        WORDS.map(" ".join),
    ),
)


@given(st.lists(PIECES, max_size=6))
def test_any_caption_comes_back_from_its_marks(pieces):
    marked = " ".join(text if entity is None else f"[/EN#{entity}/{'/'.join(kinds)} {text}]" for entity, kinds, text in pieces)
    caption = parse_caption(marked)
    assert caption.text == " ".join(text for _, _, text in pieces)
    words = caption.text.split(" ")
    found = [(phrase.entity, list(phrase.categories), phrase.text) for phrase in caption.phrases]
    assert found == [(entity, list(kinds), text) for entity, kinds, text in pieces if entity is not None]
    for phrase in caption.phrases:
        length = phrase.text.count(" ") + 1
        assert " ".join(words[phrase.first_word : phrase.first_word + length]) == phrase.text


@given(st.text(max_size=60))
def test_any_text_is_read_without_a_crash(text):
    for caption in read_captions(text.encode("utf-8", errors="surrogatepass"), Counter()):
        assert caption.text


@pytest.fixture(scope="module")
def corpus(shared):
    return shared / "flickr30k_entities"


@pytest.fixture(scope="module")
def real(corpus):
    stream = load_scenes(f"flickr30k:{corpus}")
    scenes = {scene.id.split("/")[1]: scene for scene in stream}
    return scenes, stream.counts


def test_the_real_files_have_their_counts(real, corpus):
    scenes, counts = real
    objects = [thing for scene in scenes.values() for thing in scene.objects]
    with_box = [thing for thing in objects if thing.boxes]
    assert counts == {"image files not found": 348, "captions left out: unrelated to their image": 11}
    assert len(scenes) == 348
    assert Counter(scene.meta["split"] for scene in scenes.values()) == {"train": 181, "test": 105, "val": 62}
    assert sum(len(scene.captions) for scene in scenes.values()) == 1740 - 11
    assert len(with_box) == 1973
    assert sum(len(thing.boxes) for thing in objects) == 3366
    assert sum(len(thing.boxes) > 1 for thing in objects) == 463
    flags = [(set(scene.meta["scene_tags"]), set(scene.meta["nobox_tags"])) for scene in scenes.values()]
    assert sum(len(scene) for scene, _ in flags) == 129
    assert sum(len(nobox) for _, nobox in flags) == 538
    assert sum(len(scene & nobox) for scene, nobox in flags) == 51
    assert len(objects) == 1973 + 129 + 538 - 51
    assert sum(not any(thing.boxes for thing in scene.objects) for scene in scenes.values()) == 2
    assert sum(thing.kind.startswith(UNMENTIONED) for thing in objects) == 19


def test_every_image_has_the_expected_values(real, corpus):
    scenes, _ = real
    with open(corpus / "expected_per_image.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 348
    totals: Counter[str] = Counter()
    for row in rows:
        scene = scenes[row["image_id"]]
        captions = read_captions((corpus / "Sentences" / f"{row['image_id']}.txt").read_bytes(), Counter())
        phrases = [phrase for caption in captions for phrase in caption.phrases]
        boxes = {thing.key: len(thing.boxes) for thing in scene.objects if thing.boxes}
        found = {
            "image_id": row["image_id"],
            "split": scene.meta["split"],
            "width": scene.width,
            "height": scene.height,
            "sentences": len(captions),
            "phrases": len(phrases),
            "phrases_with_box": sum(phrase.entity in boxes for phrase in phrases),
            "ids_with_box": len(boxes),
            "boxes": sum(boxes.values()),
            "max_boxes_per_id": max(boxes.values(), default=0),
            "scene_ids": len(scene.meta["scene_tags"]),
            "nobox_ids": len(scene.meta["nobox_tags"]),
            "notvisual_phrases": sum("notvisual" in phrase.categories for phrase in phrases),
        }
        assert {name: str(value) for name, value in found.items()} == row
        totals["phrases"] += len(phrases)
        totals["multitype"] += sum(len(phrase.categories) > 1 for phrase in phrases)
        totals["plain sentences"] += sum(not caption.phrases for caption in captions)
        totals["words"] += sum(len(caption.text.split(" ")) for caption in captions)
    assert totals == {"phrases": 6002, "multitype": 64, "plain sentences": 11, "words": 23162}


def test_the_authors_own_reader_agrees(real, corpus):
    scenes, _ = real
    golden = json.loads((corpus / "golden_official_parse.json").read_text())
    for image, expected in golden.items():
        captions = read_captions((corpus / "Sentences" / f"{image}.txt").read_bytes(), Counter())
        assert [
            {
                "sentence": caption.text,
                "phrases": [
                    {
                        "first_word_index": phrase.first_word,
                        "phrase": phrase.text,
                        "phrase_id": phrase.entity,
                        "phrase_type": list(phrase.categories),
                    }
                    for phrase in caption.phrases
                ],
            }
            for caption in captions
        ] == expected["sentences"]
        annotations = expected["annotations"]
        width, height = annotations["width"], annotations["height"]
        annotation = read_annotation((corpus / "Annotations" / f"{image}.xml").read_bytes(), Counter())
        zero_based_inclusive = {
            entity: [
                [round(box.x1 * width), round(box.y1 * height), round(box.x2 * width) - 1, round(box.y2 * height) - 1]
                for box in boxes
            ]
            for entity, boxes in annotation.boxes.items()
        }
        assert zero_based_inclusive == annotations["boxes"]
        assert list(annotation.scene) == annotations["scene"]
        assert list(annotation.nobox) == annotations["nobox"]
        assert scenes[image].width == width


def test_every_grounded_caption_renders_to_the_plain_one(real):
    scenes, _ = real
    linked = 0
    for scene in scenes.values():
        for caption, grounded in zip(scene.captions, scene.meta["grounded_captions"], strict=True):
            rendered = render(grounded, scene)
            assert strip_grounding(rendered.text) == caption
            linked += grounded.count("<st>")
    assert linked == 4808  # the eleven captions that are left out have no boxed phrase


def test_a_file_name_that_is_no_unicode_is_skipped(flickr):
    folder = flickr("77", OBJECTS, SENTENCES)
    for name, suffix in (("Annotations", ".xml"), ("Sentences", ".txt")):
        (folder / name / f"7\udcff{suffix}").write_bytes(b"")
    scene, counts = one(folder)
    assert scene.id == "flickr30k/77" and counts["images skipped: the name of a file is not valid Unicode"] == 2


def test_boxes_in_fractions_are_dropped_with_a_reason(flickr):
    _, counts = one(flickr("77", boxed("1", 0.1, 0.2, 0.6, 0.8), SENTENCES))
    assert counts["boxes dropped: all their numbers lie between 0 and 1, as if they were fractions and not pixels"] == 1
