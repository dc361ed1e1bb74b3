"""Thoughts are taken off, whole or in a stream, whatever marks them; nothing else is."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.thoughts import ThoughtFilter, strip_thoughts

MARKED = {
    "<think>No.</think>Yes": "Yes",
    "No.</think>\n\nYes": "Yes",
    "<think>No.</think> Hm. <think>No.</think>Yes": "Yes",
    "Yes<think>and more": "Yes",
    "<think>No.": "",
    "[THINK]No.[/THINK]Yes": "Yes",
    "◁think▷No.◁/think▷Yes": "Yes",
    "<reasoning>No.</reasoning>Yes": "Yes",
    "<|channel|>analysis<|message|>No.<|end|><|start|>assistant<|channel|>final<|message|>Yes<|return|>": "Yes",
    "<|channel|>analysis<|message|>No.": "",
    "analysisNo, not that.assistantfinalYes": "Yes",
    "<|START_THINKING|>No.<|END_THINKING|><|START_RESPONSE|>Yes<|END_RESPONSE|>": "Yes",
}


@pytest.mark.parametrize("text", MARKED)
def test_thoughts_are_stripped(text: str) -> None:
    assert strip_thoughts(text) == MARKED[text]


@pytest.mark.parametrize("text", ["Yes", "analysis of the image", "a < b", "<st>cup<ed>[0.1, 0.2, 0.3, 0.4]", "[o3] is red", ""])
def test_other_texts_stay(text: str) -> None:
    assert strip_thoughts(text) == text
    filter_ = ThoughtFilter()
    assert "".join([*map(filter_.feed, text), filter_.finish()]) == text


@given(text=st.sampled_from([text for text in MARKED if not text.startswith("analysis")]), cuts=st.sets(st.integers(0, 120)))
def test_a_stream_gives_what_the_whole_text_holds(text: str, cuts: set[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    filter_ = ThoughtFilter()
    pieces = [filter_.feed(text[start:end]) for start, end in itertools.pairwise(places)]
    # Outside of marks a stream keeps what stands between two thoughts, which nobody can know to be none.
    assert strip_thoughts("".join([*pieces, filter_.finish()])).replace("Hm.", "").strip() == MARKED[text]


@pytest.mark.parametrize("mark", ["<think>", "</think>", "<|channel|>", "<|channel|>a" + "b" * 50, "<", "["])
def test_many_marks_cost_little_time(mark: str) -> None:
    text, filter_ = mark * (200_000 // len(mark)), ThoughtFilter()
    started = time.process_time()
    strip_thoughts(text)
    for start in range(0, len(text), 512):
        filter_.feed(text[start : start + 512])
    assert time.process_time() - started < 5
