"""Draw accuracies with their intervals: lines over a number, or points side by side by group. Knows figures only.

matplotlib comes with the extra `build`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import InputError
from comvint_hf.evaluation.compare import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
"""Okabe and Ito's, which people with any colour vision can tell apart."""
TICK = 9
"""The width, in points, of the ticks that stand for single runs."""
SPREAD = 0.5
"""How far the series of one place lie apart, in units of the distance between places."""


@dataclass(frozen=True)
class Panel:
    """One part of a picture: named series of estimates, each at named places along x.

    `guesses` are drawn as dashed lines: for a series of that name across the panel, for a place of that name at that place.
    `joined` draws lines between a series' points, for places that have an order.
    """

    title: str
    x: str
    series: Mapping[str, Mapping[str, Estimate]]
    guesses: Mapping[str, float] = field(default_factory=dict)
    joined: bool = True


def draw(panels: Sequence[Panel], path: Path, title: str, note: str = "") -> None:
    """Draw panels side by side into the picture `path`. Raises `InputError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(f"Plots need matplotlib ({error}): pip install matplotlib, and run the same command again.") from error
    figure = Figure(figsize=(6.2 * len(panels), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    figure.supxlabel(note, fontsize=8, color="#444444")
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        _panel(axes, panel)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _panel(axes: Axes, panel: Panel) -> None:
    places = list(dict.fromkeys(place for points in panel.series.values() for place in points))
    for number, (name, points) in enumerate(panel.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        offset = SPREAD * (number - (len(panel.series) - 1) / 2) / len(panel.series) * (0.4 if panel.joined else 1.0)
        _series(axes, [places.index(place) + offset for place in points], list(points.values()), colour, name, panel.joined)
        if name in panel.guesses:
            axes.axhline(panel.guesses[name], color=colour, linestyle=":", linewidth=1)
    for place, guess in panel.guesses.items():
        if place in places:
            at = places.index(place)
            axes.hlines(guess, at - 0.4, at + 0.4, color="#444444", linestyle=":", linewidth=1)
    axes.set(title=panel.title, xlabel=panel.x, ylabel="accuracy", xticks=range(len(places)), xticklabels=places)
    axes.set_ylim(0, 1)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="best")


def _series(axes: Axes, x: list[float], points: list[Estimate], colour: str, name: str, joined: bool) -> None:
    values = [point.value for point in points]
    errors = [[point.value - point.low for point in points], [point.high - point.value for point in points]]
    style: dict[str, Any] = {"linestyle": "-" if joined else "none", "linewidth": 1.2, "markersize": 6, "capsize": 2}
    axes.errorbar(x, values, yerr=errors, color=colour, label=name, marker="o", **style)
    for place, point in zip(x, points, strict=True):
        axes.plot([place] * len(point.runs), point.runs, linestyle="none", marker="_", color=colour, markersize=TICK)
