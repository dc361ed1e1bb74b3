"""LLaVA's JSON in and out, on the real files and on hand-made ones."""

from __future__ import annotations

import io
import json

import pytest
from datasets import Dataset, load_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from comvint_hf import from_llava, to_llava
from comvint_hf.dataset import conversation
from comvint_hf.dataset.schema import features
from comvint_hf.errors import RowError
from comvint_hf.read_counts import ReadCounts


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
    path = shared / "instruction" / "llamafactory_mllm_demo.json"
    counts = ReadCounts()
    rows = list(from_llava(path, counts=counts))
    assert len(rows) + counts[conversation.BETWEEN_WORDS] == 6 and rows[0]["messages"][0]["content"] == "Who is he?"
    back = next(to_llava(rows[:1]))
    assert back["conversations"][0]["value"].startswith("<image>\nWho")
    placed = list(from_llava(path, keep_places=True))
    assert len(placed) == 6
    assert placed[0]["messages"][2]["content"] == [{"type": "text", "text": "What are they doing?"}, {"type": "image"}]


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
        ({"id": 5, "image": "a.png", "conversations": TURNS, "comvint": "x"}, "expected the columns that to_llava writes"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path, record, said) -> None:
    with pytest.raises(RowError, match=said):
        list(from_llava([record], tmp_path))


def test_a_file_that_is_no_json_is_named_with_its_byte(tmp_path) -> None:
    (tmp_path / "a.json").write_text('[\n{"id": 1},\n')
    with pytest.raises(RowError, match="a.json is not whole JSON: it ends too early, .* at byte 13"):
        list(from_llava(tmp_path / "a.json"))
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(RowError, match="expected a list"):
        list(from_llava(tmp_path / "b.json"))


def test_a_built_dataset_leaves_as_llava_with_its_photos(tmp_path, toy_dataset) -> None:
    rows = load_dataset(str(toy_dataset()), split="train")
    records = list(to_llava(rows, tmp_path))
    assert len(records) == len(rows)
    assert len(list((tmp_path / "images").iterdir())) == len(set(rows["image_id"]))
    back = list(from_llava(json.loads(json.dumps(records)), tmp_path))
    again = Dataset.from_list(back, features=rows.features)
    pictures = [[picture.tobytes() for picture in row["images"]] for row in again]
    assert pictures == [[picture.tobytes() for picture in row["images"]] for row in rows]
    assert again.remove_columns("images").to_list() == rows.remove_columns("images").to_list()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SAID = TEXT.filter(lambda text: text.strip() and "<image>" not in text) | st.just(" \n<st>cup<ed>[0.1, 0.1, 0.1, 0.1] \n")
BOX = st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4)
TURNS_OF_ROWS = st.lists(st.tuples(SAID, SAID), min_size=1, max_size=2).map(
    lambda pairs: [
        {"role": role, "content": said} for pair in pairs for role, said in zip(("user", "assistant"), pair, strict=True)
    ]
)
ROWS = st.fixed_dictionaries(
    {
        "image_id": TEXT,
        "messages": TURNS_OF_ROWS,
        **{name: TEXT for name in ("task", "format", "source", "generator", "judge", "topic")},
        "boxes": st.lists(BOX, max_size=2),
        "phrases": st.lists(TEXT, max_size=2),
        **{name: st.integers(0, 2**31 - 1) for name in ("rounds", "width", "height")},
        "evidence": st.lists(
            st.fixed_dictionaries({"tag": TEXT, "key": TEXT, "name": TEXT, "boxes": st.lists(BOX, max_size=1)}), max_size=1
        ),
        "history": st.lists(st.fixed_dictionaries({"stage": TEXT, "instruction": TEXT, "response": TEXT}), max_size=1),
    },
    optional={"reason": TEXT, "matching": st.floats(0, 100), "label": TEXT},
)


@given(st.lists(st.tuples(ROWS, st.sampled_from(["photo", "photos", "text", "without"])), max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_comes_back_as_it_left(tmp_path, drawn) -> None:
    """Rows with one photo, several, none on purpose (`images=[]`) and none at hand; two images may share a name."""
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    rows = [{"id": f"{number}", **row, **PICTURES.get(kind, {})} for number, (row, kind) in enumerate(drawn)]
    with_photo, without = ([row for row in rows if ("images" in row) is held] for held in (True, False))
    for chosen, place in ((with_photo, folder), (without, None)):
        records = [json.loads(json.dumps(record)) for record in to_llava(chosen, place)]
        expected = [row if row["image_id"] else {**row, "images": row.get("images", [])} for row in chosen]
        for row in expected:  # what no photo says is read off it
            if row.get("images") and not row["width"]:
                row.update(width=4, height=4)
        assert list(from_llava(records, place)) == expected


def png(colour: str) -> dict:
    held = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(held, "PNG")
    return {"bytes": held.getvalue(), "path": None}


PICTURES = {"photo": {"images": [png("red")]}, "photos": {"images": [png("red"), png("blue")]}, "text": {"images": []}}


def test_text_that_was_changed_has_the_last_word_on_boxes() -> None:
    answer = "The <st>cup<ed>[0.100, 0.200, 0.300, 0.400]."
    row = {"id": "1", "image_id": "s/1", "task": "vlit", "boxes": [[0.1004, 0.2, 0.3, 0.4]], "phrases": ["cup"]}
    row["messages"] = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": answer}]
    (record,) = to_llava([row])
    assert next(from_llava([record]))["boxes"] == row["boxes"]
    record["conversations"][1]["value"] = "The <st>mug<ed>[0.500, 0.200, 0.900, 0.400]."
    changed = next(from_llava([record]))
    assert (changed["boxes"], changed["phrases"], changed["task"]) == ([[0.5, 0.2, 0.9, 0.4]], ["mug"], "vlit")


def test_pictures_of_rows_without_an_image_id_do_not_take_each_others_names(tmp_path) -> None:
    talk = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]
    rows = [{"id": f"r/{n}", "messages": talk, "images": [Image.new("CMYK", (n + 1, 1))]} for n in range(3)]
    records = list(to_llava(rows, tmp_path))
    widths = [Image.open(tmp_path / record["image"]).size[0] for record in records]
    assert widths == [1, 2, 3]
    with pytest.raises(RowError, match="no `image_id` to name it by; give a folder"):
        list(to_llava(rows))


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([{"role": "assistant", "content": "A cup."}], "has an image and no user turn"),
        ([{"role": "user", "content": "<image>What?"}], "says <image>, which would count as one more image"),
    ],
)
def test_a_row_that_llava_cannot_hold_is_named(messages, said) -> None:
    with pytest.raises(RowError, match=said):
        list(to_llava([{"id": "1", "image_id": "s/1", "messages": messages}]))
