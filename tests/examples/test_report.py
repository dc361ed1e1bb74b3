"""The report of an experiment: tables, and plots with everything in them that they must show."""

import io

import pytest
from complication.report import TICK, Panel, _draw_panel, make_tables, plot_panels, plot_results
from rich.console import Console

from comvint_hf.evaluation.compare import Estimate

pytest.importorskip("matplotlib")
ARMS = ("before", "rounds 0", "rounds 1", "open only", "bool only", "choice only")
GUESS = {"format": {"bool": 0.5, "open": 0.25}, "rounds": {"0": 0.25, "1": 0.125}, "task": {"cross_modal": 0.375}}


def toy() -> dict:
    def estimate(value: float) -> dict:
        return {"n": 8, "value": value, "low": value - 0.125, "high": value + 0.125, "runs": [value]}

    def figures(value: float) -> dict:
        return {kind: dict.fromkeys(parts, estimate(value)) for kind, parts in {"all": {"all": 0.0}, **GUESS}.items()}

    return {
        "settings": {"tokens": 1000, "seeds": 1, "rounds": 1, "format_rounds": 1},
        "questions": {"all": {"all": 8}},
        "never looking": {"all": {"all": 0.375}, **GUESS},
        "training": {name: {"tokens seen": [1000, 1010], "steps": 70} for name in ARMS[1:]},
        "accuracy": {name: figures(0.5 + number / 100) for number, name in enumerate(ARMS)},
        "difference": {"rounds 1": {"to": "rounds 0", **estimate(-0.25)}},
    }


def test_the_tables_have_a_line_for_every_arm_and_one_for_who_never_looks() -> None:
    console = Console(file=io.StringIO(), width=150)
    console.print(*make_tables(toy()))
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "rounds 0 1,005 70 0.510 0.510 0.510 0.510 0.510" in lines
    assert "never looking 0.375 0.500 0.250 0.250 0.125" in lines
    assert "rounds 1 rounds 0 -0.250 -0.375 to -0.125 -0.250" in lines


def test_the_plots_are_drawn(tmp_path) -> None:
    plot_results(toy(), tmp_path)
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("rounds.png", "formats.png"))


def one(value: float) -> Estimate:
    return Estimate(10, value, value - 0.1, value + 0.1, (value - 0.05, value + 0.05))


@pytest.mark.parametrize("joined", [True, False])
def test_panels_become_one_file(tmp_path, joined: bool) -> None:
    from PIL import Image

    series = {"red": {"0": one(0.3), "1": one(0.6)}, "blue": {"0": one(0.5), "1": one(0.4)}}
    panels = [Panel("left", "rounds", series, {"red": 0.25}, joined), Panel("right", "", series, {"1": 0.5}, joined)]
    path = tmp_path / "new" / "plot.png"
    plot_panels(panels, path, "Title", "note")
    image = Image.open(path).convert("RGB")
    colours = {colour for count, colour in image.getcolors(1 << 24) if count > 20}
    assert image.width > 1.5 * image.height
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours, "both series are there"


def test_places_stand_where_they_belong() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    _draw_panel(axes, Panel("t", "x", {"a": {"0": one(0.3), "2": one(0.6)}, "b": {"2": one(0.1)}}))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2"]
    dots = [(round(x), y) for line in axes.lines if line.get_marker() == "o" for x, y in zip(*line.get_data(), strict=True)]
    assert dots == [(0, 0.3), (1, 0.6), (1, 0.1)]
    ticks = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "_" and line.get_markersize() == TICK]
    assert ticks == [[pytest.approx(value - 0.05), pytest.approx(value + 0.05)] for value in (0.3, 0.6, 0.1)]
