"""Show what an experiment found: two tables, two pictures. Knows the figures alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from complication.arms import BEFORE, MIXED, ONLY
from complication.plots import Panel, draw
from comvint_hf.evaluation.compare import Estimate
from comvint_hf.types import FORMATS


def tables(results: dict[str, Any]) -> Iterator[Table]:
    """One line an arm: what it saw, and its accuracy by format and by the questions' rounds."""
    accuracies, guess = results["accuracy"], results["never looking"]
    columns = [("all", "all"), *(("format", name) for name in guess["format"]), *(("rounds", name) for name in guess["rounds"])]
    heads = (f"{name} rounds" if kind == "rounds" else name for kind, name in columns)
    drawn = Table(
        "set", "tokens seen", "steps", *heads, title="Accuracy on the same held-out questions", box=None, padding=(0, 2, 0, 0)
    )
    for name, figures in accuracies.items():
        training = results["training"].get(name)
        seen = (f"{statistics.mean(training['tokens seen']):,.0f}", f"{training['steps']:,}") if training else ("", "")
        drawn.add_row(name, *seen, *(f"{figures[kind][group]['value']:.3f}" for kind, group in columns))
    drawn.add_row("never looking", "", "", *(f"{guess[kind][group]:.3f}" for kind, group in columns))
    yield drawn
    drawn = Table("set", "against", "difference, all", "95 % interval", "each seed", box=None, padding=(0, 2, 0, 0))
    for name, one in results["difference"].items():
        seeds = ", ".join(f"{value:+.3f}" for value in one["runs"])
        drawn.add_row(name, one["to"], f"{one['value']:+.3f}", f"{one['low']:+.3f} to {one['high']:+.3f}", seeds)
    yield drawn


def plot(results: dict[str, Any], out: Path) -> None:
    """Draw rounds.png and formats.png."""
    settings, guess = results["settings"], results["never looking"]
    accuracies = {
        name: {kind: {group: Estimate(**one) for group, one in parts.items()} for kind, parts in kinds.items()}
        for name, kinds in results["accuracy"].items()
    }
    by_rounds = {str(number): MIXED.format(number) for number in range(settings["rounds"] + 1)}
    by_format = {
        "mixed": MIXED.format(settings["format_rounds"]),
        **{name: name for name in map(ONLY.format, FORMATS)},
        BEFORE: BEFORE,
    }
    note = (
        f"{settings['tokens']:,} tokens a run, {settings['seeds']} runs a set, {results['questions']['all']['all']:,} questions about "
        "unseen pictures; bars: 95 % over pictures; ticks: each run; dotted: the best guess of one who never looks"
    )
    lines = {group: {number: accuracies[arm]["format"][group] for number, arm in by_rounds.items()} for group in guess["format"]}
    harder = {arm: accuracies[arm]["rounds"] for arm in by_rounds.values()}
    panels = (
        Panel("by answer format", "rounds of complication in the training set", lines, guess["format"]),
        Panel("by training set", "rounds of complication in the question", harder, guess["rounds"]),
    )
    draw(panels, out / "rounds.png", "How many rounds of complication?", note)
    panels = [
        Panel(title, "", {name: accuracies[arm][kind] for name, arm in by_format.items()}, guess[kind], joined=False)
        for title, kind in (("by the question's format", "format"), ("by the question's task", "task"))
    ]
    draw(panels, out / "formats.png", f"Which format to train on? Up to {settings['format_rounds']} rounds", note)
