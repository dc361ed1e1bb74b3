"""Intervals, boxes and mentions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.evaluation.metrics import (
    DescribedObject,
    compare_objects,
    compute_rate,
    exclude_boxes,
    find_objects,
    match_boxes,
    score_interval,
)
from comvint_hf.types import Box

FRACTION = st.integers(0, 1000).map(lambda number: number / 1000)


@st.composite
def boxes(draw) -> Box:
    x1, x2 = sorted(draw(st.tuples(FRACTION, FRACTION)))
    y1, y2 = sorted(draw(st.tuples(FRACTION, FRACTION)))
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def test_wilson_equals_worked_values() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20 and 1 of 29.
    assert score_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert score_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert score_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.lists(st.booleans(), min_size=1))
def test_a_share_lies_in_its_interval(verdicts: list[bool]) -> None:
    found = compute_rate(verdicts)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_share_of_nothing_is_nothing() -> None:
    assert compute_rate([]) == (0, None, None, None)


def test_one_box_is_judged_by_the_first_alone() -> None:
    truth = box(0.5, 0.5, 1, 1)
    assert match_boxes([box(0, 0, 0.5, 0.5), truth], [truth]) == [0.0]
    assert match_boxes([truth, box(0, 0, 1, 1)], [truth]) == [1.0]
    assert match_boxes([], [truth]) == [0.0]


def test_a_group_is_matched_whatever_the_order() -> None:
    left, right = box(0, 0, 0.4, 1), box(0.6, 0, 1, 1)
    assert match_boxes([right, left], [left, right]) == [1.0, 1.0]
    assert match_boxes([left, left], [left, right]) == [1.0, 0.0]


@given(st.lists(boxes(), max_size=6), st.lists(boxes(), min_size=1, max_size=6))
def test_each_true_box_is_met_once(found: list[Box], truth: list[Box]) -> None:
    met = match_boxes(found, truth)
    assert len(met) == len(truth) and all(0 <= value <= 1 for value in met)
    assert sum(value > 0 for value in met) <= min(len(found), len(truth))


def test_boxes_of_the_question_do_not_count() -> None:
    given, new = box(0.1, 0.1, 0.2, 0.2), box(0.3, 0.3, 0.4, 0.4)
    assert exclude_boxes([given, new, box(0.1001, 0.1, 0.2, 0.2)], [given]) == [new]


def test_mentions_carry_the_attributes_before_the_name() -> None:
    text = "There are two small red circles, a large <st>blue square<ed>[0.1, 0.1, 0.2, 0.2] and teddy bears. The sky is red. Circle!"
    found = find_objects(text, ["circle", "square", "bear", "teddy bear"])
    assert found == {
        DescribedObject("circle", frozenset({"small", "red"})),
        DescribedObject("square", frozenset({"large", "blue"})),
        DescribedObject("teddy bear", frozenset()),
        DescribedObject("circle", frozenset()),
    }


def test_names_that_hold_their_colour_are_read_alike() -> None:
    assert find_objects("A red circle.", ["red circle"]) == find_objects("A red circle.", ["circle"])


def test_a_wrong_colour_is_no_meeting() -> None:
    truth = find_objects("A small red circle and a star.", ["circle", "star"])
    right = compare_objects(find_objects("A small red circle, and a yellow star.", ["circle", "star"]), truth)
    assert right == (1.0, 1.0, 1.0)
    wrong = compare_objects(find_objects("A small blue circle and a star.", ["circle", "star"]), truth)
    assert wrong == (0.5, 0.5, 0.5)
    assert compare_objects(set(), truth) == (0.0, 0.0, 0.0)


def test_the_particular_is_not_met_by_the_general() -> None:
    truth = {DescribedObject("circle", frozenset({"red"})), DescribedObject("circle", frozenset())}
    found = {DescribedObject("circle", frozenset()), DescribedObject("circle", frozenset({"red"}))}
    assert compare_objects(found, truth).f1 == 1.0
    assert compare_objects({DescribedObject("circle", frozenset())}, {DescribedObject("circle", frozenset({"red"}))}).f1 == 0.0
