"""MME: yes/no questions in pairs, two a picture, 14 tasks (Fu et al. 2023). Knows the tool's text files and its rule.

A results folder holds one file a task, `image<TAB>question<TAB>truth<TAB>response`; the template has no fourth column.
A task scores accuracy plus accuracy+ (both questions of a picture right), each in percent: 200 at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks.files import Question

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
TASKS = (*PERCEPTION, *COGNITION)


def questions(folder: Path) -> list[Question]:
    """Read the template folder. `image` is "<task>/<file name>", `group` the task."""
    return [
        Question(f"{task}/{number}", f"{task}/{row[0]}", row[1], group=task, gold=row[2])
        for task in _present(folder)
        for number, row in enumerate(_rows(folder / f"{task}.txt", columns=(3, 4)))
    ]


def write(asked: Sequence[Question], replies: Sequence[str], folder: Path) -> None:
    """Write a results folder; a tab or newline in a reply becomes a blank, as the format demands."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {}
    for question, reply in zip(asked, replies, strict=True):
        image = question.image.removeprefix(f"{question.group}/")
        lines.setdefault(question.group, []).append("\t".join((image, question.text, question.gold, " ".join(reply.split()))))
    for task, rows in lines.items():
        (folder / f"{task}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


def score(folder: Path) -> dict[str, Any]:
    """Score a results folder: `perception` and `cognition` (`None` while one of their files is missing) and every task."""
    tasks = {task: score_task(_rows(folder / f"{task}.txt", columns=(4,))) for task in _present(folder)}
    return {
        "perception": _total(tasks, PERCEPTION),
        "cognition": _total(tasks, COGNITION),
        "missing": [task for task in TASKS if task not in tasks],
        "tasks": tasks,
    }


def score_task(rows: Sequence[Sequence[str]]) -> dict[str, float]:
    """Score the rows (image, question, truth, response) of one task. An unclear response counts as wrong."""
    verdicts = [(truth.strip().lower(), read_answer(response)) for _, _, truth, response in rows]
    right = [truth == said for truth, said in verdicts]
    pairs = list(zip(right[::2], right[1::2], strict=True))
    accuracy, both = 100 * sum(right) / len(right), 100 * sum(map(all, pairs)) / len(pairs)
    counts = {
        name: verdicts.count(pair)
        for name, pair in {"tp": ("yes", "yes"), "fn": ("yes", "no"), "tn": ("no", "no"), "fp": ("no", "yes")}.items()
    }
    other = sum(said == "other" for _, said in verdicts)
    return {"n": len(rows), "score": accuracy + both, "accuracy": accuracy, "accuracy_plus": both, **counts, "other": other}


def read_answer(response: str) -> str:
    """Read a response as the official tool does: "yes" or "no" among its first four characters, else "other".

    >>> read_answer("No, it is not."), read_answer("I see none")
    ('no', 'other')
    """
    start = response.strip().lower()[:4]
    return "yes" if "yes" in start else "no" if "no" in start else "other"


def _present(folder: Path) -> list[str]:
    present = [task for task in TASKS if (folder / f"{task}.txt").is_file()]
    if not present:
        raise InputError(
            f"{folder} holds no MME file; expected existence.txt, count.txt, ... as in the eval tool's Your_Results."
        )
    return present


def _rows(path: Path, columns: tuple[int, ...]) -> list[list[str]]:
    # Only "\n" ends a line here: responses may hold other characters that str.splitlines takes for line ends.
    rows = [line.rstrip("\r").split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) not in columns:
            raise InputError(
                f"{path}, line {number}: {len(row)} columns; expected {' or '.join(map(str, columns))}, "
                "image<TAB>question<TAB>truth<TAB>response, with no tab or newline in the response."
            )
    for number, (first, second) in enumerate(zip(rows[::2], rows[1::2], strict=False)):
        if first[0] != second[0]:
            raise InputError(
                f"{path}, line {2 * number + 2}: image {second[0]} follows {first[0]}; expected two questions a picture."
            )
    if not rows or len(rows) % 2:
        raise InputError(f"{path} has {len(rows)} questions; expected an even number, two a picture.")
    return rows


def _total(tasks: dict[str, dict[str, float]], names: Sequence[str]) -> float | None:
    return sum(tasks[name]["score"] for name in names) if all(name in tasks for name in names) else None
