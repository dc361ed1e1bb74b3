"""Tokens that a trainer sees, counted as the trainer counts them, and the steps that see a given number."""

import pytest
import torch
from complication.token_counts import TokenCounts, compute_steps, count_tokens, relative_spread
from hypothesis import given
from hypothesis import strategies as st

from comvint_hf.errors import InputError


def collate(rows: list[tuple[int, int]]) -> dict[str, torch.Tensor]:
    """Rows are (tokens, tokens with loss), padded to the longest."""
    width = max(length for length, _ in rows)
    place = torch.arange(width)
    seen, learnt = (torch.tensor(column)[:, None] for column in zip(*rows, strict=True))
    return {"attention_mask": (place < seen).long(), "labels": torch.where(place < learnt, 1, -100)}


def test_padding_is_not_seen_and_batches_do_not_matter() -> None:
    rows = [(5, 2), (9, 9), (3, 0), (7, 1), (1, 1)]
    for batch_size in (1, 2, 64):
        assert count_tokens(rows, collate, batch_size) == TokenCounts(5, 25, 13)


@given(st.integers(1, 10**7), st.integers(1, 500), st.integers(1, 10**5), st.integers(1, 64))
def test_steps_see_the_tokens_to_within_half_a_step(tokens: int, rows: int, seen: int, batch: int) -> None:
    steps = compute_steps(tokens, TokenCounts(rows, seen, 0), batch)
    assert steps >= 1
    assert steps == 1 or 2 * abs(steps * seen * batch - tokens * rows) <= seen * batch, "in whole numbers, which do not round"


def test_a_set_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match="0 rows"):
        compute_steps(100, count_tokens([], collate), 4)


def test_counts_are_the_collators_own(tmp_path) -> None:
    """The real collator on real rows: image tokens and template are seen, only text carries loss."""
    from transformers import AutoProcessor

    from comvint_hf import L2TCollator
    from comvint_hf.sources.shapes import scenes
    from comvint_hf.training.tiny_model import make_tiny_model

    folder = make_tiny_model(tmp_path, ["What is there? A red circle."] * 4)
    collator = L2TCollator(AutoProcessor.from_pretrained(folder), learn="response")
    turns = [{"role": "user", "content": "What is there?"}, {"role": "assistant", "content": "A red circle."}]
    rows = [{"id": str(number), "images": [scene.open()], "messages": turns} for number, scene in enumerate(scenes(3))]
    counted = count_tokens(rows, collator, batch_size=2)
    answer = len(collator.processor.tokenizer("A red circle.")["input_ids"])
    assert counted.rows == 3 and counted.trained == 3 * (answer + 1), "the answer and its end token"
    assert counted.seen >= 3 * (9 + answer + 3), "nine patches of 32 pixels, question, roles"


def test_relative_spread() -> None:
    assert relative_spread([100]) == 0 and relative_spread([200, 100, 150]) == 1
