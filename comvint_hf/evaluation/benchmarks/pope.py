"""POPE: is there an X in the image? (Li et al. 2023).

The published files differ between versions: the random set of August 2023 has 2,910 questions, today's 3,000. Pairing
answers with the wrong version would give about 50 % without any error, so answers are matched by text and id, or refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import Benchmark, BenchmarkFiles, BenchmarkQuestion
from comvint_hf.evaluation.benchmarks.files import check_same_length, get_field, read_records
from comvint_hf.registry import benchmark


@benchmark("pope")
def pope() -> Benchmark:
    """Declare POPE."""
    return Benchmark(read_questions, score, flags=("category",))


def read_questions(files: BenchmarkFiles) -> list[BenchmarkQuestion]:
    """Read the question file."""
    return _read_questions(files.require("questions", "POPE's question file, coco_pope_random.json"))


def _read_questions(path: Path) -> list[BenchmarkQuestion]:
    """Read a question file with labels, or LLaVA's, which has categories (`group`) in place of labels."""
    return [
        BenchmarkQuestion(
            get_field(record, ("question_id",), path),
            get_field(record, ("image",), path),
            get_field(record, ("text", "question"), path),
            group=record.get("category", ""),
            gold=record.get("label", "").strip().lower(),
        )
        for record in read_records(path)
    ]


def score(files: BenchmarkFiles) -> dict[str, float]:
    """Score an answer file against the question file with labels, `gold` or `questions`.

    If LLaVA's answer file holds the answers to several sets, `questions` is its question file, and `category` (random, popular,
    adversarial) names the set of `gold`.

    Raises:
        InputError: If answers and labels are not the same questions in the same order.
    """
    labels = _read_questions(files.gold or files.require("questions", "POPE's question file with labels, coco_pope_random.json"))
    records = _select_category(files) if files.category is not None else read_records(files.answers)
    check_same_length(records, labels, str(files.answers))
    for number, (record, question) in enumerate(zip(records, labels, strict=True), start=1):
        _check_match(record, question, records[0], labels[0], f"{files.answers}, answer {number}")
    predictions = [read_answer(get_field(record, ("answer", "text"), files.answers)) for record in records]
    return compute_scores(predictions, [question.gold for question in labels])


def compute_scores(predictions: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """Compute the five official metrics, with "yes" as the positive class, and the counts behind them."""
    pairs = list(zip(predictions, truth, strict=True))
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


def _select_category(files: BenchmarkFiles) -> list[dict[str, Any]]:
    questions = files.require("questions", "LLaVA's question file, which holds the categories")
    groups = {question.id: question.group for question in _read_questions(questions)}
    if files.category not in groups.values():
        known = ", ".join(sorted(set(groups.values())))
        raise InputError(f"{questions} has the categories {known}; {files.category!r} is not among them.")
    return [record for record in read_records(files.answers) if groups.get(record.get("question_id", "")) == files.category]


def _check_match(
    record: dict[str, Any],
    question: BenchmarkQuestion,
    first_record: dict[str, Any],
    first_question: BenchmarkQuestion,
    where: str,
) -> None:
    text = record.get("question", record.get("prompt"))
    if text is None and "question_id" not in record:
        raise InputError(f"{where} has neither a question nor a question_id; it cannot be matched with the labels.")
    # Prompts may add a task sentence ("Answer the question using ...") on lines of its own.
    if text is not None and text.split("\n")[0].strip() != question.text.split("\n")[0].strip():
        raise InputError(f"{where} is about {text!r}, the labels ask {question.text!r}; use the version of POPE that was asked.")
    if "question_id" in record and "question_id" in first_record:
        # LLaVA shifts the ids of each question set by a constant.
        offset = int(first_record["question_id"]) - int(first_question.id)
        if int(record["question_id"]) - int(question.id) != offset:
            raise InputError(f"{where} has question_id {record['question_id']}; expected {int(question.id) + offset}.")
