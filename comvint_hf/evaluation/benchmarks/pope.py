"""POPE: is there an X in the picture? (Li et al. 2023). Knows its question files and its rule for reading an answer.

The published files differ between versions (the random set of August 2023 has 2,910 questions, today's 3,000), and
zipping answers to the wrong version silently gives about 50 %: so answers are matched by text and id, or refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks.files import Question, field, read_records, same_number, write_records


def questions(path: Path) -> list[Question]:
    """Read a question file with labels, or LLaVA's one without (then `group` is its category)."""
    return [
        Question(
            field(record, ("question_id",), path),
            field(record, ("image",), path),
            field(record, ("text", "question"), path),
            group=record.get("category", ""),
            gold=record.get("label", "").strip().lower(),
        )
        for record in read_records(path)
    ]


def write(asked: Sequence[Question], replies: Sequence[str], path: Path) -> None:
    """Write answers as the official script reads them, with the question's id beside."""
    pairs = zip(asked, replies, strict=True)
    write_records(path, ({"question_id": item.id, "question": item.text, "answer": reply} for item, reply in pairs))


def score(answers: Path, labels: Path, asked: Path | None = None, category: str | None = None) -> dict[str, float]:
    """Score answers against the labels they were asked from.

    Where one file holds the answers to several question sets, as LLaVA's does, `asked` is its question file and
    `category` (random, popular, adversarial) names the set of `labels`. Raises `InputError` if answers and labels are
    not the same questions in the same order.
    """
    records, truth = read_records(answers), questions(labels)
    if category is not None:
        records = _of_category(records, asked, category, answers)
    same_number(records, truth, str(answers))
    for number, (record, question) in enumerate(zip(records, truth, strict=True), start=1):
        _check_same(record, question, records[0], truth[0], f"{answers}, answer {number}")
    said = [read_answer(field(record, ("answer", "text"), answers)) for record in records]
    return score_answers(said, [question.gold for question in truth])


def score_answers(said: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """Count yes and no ("yes" is the positive class) and give the five official figures."""
    pairs = list(zip(said, truth, strict=True))
    tp, fp = pairs.count(("yes", "yes")), pairs.count(("yes", "no"))
    tn, fn = pairs.count(("no", "no")), pairs.count(("no", "yes"))
    if tp + fp + tn + fn != len(pairs) or not pairs:
        raise InputError(f"The labels hold {sorted(set(truth))}; expected yes and no. Give the question file that has labels.")
    precision, recall = tp / (tp + fp) if tp + fp else 0.0, tp / (tp + fn) if tp + fn else 0.0
    return {
        "n": len(pairs),
        "accuracy": (tp + tn) / len(pairs),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "yes_ratio": (tp + fp) / len(pairs),
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
    }


def read_answer(text: str) -> str:
    """Read an answer as the official script does: no if a word of its first sentence is "No", "no" or "not", else yes.

    >>> read_answer("There is no dog, sir. Yes!"), read_answer("nothing")
    ('no', 'yes')
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def _of_category(records: list[dict[str, Any]], asked: Path | None, category: str, answers: Path) -> list[dict[str, Any]]:
    if asked is None:
        raise InputError(f"{answers}: the category {category!r} is given but not the question file that tells categories.")
    groups = {question.id: question.group for question in questions(asked)}
    if category not in groups.values():
        raise InputError(f"{asked} has the categories {', '.join(sorted(set(groups.values())))}; {category!r} is not among them.")
    return [record for record in records if groups.get(record.get("question_id")) == category]


def _check_same(
    record: dict[str, Any], question: Question, first_record: dict[str, Any], first_question: Question, where: str
) -> None:
    text = record.get("question", record.get("prompt"))
    if text is None and "question_id" not in record:
        raise InputError(f"{where} has neither a question nor a question_id; it cannot be matched with the labels.")
    # The task sentence ("Answer the question using ...") comes on lines of its own.
    if text is not None and text.split("\n")[0].strip() != question.text.split("\n")[0].strip():
        raise InputError(
            f"{where} is about {text!r}, the labels ask {question.text!r}; use the version of POPE it was made from."
        )
    if "question_id" in record and "question_id" in first_record:
        # LLaVA shifts the ids of each question set by a constant.
        offset = int(first_record["question_id"]) - int(first_question.id)
        if int(record["question_id"]) - int(question.id) != offset:
            raise InputError(f"{where} has question_id {record['question_id']}; expected {int(question.id) + offset}.")
