"""Boxes as model families write them: read back to half a quantum, in every frame, and never guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.box_formats import BOX_FORMATS, CANONICAL, BoxFormat, Frame, clamp_box, find_box_format, rewrite_boxes
from comvint_hf.errors import InputError
from comvint_hf.types import Box

SIZES = st.tuples(st.integers(50, 4000), st.integers(50, 4000))
BORDER = st.floats(0, 0.45)


@st.composite
def boxes(draw, smallest: float = 0.01) -> Box:
    x1, y1 = draw(st.floats(0, 1 - smallest)), draw(st.floats(0, 1 - smallest))
    return Box(x1=x1, y1=y1, x2=draw(st.floats(x1 + smallest, 1)), y2=draw(st.floats(y1 + smallest, 1)))


@st.composite
def frames(draw) -> Frame:
    """Whole, padded (a window beyond the picture) or cropped (inside it), at any number of pixels."""
    sign = draw(st.sampled_from((0, -1, 1)))
    left, top, right, bottom = (sign * draw(BORDER) for _ in range(4))
    return Frame((left, top, 1 - right, 1 - bottom), draw(SIZES))


@given(boxes(), st.sampled_from(sorted(BOX_FORMATS)), frames())
def test_every_dialect_reads_its_own_writing_to_half_a_quantum(box: Box, name: str, frame: Frame) -> None:
    """What lies in the frame comes back: to half a quantum of the frame."""
    box_format = BOX_FORMATS[name]
    shown = frame.from_image(box) if box_format.in_frame else box
    if shown is None:
        with pytest.raises(InputError, match="outside the part of the image that the processor shows"):
            box_format.format(box, frame)
        return
    numbers = tuple(map(float, box_format.pattern.fullmatch(box_format.format(box, frame)).groups()))
    found = box_format.parse(numbers, frame)
    back = frame.from_image(found) if found and box_format.in_frame else found
    quantum = 10**-box_format.decimals
    wide, high = (box_format.scale, box_format.scale) if box_format.scale else frame.size
    if back is None:  # a box thinner than a quantum may collapse
        assert (shown.x2 - shown.x1) * wide <= quantum or (shown.y2 - shown.y1) * high <= quantum
        return
    extents = (wide, high, wide, high)
    assert all(abs(a - b) * e <= quantum / 2 + 1e-6 * e for a, b, e in zip(back.xyxy, shown.xyxy, extents, strict=True))


@given(boxes(), frames())
def test_a_frame_gives_back_what_lies_in_it(box: Box, frame: Frame) -> None:
    left, top, right, bottom = frame.window
    kept = clamp_box(max(box.x1, left), max(box.y1, top), min(box.x2, right), min(box.y2, bottom), slack=None)
    shown = frame.from_image(box)
    if kept is None or shown is None:
        assert kept is None or min(kept.x2 - kept.x1, kept.y2 - kept.y1) < 1e-9
        return
    assert frame.to_image(shown).xyxy == pytest.approx(kept.xyxy, abs=1e-9)


SAID = {
    "fraction": "[0.100, 0.200, 0.300, 0.400]",
    "seen": "[0.100, 0.200, 0.300, 0.400]",
    "thousand": "[100, 200, 300, 400]",
    "thousand_yx": "[200, 100, 400, 300]",
    "999": "[100, 200, 300, 400]",
    "hundred": "[10, 20, 30, 40]",
    "pixel": "[20, 20, 60, 40]",
    "corners": "<|box_start|>(100,200),(300,400)<|box_end|>",
    "boxed": "<box>[[100, 200, 300, 400]]</box>",
    "location": "<loc0205><loc0102><loc0409><loc0307>",
}


@pytest.mark.parametrize("name", BOX_FORMATS)
def test_translate_changes_boxes_and_nothing_else(name: str) -> None:
    frame = Frame(size=(200, 100))
    text = "A <st>cup<ed>[0.100, 0.200, 0.300, 0.400] and 3 [notes], or [4 of (5)."
    there = rewrite_boxes(text, CANONICAL, BOX_FORMATS[name], frame)
    assert there == f"A <st>cup<ed>{SAID[name]} and 3 [notes], or [4 of (5)."
    assert rewrite_boxes(there, BOX_FORMATS[name], CANONICAL, frame) == text


@pytest.mark.parametrize("name", ["corners", "boxed"])
def test_tags_that_decoding_took_away_are_not_missed(name: str) -> None:
    opening, closing = BOX_FORMATS[name].markers
    bare = SAID[name].removeprefix(opening).removesuffix(closing)
    assert rewrite_boxes(f"at {bare}.", BOX_FORMATS[name], CANONICAL) == "at [0.100, 0.200, 0.300, 0.400]."


@pytest.mark.parametrize("name", BOX_FORMATS)
def test_a_box_is_held_back_from_its_first_letter_to_its_last(name: str) -> None:
    box_format, written = BOX_FORMATS[name], SAID[name]
    for length in range(1, len(written)):
        assert box_format.complete_length("a [note] " + written[:length]) == 9, written[:length]
    assert box_format.complete_length(written) == len(written)
    assert box_format.complete_length("a [see there") == 12


def test_padding_lies_outside_the_picture() -> None:
    padded = Frame((0.0, -0.5, 1.0, 1.5), (100, 100))
    box = Box(x1=0.1, y1=0.0, x2=0.5, y2=1.0)
    assert BOX_FORMATS["seen"].format(box, padded) == "[0.100, 0.250, 0.500, 0.750]"
    assert CANONICAL.format(box, padded) == "[0.100, 0.000, 0.500, 1.000]", "canonical boxes count in the picture"
    assert BOX_FORMATS["seen"].parse((0.1, 0.0, 0.5, 0.2), padded) is None, "a box in the padding is none"


def test_pixels_that_are_not_known_and_names_that_are_none() -> None:
    with pytest.raises(InputError, match="counts pixels, and the processor's are not known"):
        BOX_FORMATS["pixel"].format(Box(x1=0, y1=0, x2=1, y2=1), Frame())
    with pytest.raises(InputError, match="The box format is 'martian'; expected one of fraction, seen"):
        find_box_format("martian")


@pytest.mark.parametrize("numbers", [(0.5, 0.1, 0.2, 0.9), (10, 20, 300, 400), (-0.5, 0, 0.5, 0.5)])
def test_numbers_that_do_not_fit_are_no_box(numbers) -> None:
    assert BoxFormat("x").parse(numbers) is None
