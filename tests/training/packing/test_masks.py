"""Who sees whom: one rule for both kernels, windows by layer, and tokens counted from any mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training.tiny.families import TINY, model_of, processor_of
from training.tiny.trees import rows_of_images, tree_of

from comvint_hf.training.packing.masks import (
    FULL_WINDOW,
    AttentionSettings,
    MaskFields,
    MasksByLayer,
    count_mask_tokens,
    is_tree_mask,
    make_block_mask,
    make_dense_mask,
    read_attention,
    to_block_masks,
)
from comvint_hf.training.packing.trees import TokenRow, build_tree, stack_mask_fields

MIXED = AttentionSettings(windows=(("full_attention", None), ("sliding_attention", 3)))


def sight_of(*lengths: tuple[int, ...]) -> np.ndarray:
    """Trees of a prefix of two tokens and branches of these lengths, none of them learnt."""
    trees = []
    for branches in lengths:
        ids = [np.array([1, 2, *([10 + number] * length)]) for number, length in enumerate(branches)]
        trees.append(
            build_tree([TokenRow(one, np.full(len(one), -100), np.arange(len(one))[None], np.full(len(one), -1)) for one in ids])
        )
    return stack_mask_fields(trees)


def test_padding_sees_itself_and_nothing_sees_padding() -> None:
    mask = make_dense_mask(torch.from_numpy(sight_of((1, 1), (3, 2, 1))))[0, 0]
    assert not mask[:4, 4:].any()
    assert torch.equal(mask[4:].int(), torch.eye(len(mask), dtype=torch.int32)[4:])


def test_a_window_is_laid_along_the_row_and_not_along_the_sequence() -> None:
    masks = MIXED.make_masks(sight_of((1, 2)))
    assert isinstance(masks, MasksByLayer)
    # prefix 0 1, first branch 2, second branch 2' 3': the last token sees places 1, 2' and 3'
    assert masks["full_attention"][0, 0].int().tolist()[-1] == [1, 1, 0, 1, 1]
    assert masks["sliding_attention"][0, 0].int().tolist()[-1] == [0, 1, 0, 1, 1]


def test_windows_that_no_row_reaches_make_no_difference() -> None:
    mask = MIXED.make_masks(sight_of((1, 1)))
    assert torch.is_tensor(mask) and torch.equal(mask, AttentionSettings().make_masks(sight_of((1, 1))))
    assert MIXED.smallest_window == 3 and AttentionSettings().smallest_window == FULL_WINDOW


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_tokens_are_counted_from_any_mask(lengths) -> None:
    sight = sight_of(*lengths)
    wanted = int((sight[:, MaskFields._fields.index("branch")] >= 0).sum())
    for attention in (
        AttentionSettings(),
        MIXED,
        AttentionSettings("flex_attention"),
        AttentionSettings("flex_attention", MIXED.windows),
    ):
        masks = attention.make_masks(sight)
        assert int(count_mask_tokens(masks)) == wanted and is_tree_mask(masks)
        if isinstance(masks, dict):
            assert int(masks.sum()) == wanted, "what a trainer logs that asks a mask for its sum"


def test_block_masks_are_the_dense_ones() -> None:
    seen = torch.from_numpy(sight_of((40, 90, 3), (60, 70)))
    seen[:, MaskFields._fields.index("window")] = 50
    made = make_block_mask(seen)
    where = torch.arange(seen.shape[-1])
    for batch in range(2):
        read = made.mask_mod(torch.tensor(batch), torch.tensor(0), where[:, None], where[None])
        assert torch.equal(read, make_dense_mask(seen)[batch, 0])
    blocks = (
        (torch.nn.functional.pad(make_dense_mask(seen), (0, 256 - seen.shape[-1]) * 2))
        .unflatten(-1, (2, 128))
        .unflatten(2, (2, 128))
    )
    assert torch.equal(made.to_dense()[:, 0].bool(), blocks.any(-1).any(3)[:, 0])
    assert to_block_masks(None) is None and to_block_masks(make_dense_mask(seen)).dtype == torch.bool


@pytest.mark.parametrize("name", ["LLaVA-1.5, SigLIP", "Gemma 3", "PaliGemma"])
def test_flex_attention_has_the_logits_of_sdpa(name, eager_kernels) -> None:
    """On a CPU it has no backward pass, but its forward pass reads the very masks that a GPU would."""
    processor, rows = processor_of(name), rows_of_images()
    sdpa, flex = model_of(name), TINY[name].model(processor).eval()
    flex.set_attn_implementation({"text_config": "flex_attention", "vision_config": "sdpa"})
    attention = read_attention(flex)
    assert attention.kernel == "flex_attention"
    batch = tree_of(name, rows, attention)
    wanted = tree_of(name, rows, read_attention(sdpa))
    assert batch["attention_mask"].shape == (2, len(MaskFields._fields), batch["input_ids"].shape[1])
    assert int(count_mask_tokens(batch["attention_mask"])) == int(count_mask_tokens(wanted["attention_mask"]))
    seen = batch["labels"] != -100
    batch["attention_mask"] = to_block_masks(batch["attention_mask"])
    with torch.no_grad():
        assert torch.allclose(flex(**batch).logits[seen], sdpa(**wanted).logits[seen], atol=1e-5)


@pytest.fixture
def eager_kernels():
    """FlexAttention as it is written, not compiled: the same numbers, without a minute of compiling."""
    with torch.compiler.set_stance("force_eager"):
        yield
