"""SVIT's released JSON: one row a conversation, boxes in our notation, and images of the official test list as test rows."""

import json
import zipfile

import pytest
from datasets import Dataset
from PIL import Image

from comvint_hf import from_svit
from comvint_hf.dataset import conversation, llava_records, svit_json
from comvint_hf.dataset.inputs import open_input
from comvint_hf.dataset.mix import mix
from comvint_hf.dataset.reader import read_build_info, read_rows
from comvint_hf.dataset.schema import features
from comvint_hf.errors import RowError
from comvint_hf.read_counts import ReadCounts


def say(*texts: str) -> dict:
    """A conversation as the release writes it."""
    return {"content": [{"from": ("user", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]}


BOXED = "The <st>men<ed> [0.1, 0.25, 0.3, 0.4], [0.5,0.6,0.7,0.8] sit."
RECORDS = [
    {"image_id": 8, "conversations": [say("Who?", "A man.", "Where?", "There."), say("Why?", "So.")]},
    {"image_id": 5, "conversations": [say("Where are <st>they<ed> [0, 0, 1, 1]?", BOXED)]},
]


def test_each_conversation_is_a_row_of_our_schema(tmp_path):
    (tmp_path / "svit.json").write_text(json.dumps(RECORDS))
    rows = list(from_svit(tmp_path / "svit.json"))
    assert [(row["id"], row["image_id"], row["task"]) for row in rows] == [
        ("svit/conversation/8/0", "visual_genome/8", "conversation"),
        ("svit/conversation/8/1", "visual_genome/8", "conversation"),
        ("svit/referring_qa/5/0", "visual_genome/5", "referring_qa"),
    ]
    assert [message["content"] for message in rows[0]["messages"]] == ["Who?", "A man.", "Where?", "There."]
    assert rows[2]["messages"][1]["content"] == "The <st>men<ed>[0.100, 0.250, 0.300, 0.400], [0.500, 0.600, 0.700, 0.800] sit."
    assert rows[2]["phrases"] == ["they", "men", "men"] and rows[2]["boxes"][1] == [0.1, 0.25, 0.3, 0.4]
    table = Dataset.from_list(rows, features=features(images=False))
    assert table[0]["source"] == "visual_genome" and table[0]["generator"] == "gpt-4"


@pytest.mark.parametrize("name", ["detail_description.json", "detail_description.zip"])
def test_the_name_of_the_file_says_the_task(tmp_path, name):
    data = json.dumps(RECORDS[:1])
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("detail_description.json", data)
    else:
        (tmp_path / name).write_text(data)
    assert {row["task"] for row in from_svit(tmp_path / name)} == {"detail_description"}
    assert {row["task"] for row in from_svit(RECORDS, task="complex_reasoning")} == {"complex_reasoning"}


def test_what_cannot_be_a_row_is_skipped_with_its_reason():
    bad = [
        7,
        {"conversations": [say("a", "b")]},
        {"image_id": 6, "conversations": []},
        {
            "image_id": "7",
            "conversations": [say("a"), say("a", " "), say("a <st>b<ed> [10, 20, 30, 40]", "c"), None, say("a", "b")],
        },
    ]
    counts = ReadCounts()
    rows = list(from_svit([*bad, *RECORDS], counts=counts))
    assert [row["id"] for row in rows][:1] == ["svit/conversation/7/4"] and len(rows) == 4
    assert counts == {
        llava_records.NO_RECORD: 1,
        svit_json.NO_IMAGE_ID: 1,
        conversation.NO_TURNS: 2,
        conversation.NO_ANSWER: 1,
        conversation.NO_TEXT: 1,
        svit_json.NO_FRACTION: 1,
    }
    with pytest.warns(UserWarning, match="7 conversations or records are left out"):
        list(from_svit([*bad, *RECORDS]))
    with pytest.raises(RowError, match="Conversation 1 of image 7 ends with a user turn"):
        list(from_svit([{"image_id": 7, "conversations": [say("a")]}]))


def test_a_mix_takes_photos_and_the_official_split(tmp_path):
    for name, width in (("VG_100K/5.jpg", 5), ("VG_100K_2/8.jpg", 8)):
        (tmp_path / "vg" / name).parent.mkdir(parents=True)
        Image.new("RGB", (width, 4)).save(tmp_path / "vg" / name)
    path = tmp_path / "svit.json"
    path.write_text(json.dumps([*RECORDS, {"image_id": 9, "conversations": [say("a", "b")]}]))
    statistics = mix([open_input(str(path), tmp_path / "vg")], tmp_path / "out")
    assert statistics.notes == {llava_records.IMAGE_MISSING: 1}
    files = read_build_info(tmp_path / "out")["files"]
    found = {
        (row["image_id"], row["width"], name.split("/")[-1].split("-")[0])
        for name in files
        for row in read_rows(tmp_path / "out" / name)
    }
    assert found == {("visual_genome/5", 5, "train"), ("visual_genome/8", 8, "test")}, "8 is in SVIT's list of test images"
