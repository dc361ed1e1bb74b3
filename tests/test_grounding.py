"""Boxes in text: exact where we write them, never guessed where others did."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf import grounding as g
from comvint_hf.errors import UnknownTagError
from comvint_hf.types import Box, Object, Scene

FRACTION = st.floats(0, 1, allow_nan=False)


@st.composite
def boxes(draw, smallest: float = 0.0) -> Box:
    x1, y1 = draw(st.floats(0, 1 - smallest)), draw(st.floats(0, 1 - smallest))
    return Box(x1=x1, y1=y1, x2=draw(st.floats(x1 + smallest, 1)), y2=draw(st.floats(y1 + smallest, 1)))


def scene(*objects: Object) -> Scene:
    return Scene(id="toy/1", source="toy", width=100, height=50, objects=objects)


MAN = Object(tag="o3", key="1", name="man", boxes=(Box(x1=0.1, y1=0.2, x2=0.3, y2=0.4),))
MEN = Object(tag="o4", key="2", name="men", boxes=(Box(x1=0, y1=0, x2=0.5, y2=0.5), Box(x1=0.5, y1=0.5, x2=1, y2=1)))
SKY = Object(tag="o5", key="3", name="sky")


def test_render_writes_the_canonical_form() -> None:
    rendered = g.render("Is the <st>man<ed>[o3] with the <st>men<ed>[o4]?", scene(MAN, MEN))
    assert rendered.text == (
        "Is the <st>man<ed>[0.100, 0.200, 0.300, 0.400] with the "
        "<st>men<ed>[0.000, 0.000, 0.500, 0.500], [0.500, 0.500, 1.000, 1.000]?"
    )
    assert rendered.phrases == ("man", "men", "men")
    assert rendered.boxes == (*MAN.boxes, *MEN.boxes)


def test_several_references_after_one_phrase_and_a_bare_tag() -> None:
    rendered = g.render("<st>people<ed>[o3], [o4] under [o5]", scene(MAN, MEN, SKY))
    assert rendered.phrases == ("people",) * 3
    assert rendered.text.endswith("under sky")


@pytest.mark.parametrize(
    ("text", "said"), [("<st>cat<ed>[o9]", r"\[o9\]"), ("<st>sky<ed>[o5]", "no box"), ("the [r2]", r"\[r2\]")]
)
def test_an_invented_reference_is_an_error(text: str, said: str) -> None:
    with pytest.raises(UnknownTagError, match=said):
        g.render(text, scene(MAN, SKY))


@given(st.lists(boxes(smallest=0.002), min_size=1, max_size=4))
def test_parse_reads_back_what_render_wrote(some: list[Box]) -> None:
    thing = Object(tag="o1", key="1", name="things", boxes=tuple(some))
    (found,) = g.parse(g.render("See the <st>things<ed>[o1].", scene(thing)).text)
    assert found.phrase == "things" and len(found.boxes) == len(some)
    for read, wrote in zip(found.boxes, some, strict=True):
        assert max(abs(a - b) for a, b in zip(read.xyxy, wrote.xyxy, strict=True)) <= 0.0005 + 1e-9


@given(st.text(max_size=80))
def test_parse_and_plain_take_any_text(text: str) -> None:
    assert all(0 <= found.start < found.end <= len(text) for found in g.parse(text))
    if "<st>" not in text:
        assert g.strip_grounding(text) == text


@pytest.mark.parametrize(
    "text", ["<st>a<ed>[0.5, 0.1, 0.2, 0.9]", "<st>a<ed>[10, 20, 300, 400]", "<st>a<ed>[0.1, 0.2, 0.3]", "<st>a<ed>"]
)
def test_a_box_that_does_not_fit_is_dropped_not_guessed(text: str) -> None:
    assert g.parse(text) == []


@given(boxes(smallest=0.01), boxes(smallest=0.01))
def test_iou_is_symmetric_and_bounded(a: Box, b: Box) -> None:
    assert g.iou(a, b) == pytest.approx(g.iou(b, a)) and 0 <= g.iou(a, b) <= 1 + 1e-9
    assert g.iou(a, a) == pytest.approx(1)
