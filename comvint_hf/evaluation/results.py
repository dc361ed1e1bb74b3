"""The output of an evaluation: the content of results.json, tables, and progress on the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

PACKAGES = ("comvint-hf", "torch", "transformers", "trl", "peft", "datasets")
TRAINING_FILES = ("train.json", "train_results.json", "all_results.json")
SECONDS_BETWEEN_LINES = 15.0
LABELS = {
    "closed_accuracy": "closed questions, accuracy",
    "absent_accuracy": "absent objects, accuracy",
    "yes_ratio": "share of yes among yes/no",
    "mean_iou": "boxes, mean IoU",
    "acc_at_50": "boxes, IoU of at least 0.5",
    "description_f1": "descriptions, F1 of the objects named",
}
COUNTS = {
    "closed_accuracy": "closed",
    "absent_accuracy": "absent",
    "mean_iou": "grounding",
    "acc_at_50": "grounding",
    "description_f1": "description",
}


def build_results(metrics: Mapping[str, Any], model: str | Path | None, folder: Path | None = None) -> dict[str, Any]:
    """Build the content of results.json: the metrics, and what they were measured with.

    Args:
        metrics: The metrics; `details`, where given, come last.
        model: The model that answered, whose folder says how long it was trained.
        folder: A folder of the git working copy to name.
    """
    return {
        **{name: value for name, value in metrics.items() if name != "details"},
        "train_minutes": read_train_minutes(Path(model)) if model else None,
        "git": git_commit(folder),
        "versions": package_versions(),
        "details": metrics.get("details", {}),
    }


def read_train_minutes(model: Path) -> float | None:
    """Read how long a model was trained: `minutes`, or the Trainer's `train_runtime` in seconds; `None` if unknown."""
    for name in TRAINING_FILES:
        try:
            content = json.loads((model / name).read_text())
        except (OSError, json.JSONDecodeError):
            # Models of other trainers have none of these files.
            continue
        if "minutes" in content:
            return float(content["minutes"])
        if "train_runtime" in content:
            return content["train_runtime"] / 60
    return None


def git_commit(folder: Path | None = None) -> str | None:
    """Return the commit of a working copy, with "+" if files differ from it; `None` outside of one."""
    # Tags are excluded, so that the result is always a hash.
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def package_versions() -> dict[str, str]:
    """Return the installed versions of the packages that affect results."""
    versions = {}
    for name in PACKAGES:
        # Evaluation runs without trl and peft.
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def render_table(metrics: Mapping[str, Any]) -> Table:
    """Render the metrics of results.json as one table, accuracies with their 95 % interval."""
    table = _make_table("Evaluation", "figure", "n", "value", "95 % interval")
    details = metrics["details"]
    intervals = {"closed_accuracy": details["closed"]["all"], "absent_accuracy": details["absent"]}
    for name, label in LABELS.items():
        n = metrics["n"].get(COUNTS.get(name, ""))
        if name == "yes_ratio" and metrics[name] is not None:
            label += f" (truth {_format_number(details['true_yes_ratio'])})"
        table.add_row(label, "" if n is None else f"{n:,}", _format_number(metrics[name]), _format_interval(intervals.get(name)))
        if name == "closed_accuracy":
            for key in ("format", "task", "topic"):
                for group, rate in details["closed"][key].items():
                    _add_rate(table, f"  {key} {group or '-'}", rate)
    if contribution := metrics.get("visual_contribution"):
        _add_rate(table, "visual contribution, nats a row", contribution, style=None)
        for key in ("task", "format"):
            for group, rate in contribution[f"by_{key}"].items():
                _add_rate(table, f"  {key} {group or '-'}", rate)
    return table


def render_benchmark_tables(name: str, scores: Mapping[str, Any]) -> Iterator[Table]:
    """Render a benchmark's scores, with a table of its own for each group of scores (tasks, question types)."""
    table = _make_table(name, "figure", "value")
    for key, value in scores.items():
        if not isinstance(value, Mapping):
            table.add_row(
                key, _format_number(value) if isinstance(value, int | float | None) else ", ".join(map(str, value)) or "none"
            )
    yield table
    for title, groups in scores.items():
        if isinstance(groups, Mapping) and groups:
            table = _make_table(title, "", *next(iter(groups.values())))
            for group, own in groups.items():
                table.add_row(group, *map(_format_number, own.values()))
            yield table


def _make_table(title: str, first: str, *numbers: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _add_rate(table: Table, label: str, rate: Mapping[str, Any], style: str | None = "dim") -> None:
    table.add_row(label, f"{rate['n']:,}", _format_number(rate["value"]), _format_interval(rate), style=style)


@contextmanager
def show_progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` are done and the time left: a bar in a terminal, a line every 15 seconds in a log.

    The context is a function that takes the number of finished items.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    started = printed = time.monotonic()

    def print_line(done: int) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= SECONDS_BETWEEN_LINES or done == total:
            printed = now
            left = (now - started) / max(done, 1) * (total - done)
            print(f"{title}: {done:,} of {total:,}, {left / 60:.1f} min left", file=sys.stderr, flush=True)

    yield print_line


def _format_number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _format_interval(rate: Mapping[str, Any] | None) -> str:
    return f"{rate['low']:.3f} to {rate['high']:.3f}" if rate and rate["n"] else ""
