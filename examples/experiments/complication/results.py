"""The results of the experiment: accuracies of its arms by groups of questions, differences between arms, tokens seen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from complication.arms import BEFORE, MIXED, Arm
from complication.experiment import VOCABULARY, Experiment, load_rows
from complication.token_counts import relative_spread
from comvint_hf.evaluation.compare import (
    GradedAnswer,
    accuracy,
    accuracy_difference,
    grade_answers,
    group_answers,
    majority_baseline,
)
from comvint_hf.evaluation.results import git_commit, package_versions, read_train_minutes

GROUPS: dict[str, Callable[[GradedAnswer], str]] = {
    "all": lambda answer: "all",
    "format": lambda answer: answer.format,
    "rounds": lambda answer: str(answer.rounds),
    "task": lambda answer: answer.task,
    "topic": lambda answer: answer.topic,
    "format and rounds": lambda answer: f"{answer.format} {answer.rounds}",
}


def compute_results(experiment: Experiment, arms: dict[str, Arm]) -> dict[str, Any]:
    """Compute the content of results.json."""
    answers = {name: _grade_runs(experiment, name) for name in (BEFORE, *arms)}
    questions = {kind: group_answers(answers[BEFORE], key) for kind, key in GROUPS.items()}
    # An arm of one format is compared with mixed formats at as many rounds, all others with 0 rounds.
    format_baseline = MIXED.format(experiment.settings.format_rounds)
    baselines = {name: format_baseline if len(arm.formats) == 1 else MIXED.format(0) for name, arm in arms.items()}
    training = {name: _summarise_training(experiment, name) for name in arms}
    return {
        "settings": asdict(experiment.settings),
        "git": git_commit(experiment.repository),
        "versions": package_versions(),
        "questions": {kind: {group: len(runs[0]) for group, runs in parts.items()} for kind, parts in questions.items()},
        "never looking": {
            kind: {group: majority_baseline(runs[0]) for group, runs in parts.items()} for kind, parts in questions.items()
        },
        "training": training,
        "tokens apart": relative_spread([seen for arm in training.values() for seen in arm["tokens seen"]]),
        "accuracy": {name: _accuracy_by_group(runs) for name, runs in answers.items()},
        "difference": {
            name: {"to": baseline, **accuracy_difference(answers[name], answers[baseline])._asdict()}
            for name, baseline in baselines.items()
            if name != baseline
        },
    }


def _accuracy_by_group(runs: list[list[GradedAnswer]]) -> dict[str, dict[str, dict[str, Any]]]:
    return {
        kind: {name: accuracy(group)._asdict() for name, group in group_answers(runs, key).items()}
        for kind, key in GROUPS.items()
    }


def _grade_runs(experiment: Experiment, name: str) -> list[list[GradedAnswer]]:
    """Grade the answers of an arm, a list for each of its runs."""
    rows = {row["id"]: row for row in load_rows(experiment.questions_dir, "test").remove_columns("images")}
    files = (folder / "results_answers.jsonl" for folder in experiment.run_dirs(name))
    return [grade_answers(map(json.loads, file.read_text(encoding="utf-8").splitlines()), rows, VOCABULARY) for file in files]


def _summarise_training(experiment: Experiment, name: str) -> dict[str, Any]:
    """Summarise an arm's training set, and what each of its runs saw."""
    tokens, steps = experiment.read_tokens(name), experiment.count_steps(name)
    rounds = Counter(load_rows(experiment.dataset_dir(name))["rounds"])
    folders = experiment.run_dirs(name)
    logs = [json.loads((folder / f"checkpoint-{steps}" / "trainer_state.json").read_text()) for folder in folders]
    return {
        "rows": tokens.rows,
        "rows by rounds": {str(number): rounds[number] for number in sorted(rounds)},
        "tokens a row": tokens.seen / tokens.rows,
        "share of tokens with loss": tokens.trained / tokens.seen,
        "steps": steps,
        "tokens seen": [round(log["log_history"][-1]["num_tokens"]) for log in logs],
        "minutes": [read_train_minutes(folder) for folder in folders],
    }
