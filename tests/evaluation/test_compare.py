"""Open answers read as facts, and models compared on the same questions."""

import numpy as np
import pytest

from comvint_hf.errors import RowError
from comvint_hf.evaluation.compare import (
    Graded,
    Words,
    accuracy,
    best_guess,
    difference,
    facts,
    graded,
    groups,
    interval,
    rounds_asked,
    truth_of,
)

WORDS = Words(
    things=("circle", "square", "star"), numbers=("one", "two", "three"), others=("red", "blue", "green", "small", "large")
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
    assert facts(text, WORDS) == expected


def test_what_the_question_says_already_is_no_answer() -> None:
    question = "What colour is the small star?"
    assert (
        truth_of("open", question, "The small star is blue.", WORDS) == truth_of("open", question, "It is blue.", WORDS) == "blue"
    )
    assert truth_of("open", question, "It is a small star.", WORDS) is None
    assert truth_of("open", "Which is higher, the star or the circle?", "The star is higher.", WORDS) is None


def test_closed_truths_are_read_as_the_evaluation_reads_them() -> None:
    assert truth_of("bool", "Is it?", "Yes, it is red.", WORDS) == "yes"
    assert truth_of("choice", "Which?\nA. a cup\nB. a hat", "B", WORDS) == "B"
    assert truth_of("choice", "Which?\nA. a cup\nB. a hat", "a dog", WORDS) is None


def row(format: str = "open", topic: str = "colour", rounds: int = 2) -> dict:
    return {"id": "r", "image_id": "i", "format": format, "topic": topic, "rounds": rounds}


def record(answer: str, format: str = "open", right: bool | None = None, id: str = "r#0") -> dict:
    question, gold = ("Is it red?", "Yes.") if format == "bool" else ("What colour is the star?", "The star is red.")
    names = {"id": id, "format": format, "task": "cross_modal", "topic": "colour"}
    return {**names, "question": question, "gold": gold, "answer": answer, "right": right}


def test_a_question_whether_a_thing_is_there_holds_no_round() -> None:
    assert [
        rounds_asked(row("bool", "existence")),
        rounds_asked(row("bool", "size")),
        rounds_asked(row("open", "existence")),
    ] == [0, 2, 2]


def test_answers_are_graded() -> None:
    answers = ["It is red.", "Red: both are red.", "It is blue.", "It is red and blue.", "I do not know."]
    made = graded([record(answer) for answer in answers], {"r": row()}, WORDS)
    assert [one.right for one in made] == [True, True, False, False, False]
    assert {(one.truth, one.rounds, one.image) for one in made} == {("red", 2, "i")}
    closed = graded([record("No.", "bool", right=False), record("Yes.", "bool", right=True)], {"r": row("bool")}, WORDS)
    assert [one.right for one in closed] == [False, True]


def test_answers_of_another_set_are_refused() -> None:
    with pytest.raises(RowError, match="no row of the held-out set"):
        graded([record("Red.", id="other#0")], {"r": row()}, WORDS)


def runs(*rights: str) -> list[list[Graded]]:
    """A run a string, one character a question: 1 for right. Two questions an image."""
    return [
        [
            Graded(str(n), f"image {n // 2}", "bool" if n % 2 else "open", "t", "x", 0, "yes" if n < 3 else "no", one == "1")
            for n, one in enumerate(right)
        ]
        for right in rights
    ]


def test_accuracy_is_the_mean_over_runs_and_questions() -> None:
    one = accuracy(runs("1100", "1110"))
    assert one.n == 4 and one.value == 0.625 and one.runs == (0.5, 0.75)
    assert one.low <= one.value <= one.high
    assert accuracy(runs("1111"))[1:4] == (1.0, 1.0, 1.0)
    assert accuracy(runs("1100")) == accuracy(runs("1100")), "the draws are seeded"


def test_groups_keep_runs_apart() -> None:
    parts = groups(runs("1010", "0110"), lambda answer: answer.format)
    assert {name: [[one.right for one in run] for run in part] for name, part in parts.items()} == {
        "bool": [[False, False], [True, False]],
        "open": [[True, True], [False, True]],
    }


def test_difference_is_paired() -> None:
    one = difference(runs("1110", "1111"), runs("1010", "1010"))
    assert one.value == pytest.approx(0.375) and one.runs == (0.25, 0.5)
    assert difference(runs("1010"), runs("1010"))[1:4] == (0.0, 0.0, 0.0), "equal answers leave no doubt, whatever the questions"
    other = [[run[0], *run[2:]] for run in runs("1010")]
    with pytest.raises(RowError, match="different questions"):
        difference(runs("1010"), other)


def test_the_interval_counts_pictures_not_questions() -> None:
    """Ten questions a picture that are right together tell as much as one."""
    rights = np.repeat(np.random.default_rng(0).integers(0, 2, 60), 10)[None].astype(float)
    apart = interval(rights, [str(n) for n in range(600)])
    together = interval(rights, [str(n // 10) for n in range(600)])
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(10**0.5, rel=0.15)
    assert apart.high - apart.low == pytest.approx(2 * 1.96 * 0.5 / 600**0.5, rel=0.15)


@pytest.mark.parametrize("images", [3, 7, 11, 49])
def test_the_interval_holds_the_mean_where_all_pictures_agree(images: int) -> None:
    one = interval(np.tile([1.0, 0.0, 0.0], images)[None], [str(n // 3) for n in range(3 * images)])
    assert one.low <= one.value <= one.high and one.high - one.low < 1e-12


def test_best_guess_knows_format_and_topic_only() -> None:
    assert best_guess(runs("0000")[0]) == 0.75, "open: yes, yes; bool: yes, no"
