"""Draw lengths, answers and rounds of complication as charts.

Each function takes an empty matplotlib figure and counts. This file knows counts; it knows no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset.plot_sunburst import INK
from comvint_hf.dataset.statistics import TaskStatistics
from comvint_hf.types import FORMATS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTION_COLOUR, ANSWER_COLOUR = "#77AADD", "#44BB99"
PUBLISHED_COLOUR = "#994455"
COLOURS = {
    "open": "#77AADD",
    "bool": "#EEDD88",
    "choice": "#44BB99",
    "yes": "#99DDFF",
    "no": "#EE8866",
    "A": "#77AADD",
    "B": "#EEDD88",
    "C": "#44BB99",
    "D": "#FFAABB",
    "passed": "#44BB99",
    "refused": "#EE8866",
    "abstained": "#DDDDDD",
    "stopped": "#BBBBBB",
}
ENDED = {"passed": "passed", "refused": "refused by the judge", "abstained": "nothing left to ask", "stopped": "no verdict"}
COMPLEXITY = {"question_words": "words in the question", "evidence": "things used", "score": "judge's score"}
SHOWN = 0.995
"""The share of texts that a histogram shows; a few very long ones would press the others together."""
KEY = {"frameon": False, "fontsize": 8, "handlelength": 1.2, "handleheight": 1, "columnspacing": 1.2, "borderpad": 0.2}
Bar = tuple[str, dict[str, int]]
"""A line's name and its parts."""


def draw_lengths(
    figure: Figure, tasks: Mapping[str, TaskStatistics], published: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """Draw two histograms a task, words of questions and of answers, with their means and the published ones."""
    axes = figure.subplots(len(tasks), 2, squeeze=False)
    for row, (name, task) in zip(axes, tasks.items(), strict=True):
        known, said = (published or {}).get(name, {}), name.replace("_", " ")
        for place, side, lengths, words, fill in (
            (row[0], "question", task.question_lengths, task.question_words, QUESTION_COLOUR),
            (row[1], "answer", task.answer_lengths, task.answer_words, ANSWER_COLOUR),
        ):
            place.set_title(f"{said}: {side}s")
            _histogram(place, lengths, words / task.pairs, known.get(f"{side}_words"), fill)
    for place, side in zip(axes[-1], ("question", "answer"), strict=True):
        place.set_xlabel(f"words in the {side} (the longest {1 - SHOWN:.1%} are left out)")
    figure.tight_layout(h_pad=1.2, w_pad=2)


def _histogram(axes: Axes, lengths: Counter[str], mean: float, published: float | None, fill: str) -> None:
    longest = max(longest_shown(lengths), mean, published or 0)
    width = bin_width(longest)
    shares = bins(lengths, width)
    starts = [start - 0.5 for start in shares]
    axes.bar(starts, list(shares.values()), width, align="edge", color=fill, edgecolor="white", linewidth=0.4)
    axes.set(ylim=(0, 1.1 * max(shares.values())), xlim=(-0.5, longest * 1.03 + width))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.locator_params(axis="y", nbins=3)
    axes.locator_params(axis="x", integer=True)
    for value, words, ink, style in ((mean, "mean", INK, "-"), (published, "published", PUBLISHED_COLOUR, ":")):
        if value is not None:
            axes.axvline(value, color=ink, linestyle=style, linewidth=1.4, label=f"{words} {value:.1f}")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, **KEY)


def longest_shown(lengths: Mapping[str, int]) -> int:
    """The length that all but a few texts stay within.

    >>> longest_shown({"7": 996, "120": 4}), longest_shown({"7": 990, "120": 10})
    (7, 120)
    """
    whole, counted = sum(lengths.values()), 0
    for length in sorted(map(int, lengths)):
        counted += lengths[str(length)]
        if counted >= SHOWN * whole:
            break
    return length


def bin_width(longest: float) -> int:
    """How many numbers of words one bar stands for, where the axis goes up to `longest`.

    >>> bin_width(7), bin_width(60), bin_width(361.5)
    (1, 2, 10)
    """
    return 1 if longest < 40 else 2 if longest < 100 else 10


def bins(lengths: Mapping[str, int], width: int) -> dict[int, float]:
    """The share of texts in each bar, by its smallest number of words.

    >>> bins({"2": 1, "3": 2, "4": 1}, 2)
    {2: 0.75, 4: 0.25}
    """
    whole = sum(lengths.values())
    found: Counter[int] = Counter()
    for length, count in lengths.items():
        found[int(length) // width * width] += count
    return {start: found[start] / whole for start in sorted(found)}


def answer_bars(tasks: Mapping[str, TaskStatistics]) -> dict[str, list[Bar]]:
    """What answers look like, one line a task, where there is more than one kind: formats, yes and no, right options."""
    groups: dict[str, list[Bar]] = {}
    for title, field, parts in (
        ("formats", "formats", FORMATS),
        ("answers that say yes or no", "yes_no", ("yes", "no")),
        ("right options", "options", tuple("ABCD")),
    ):
        lines = []
        for name, task in tasks.items():
            counts = getattr(task, field)
            if counts and not (field == "formats" and set(counts) == {"open"}):
                lines.append((name.replace("_", " "), {part: counts[part] for part in parts}))
        if lines:
            groups[title] = lines
    return groups


def draw_bars(figure: Figure, groups: Mapping[str, Sequence[Bar]]) -> None:
    """Draw each group's lines as bars of equal length, cut into their parts."""
    axes = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[0.6 + len(lines) for lines in groups.values()])
    for place, (title, lines) in zip(axes[:, 0], groups.items(), strict=True):
        _stack(place, lines)
        place.set_title(title)
        place.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, **KEY)
    figure.tight_layout(h_pad=1.2)


def _stack(axes: Axes, lines: Iterable[Bar]) -> None:
    names, parts = zip(*lines, strict=True)
    starts = [0.0] * len(names)
    wholes = [max(sum(counts.values()), 1) for counts in parts]
    for part in parts[0]:
        shares = [counts[part] / whole for counts, whole in zip(parts, wholes, strict=True)]
        axes.barh(range(len(names)), shares, 0.74, starts, color=COLOURS[part], edgecolor="white", label=ENDED.get(part, part))
        for line, (start, share) in enumerate(zip(starts, shares, strict=True)):
            if share >= 0.04:
                axes.text(start + share / 2, line, f"{share:.0%}", ha="center", va="center", fontsize=8)
        starts = [start + share for start, share in zip(starts, shares, strict=True)]
    for line, whole in enumerate(wholes):
        axes.text(1.01, line, f"{whole:,}", va="center", fontsize=8, color="#777777")
    axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1), xticks=[])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)


def draw_rounds(figure: Figure, rounds: Sequence[Mapping[str, Any]]) -> None:
    """Draw how the attempts of each round ended, and each measure of complexity by round."""
    measures = [key for key in COMPLEXITY if sum(entry[key] is not None for entry in rounds) > 0]
    axes = figure.subplots(1, 1 + len(measures), width_ratios=[2.6] + [1] * len(measures))
    tried = [entry for entry in rounds if entry["tried"]]
    _stack(axes[0], [(f"round {entry['round']}", {part: entry[part] for part in ENDED}) for entry in tried])
    axes[0].set_title("how complications ended")
    axes[0].legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=len(ENDED), **KEY).set_in_layout(False)
    for place, key in zip(axes[1:], measures, strict=True):
        _steps(place, {entry["round"]: entry[key] for entry in rounds if entry[key] is not None})
        place.set_title(COMPLEXITY[key])
        place.set_xlabel("round")
    figure.tight_layout(w_pad=1.5, rect=(0, 0.02, 1, 1))


def _steps(axes: Axes, means: Mapping[int, float]) -> None:
    axes.bar(list(means), list(means.values()), 0.62, color=QUESTION_COLOUR)
    for number, mean in means.items():
        axes.text(number, mean, f"{mean:.1f}", ha="center", va="bottom", fontsize=8)
    axes.set(xticks=list(means), yticks=[], ylim=(0, 1.15 * (max(means.values()) or 1)))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=0)
