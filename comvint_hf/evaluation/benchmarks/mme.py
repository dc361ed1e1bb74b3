"""MME: 14 tasks of yes/no questions, two an image (Fu et al. 2023).

A results folder holds one file a task, `image<TAB>question<TAB>truth<TAB>response`; the template has no fourth column.
A task scores accuracy plus accuracy+ (both questions of an image right), each in percent, so 200 at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.benchmarks import Benchmark, BenchmarkFiles, BenchmarkQuestion
from comvint_hf.registry import benchmark

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
TASKS = (*PERCEPTION, *COGNITION)


@benchmark("mme")
def mme() -> Benchmark:
    """Declare MME, whose question file and answer file are folders."""
    return Benchmark(read_questions, score, write_answers)


def read_questions(files: BenchmarkFiles) -> list[BenchmarkQuestion]:
    """Read the template folder. `image` is "<task>/<file name>", `group` the task."""
    folder = files.require("questions", "the folder Your_Results of MME's eval tool")
    return [
        BenchmarkQuestion(f"{task}/{number}", f"{task}/{row[0]}", row[1], group=task, gold=row[2])
        for task in _find_tasks(folder)
        for number, row in enumerate(_read_rows(folder / f"{task}.txt", columns=(3, 4)))
    ]


def write_answers(questions: Sequence[BenchmarkQuestion], replies: Sequence[str], folder: Path) -> None:
    """Write a results folder; tabs and newlines in replies become spaces, as the format demands."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {}
    for question, reply in zip(questions, replies, strict=True):
        image = question.image.removeprefix(f"{question.group}/")
        lines.setdefault(question.group, []).append("\t".join((image, question.text, question.gold, " ".join(reply.split()))))
    for task, rows in lines.items():
        (folder / f"{task}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


def score(files: BenchmarkFiles) -> dict[str, Any]:
    """Score a results folder: `perception` and `cognition` (`None` while one of their files is missing) and every task."""
    tasks = {task: score_task(_read_rows(files.answers / f"{task}.txt", columns=(4,))) for task in _find_tasks(files.answers)}
    return {
        "perception": _sum_scores(tasks, PERCEPTION),
        "cognition": _sum_scores(tasks, COGNITION),
        "missing": [task for task in TASKS if task not in tasks],
        "tasks": tasks,
    }


def score_task(rows: Sequence[Sequence[str]]) -> dict[str, float]:
    """Score the rows (image, question, truth, response) of one task. An unreadable response counts as wrong."""
    answers = [(truth.strip().lower(), read_answer(response)) for _, _, truth, response in rows]
    correct = [truth == response for truth, response in answers]
    pairs = list(zip(correct[::2], correct[1::2], strict=True))
    accuracy, both = 100 * sum(correct) / len(correct), 100 * sum(map(all, pairs)) / len(pairs)
    counts = {
        name: answers.count(pair)
        for name, pair in {"tp": ("yes", "yes"), "fn": ("yes", "no"), "tn": ("no", "no"), "fp": ("no", "yes")}.items()
    }
    other = sum(response == "other" for _, response in answers)
    return {"n": len(rows), "score": accuracy + both, "accuracy": accuracy, "accuracy_plus": both, **counts, "other": other}


def read_answer(response: str) -> str:
    """Read a response as the official tool does: "yes" or "no" among its first four characters, else "other".

    >>> read_answer("No, it is not."), read_answer("I see none")
    ('no', 'other')
    """
    start = response.strip().lower()[:4]
    return "yes" if "yes" in start else "no" if "no" in start else "other"


def _find_tasks(folder: Path) -> list[str]:
    present = [task for task in TASKS if (folder / f"{task}.txt").is_file()]
    if not present:
        raise InputError(
            f"{folder} holds no MME file; expected existence.txt, count.txt, ... as in the eval tool's Your_Results."
        )
    return present


def _read_rows(path: Path, columns: tuple[int, ...]) -> list[list[str]]:
    # str.splitlines would also split at other characters that responses may hold.
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
                f"{path}, line {2 * number + 2}: image {second[0]} follows {first[0]}; expected two questions an image."
            )
    if not rows or len(rows) % 2:
        raise InputError(f"{path} has {len(rows)} questions; expected an even number, two an image.")
    return rows


def _sum_scores(tasks: dict[str, dict[str, float]], names: Sequence[str]) -> float | None:
    return sum(tasks[name]["score"] for name in names) if all(name in tasks for name in names) else None
