"""Looking at rows: an even choice, readable text, a page whose boxes are where they belong."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image

from comvint_hf.dataset.preview import draw_boxes, render_page, render_text, sample_rows
from comvint_hf.errors import InputError


def test_rows_are_drawn_evenly_over_tasks_and_by_seed(toy_dataset) -> None:
    folder = toy_dataset(scenes=30)
    rows = sample_rows(folder, 9)
    tasks = [row["task"] for row in rows]
    assert [tasks.count(task) for task in ("conversation", "cross_modal", "referring_qa")] == [3, 3, 3]
    assert [row["id"] for row in sample_rows(folder, 9)] == [row["id"] for row in rows]
    assert [row["id"] for row in sample_rows(folder, 9, seed=1)] != [row["id"] for row in rows]
    assert len(sample_rows(folder, 10_000)) > 100


def test_rejected_rows_can_be_looked_at(toy_dataset) -> None:
    rows = sample_rows(toy_dataset(), 4, "rejected")
    assert all("rejected:" in render_text(row) for row in rows)
    assert "rejected: " in render_page(rows, "x") and "no image here" in render_page(rows, "x")
    with pytest.raises(InputError, match="no rows in the config 'other'"):
        sample_rows(toy_dataset(), 4, "other")


def test_the_page_escapes_what_rows_say(toy_dataset) -> None:
    (row,) = sample_rows(toy_dataset(), 1)
    row["messages"][0]["content"] = "<script>alert(1)</script> & a <st>cup<ed>[0.1, 0.2, 0.3, 0.4]"
    row["phrases"], row["boxes"] = ["cup"], [[0.1, 0.2, 0.3, 0.4]]
    drawn = render_page([row], "a <b> title")
    assert "<script>" not in drawn and "&lt;script&gt;" in drawn and "a &lt;b&gt; title" in drawn
    assert ">cup</b>" in drawn and "0.1, 0.2, 0.3, 0.4" in drawn
    assert "http" not in re.sub(r"data:[^\"]*", "", drawn)


def test_boxes_are_drawn_where_they_are(toy_dataset) -> None:
    picture = draw_boxes(Image.new("RGB", (200, 100), "white"), [[0.25, 0.5, 0.75, 1.0]], ["#ff0000"])
    assert picture.size == (420, 210)
    red = [(x, y) for x in range(420) for y in range(210) if picture.getpixel((x, y)) == (255, 0, 0)]
    assert (min(x for x, _ in red), max(x for x, _ in red)) == pytest.approx((105, 315), abs=2)
    assert (min(y for _, y in red), max(y for _, y in red)) == pytest.approx((105, 209), abs=2)
    (row,) = sample_rows(toy_dataset(), 1)
    encoded = re.search(r"data:image/jpeg;base64,([^\"]+)", render_page([row], "x"))[1]
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (420, 420)
