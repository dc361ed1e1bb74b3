"""The report of the experiment: two tables and two plots. It knows the results only.

matplotlib comes with the extra `build`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from complication.arms import BEFORE, MIXED, ONLY
from comvint_hf.errors import InputError
from comvint_hf.evaluation.compare import Estimate
from comvint_hf.types import FORMATS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Okabe and Ito's, which people with any colour vision can tell apart."""
TICK = 9
"""The width, in points, of the ticks for single runs."""
SPREAD = 0.5
"""The distance between the series at one position, in units of the distance between positions."""


@dataclass(frozen=True)
class Panel:
    """One part of a plot: named series of estimates, each at named positions along x.

    `baselines` are drawn as dotted lines: for a series of that name across the panel, for a position of that name at that position.
    `joined` draws lines between a series' points, for positions that have an order.
    """

    title: str
    x: str
    series: Mapping[str, Mapping[str, Estimate]]
    baselines: Mapping[str, float] = field(default_factory=dict)
    joined: bool = True


def make_tables(results: dict[str, Any]) -> Iterator[Table]:
    """Make a table of accuracies by format and by the questions' rounds, and a table of differences, a line per arm."""
    accuracies, baseline = results["accuracy"], results["never looking"]
    columns = [("all", "all"), *((kind, name) for kind in ("format", "rounds") for name in baseline[kind])]
    heads = (f"{name} rounds" if kind == "rounds" else name for kind, name in columns)
    title = "Accuracy on the same held-out questions"
    table = Table("set", "tokens seen", "steps", *heads, title=title, box=None, padding=(0, 2, 0, 0))
    for name, figures in accuracies.items():
        training = results["training"].get(name)
        seen = (f"{statistics.mean(training['tokens seen']):,.0f}", f"{training['steps']:,}") if training else ("", "")
        table.add_row(name, *seen, *(f"{figures[kind][group]['value']:.3f}" for kind, group in columns))
    table.add_row("never looking", "", "", *(f"{baseline[kind][group]:.3f}" for kind, group in columns))
    yield table
    table = Table("set", "against", "difference, all", "95 % interval", "each seed", box=None, padding=(0, 2, 0, 0))
    for name, difference in results["difference"].items():
        seeds = ", ".join(f"{value:+.3f}" for value in difference["runs"])
        interval = f"{difference['low']:+.3f} to {difference['high']:+.3f}"
        table.add_row(name, difference["to"], f"{difference['value']:+.3f}", interval, seeds)
    yield table


def plot_results(results: dict[str, Any], out: Path) -> None:
    """Draw rounds.png and formats.png."""
    settings, baseline = results["settings"], results["never looking"]
    accuracies = {
        name: {kind: {group: Estimate(**figures) for group, figures in parts.items()} for kind, parts in kinds.items()}
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
        "unseen images; bars: 95 % over images; ticks: each run; dotted: the best guess without looking"
    )
    lines = {
        group: {number: accuracies[arm]["format"][group] for number, arm in by_rounds.items()} for group in baseline["format"]
    }
    harder = {arm: accuracies[arm]["rounds"] for arm in by_rounds.values()}
    panels = [
        Panel("by answer format", "rounds of complication in the training set", lines, baseline["format"]),
        Panel("by training set", "rounds of complication in the question", harder, baseline["rounds"]),
    ]
    plot_panels(panels, out / "rounds.png", "How many rounds of complication?", note)
    panels = [
        Panel(title, "", {name: accuracies[arm][kind] for name, arm in by_format.items()}, baseline[kind], joined=False)
        for title, kind in (("by the question's format", "format"), ("by the question's task", "task"))
    ]
    plot_panels(panels, out / "formats.png", f"Which format to train on? Up to {settings['format_rounds']} rounds", note)


def plot_panels(panels: Sequence[Panel], path: Path, title: str, note: str = "") -> None:
    """Draw panels side by side into one file. Raises `InputError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"Plots need matplotlib ({error}): pip install matplotlib, and run the same command again.") from error
    figure = Figure(figsize=(6.2 * len(panels), 4.8), layout="constrained")
    # Without pyplot, which would keep every figure in memory and look for a display.
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    figure.supxlabel(note, fontsize=8, color="#444444")
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, panel)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    positions = list(dict.fromkeys(name for points in panel.series.values() for name in points))
    for number, (series, points) in enumerate(panel.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        # Side by side, so that intervals do not cover each other.
        offset = SPREAD * (number - (len(panel.series) - 1) / 2) / len(panel.series) * (0.4 if panel.joined else 1.0)
        x = [positions.index(name) + offset for name in points]
        _draw_series(axes, x, list(points.values()), colour, series, panel.joined)
        if series in panel.baselines:
            axes.axhline(panel.baselines[series], color=colour, linestyle=":", linewidth=1)
    for name, baseline in panel.baselines.items():
        if name in positions:
            x0 = positions.index(name)
            axes.hlines(baseline, x0 - 0.4, x0 + 0.4, color="#444444", linestyle=":", linewidth=1)
    axes.set(title=panel.title, xlabel=panel.x, ylabel="accuracy", xticks=range(len(positions)), xticklabels=positions)
    axes.set_ylim(0, 1)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="best")


def _draw_series(axes: Axes, x: list[float], points: list[Estimate], colour: str, name: str, joined: bool) -> None:
    values = [point.value for point in points]
    errors = [[point.value - point.low for point in points], [point.high - point.value for point in points]]
    style: dict[str, Any] = {"linestyle": "-" if joined else "none", "linewidth": 1.2, "markersize": 6, "capsize": 2}
    axes.errorbar(x, values, yerr=errors, color=colour, label=name, marker="o", **style)
    for position, point in zip(x, points, strict=True):
        axes.plot([position] * len(point.runs), point.runs, linestyle="none", marker="_", color=colour, markersize=TICK)
