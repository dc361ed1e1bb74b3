"""Open answers read as facts, and models compared on the same questions."""

import numpy as np
import pytest

from comvint_hf.errors import RowError
from comvint_hf.evaluation.compare import (
    GradedAnswer,
    Vocabulary,
    accuracy,
    accuracy_difference,
    bootstrap_interval,
    count_rounds,
    grade_answers,
    group_answers,
    majority_baseline,
    parse_facts,
    reference_answer,
)

WORDS = Vocabulary(
    objects=("circle", "square", "star"), numbers=("one", "two", "three"), attributes=("red", "blue", "green", "small", "large")
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is a Star.", {"star"}),
        ("There are two small red circles.", {"small", "red", "two circle"}),
        ("There are two shapes.", {"two"}),
        ("It has three corners. The object is a square.", {"three", "square"}),
        ("One square and two circles, which makes three", {"one square", "two circle", "three"}),
        ("A coin: both are round.", set()),
        ("", set()),
    ],
)
def test_facts(text: str, expected: set[str]) -> None:
    assert parse_facts(text, WORDS) == expected


def test_what_the_question_says_already_is_no_answer() -> None:
    question = "What colour is the small star?"
    assert (
        reference_answer("open", question, "The small star is blue.", WORDS)
        == reference_answer("open", question, "It is blue.", WORDS)
        == "blue"
    )
    assert reference_answer("open", question, "It is a small star.", WORDS) is None
    assert reference_answer("open", "Which is higher, the star or the circle?", "The star is higher.", WORDS) is None


def test_closed_truths_are_read_as_the_evaluation_reads_them() -> None:
    assert reference_answer("bool", "Is it?", "Yes, it is red.", WORDS) == "yes"
    assert reference_answer("choice", "Which?\nA. a cup\nB. a hat", "B", WORDS) == "B"
    assert reference_answer("choice", "Which?\nA. a cup\nB. a hat", "a dog", WORDS) is None


def row(format: str = "open", topic: str = "colour", rounds: int = 2) -> dict:
    return {"id": "r", "image_id": "i", "format": format, "topic": topic, "rounds": rounds}


def record(answer: str, format: str = "open", right: bool | None = None, id: str = "r#0") -> dict:
    question, gold = ("Is it red?", "Yes.") if format == "bool" else ("What colour is the star?", "The star is red.")
    names = {"id": id, "format": format, "task": "cross_modal", "topic": "colour"}
    return {**names, "question": question, "gold": gold, "answer": answer, "right": right}


def test_a_question_whether_a_thing_is_there_holds_no_round() -> None:
    assert [
        count_rounds(row("bool", "existence")),
        count_rounds(row("bool", "size")),
        count_rounds(row("open", "existence")),
    ] == [0, 2, 2]


def test_answers_are_graded() -> None:
    answers = ["It is red.", "Red: both are red.", "It is blue.", "It is red and blue.", "I do not know."]
    made = grade_answers([record(answer) for answer in answers], {"r": row()}, WORDS)
    assert [one.correct for one in made] == [True, True, False, False, False]
    assert {(one.truth, one.rounds, one.image_id) for one in made} == {("red", 2, "i")}
    closed = grade_answers([record("No.", "bool", right=False), record("Yes.", "bool", right=True)], {"r": row("bool")}, WORDS)
    assert [one.correct for one in closed] == [False, True]


def test_answers_of_another_set_are_refused() -> None:
    with pytest.raises(RowError, match="no row of the held-out set"):
        grade_answers([record("Red.", id="other#0")], {"r": row()}, WORDS)


def runs(*results: str) -> list[list[GradedAnswer]]:
    """A run a string, one character a question: 1 for right. Two questions an image."""
    return [
        [
            GradedAnswer(
                str(n), f"image {n // 2}", "bool" if n % 2 else "open", "t", "x", 0, "yes" if n < 3 else "no", one == "1"
            )
            for n, one in enumerate(result)
        ]
        for result in results
    ]


def test_accuracy_is_the_mean_over_runs_and_questions() -> None:
    one = accuracy(runs("1100", "1110"))
    assert one.n == 4 and one.value == 0.625 and one.runs == (0.5, 0.75)
    assert one.low <= one.value <= one.high
    assert accuracy(runs("1111"))[1:4] == (1.0, 1.0, 1.0)
    assert accuracy(runs("1100")) == accuracy(runs("1100")), "the draws are seeded"


def test_groups_keep_runs_apart() -> None:
    parts = group_answers(runs("1010", "0110"), lambda answer: answer.format)
    assert {name: [[one.correct for one in run] for run in part] for name, part in parts.items()} == {
        "bool": [[False, False], [True, False]],
        "open": [[True, True], [False, True]],
    }


def test_difference_is_paired() -> None:
    one = accuracy_difference(runs("1110", "1111"), runs("1010", "1010"))
    assert one.value == pytest.approx(0.375) and one.runs == (0.25, 0.5)
    assert accuracy_difference(runs("1010"), runs("1010"))[1:4] == (0.0, 0.0, 0.0), (
        "equal answers leave no doubt, whatever the questions"
    )
    other = [[run[0], *run[2:]] for run in runs("1010")]
    with pytest.raises(RowError, match="different questions"):
        accuracy_difference(runs("1010"), other)


def test_the_interval_counts_images_not_questions() -> None:
    """Ten questions about an image that are right together weigh as much as one."""
    correct = np.repeat(np.random.default_rng(0).integers(0, 2, 60), 10)[None].astype(float)
    apart = bootstrap_interval(correct, [str(n) for n in range(600)])
    together = bootstrap_interval(correct, [str(n // 10) for n in range(600)])
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(10**0.5, rel=0.15)
    assert apart.high - apart.low == pytest.approx(2 * 1.96 * 0.5 / 600**0.5, rel=0.15)


@pytest.mark.parametrize("images", [3, 7, 11, 49])
def test_the_interval_holds_the_mean_where_all_images_agree(images: int) -> None:
    one = bootstrap_interval(np.tile([1.0, 0.0, 0.0], images)[None], [str(n // 3) for n in range(3 * images)])
    assert one.low <= one.value <= one.high and one.high - one.low < 1e-12


def test_best_guess_knows_format_and_topic_only() -> None:
    assert majority_baseline(runs("0000")[0]) == 0.75, "open: yes, yes; bool: yes, no"
