"""Pictures of accuracies: they are drawn, with what they must show in them."""

import pytest
from complication.plots import Panel, draw

from comvint_hf.evaluation.compare import Estimate

pytest.importorskip("matplotlib")


def one(value: float) -> Estimate:
    return Estimate(10, value, value - 0.1, value + 0.1, (value - 0.05, value + 0.05))


@pytest.mark.parametrize("joined", [True, False])
def test_panels_become_one_picture(tmp_path, joined: bool) -> None:
    from PIL import Image

    series = {"red": {"0": one(0.3), "1": one(0.6)}, "blue": {"0": one(0.5), "1": one(0.4)}}
    panels = [Panel("left", "rounds", series, {"red": 0.25}, joined), Panel("right", "", series, {"1": 0.5}, joined)]
    path = tmp_path / "new" / "picture.png"
    draw(panels, path, "Title", "note")
    picture = Image.open(path).convert("RGB")
    colours = {colour for count, colour in picture.getcolors(1 << 24) if count > 20}
    assert picture.width > 1.5 * picture.height
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours, "both series are there"


def test_places_stand_where_they_belong() -> None:
    from complication.plots import TICK, _panel
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    _panel(axes, Panel("t", "x", {"a": {"0": one(0.3), "2": one(0.6)}, "b": {"2": one(0.1)}}))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "2"]
    dots = [(round(x), y) for line in axes.lines if line.get_marker() == "o" for x, y in zip(*line.get_data(), strict=True)]
    assert dots == [(0, 0.3), (1, 0.6), (1, 0.1)]
    ticks = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "_" and line.get_markersize() == TICK]
    assert ticks == [[pytest.approx(value - 0.05), pytest.approx(value + 0.05)] for value in (0.3, 0.6, 0.1)]
