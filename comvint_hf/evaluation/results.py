"""What an evaluation leaves behind: results.json, one table, and how long is left. Knows figures, no model and no row."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

PACKAGES = ("comvint-hf", "torch", "transformers", "trl", "peft", "datasets")
TRAINING_FILES = ("train.json", "train_results.json", "all_results.json")
SECONDS_BETWEEN_LINES = 15.0
NAMES = {
    "closed_accuracy": "closed questions, accuracy",
    "absent_accuracy": "absent objects, accuracy",
    "yes_ratio": "share of yes among yes/no",
    "mean_iou": "boxes, mean IoU",
    "acc_at_50": "boxes, IoU of at least 0.5",
    "description_f1": "descriptions, F1 of the things named",
}
COUNTS = {
    "closed_accuracy": "closed",
    "absent_accuracy": "absent",
    "mean_iou": "grounding",
    "acc_at_50": "grounding",
    "description_f1": "description",
}


def results(figures: Mapping[str, Any], model: str | Path | None, folder: Path | None = None) -> dict[str, Any]:
    """The content of results.json: the figures, and where they come from. `folder` is the working copy git is asked about."""
    details = figures.get("details", {})
    return {
        **{name: value for name, value in figures.items() if name != "details"},
        "train_minutes": train_minutes(Path(model)) if model else None,
        "git": commit(folder),
        "versions": versions(),
        "details": details,
    }


def train_minutes(model: Path) -> float | None:
    """How long the training took, as its folder tells: `minutes`, or the Trainer's own `train_runtime` in seconds."""
    for name in TRAINING_FILES:
        try:
            told = json.loads((model / name).read_text())
        except (OSError, json.JSONDecodeError):
            # Nobody needs to have written it: the next name, else unknown.
            continue
        if "minutes" in told:
            return float(told["minutes"])
        if "train_runtime" in told:
            return told["train_runtime"] / 60
    return None


def commit(folder: Path | None = None) -> str | None:
    """The commit of a working copy, with "+" when files differ from it; `None` outside of one."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=folder,
            capture_output=True,
            check=False,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None


def versions() -> dict[str, str]:
    """The installed versions of what the figures depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            # Evaluation needs neither trl nor peft.
            continue
    return found


def table(figures: Mapping[str, Any]) -> Table:
    """The figures of results.json in one table, shares of closed questions with their 95 % interval."""
    from rich.table import Table

    drawn = Table(title="Evaluation", title_justify="left")
    for heading, side in (("figure", "left"), ("n", "right"), ("value", "right"), ("95 % interval", "right")):
        drawn.add_column(heading, justify=side)
    details = figures["details"]
    intervals = {"closed_accuracy": details["closed"]["all"], "absent_accuracy": details["absent"]}
    for name, words in NAMES.items():
        n = figures["n"].get(COUNTS.get(name, ""))
        if name == "yes_ratio" and figures[name] is not None:
            words += f" (truth {_number(details['true_yes_ratio'])})"
        drawn.add_row(words, "" if n is None else f"{n:,}", _number(figures[name]), _interval(intervals.get(name)))
        if name == "closed_accuracy":
            for kind in ("format", "task", "topic"):
                for group, share in details["closed"][kind].items():
                    drawn.add_row(
                        f"  {kind} {group or '-'}", f"{share['n']:,}", _number(share["value"]), _interval(share), style="dim"
                    )
    if contribution := figures.get("visual_contribution"):
        _add_contribution(drawn, contribution)
    return drawn


def _add_contribution(drawn: Table, contribution: Mapping[str, Any]) -> None:
    """Lines for the visual contribution, in nats a row, over all rows and by kind."""
    lines = {"visual contribution, nats a row": contribution}
    for kind in ("task", "format"):
        lines |= {f"  {kind} {group or '-'}": own for group, own in contribution[f"by_{kind}"].items()}
    for words, own in lines.items():
        dim = "dim" if words.startswith(" ") else None
        drawn.add_row(words, f"{own['n']:,}", _number(own["value"]), _interval(own), style=dim)


def benchmark_tables(name: str, scores: Mapping[str, Any]) -> Iterator[Table]:
    """A benchmark's figures, and those of its groups (tasks, question types) in a table of their own."""
    from rich.table import Table

    drawn = Table(title=name, title_justify="left")
    drawn.add_column("figure")
    drawn.add_column("value", justify="right")
    for key, value in scores.items():
        if not isinstance(value, Mapping):
            drawn.add_row(key, _number(value) if isinstance(value, int | float | None) else ", ".join(map(str, value)) or "none")
    yield drawn
    for title, groups in ((key, value) for key, value in scores.items() if isinstance(value, Mapping) and value):
        below = Table(title=title, title_justify="left")
        below.add_column("")
        for heading in next(iter(groups.values())):
            below.add_column(heading, justify="right")
        for group, own in groups.items():
            below.add_row(group, *map(_number, own.values()))
        yield below


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` are done and the time left: a bar in a terminal, a line now and then in a log."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    started = spoke = time.monotonic()

    def line(done: int) -> None:
        nonlocal spoke
        now = time.monotonic()
        if now - spoke >= SECONDS_BETWEEN_LINES or done == total:
            spoke = now
            left = (now - started) / max(done, 1) * (total - done)
            print(f"{title}: {done:,} of {total:,}, {left / 60:.1f} min left", file=sys.stderr, flush=True)

    yield line


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _interval(share: Mapping[str, Any] | None) -> str:
    return f"{share['low']:.3f} to {share['high']:.3f}" if share and share["n"] else ""
