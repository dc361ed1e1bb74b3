"""Rows: the schema, what becomes of text and boxes, what is refused, and grouping by image."""

from __future__ import annotations

import pytest
from datasets import Dataset, load_dataset

from comvint_hf import by_image
from comvint_hf.dataset.schema import features, to_rejected_row, to_row
from comvint_hf.errors import RowError, UnknownTagError
from comvint_hf.types import Box, Edit, Object, Region, Sample, Scene


def box(x1, y1, x2, y2) -> Box:
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


SCENE = Scene(
    id="test/7",
    source="test",
    width=640,
    height=480,
    objects=(
        Object(tag="o1", key="11", name="man", boxes=(box(0.1, 0.2, 0.3, 0.4),)),
        Object(tag="o2", key="12", name="dogs", boxes=(box(0, 0, 0.5, 0.5), box(0.5, 0.5, 1, 1))),
        Object(tag="o3", key="13", name="sky"),
    ),
    regions=(Region(tag="r1", text="a man with two dogs", box=box(0, 0, 1, 1), objects=("o1",)),),
)
BLANK = Sample(scene=SCENE, evidence=("o2", "r1"), topic="pets", rounds=2, generator="writer", judge="judge")


def test_boxes_and_phrases_stand_in_the_order_of_the_text_over_all_turns() -> None:
    sample = BLANK.write([("Who leads the <st>dogs<ed>[o2]?", "The <st>man<ed>[o1]."), ("Where?", "In <st>all of it<ed>[r1].")])
    row = to_row(sample, "test/7/conversation/0")
    assert [message["content"] for message in row["messages"]] == [
        "Who leads the <st>dogs<ed>[0.000, 0.000, 0.500, 0.500], [0.500, 0.500, 1.000, 1.000]?",
        "The <st>man<ed>[0.100, 0.200, 0.300, 0.400].",
        "Where?",
        "In <st>all of it<ed>[0.000, 0.000, 1.000, 1.000].",
    ]
    assert row["phrases"] == ["dogs", "dogs", "man", "all of it"]
    assert [tuple(one) for one in row["boxes"]] == [(0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1), (0.1, 0.2, 0.3, 0.4), (0, 0, 1, 1)]
    assert [(thing["tag"], thing["key"], thing["name"], len(thing["boxes"])) for thing in row["evidence"]] == [
        ("o2", "12", "dogs", 2),
        ("r1", "", "a man with two dogs", 1),
    ]
    assert (row["image_id"], row["width"], row["height"], row["topic"], row["rounds"]) == ("test/7", 640, 480, "pets", 2)
    assert "images" not in row


def test_a_row_has_the_columns_of_the_schema_and_survives_it() -> None:
    row = to_row(BLANK.write([("Who?", "A <st>man<ed>[o1].")]), "a", b"jpeg")
    assert set(row) == set(features())
    stored = Dataset.from_list([row], features=features()).with_format("arrow")[0].to_pylist()[0]
    assert stored["messages"] == row["messages"] and stored["images"] == [{"bytes": b"jpeg", "path": None}]
    assert stored["boxes"][0] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_messages_are_a_list_of_turns_and_not_columns_of_turns(toy_dataset) -> None:
    rows = load_dataset(str(toy_dataset()), split="train", streaming=True)
    for row in list(rows):
        assert [set(message) for message in row["messages"]] == [{"role", "content"}] * len(row["messages"])
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)


@pytest.mark.parametrize(
    ("turn", "error"),
    [
        (("Where is it?", "At <st>it<ed>[o9]."), UnknownTagError),
        (("Where is the sky?", "There: <st>sky<ed>[o3]."), UnknownTagError),
        (("What does <image> show?", "A man."), RowError),
        (("What is it?", "  "), RowError),
    ],
)
def test_what_cannot_be_trained_on_is_refused(turn, error) -> None:
    with pytest.raises(error):
        to_row(BLANK.write([turn]), "a")


def test_a_blank_sample_is_no_row() -> None:
    with pytest.raises(RowError, match="no messages"):
        to_row(BLANK, "a")


def test_a_rejected_row_keeps_what_cannot_be_rendered_and_its_reason() -> None:
    row = to_rejected_row(BLANK.write([("Where?", "At <st>it<ed>[o9].")]), "a", "points nowhere")
    assert row["messages"][1]["content"] == "At <st>it<ed>[o9]." and row["reason"] == "points nowhere"
    assert set(row) == set(features(images=False, rejected=True))


def test_history_is_rendered_where_it_can_be() -> None:
    edits = (
        Edit(stage="complicate", instruction="The <st>man<ed>[o1]?", response="Yes."),
        Edit(stage="verify", instruction="[o9]?", response=""),
    )
    row = to_row(BLANK.write([("Who?", "He.")], history=edits), "a")
    assert [edit["instruction"] for edit in row["history"]] == ["The <st>man<ed>[0.100, 0.200, 0.300, 0.400]?", "[o9]?"]


def test_by_image_finds_scattered_rows_of_a_dataset_and_adjacent_ones_of_a_stream() -> None:
    rows = [{"image_id": image, "id": number} for number, image in enumerate("aabbab")]
    whole = [[row["id"] for row in group] for group in by_image(Dataset.from_list(rows))]
    assert whole == [[0, 1, 4], [2, 3, 5]]
    adjacent = [[row["id"] for row in group] for group in by_image(iter(rows))]
    assert adjacent == [[0, 1], [2, 3], [4], [5]]
    streamed = [[row["id"] for row in group] for group in by_image(Dataset.from_list(rows).to_iterable_dataset())]
    assert streamed == adjacent


def test_by_image_gives_every_row_of_a_built_dataset_once(toy_dataset) -> None:
    rows = load_dataset(str(toy_dataset()), split="train")
    groups = list(by_image(rows))
    assert sorted(row["id"] for group in groups for row in group) == sorted(rows["id"])
    assert all(len({row["image_id"] for row in group}) == 1 for group in groups)
    assert len(groups) == len(set(rows["image_id"]))
