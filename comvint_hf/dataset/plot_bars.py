"""Draw lengths, answers and rounds of complication as bars on an empty matplotlib figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset.plot_sunburst import INK
from comvint_hf.types import FORMATS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from comvint_hf.dataset.statistics import TaskStatistics

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
ENDINGS = {"passed": "passed", "refused": "refused by the judge", "abstained": "nothing left to ask", "stopped": "no verdict"}
COMPLEXITY = {"question_words": "words in the question", "evidence": "objects used", "score": "judge's score"}
# The share of texts that a histogram shows; a few very long ones would leave no room for the others.
SHARE_SHOWN = 0.995
LEGEND: dict[str, Any] = {
    "frameon": False, "fontsize": 8, "handlelength": 1.2, "handleheight": 1, "columnspacing": 1.2, "borderpad": 0.2
}  # fmt: skip
# The name of a bar and the counts of its segments.
Bar = tuple[str, dict[str, int]]


def draw_lengths(
    figure: Figure, tasks: Mapping[str, TaskStatistics], published: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """Draw two histograms for each task, words of questions and of answers, with their means and the published ones."""
    grid = figure.subplots(len(tasks), 2, squeeze=False)
    for row, (name, task) in zip(grid, tasks.items(), strict=True):
        known = (published or {}).get(name, {})
        for axes, side, lengths, words, colour in (
            (row[0], "question", task.question_lengths, task.question_words, QUESTION_COLOUR),
            (row[1], "answer", task.answer_lengths, task.answer_words, ANSWER_COLOUR),
        ):
            axes.set_title(f"{name.replace('_', ' ')}: {side}s")
            _draw_histogram(axes, lengths, words / task.pairs, known.get(f"{side}_words"), colour)
    for axes, side in zip(grid[-1], ("question", "answer"), strict=True):
        axes.set_xlabel(f"words in the {side} (the longest {1 - SHARE_SHOWN:.1%} are left out)")
    figure.tight_layout(h_pad=1.2, w_pad=2)


def _draw_histogram(axes: Axes, lengths: Counter[str], mean: float, published: float | None, colour: str) -> None:
    longest = max(find_longest(lengths), mean, published or 0)
    width = choose_bin_width(longest)
    shares = group_lengths(lengths, width)
    starts = [start - 0.5 for start in shares]
    axes.bar(starts, list(shares.values()), width, align="edge", color=colour, edgecolor="white", linewidth=0.4)
    axes.set(ylim=(0, 1.1 * max(shares.values())), xlim=(-0.5, longest * 1.03 + width))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.locator_params(axis="y", nbins=3)
    axes.locator_params(axis="x", integer=True)
    for value, label, ink, style in ((mean, "mean", INK, "-"), (published, "published", PUBLISHED_COLOUR, ":")):
        if value is not None:
            axes.axvline(value, color=ink, linestyle=style, linewidth=1.4, label=f"{label} {value:.1f}")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, **LEGEND)


def find_longest(lengths: Mapping[str, int]) -> int:
    """Find the length that all but a few texts stay within.

    >>> find_longest({"7": 996, "120": 4}), find_longest({"7": 990, "120": 10})
    (7, 120)
    """
    total, counted = sum(lengths.values()), 0
    for length in sorted(map(int, lengths)):
        counted += lengths[str(length)]
        if counted >= SHARE_SHOWN * total:
            break
    return length


def choose_bin_width(longest: float) -> int:
    """Choose how many lengths one bar covers if the axis goes up to `longest`.

    >>> choose_bin_width(7), choose_bin_width(60), choose_bin_width(361.5)
    (1, 2, 10)
    """
    return 1 if longest < 40 else 2 if longest < 100 else 10


def group_lengths(lengths: Mapping[str, int], width: int) -> dict[int, float]:
    """Compute the share of texts in each bar, by the bar's smallest length.

    >>> group_lengths({"2": 1, "3": 2, "4": 1}, 2)
    {2: 0.75, 4: 0.25}
    """
    total = sum(lengths.values())
    counts: Counter[int] = Counter()
    for length, count in lengths.items():
        counts[int(length) // width * width] += count
    return {start: counts[start] / total for start in sorted(counts)}


def count_answers(tasks: Mapping[str, TaskStatistics]) -> dict[str, list[Bar]]:
    """Count formats, yes and no, and right options, with a bar for each task that has more than open answers."""
    groups: dict[str, list[Bar]] = {}
    for title, field, segments in (
        ("formats", "formats", FORMATS),
        ("answers that say yes or no", "yes_no", ("yes", "no")),
        ("right options", "options", tuple("ABCD")),
    ):
        bars = []
        for name, task in tasks.items():
            counts = getattr(task, field)
            if counts and not (field == "formats" and set(counts) == {"open"}):
                bars.append((name.replace("_", " "), {segment: counts[segment] for segment in segments}))
        if bars:
            groups[title] = bars
    return groups


def draw_bars(figure: Figure, groups: Mapping[str, Sequence[Bar]]) -> None:
    """Draw the bars of each group, all of equal length, divided into their segments."""
    grid = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[0.6 + len(bars) for bars in groups.values()])
    for axes, (title, bars) in zip(grid[:, 0], groups.items(), strict=True):
        _draw_stack(axes, bars)
        axes.set_title(title)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, **LEGEND)
    figure.tight_layout(h_pad=1.2)


def _draw_stack(axes: Axes, bars: Iterable[Bar]) -> None:
    names, segments = zip(*bars, strict=True)
    starts = [0.0] * len(names)
    totals = [max(sum(counts.values()), 1) for counts in segments]
    for name in segments[0]:
        shares = [counts[name] / total for counts, total in zip(segments, totals, strict=True)]
        axes.barh(range(len(names)), shares, 0.74, starts, color=COLOURS[name], edgecolor="white", label=ENDINGS.get(name, name))
        for line, (start, share) in enumerate(zip(starts, shares, strict=True)):
            # A narrower segment has no room for its number.
            if share >= 0.04:
                axes.text(start + share / 2, line, f"{share:.0%}", ha="center", va="center", fontsize=8)
        starts = [start + share for start, share in zip(starts, shares, strict=True)]
    for line, total in enumerate(totals):
        axes.text(1.01, line, f"{total:,}", va="center", fontsize=8, color="#777777")
    axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0, 1), xticks=[])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)


def draw_rounds(figure: Figure, rounds: Sequence[Mapping[str, Any]]) -> None:
    """Draw how the attempts of each round ended, and each kind of complexity by round."""
    kinds = [key for key in COMPLEXITY if sum(entry[key] is not None for entry in rounds) > 0]
    grid = figure.subplots(1, 1 + len(kinds), width_ratios=[2.6] + [1] * len(kinds))
    tried = [entry for entry in rounds if entry["tried"]]
    _draw_stack(grid[0], [(f"round {entry['round']}", {name: entry[name] for name in ENDINGS}) for entry in tried])
    grid[0].set_title("how complications ended")
    grid[0].legend(loc="upper left", bbox_to_anchor=(0, 0), ncols=len(ENDINGS), **LEGEND).set_in_layout(False)
    for axes, key in zip(grid[1:], kinds, strict=True):
        _draw_means(axes, {entry["round"]: entry[key] for entry in rounds if entry[key] is not None})
        axes.set_title(COMPLEXITY[key])
        axes.set_xlabel("round")
    figure.tight_layout(w_pad=1.5, rect=(0, 0.02, 1, 1))


def _draw_means(axes: Axes, means: Mapping[int, float]) -> None:
    axes.bar(list(means), list(means.values()), 0.62, color=QUESTION_COLOUR)
    for number, mean in means.items():
        axes.text(number, mean, f"{mean:.1f}", ha="center", va="bottom", fontsize=8)
    axes.set(xticks=list(means), yticks=[], ylim=(0, 1.15 * (max(means.values()) or 1)))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=0)
