"""Boxes on images, and the same phrases in text."""

import re

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from comvint_hf.grounding import GroundedPhrase, parse
from comvint_hf.serving.demo.draw import (
    MAX_LONGEST_SIDE,
    MIN_LONGEST_SIDE,
    PALETTE,
    assign_colours,
    draw_boxes,
    highlight_phrases,
    render_legend,
    resize_for_labels,
)
from comvint_hf.types import Box

FRACTION = st.floats(0, 1)


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    channels = [value / 255 for value in ImageColor.getrgb(colour)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_carries_white_text() -> None:
    for colour in PALETTE:
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5, colour


def test_a_box_is_drawn_where_it_is_in_its_colour() -> None:
    grounded = parse("<st>a cup<ed>[0.250, 0.250, 0.750, 0.750] <st>a hat<ed>[0.000, 0.800, 0.200, 1.000]")
    drawn = draw_boxes(Image.new("RGB", (640, 640), "white"), grounded)
    cup, hat = (ImageColor.getrgb(assign_colours(grounded)[phrase]) for phrase in ("a cup", "a hat"))
    assert drawn.getpixel((161, 400)) == cup and drawn.getpixel((478, 400)) == cup
    assert drawn.getpixel((1, 600)) == hat
    assert drawn.getpixel((320, 400)) == (255, 255, 255)


def test_the_region_and_the_corner_are_drawn() -> None:
    blank = Image.new("RGB", (640, 640), "grey")
    assert draw_boxes(blank, region=Box(x1=0.2, y1=0.2, x2=0.6, y2=0.6)).tobytes() != draw_boxes(blank).tobytes()
    assert draw_boxes(blank, corner=(0.5, 0.5)).getpixel((320, 320)) != blank.getpixel((0, 0))


def test_small_images_are_enlarged_and_large_ones_reduced() -> None:
    assert max(resize_for_labels(Image.new("RGB", (96, 48))).size) == MIN_LONGEST_SIDE
    assert max(resize_for_labels(Image.new("RGB", (5000, 100))).size) == MAX_LONGEST_SIDE
    assert resize_for_labels(Image.new("L", (700, 300))).size == (700, 300)


@given(
    st.lists(st.tuples(FRACTION, FRACTION, FRACTION, FRACTION), max_size=5),
    st.text(max_size=40),
    st.integers(1, 900),
    st.integers(1, 900),
)
def test_any_box_and_any_phrase_can_be_drawn(corners: list, phrase: str, width: int, height: int) -> None:
    boxes = tuple(Box(x1=min(a, c), y1=min(b, d), x2=max(a, c), y2=max(b, d)) for a, b, c, d in corners)
    drawn = draw_boxes(Image.new("RGB", (width, height)), [GroundedPhrase(phrase, boxes, 0, 0)])
    assert max(drawn.size) >= MIN_LONGEST_SIDE


@given(st.text())
def test_marked_text_is_safe(text: str) -> None:
    assert "<" not in re.sub(
        r'<mark class="phrase" style="background-color:#\w+">|</mark>', "", highlight_phrases(text, {"a cup": "#000000"})
    )


def test_a_growing_answer_never_shows_markers() -> None:
    text = "There is <st>a cup<ed>[0.100, 0.200, 0.300, 0.400], [0.500, 0.500, 0.600, 0.600] and <st>two hats<ed>[0.1, 0.1, 0.2, 0.2]."
    palette = assign_colours(parse(text))
    for end in range(len(text) + 1):
        shown = re.sub(r"<[^>]*>", "", highlight_phrases(text[:end], palette))
        assert not re.search(r"<|&lt;|st>|ed>|\d", shown), (text[:end], shown)
    assert re.sub(r"<[^>]*>", "", highlight_phrases(text, palette)) == "There is a cup and two hats."


def test_the_legend_counts_boxes() -> None:
    grounded = parse(
        "<st>Men<ed>[0.1, 0.1, 0.2, 0.2], [0.3, 0.3, 0.4, 0.4] <st>men<ed>[0.5, 0.5, 0.6, 0.6] <st>a <b><ed>[0.1, 0.1, 0.2, 0.2]"
    )
    assert render_legend(grounded).count("<li>") == 1 and "×3" in render_legend(grounded)
    assert render_legend([]) == ""
