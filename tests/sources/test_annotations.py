"""Pixels to fractions: exact where the box fits, clamped or dropped with a count where it does not."""

from collections import Counter
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.sources.annotations import CLAMPED, EMPTY, IN_FIRST_PIXEL, OUTSIDE, UNREADABLE, box_from_corner, box_from_edges

SIZES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
NUMBERS = st.one_of(st.integers(-100, 6000), st.floats(-100, 6000))


@given(SIZES, st.data())
def test_a_box_inside_the_picture_comes_back_to_the_pixel(size, data):
    left, top = (data.draw(st.integers(0, extent - 1)) for extent in size)
    right, bottom = (data.draw(st.integers(start + 1, extent)) for start, extent in zip((left, top), size, strict=True))
    counts: Counter[str] = Counter()
    box = box_from_corner(left, top, right - left, bottom - top, size, counts)
    assert not counts
    back = tuple(edge * extent for edge, extent in zip(box.xyxy, (*size, *size), strict=True))
    assert back == pytest.approx((left, top, right, bottom))
    assert box_from_edges(left, top, right, bottom, size, counts) == box


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, SIZES)
def test_any_four_numbers_give_a_box_with_area_or_a_count(x, y, wide, high, size):
    counts: Counter[str] = Counter()
    box = box_from_corner(x, y, wide, high, size, counts)
    if box is None:
        assert counts.total() == 1
        assert set(counts) <= {EMPTY, OUTSIDE, IN_FIRST_PIXEL}
    else:
        assert 0 <= box.x1 <= box.x2 <= 1
        assert 0 <= box.y1 <= box.y2 <= 1
        fits = x >= 0 and y >= 0 and x + wide <= size[0] and y + high <= size[1]
        assert counts == ({} if fits else {CLAMPED: 1})


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((10, 10, 0, 5), EMPTY),
        ((10, 10, 5, -1), EMPTY),
        ((100, 10, 5, 5), OUTSIDE),
        ((-9, 10, 5, 5), OUTSIDE),
        ((None, 10, 5, 5), UNREADABLE),
        (("3 px", 10, 5, 5), UNREADABLE),
        ((10**400, 10, 5, 5), UNREADABLE),
        (([3], True, 5, 5), UNREADABLE),
        ((0.1, 0.2, 0.5, 0.6), IN_FIRST_PIXEL),
        ((nan, 10, 5, 5), UNREADABLE),
        ((0, 0, inf, 5), UNREADABLE),
    ],
)
def test_what_is_no_box_is_dropped_with_its_reason(numbers, reason):
    counts: Counter[str] = Counter()
    assert box_from_corner(*numbers, (100, 50), counts) is None
    assert counts == {reason: 1}


def test_one_pixel_past_the_border_is_clamped():
    counts: Counter[str] = Counter()
    assert box_from_corner(365, 0, 276, 480, (640, 480), counts).x2 == 1.0  # Visual Genome image 4, "curtains"
    assert counts == {CLAMPED: 1}
