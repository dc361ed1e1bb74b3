"""Token counts without a tokenizer, beside those of the families' own tokenizers (`token_counts.json` holds what these said)."""

import json
from pathlib import Path

import pytest

from comvint_hf.generation.client.token_counts import count_tokens, find_weights

RECORDED = json.loads((Path(__file__).parent / "token_counts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("model", RECORDED[0]["tokens"])
def test_counts_are_near_those_of_the_familys_own_tokenizer(model) -> None:
    weights = find_weights(model)
    ratios = [count_tokens(one["text"], weights) / one["tokens"][model] for one in RECORDED]
    assert 0.9 < sum(ratios) / len(ratios) < 1.1
    assert all(0.8 < ratio < 1.25 for ratio in ratios), ratios


def test_digits_are_what_the_families_differ_in() -> None:
    boxes = "[0.103, 0.250, 0.482, 0.917]\n" * 50
    assert count_tokens(boxes, find_weights("Qwen/Qwen3-8B")) > 1.5 * count_tokens(boxes, find_weights("gpt-4o"))
    assert count_tokens("", find_weights("anything")) == 0
