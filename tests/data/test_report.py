"""Counting: what is counted, and that parts add up to the whole."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.data.folder import read_statistics
from comvint_hf.data.report import Statistics, option_letter, short_reason, table, words, yes_or_no


def row(question: str, answer: str, task: str = "conversation", format: str = "open", boxes: int = 0) -> dict:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {
        "image_id": question[:1],
        "messages": messages,
        "task": task,
        "format": format,
        "rounds": 0,
        "boxes": [[0, 0, 1, 1]] * boxes,
    }


def test_counts_are_the_ones_a_person_would_count() -> None:
    statistics = Statistics.of(
        [
            row("How many <st>dogs<ed>[0.1, 0.2, 0.3, 0.4] are there?", "Two dogs.", boxes=1),
            row("How is the weather?", "Fine."),
            row("Is it raining?", "No, it is not.", format="bool"),
            row("Which?\nA. x\nB. y", "B. y", format="choice", task="cross_modal"),
        ]
    )
    talk = statistics.tasks["conversation"]
    assert (talk.rows, talk.pairs, talk.boxes, talk.grounded_rows, talk.how_many) == (3, 3, 1, 1, 1)
    assert talk.question_words == 5 + 4 + 3 and talk.answer_words == 2 + 1 + 4
    assert talk.first_words == {"how": 2, "is": 1} and talk.yes_no == {"no": 1}
    assert statistics.tasks["cross_modal"].options == {"B": 1}
    assert statistics.images == {"train": 3}


def test_answers_are_read_as_people_read_them() -> None:
    assert [yes_or_no(text) for text in ("Yes", "yes, two", '"No."', "Not at all", "Yesterday", "")] == [
        True,
        True,
        False,
        None,
        None,
        None,
    ]
    assert [option_letter(text) for text in ("A", "B. a cup", "(D) x", "C: y", "A cup", "E. x", "")] == [
        "A",
        "B",
        "D",
        "C",
        "A",
        None,
        None,
    ]
    assert short_reason("no usable reply: the endpoint said so") == "no usable reply"
    assert words("") == 0


rows = st.lists(
    st.builds(
        row,
        st.text(min_size=1, max_size=30),
        st.sampled_from(["Yes.", "No", "A red cup", "B. x"]),
        st.sampled_from(["conversation", "vlit"]),
        st.sampled_from(["open", "bool", "choice"]),
        st.integers(0, 3),
    ),
    max_size=12,
)


@given(rows, rows, st.integers(1, 5))
def test_the_statistics_of_parts_add_up_and_survive_json(first, second, refused) -> None:
    parts = [Statistics(), Statistics()]
    for part, some in zip(parts, (first, second), strict=True):
        for one in some:
            part.add(one, "train")
    parts[0].rejected["bad"] += refused
    merged = Statistics.from_json(json.loads(json.dumps(parts[0].to_json())))
    merged.merge(parts[1])
    whole = Statistics()
    for one in first + second:
        whole.add(one, "train")
    whole.rejected["bad"] += refused
    assert Statistics.from_json(merged.to_json()).to_json() == Statistics.from_json(whole.to_json()).to_json()
    assert merged.kept == len(first) + len(second) and merged.refused == refused
    assert len(table(merged)) == 1 + len(merged.tasks)


def test_the_statistics_of_a_folder_are_those_of_its_rows(toy_dataset) -> None:
    from datasets import load_dataset

    folder = toy_dataset()
    stored = read_statistics(folder)
    counted = Statistics()
    for split, rows in load_dataset(str(folder)).items():
        for one in rows:
            counted.add(one, split)
    assert counted.to_json()["tasks"] == stored.to_json()["tasks"]
