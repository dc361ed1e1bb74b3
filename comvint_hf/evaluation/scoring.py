"""From rows to questions, and from answers to the metrics of results.json.

Each assistant turn of a row is one question, with the true turns before it as its history. A question can be several of:
closed (format bool or choice), grounding (the true answer has boxes that the messages before do not give), a description.
Other open questions are asked and recorded, and have no metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from comvint_hf.answers import option_letter, yes_no
from comvint_hf.evaluation.metrics import (
    DescribedObject,
    Rate,
    compare_objects,
    compute_rate,
    exclude_boxes,
    find_objects,
    group_by,
    match_boxes,
    mean,
)
from comvint_hf.grounding import parse_boxes
from comvint_hf.serving.chat import ChatMessage
from comvint_hf.types import Box

EXISTENCE = "existence"
"""The topic of yes/no rows that ask whether an object is in the image; it is absent where the true answer is no."""
DESCRIPTION = "detail_description"
GROUP_KEYS = ("format", "task", "topic")
READERS: dict[str, Callable[[str, str], str | None]] = {"bool": lambda text, question: yes_no(text), "choice": option_letter}
"""How answers of the closed formats are read."""


@dataclass(frozen=True)
class RowQuestion:
    """A question of a row: the messages up to it, its true answer, and the names of the objects that the row is about."""

    id: str
    messages: tuple[ChatMessage, ...]
    gold: str
    task: str
    format: str
    topic: str
    evidence: tuple[str, ...]

    @property
    def question(self) -> str:
        return self.messages[-1]["content"]

    @property
    def given_boxes(self) -> list[Box]:
        return [box for message in self.messages for box in parse_boxes(message["content"])]

    @property
    def target_boxes(self) -> list[Box]:
        """The boxes of the true answer that no earlier message gives."""
        return exclude_boxes(parse_boxes(self.gold), self.given_boxes)


@dataclass(frozen=True)
class ScoredAnswer:
    """An answer with its scores; a score is `None` where it does not apply.

    Closed questions have `truth` and `prediction` ("yes", "B", `None` if unreadable) and `correct`, grounding questions the IoU of
    each target box in `overlaps`, descriptions `precision`, `recall` and `f1` of the objects that they name.
    """

    id: str
    task: str
    format: str
    topic: str
    question: str
    gold: str
    answer: str
    truth: str | None = None
    prediction: str | None = None
    correct: bool | None = None
    overlaps: list[float] | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


def extract_questions(row: Mapping[str, Any]) -> Iterator[RowQuestion]:
    """Yield the questions of a row, one for each assistant turn."""
    messages = [ChatMessage(role=message["role"], content=message["content"]) for message in row["messages"]]
    for number, message in enumerate(messages):
        if message["role"] == "assistant" and number:
            yield RowQuestion(
                id=f"{row['id']}#{number // 2}",  # the row and the number of its exchange
                messages=tuple(messages[:number]),
                gold=message["content"],
                task=row.get("task", ""),
                format=row.get("format", "open"),
                topic=row.get("topic", ""),
                evidence=tuple(item["name"] for item in row.get("evidence") or ()),
            )


def score_answer(question: RowQuestion, answer: str, names: Iterable[str]) -> ScoredAnswer:
    """Score one answer. `names` are the objects that descriptions may name (see `object_names`)."""
    scores: dict[str, Any] = {}
    if read := READERS.get(question.format):
        truth, prediction = read(question.gold, question.question), read(answer, question.question)
        # Without a readable true answer there is nothing to compare with, so the answer is neither right nor wrong.
        scores |= {"truth": truth, "prediction": prediction, "correct": prediction == truth if truth else None}
    if targets := question.target_boxes:
        scores["overlaps"] = match_boxes(exclude_boxes(parse_boxes(answer), question.given_boxes), targets)
    if question.task == DESCRIPTION and (expected := _reference_objects(question, names)):
        scores |= compare_objects(find_objects(answer, names), expected)._asdict()
    return ScoredAnswer(
        question.id, question.task, question.format, question.topic, question.question, question.gold, answer, **scores
    )


def object_names(questions: Iterable[RowQuestion]) -> set[str]:
    """Collect the object names that `description_f1` looks for: those in the evidence of all descriptions."""
    return {name for question in questions if question.task == DESCRIPTION for name in question.evidence}


def _reference_objects(question: RowQuestion, names: Iterable[str]) -> set[DescribedObject]:
    """The objects of the true description; if it names none of them, those of the evidence."""
    return find_objects(question.gold, names) or {found for name in question.evidence for found in find_objects(name, names)}


def compute_metrics(scored: Sequence[ScoredAnswer]) -> dict[str, Any]:
    """Compute the metrics of results.json: fractions and means, `None` where no question applies.

    `details` adds the intervals, and accuracy and boxes by format, task and topic.
    """
    closed = [item for item in scored if item.correct is not None]
    boolean = [item for item in closed if item.format == "bool"]
    absent = [item for item in boolean if item.topic == EXISTENCE and item.truth == "no"]
    grounding = [item for item in scored if item.overlaps]
    described = [item for item in scored if item.f1 is not None]
    description = {key: mean([getattr(item, key) for item in described]) for key in ("precision", "recall", "f1")}
    return {
        "closed_accuracy": _accuracy(closed).value,
        **_box_metrics(grounding),
        "absent_accuracy": _accuracy(absent).value,
        "yes_ratio": compute_rate(item.prediction == "yes" for item in boolean).value,
        "description_f1": description["f1"],
        "n": {"closed": len(closed), "grounding": len(grounding), "absent": len(absent), "description": len(described)},
        "details": {
            "closed": {"all": _accuracy(closed)._asdict(), **{key: _group_accuracy(closed, key) for key in GROUP_KEYS}},
            "absent": _accuracy(absent)._asdict(),
            "true_yes_ratio": compute_rate(item.truth == "yes" for item in boolean).value,
            "unreadable": sum(item.prediction is None for item in closed),
            "grounding": {task: {"n": len(own), **_box_metrics(own)} for task, own in group_by(grounding, "task").items()},
            "without_box": sum(not any(item.overlaps or ()) and not parse_boxes(item.answer) for item in grounding),
            "description": description,
        },
    }


def _accuracy(closed: Iterable[ScoredAnswer]) -> Rate:
    return compute_rate(item.correct is True for item in closed)


def _group_accuracy(closed: Iterable[ScoredAnswer], key: str) -> dict[str, dict[str, Any]]:
    return {name: _accuracy(own)._asdict() for name, own in group_by(closed, key).items()}


def _box_metrics(grounding: Iterable[ScoredAnswer]) -> dict[str, float | None]:
    # First the mean of each question, so that a question about a group of boxes weighs as much as one about a single box.
    questions = [item.overlaps for item in grounding if item.overlaps]
    return {
        "mean_iou": mean([sum(overlaps) / len(overlaps) for overlaps in questions]),
        "acc_at_50": mean([sum(overlap >= 0.5 for overlap in overlaps) / len(overlaps) for overlaps in questions]),
    }


def answer_records(scored: Iterable[ScoredAnswer]) -> Iterator[dict[str, Any]]:
    """Yield the answers with their scores as results_answers.jsonl holds them."""
    keys = {"prediction": "said", "correct": "right"}  # the file's names, which older files have too
    return ({keys.get(name, name): value for name, value in asdict(item).items()} for item in scored)
