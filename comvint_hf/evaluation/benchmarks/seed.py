"""SEED-Bench: four-option questions about spatial and temporal understanding (Li et al. 2023).

Published result files are lines of JSON objects with a comma after each, which is neither JSON nor JSON Lines.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from comvint_hf.answers import option_letter
from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import Benchmark, BenchmarkFiles, BenchmarkQuestion, json_lines_writer
from comvint_hf.evaluation.benchmarks.files import get_field, read_json, read_records
from comvint_hf.registry import benchmark

LETTERS = "ABCD"
# A reply without a readable letter is kept as it is, and counts as wrong.
write_answers = json_lines_writer(
    lambda item, reply: {"question_id": item.id, "prediction": option_letter(reply, item.text) or reply, "gt_answer": item.gold}
)


@benchmark("seed")
def seed() -> Benchmark:
    """Declare SEED-Bench."""
    return Benchmark(read_questions, score, write_answers)


def read_questions(files: BenchmarkFiles) -> list[BenchmarkQuestion]:
    """Read the image questions of SEED-Bench.json, with each option on its own line; `group` is the question type."""
    path = files.require("questions", "SEED-Bench.json")
    document = read_json(path)
    if not isinstance(document, dict) or "questions" not in document:
        raise InputError(f"{path} has no field 'questions'; expected the official SEED-Bench.json.")
    names = {number: name for name, number in document.get("question_type", {}).items()}
    return [
        BenchmarkQuestion(
            record["question_id"],
            record["data_id"],
            "\n".join((record["question"], *(f"{letter}. {record[f'choice_{letter.lower()}']}" for letter in LETTERS))),
            group=names.get(record["question_type_id"], str(record["question_type_id"])),
            gold=record["answer"],
        )
        for record in document["questions"]
        if record.get("data_type", "image") == "image"
    ]


def score(files: BenchmarkFiles) -> dict[str, Any]:
    """Score a result file in percent, by question type too if the question file is given.

    The true answer is the record's own `gt_answer`, else the question file's. `repeated` counts records of a repeated id.
    """
    answers = files.answers
    records = read_records(answers)
    known = {str(question.id): question for question in read_questions(files)} if files.questions else {}
    correct: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        id = str(get_field(record, ("question_id",), answers))
        truth = record.get("gt_answer") or (known[id].gold if id in known else None)
        if truth is None:
            raise InputError(f"{answers}: question {id} has no gt_answer; give the question file with --questions.")
        correct[known[id].group if id in known else ""].append(str(get_field(record, ("prediction",), answers)).strip() == truth)
    overall = [value for group in correct.values() for value in group]
    repeated = len(records) - len({str(record["question_id"]) for record in records})
    return {
        "n": len(overall),
        "repeated": repeated,
        "accuracy": 100 * sum(overall) / len(overall),
        "types": {group: {"n": len(own), "accuracy": 100 * sum(own) / len(own)} for group, own in correct.items() if group},
    }
