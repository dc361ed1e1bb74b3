"""How boxes are written is recognised from the boxes, or asked: never guessed on a toss."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.errors import SourceError
from comvint_hf.sources.box_forms import SHAPES, UNITS, BoxForm, parse_form, recognise_form

SIZE = (640, 480)
EDGES = [
    (10, 20, 110, 220),
    (300, 200, 630, 470),
    (500, 100, 600, 150),
    (0, 0, 640, 480),
    (320, 240, 400, 300),
    (5, 400, 90, 479),
] * 2


def write(edges: tuple[float, ...], form: BoxForm) -> list[float]:
    left, top, right, bottom = edges
    scale = {"pixels": (1, 1), "fractions": (1 / 640, 1 / 480), "thousandths": (1000 / 640, 1000 / 480)}[form.unit]
    left, top, right, bottom = left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]
    return {
        "xyxy": [left, top, right, bottom],
        "xywh": [left, top, right - left, bottom - top],
        "cxcywh": [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top],
    }[form.shape]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_form_is_read_back_to_the_same_edges(shape, unit):
    form = BoxForm(shape, unit)
    for edges in EDGES:
        assert form.edges(write(edges, form), SIZE) == pytest.approx(edges)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("shape", ["xyxy", "xywh"])
def test_a_form_is_recognised_from_a_dozen_boxes(shape, unit):
    form = BoxForm(shape, unit)
    boxes = [(write(edges, form), SIZE) for edges in EDGES]
    if (shape, unit) == ("xywh", "fractions"):  # such boxes may as well be centres
        boxes = [(numbers, size) for numbers, size in boxes if numbers[0] < numbers[2] / 2 or numbers[0] > 0.7] or boxes
    assert recognise_form(boxes, "here") == form


def test_centres_of_a_dozen_small_boxes_are_not_taken_for_corners():
    form = BoxForm("cxcywh", "fractions")
    near = [(560, 400, 640, 480), (600, 0, 640, 40), (0, 440, 40, 480)] * 4
    assert recognise_form([(write(edges, form), SIZE) for edges in near], "here") == form


def test_a_few_boxes_in_pixels_are_read_as_the_hub_writes_them():
    assert recognise_form([([10, 20, 100, 200], SIZE)], "here") == BoxForm("xywh", "pixels")


def test_a_few_boxes_in_fractions_are_asked_about_with_all_readings():
    with pytest.raises(SourceError, match="xyxy in fractions or xywh in fractions") as refusal:
        recognise_form([([0.1, 0.2, 0.3, 0.4], SIZE)], "here")
    assert "[0.1, 0.2, 0.3, 0.4]" in str(refusal.value)
    assert ",boxes=" in str(refusal.value)


def test_boxes_that_fit_nothing_are_refused():
    with pytest.raises(SourceError, match="fit no form"):
        recognise_form([([5000, 20, 6000, 40], SIZE)] * 9, "here")


def test_one_slip_in_a_hundred_changes_nothing():
    boxes = [([10, 20, 110, 220], SIZE)] * 120 + [([600, 400, 300, 200], SIZE)]
    assert recognise_form(boxes, "here") == BoxForm("xyxy", "pixels")


@pytest.mark.parametrize("text", ["", "xy", "xywh:inches", "XYXY"])
def test_a_form_of_another_name_is_refused(text):
    with pytest.raises(SourceError, match="expected xyxy, xywh, cxcywh"):
        parse_form(text)


@given(st.lists(st.one_of(st.none(), st.text(), st.floats(), st.integers()), max_size=6))
def test_anything_becomes_a_box_in_the_image_or_is_counted(numbers):
    counts: Counter[str] = Counter()
    box = BoxForm("xywh", "pixels").to_box(numbers, SIZE, counts)
    assert (box is None) == bool(counts.total()) or box is not None
