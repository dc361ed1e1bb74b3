"""Draw a dataset's statistics as PNG files beside its card. Equal counts give equal bytes; without matplotlib nothing is drawn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from comvint_hf.dataset import plot_bars
from comvint_hf.dataset.card_references import find_task_figures
from comvint_hf.dataset.plot_sunburst import INK, draw_sunburst

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from comvint_hf.dataset.statistics import Statistics

LOG = logging.getLogger(__name__)
# The names of all plots; other files in the folder belong to the user.
NAMES = ("first_words_*.png", "lengths.png", "answers.png", "rounds.png")
# A task with fewer questions is not plotted: it would show chance.
MIN_QUESTIONS = 100
DPI = 144
# The side of a sunburst in inches.
SUNBURST_SIZE = 7.9
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#BBBBBB",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": "#777777",
    "ytick.color": "#777777",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


class Plot(NamedTuple):
    """A plot's file name and caption."""

    file: str
    caption: str


class _PlotSpec(NamedTuple):
    """A plot to draw: its size in inches, and the function that draws it on an empty figure."""

    plot: Plot
    size: tuple[float, float]
    draw: Callable[[Figure], None]


def plot_statistics(statistics: Statistics, folder: Path, figures: Sequence[Mapping[str, Any]] = ()) -> list[Plot]:
    """Draw the plots into `folder`, and delete those of an earlier run.

    There is a sunburst of the questions' first three words for each task, the lengths, the answers and, if there were any, the
    rounds of complication.

    Args:
        statistics: The counts.
        folder: The folder of the plots.
        figures: Published figures to compare the lengths with; see `card_references.collect_figures`.

    Returns:
        The plots drawn; none without matplotlib, which is logged once.
    """
    specs = _plan_plots(statistics, figures)
    plots = [spec.plot for spec in specs] if specs and _have_matplotlib() else []
    for name in {path.name for pattern in NAMES for path in folder.glob(pattern)} - {plot.file for plot in plots}:
        (folder / name).unlink()
    if plots:
        folder.mkdir(parents=True, exist_ok=True)
        _draw(specs, folder)
    return plots


def _plan_plots(statistics: Statistics, figures: Sequence[Mapping[str, Any]]) -> list[_PlotSpec]:
    tasks = {name: task for name, task in sorted(statistics.tasks.items()) if task.question_lengths.total() >= MIN_QUESTIONS}
    specs = [
        _PlotSpec(
            Plot(f"first_words_{name}.png", f"The first three words of the questions: {name.replace('_', ' ')}"),
            (SUNBURST_SIZE, SUNBURST_SIZE),
            partial(draw_sunburst, openings=task.openings, title=_title(name, task.pairs)),
        )
        for name, task in tasks.items()
    ]
    if tasks:
        published = {name: find_task_figures(figures, name) for name in tasks}
        draw = partial(plot_bars.draw_lengths, tasks=tasks, published=published)
        specs.append(_PlotSpec(Plot("lengths.png", "Words in questions and answers"), (10, 0.6 + 1.45 * len(tasks)), draw))
    if bars := plot_bars.count_answers(tasks):
        height = 0.7 + sum(0.55 + 0.34 * len(lines) for lines in bars.values())
        draw = partial(plot_bars.draw_bars, groups=bars)
        specs.append(_PlotSpec(Plot("answers.png", "Formats, yes and no, and right options"), (9, height), draw))
    if statistics.verification.versions.total() >= MIN_QUESTIONS:
        draw = partial(plot_bars.draw_rounds, rounds=statistics.verification.by_round())
        caption = "Complications by round: how they ended, how complex they are"
        specs.append(_PlotSpec(Plot("rounds.png", caption), (10, 2.7), draw))
    return specs


def _title(name: str, pairs: int) -> str:
    return f"{fill(name.replace('_', ' '), 14)}\n{pairs:,} questions"


def _draw(specs: list[_PlotSpec], folder: Path) -> None:
    """Draw and save, in a style that ignores the user's matplotlib settings."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        # The user's own settings must not change the bytes.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        for plot, size, draw in specs:
            figure = Figure(figsize=size, dpi=DPI, facecolor="white")
            draw(figure)
            _save(figure, folder / plot.file)


def _save(figure: Figure, path: Path) -> None:
    """Save with 256 colours, a quarter of the bytes, and without a date; rename the file when it is complete."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB").quantize(256)
    temporary = path.with_name(f"{path.name}.partial")
    pixels.save(temporary, format="PNG")
    temporary.replace(path)


@cache
def _have_matplotlib() -> bool:
    if find_spec("matplotlib"):
        return True
    LOG.warning(
        "No plots are drawn because matplotlib is not installed: `pip install matplotlib` and run the same command again."
    )
    return False
