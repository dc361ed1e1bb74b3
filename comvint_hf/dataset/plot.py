"""Draw a dataset's statistics as pictures that lie beside its card: equal counts give equal bytes.

Without matplotlib there are no pictures, and nothing else changes. This file knows counts; it knows no row and no card.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from comvint_hf.dataset import plot_bars
from comvint_hf.dataset.paper_figures import published_task
from comvint_hf.dataset.plot_sunburst import INK, draw_sunburst
from comvint_hf.dataset.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG = logging.getLogger(__name__)
FOLDER = "pictures"
NAMES = ("first_words_*.png", "lengths.png", "answers.png", "rounds.png")
"""Every picture is named so; other files in a folder are somebody else's."""
LEAST_QUESTIONS = 100
"""A task with fewer questions makes no picture: it would show chance."""
DOTS_AN_INCH = 144
SUNBURST = 7.9
"""The side of a sunburst in inches."""
STYLE = {
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


class Picture(NamedTuple):
    """A picture's file name, and what it shows in words."""

    file: str
    shows: str


class _Sheet(NamedTuple):
    """A picture to be drawn: its size in inches, and what draws it on the empty figure."""

    picture: Picture
    size: tuple[float, float]
    draw: Callable[[Figure], None]


def draw_pictures(statistics: Statistics, folder: Path, recipes: Iterable[str] = ()) -> list[Picture]:
    """Draw what there is to see into `folder`, and delete pictures that an earlier run left there.

    One sunburst a task of its questions' first three words, the lengths, the answers, and the rounds of complication where
    there were any; `recipes` say which published figures are drawn beside. Empty without matplotlib, which is said once.
    """
    sheets = _sheets(statistics, tuple(recipes))
    made = [sheet.picture for sheet in sheets] if sheets and _have_matplotlib() else []
    for stale in {path.name for name in NAMES for path in folder.glob(name)} - {picture.file for picture in made}:
        (folder / stale).unlink()
    if made:
        folder.mkdir(parents=True, exist_ok=True)
        _draw(sheets, folder)
    return made


def _sheets(statistics: Statistics, recipes: tuple[str, ...]) -> list[_Sheet]:
    tasks = {name: task for name, task in sorted(statistics.tasks.items()) if task.question_lengths.total() >= LEAST_QUESTIONS}
    sheets = [
        _Sheet(
            Picture(f"first_words_{name}.png", f"The first three words of the questions: {name.replace('_', ' ')}"),
            (SUNBURST, SUNBURST),
            partial(draw_sunburst, openings=task.openings, title=_title(name, task.pairs)),
        )
        for name, task in tasks.items()
    ]
    if tasks:
        published = {name: published_task(recipes, name) for name in tasks}
        draw = partial(plot_bars.draw_lengths, tasks=tasks, published=published)
        sheets.append(_Sheet(Picture("lengths.png", "Words in questions and answers"), (10, 0.6 + 1.45 * len(tasks)), draw))
    if bars := plot_bars.answer_bars(tasks):
        height = 0.7 + sum(0.55 + 0.34 * len(lines) for lines in bars.values())
        draw = partial(plot_bars.draw_bars, groups=bars)
        sheets.append(_Sheet(Picture("answers.png", "Formats, yes and no, and right options"), (9, height), draw))
    if statistics.health.versions.total() >= LEAST_QUESTIONS:
        draw = partial(plot_bars.draw_rounds, rounds=statistics.health.rounds())
        sheets.append(_Sheet(Picture("rounds.png", "Complications by round: how they ended, how complex"), (10, 2.7), draw))
    return sheets


def _title(name: str, pairs: int) -> str:
    return f"{fill(name.replace('_', ' '), 14)}\n{pairs:,} questions"


def _draw(sheets: list[_Sheet], folder: Path) -> None:
    """Draw and write, under a style that does not depend on the user's own settings; no date goes into a file."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        for picture, size, draw in sheets:
            figure = Figure(figsize=size, dpi=DOTS_AN_INCH, facecolor="white")
            draw(figure)
            _save(figure, folder / picture.file)


def _save(figure: Figure, path: Path) -> None:
    """Write 256 colours, which is a quarter of the bytes; the file appears under its name when it is whole."""
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
    LOG.warning("No pictures are drawn: matplotlib is not installed; `pip install matplotlib` and run the same command again.")
    return False
