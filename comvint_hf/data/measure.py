"""Measure a dataset folder with the measures of `quality` that need no model, in the words of the VLIT review."""

from __future__ import annotations

from pathlib import Path

from comvint_hf.data import quality
from comvint_hf.data.folder import read_columns, row_files
from comvint_hf.data.rows import question, turns


def measure(folder: Path, seed: int = 0) -> dict[str, str]:
    """Balance over tasks, yes for each no, and instruction clusters by task, as text to show."""
    tasks: list[str] = []
    questions: list[str] = []
    answers: list[str] = []
    for path in row_files(folder):
        for row in read_columns(path, ("task", "messages")):
            tasks.append(row["task"])
            questions.append(question(row))
            answers.extend(answer for _, answer in turns(row))
    bias = quality.yes_bias(answers)
    clusters = quality.instruction_diversity(questions, tasks, seed=seed)
    mean = sum(clusters.values()) / max(len(clusters), 1)
    return {
        "balance (variance of the tasks' shares in percent)": f"{quality.balance(tasks):.1f}",
        "yes for each no": f"{bias.ratio:.2f} ({bias.yes:,} : {bias.no:,})",
        "instruction clusters": f"{mean:.1f} a task (" + ", ".join(f"{name} {count}" for name, count in clusters.items()) + ")",
    }
