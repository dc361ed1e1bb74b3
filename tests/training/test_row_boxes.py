"""Boxes as each family writes them: converted by the collator, read back in serving, through one table and one geometry."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from training.tiny.families import (
    FAMILY,
    SAMPLE_IMAGE,
    SENTENCE,
    collator_of,
    model_of,
    processor_of,
    talk,
)

from comvint_hf import L2TCollator
from comvint_hf.box_formats import BOX_FORMATS, CANONICAL, rewrite_boxes
from comvint_hf.conventions import Conventions
from comvint_hf.errors import RowError
from comvint_hf.grounding import parse
from comvint_hf.model_families import family_of
from comvint_hf.serving.local import LocalChat


@FAMILY
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(width=st.integers(30, 300), height=st.integers(30, 300))
def test_boxes_go_to_the_family_and_back(name, width, height) -> None:
    """One table, one geometry: what the collator writes for an image, serving reads back to half a quantum."""
    assume(0.5 < width / height < 2)
    processor, image = processor_of(name), Image.new("RGB", (width, height))
    collator = collator_of(name, boxes="family")
    chat = LocalChat(model_of(name), processor, Conventions(box_dialect=collator.boxes))
    read = collator.read({"images": [image], "messages": talk(SENTENCE, "yes")}, 0)
    written = read.messages[0]["content"][-1]["text"]
    turns, _, frame = chat._prepare(talk(SENTENCE), image)
    assert turns[0]["content"] == written, "training and serving write alike"
    dialect = BOX_FORMATS[family_of(processor).box_format]
    (found,) = parse(rewrite_boxes(written, dialect, CANONICAL, frame))
    quantum = 10**-dialect.decimals
    across, down = (dialect.scale, dialect.scale) if dialect.scale else frame.size
    left, top, right, bottom = frame.window
    steps = [quantum / across * (right - left), quantum / down * (bottom - top)] * 2
    for side, wanted, step in zip(found.boxes[0].xyxy, (0.3, 0.35, 0.6, 0.65), steps, strict=True):
        assert abs(side - wanted) <= step / 2 + 0.0005 + 1e-9, "half a quantum, and half of our own three decimals"


def test_boxes_that_cannot_be_said_are_refused() -> None:
    wide = Image.new("RGB", (90, 30))
    cropped = L2TCollator(processor_of("LLaVA-1.5, CLIP"), boxes="family")
    at_the_border = {"id": "a", "images": [wide], "messages": talk("Is <st>it<ed>[0.000, 0.100, 0.200, 0.900] red?", "yes")}
    with pytest.raises(
        RowError, match="Row 'a': The box .* lies outside the part of the image that the processor shows: it crops"
    ):
        cropped([at_the_border])
    assert "lies outside" in cropped.check(at_the_border)
    assert L2TCollator(processor_of("LLaVA-1.5, SigLIP"), boxes="family").check(at_the_border) is None
    pixels = L2TCollator(processor_of("Qwen2.5-VL"), boxes="family")
    with pytest.raises(RowError, match="several images that the processor shows in different frames"):
        pixels([{"images": [SAMPLE_IMAGE, wide], "messages": talk(SENTENCE, "yes")}])
    with pytest.raises(RowError, match="counts pixels, and the processor's are not known here"):
        pixels([{"images": [], "messages": talk(SENTENCE, "yes")}])


def test_rows_whose_boxes_are_cropped_away_are_left_out() -> None:
    wide = Image.new("RGB", (90, 30))
    talks = [talk(SENTENCE, "yes"), talk("Is <st>it<ed>[0.000, 0.100, 0.200, 0.900] red?", "yes")]
    rows = [{"images": [wide], "messages": messages} for messages in talks]
    cropping = L2TCollator(processor_of("LLaVA-1.5, CLIP"), boxes="family", skip_bad=True)
    with pytest.warns(UserWarning, match="The box .* The row is left out of its batch"):
        assert len(cropping(rows)["input_ids"]) == 1
    assert cropping.skipped == {"box not convertible": 1}
    whole = L2TCollator(processor_of("LLaVA-1.5, SigLIP"), boxes="family", skip_bad=True)
    assert len(whole(rows)["input_ids"]) == 2 and not whole.skipped
