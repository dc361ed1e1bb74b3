"""Spans against sets of characters, which are slower and plainly right."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.training.chat_template import add_markers, list_texts, parse_markers
from comvint_hf.training.loss_mask import (
    Replacement,
    compile_templates,
    compute_loss_mask,
    expand_placeholders,
    find_image_spans,
    find_template_spans,
    restore_blank_offsets,
    shift_spans,
    subtract_spans,
)
from comvint_hf.training.tokenization import match_ends

spans = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted).map(tuple), max_size=5)


def characters(found) -> set[int]:
    return {place for start, end in found for place in range(start, end)}


@given(spans, spans)
def test_subtract_leaves_what_the_holes_do_not_have(outer, holes) -> None:
    assert characters(subtract_spans(outer, holes)) == characters(outer) - characters(holes)
    assert all(start < end for start, end in subtract_spans(outer, holes))


@given(spans, spans)
def test_a_token_is_learnt_if_one_of_its_characters_is(tokens, learnt) -> None:
    offsets = np.array(tokens, dtype=np.int64).reshape(-1, 2)
    wanted = [bool(set(range(*token)) & characters(learnt)) for token in tokens]
    assert compute_loss_mask(offsets, learnt).tolist() == wanted


@given(st.text("ab#", max_size=12), spans, st.lists(st.text("XY", max_size=4), min_size=12, max_size=12))
def test_expanding_keeps_the_letters_of_a_span_and_drops_images(text, learnt, written) -> None:
    places = [match.span() for match in re.finditer("#", text)]
    replacements = [Replacement(*place, expansion) for place, expansion in zip(places, written, strict=False)]
    long = expand_placeholders(text, replacements)
    learnt = [(start, min(end, len(text))) for start, end in learnt if start < len(text)]
    wanted = [text[start:end].replace("#", "") for start, end in learnt]
    got = [[long[a:b] for a, b in shift_spans([span], replacements)] for span in learnt]
    assert ["".join(pieces) for pieces in got] == wanted
    assert [long[start:end] for start, end in find_image_spans(replacements)] == [one.expansion for one in replacements]


def test_widen_gives_lone_blanks_their_characters_and_nothing_to_padding() -> None:
    trimmed = np.array([[0, 2], [3, 3], [4, 4], [5, 8], [8, 8], [0, 0]])
    assert restore_blank_offsets(trimmed).tolist() == [[0, 2], [2, 3], [3, 4], [5, 8], [8, 8], [0, 0]]


def test_templates_are_found_as_whole_words_and_across_line_breaks() -> None:
    pattern = compile_templates(["Answer yes or no.", "Answer yes", " ", "Hint:"])
    text = "Hint: is it? Answer yes\nor no. Unanswer yes"
    assert [text[a:b] for a, b in find_template_spans(text, pattern)] == ["Hint: ", " Answer yes\nor no."]
    assert find_template_spans("Answer yesterday.", pattern) == []
    assert compile_templates([]) is None
    assert find_template_spans(text, None) == []


@given(st.lists(st.integers(0, 3), max_size=6), st.integers(0, 6), st.lists(st.integers(0, 3), max_size=4))
def test_match_ends_finds_every_token_around_an_insertion(short, at, inserted) -> None:
    long = short[:at] + inserted + short[at:]
    head, tail = match_ends(np.array(short, dtype=int), np.array(long, dtype=int))
    assert head + tail == len(short)
    assert short[:head] == long[:head]
    assert tail == 0 or short[-tail:] == long[-tail:]


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_markers_come_out_where_they_went_in(contents, trims_front, trims_back) -> None:
    contents = [content for content in contents if not content or max(content) < "\U00100000"]
    turns = [{"role": "user", "content": [{"type": "text", "text": content}]} for content in contents]
    marked = add_markers(turns, {"user": (trims_front, trims_back)})
    bare, places = parse_markers("|".join(text for _, _, text in list_texts(marked)))
    assert bare == "|".join(contents)
    for index, content in enumerate(contents):
        ((start, end),) = places[index]
        core = content.lstrip() if trims_front else content
        core = core.rstrip() if trims_back else core
        assert bare[start:end] == core
