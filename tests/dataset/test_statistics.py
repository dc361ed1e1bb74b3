"""Counting: what is counted, and that parts add up to the whole."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from comvint_hf import comvint, svit
from comvint_hf.dataset.reader import read_statistics
from comvint_hf.dataset.statistics import Statistics, count_words, reason_category
from comvint_hf.dataset.tables import comparison_table, make_tables, overview_table, question_table


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
    statistics = Statistics.from_rows(
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
    assert talk.openings == {"how many dogs": 1, "how is the": 1, "is it raining": 1}
    assert talk.question_lengths == {"5": 1, "4": 1, "3": 1} and talk.answer_lengths == {"2": 1, "1": 1, "4": 1}


def test_figures_are_means_and_shares() -> None:
    options = "Which cup is it?\nA. the big red one\nB. blue\nC. a green one\nD. one\nAnswer with the letter."
    statistics = Statistics.from_rows(
        [
            row("How many dogs?", "Two dogs.", boxes=3),
            row("Why is it red?", "Yes."),
            row("Is it?", "No."),
            row("Is it?", "Yes, it is."),
            row(options, "A", format="choice", task="cross_modal"),
            row(options, "A. the big red one", format="choice", task="cross_modal"),
        ]
    )
    talk, choice = statistics.tasks["conversation"].averages, statistics.tasks["cross_modal"].averages
    assert talk["mean_question_words"] == (3 + 4 + 2 + 2) / 4 and talk["mean_answer_words"] == (2 + 1 + 1 + 3) / 4
    assert (talk["share_how"], talk["share_how_many"], talk["share_why"], talk["share_what"]) == (0.25, 0.25, 0.25, 0)
    assert (talk["share_yes_no"], talk["yes_for_each_no"], talk["boxes_a_row"]) == (0.75, 2.0, 0.75)
    assert (choice["mean_right_option_words"], choice["mean_wrong_option_words"]) == (4.0, round((1 + 3 + 1) / 3, 4))
    assert "yes_for_each_no" not in choice and "mean_right_option_words" not in talk


def test_tables_show_the_published_figures_beside_ours() -> None:
    statistics = Statistics.from_rows([row("What is it?", "A cup."), row("How is it?", "Red."), row("Which?", "B", task="vlit")])
    header, *lines = comparison_table(statistics, [svit().figures])
    assert len(lines) == 1 and dict(zip(header, lines[0], strict=True)) == {
        "task": "conversation",
        "questions": "2 (1,565,797)",
        "words in question": "3.0 (9.6)",
        "words in answer": "1.5 (27.9)",
        "what": "50% (38%)",
        "why": "0%",
        "how": "50%",
        "of them how many": "0%",
    }
    assert comparison_table(statistics, [comvint().figures]) == []
    assert question_table(statistics)[1] == ["conversation", "2", "50%", "0%", "50%", "0%", "0.0%", "-"]
    assert all(len(line) == len(lines[0]) for lines in make_tables(statistics) for line in lines)


def test_openings_stay_few_and_their_sums_exact(monkeypatch) -> None:
    monkeypatch.setattr("comvint_hf.dataset.statistics.MAX_OPENINGS", 40)
    parts = [Statistics.from_rows([row(f"What {first} {second}?", "x") for second in range(20)] * 2) for first in range(30)]
    common = Statistics.from_rows([row("Why is it?", "x")] * 100)
    whole = Statistics()
    for part in [*parts, common]:
        whole.merge(part)
    talk = whole.tasks["conversation"]
    assert len(talk.openings) <= 40 and talk.openings["why is it"] == 100
    assert talk.openings.total() == talk.pairs == 1300 and talk.first_words == {"what": 1200, "why": 100}
    assert sum(count for text, count in talk.openings.items() if text.startswith("what")) == 1200
    many = Statistics.from_rows(row(f"What {number // 7} {number}?", "x") for number in range(5000))
    assert len(many.tasks["conversation"].openings) <= 80 and many.tasks["conversation"].openings.total() == 5000


def test_closed_answers_are_counted_by_what_they_say_to_their_question() -> None:
    choice = "Which is it?\nA. a cat\nB. a dog\nC. a cow\nD. a cup"
    statistics = Statistics.from_rows(
        [
            row("Is there a dog?", "The answer is yes."),
            row("Is there a dog?", "There is no dog."),
            row("What is missing?", "There is no dog."),
            row(choice, "A dog", format="choice"),
            row(choice, "(C)", format="choice"),
            row(choice, "E. a bird", format="choice"),
        ]
    ).tasks["conversation"]
    assert statistics.yes_no == {"yes": 1, "no": 1}
    assert statistics.options == {"B": 1, "C": 1} and statistics.option_texts == {"right": 2, "wrong": 6}


def test_rejections_are_counted_by_the_kind_of_their_reason() -> None:
    assert reason_category("no usable reply: the endpoint said so") == "no usable reply"
    assert count_words("") == 0


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
    assert merged.kept == len(first) + len(second) and merged.num_rejected == refused
    assert len(overview_table(merged)) == 1 + len(merged.tasks)


def test_the_statistics_of_a_folder_are_those_of_its_rows(toy_dataset) -> None:
    from datasets import load_dataset

    folder = toy_dataset()
    stored = read_statistics(folder)
    counted = Statistics()
    for split, rows in load_dataset(str(folder)).items():
        for one in rows:
            counted.add(one, split)
    assert counted.to_json()["tasks"] == stored.to_json()["tasks"]
