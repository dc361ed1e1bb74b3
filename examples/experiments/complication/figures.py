"""What an experiment found: accuracies of its arms in groups of questions, differences between arms, what each saw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from complication.arms import BEFORE, MIXED, Arm
from complication.runs import WORDS, Bench, rows_of
from complication.token_counts import apart
from comvint_hf.evaluation.compare import Graded, accuracy, best_guess, difference, graded, groups
from comvint_hf.evaluation.results import commit, train_minutes, versions

GROUPS: dict[str, Callable[[Graded], str]] = {
    "all": lambda answer: "all",
    "format": lambda answer: answer.format,
    "rounds": lambda answer: str(answer.rounds),
    "task": lambda answer: answer.task,
    "topic": lambda answer: answer.topic,
    "format and rounds": lambda answer: f"{answer.format} {answer.rounds}",
}


def results_of(bench: Bench, arms: dict[str, Arm]) -> dict[str, Any]:
    """All figures, as they are written."""
    answers = {name: _answers(bench, name) for name in (BEFORE, *arms)}
    asked = {kind: groups(answers[BEFORE], key) for kind, key in GROUPS.items()}
    against = {name: MIXED.format(bench.settings.format_rounds if len(arm.formats) == 1 else 0) for name, arm in arms.items()}
    training = {name: _training(bench, name) for name in arms}
    return {
        "settings": asdict(bench.settings),
        "git": commit(bench.scripts),
        "versions": versions(),
        "questions": {kind: {group: len(own[0]) for group, own in parts.items()} for kind, parts in asked.items()},
        "never looking": {kind: {group: best_guess(own[0]) for group, own in parts.items()} for kind, parts in asked.items()},
        "training": training,
        "tokens apart": apart([seen for arm in training.values() for seen in arm["tokens seen"]]),
        "accuracy": {name: _by_group(runs) for name, runs in answers.items()},
        "difference": {
            name: {"to": other, **difference(answers[name], answers[other])._asdict()}
            for name, other in against.items()
            if name != other
        },
    }


def _by_group(runs: list[list[Graded]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The accuracy of one arm in every group of questions."""
    return {kind: {name: accuracy(own)._asdict() for name, own in groups(runs, key).items()} for kind, key in GROUPS.items()}


def _answers(bench: Bench, name: str) -> list[list[Graded]]:
    """The graded answers of an arm, a list for each of its runs."""
    rows = {row["id"]: row for row in rows_of(bench.questions, "test").remove_columns("images")}
    files = (folder / "results_answers.jsonl" for folder in bench.runs_of(name))
    return [graded(map(json.loads, file.read_text(encoding="utf-8").splitlines()), rows, WORDS) for file in files]


def _training(bench: Bench, name: str) -> dict[str, Any]:
    """What an arm was tuned on, and what each of its runs saw."""
    tokens = bench.tokens(name)
    rounds = Counter(rows_of(bench.set_of(name))["rounds"])
    folders = bench.runs_of(name)
    logs = [json.loads((folder / f"checkpoint-{bench.steps(name)}" / "trainer_state.json").read_text()) for folder in folders]
    return {
        "rows": tokens.rows,
        "rows by rounds": {str(number): rounds[number] for number in sorted(rounds)},
        "tokens a row": tokens.seen / tokens.rows,
        "share of tokens with loss": tokens.trained / tokens.seen,
        "steps": bench.steps(name),
        "tokens seen": [round(log["log_history"][-1]["num_tokens"]) for log in logs],
        "minutes": [train_minutes(folder) for folder in folders],
    }
