"""SEED-Bench: four-option questions over spatial and temporal understanding (Li et al. 2023). Knows its JSON files.

Published result files are lines of JSON objects with a comma after each, which no JSON reader takes as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.answers import option_letter
from comvint_hf.evaluation.benchmarks.files import Question, field, read_json, read_records, write_records

LETTERS = "ABCD"


def questions(path: Path) -> list[Question]:
    """Read SEED-Bench.json: its image questions, with the options on lines of their own; `group` is the question type."""
    document = read_json(path)
    if not isinstance(document, dict) or "questions" not in document:
        raise InputError(f"{path} has no field 'questions'; expected the official SEED-Bench.json.")
    names = {number: name for name, number in document.get("question_type", {}).items()}
    return [
        Question(
            record["question_id"],
            record["data_id"],
            "\n".join((record["question"], *(f"{letter}. {record[f'choice_{letter.lower()}']}" for letter in LETTERS))),
            group=names.get(record["question_type_id"], str(record["question_type_id"])),
            gold=record["answer"],
        )
        for record in document["questions"]
        if record.get("data_type", "image") == "image"
    ]


def write(asked: Sequence[Question], replies: Sequence[str], path: Path) -> None:
    """Write one record a question; a reply without a readable letter is kept as it is and counts as wrong."""
    write_records(
        path,
        (
            {"question_id": item.id, "prediction": option_letter(reply, item.text) or reply, "gt_answer": item.gold}
            for item, reply in zip(asked, replies, strict=True)
        ),
    )


def score(answers: Path, asked: Path | None = None) -> dict[str, Any]:
    """Score a result file in percent, by question type too where the question file `asked` is given.

    The truth is the record's own `gt_answer`, else the question file's. `repeated` counts lines whose id came before.
    """
    records = read_records(answers)
    known = {str(question.id): question for question in questions(asked)} if asked else {}
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for record in records:
        id = str(field(record, ("question_id",), answers))
        truth = record.get("gt_answer") or (known[id].gold if id in known else None)
        if truth is None:
            raise InputError(f"{answers}: question {id} has no gt_answer and no question file tells it; give --questions.")
        verdicts[known[id].group if id in known else ""].append(str(field(record, ("prediction",), answers)).strip() == truth)
    right = [verdict for group in verdicts.values() for verdict in group]
    repeated = len(records) - len({str(record["question_id"]) for record in records})
    return {
        "n": len(right),
        "repeated": repeated,
        "accuracy": 100 * sum(right) / len(right),
        "types": {group: {"n": len(own), "accuracy": 100 * sum(own) / len(own)} for group, own in verdicts.items() if group},
    }
