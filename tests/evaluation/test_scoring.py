"""From rows to results.json."""

import pytest

from comvint_hf.evaluation.scoring import compute_metrics, extract_questions, object_names, score_answer

BOX, OTHER = "[0.100, 0.100, 0.300, 0.300]", "[0.500, 0.500, 0.900, 0.900]"


def row(*turns: str, task: str = "conversation", format: str = "open", topic: str = "", evidence: tuple[str, ...] = ()) -> dict:
    roles = ("user", "assistant") * len(turns)
    return {
        "id": "r",
        "messages": [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)],
        "task": task,
        "format": format,
        "topic": topic,
        "evidence": [{"name": name} for name in evidence],
    }


def scored(made: dict, *answers: str) -> list:
    questions = list(extract_questions(made))
    return [score_answer(question, answer, object_names(questions)) for question, answer in zip(questions, answers, strict=True)]


def test_every_turn_is_asked_with_the_true_turns_before_it() -> None:
    questions = list(extract_questions(row("one?", "1", "two?", "2")))
    assert [question.id for question in questions] == ["r#0", "r#1"]
    assert [message["content"] for message in questions[1].messages] == ["one?", "1", "two?"]
    assert questions[1].gold == "2"


def test_closed_answers() -> None:
    yes = scored(row("Is it?", "Yes, it is.", format="bool"), "yes")
    unclear = scored(row("Is it?", "No.", format="bool", topic="existence"), "perhaps")
    absent = scored(row("Is there a cat?", "No.", format="bool", topic="existence"), "No, there is none.")
    choice = scored(row("Which?\nA. a cup\nB. a hat", "B. a hat", format="choice", task="cross_modal"), "A")
    result = compute_metrics([*yes, *unclear, *absent, *choice])
    assert result["closed_accuracy"] == 0.5 and result["n"]["closed"] == 4
    assert result["absent_accuracy"] == 0.5 and result["n"]["absent"] == 2
    assert result["yes_ratio"] == pytest.approx(1 / 3)
    assert result["details"]["unreadable"] == 1
    assert result["details"]["closed"]["format"]["choice"]["value"] == 0.0
    assert result["details"]["closed"]["task"]["conversation"]["n"] == 3


def test_without_a_readable_truth_there_is_no_score() -> None:
    assert scored(row("Is it?", "Perhaps.", format="bool"), "yes")[0].correct is None


def test_grounding_counts_boxes_that_the_question_did_not_give() -> None:
    made = row(
        f"What is left of <st>the cup<ed>{BOX}?", f"<st>A hat<ed>{OTHER} is left of <st>the cup<ed>{BOX}.", task="referring_qa"
    )
    good, copied = scored(made, f"It is <st>a hat<ed>{OTHER}.")[0], scored(made, f"<st>The cup<ed>{BOX}.")[0]
    assert good.overlaps == [1.0] and copied.overlaps == [0.0]
    result = compute_metrics([good, copied])
    assert (result["mean_iou"], result["acc_at_50"], result["n"]["grounding"]) == (0.5, 0.5, 2)


def test_an_answer_that_only_repeats_the_question_is_no_grounding() -> None:
    assert scored(row(f"What is <st>this<ed>{BOX}?", f"<st>This<ed>{BOX} is a cup."), "A cup.")[0].overlaps is None


def test_descriptions_are_compared_by_what_they_name() -> None:
    made = row(
        "Describe it.", "A red circle beside a small star.", task="detail_description", evidence=("circle", "star", "square")
    )
    found = scored(made, "There is a red circle and a square.")[0]
    assert (found.precision, found.recall) == (0.5, 0.5)
    assert compute_metrics([found])["description_f1"] == 0.5


def test_a_metric_without_questions_is_none_and_not_zero() -> None:
    result = compute_metrics(scored(row("Why?", "Because."), "So."))
    assert result["closed_accuracy"] is result["mean_iou"] is result["description_f1"] is result["yes_ratio"] is None
    assert result["n"] == {"closed": 0, "grounding": 0, "absent": 0, "description": 0}
