"""LLaVA's JSON in and out, on the real files and on hand-made ones."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset, load_dataset
from PIL import Image

from comvint_hf import from_llava, to_llava
from comvint_hf.data.rows import features
from comvint_hf.errors import RowError


def test_real_records_with_and_without_image_become_rows(shared) -> None:
    path = shared / "instruction" / "llava" / "scienceqa_llava_conversations.json"
    rows, records = list(from_llava(path)), json.loads(path.read_text())
    assert len(rows) == len(records) == 600
    with_image = [row for row in rows if row["image_id"]]
    assert len(with_image) == 400
    assert all("images" not in row for row in with_image)
    assert all(row["images"] == [] for row in rows if not row["image_id"])
    assert not any("<image>" in message["content"] for row in rows for message in row["messages"])
    assert rows[0]["messages"][0]["content"] == records[0]["conversations"][0]["value"].removeprefix("<image>\n")
    assert {message["role"] for row in rows for message in row["messages"]} == {"user", "assistant"}


def test_real_records_survive_the_way_in_and_out(shared) -> None:
    path = shared / "instruction" / "llava" / "scienceqa_llava_conversations.json"
    records = json.loads(path.read_text())
    back = list(to_llava(from_llava(path, source="s")))
    for record, again in zip(records, back, strict=True):
        assert again["id"] == record["id"] and again.get("image") == (f"s/{record['image']}" if "image" in record else None)
        spoken = [(turn["from"], turn["value"].replace("<image>", "").strip()) for turn in record["conversations"]]
        assert [(turn["from"], turn["value"].replace("<image>", "").strip()) for turn in again["conversations"]] == spoken


def test_the_messages_format_with_several_images_and_later_markers(shared) -> None:
    rows = list(from_llava(shared / "instruction" / "llamafactory_mllm_demo.json"))
    assert len(rows) == 6
    assert [message["content"] for message in rows[0]["messages"]][::2] == ["Who are they?", "What are they doing?"]
    back = next(to_llava(rows[:1]))
    assert back["conversations"][0]["value"].startswith("<image>\nWho")


@pytest.mark.parametrize("names", ["a.png", ["a.png"], ["a.png", "b/c.png"]])
def test_photos_are_read_from_their_folder(tmp_path, names) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/c.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    count = 1 if isinstance(names, str) else len(names)
    record = {
        "id": 1,
        "image": names,
        "conversations": [{"from": "human", "value": "<image>\n" * count + "Hi"}, {"from": "gpt", "value": "Ho"}],
    }
    (row,) = from_llava([record], tmp_path)
    assert len(row["images"]) == count and row["id"] == "1"
    assert row["messages"][0] == {"role": "user", "content": "Hi"}
    assert Dataset.from_list([row], features=features())[0]["images"][0].size == (4, 4)
    again = next(to_llava([row], tmp_path / "out"))
    written = again["image"] if isinstance(again["image"], list) else [again["image"]]
    assert len(written) == count and all((tmp_path / "out" / name).is_file() for name in written)
    assert again["conversations"] == record["conversations"]


def test_boxes_in_the_text_become_columns() -> None:
    answer = "The <st>men<ed>[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]."
    (row,) = from_llava([{"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": answer}]}])
    assert row["phrases"] == ["men", "men"] and row["boxes"][1] == [0.5, 0.6, 0.7, 0.8]


TURNS = [{"from": "human", "value": "<image>\nHi"}, {"from": "gpt", "value": "Ho"}]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"id": 5, "image": "a.png"}, "Record 5 has no turns"),
        ({"id": 5, "conversations": TURNS}, "says <image> 1 times and names 0 images"),
        ({"id": 5, "image": ["a.png", "b.png"], "conversations": TURNS}, "1 times and names 2"),
        ({"id": 5, "image": "a.png", "conversations": [{"from": "bot", "value": "x"}]}, "expected a role"),
        ({"id": 5, "image": "a.png", "conversations": [{"from": "human", "value": None}]}, "expected a role"),
        ({"id": 5, "image": "a.png", "conversations": [{"from": "human", "value": "<image>\n"}]}, "an empty turn"),
        ({"id": 5, "image": "../a.png", "conversations": TURNS}, "leads out of"),
        ({"id": 5, "image": "a.png", "conversations": TURNS}, "no image 'a.png' under"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path, record, said) -> None:
    with pytest.raises(RowError, match=said):
        list(from_llava([record], tmp_path))


def test_a_file_that_is_no_json_is_named_with_its_line(tmp_path) -> None:
    (tmp_path / "a.json").write_text('[\n{"id": 1},\n')
    with pytest.raises(RowError, match="a.json, line 3"):
        list(from_llava(tmp_path / "a.json"))
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(RowError, match="expected a list"):
        list(from_llava(tmp_path / "b.json"))


def test_a_built_dataset_leaves_as_llava_with_its_photos(tmp_path, toy_dataset) -> None:
    rows = load_dataset(str(toy_dataset()), split="train")
    records = list(to_llava(rows, tmp_path))
    assert len(records) == len(rows)
    assert len(list((tmp_path / "images").iterdir())) == len(set(rows["image_id"]))
    back = list(from_llava(records, tmp_path))
    assert [row["messages"] for row in back] == rows["messages"][:]
    assert [row["phrases"] for row in back] == rows["phrases"][:]
