"""SDPA in runs of queries: the numbers of SDPA over the whole mask, for any mask and in every family that reads trees."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training.tiny.families import TINY, collator_of, processor_of
from training.tiny.trees import learns_as_rows, rows_of_images
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from comvint_hf.training.packing import attention
from comvint_hf.training.packing.masks import SPARSE, AttentionSettings, read_attention


class Layer(torch.nn.Module):
    num_key_value_groups, is_causal = 2, True


@pytest.fixture
def short_runs(monkeypatch) -> None:
    monkeypatch.setattr(attention, "CHUNK_SIZE", 8)


@given(st.integers(1, 3), st.integers(1, 300), st.floats(0, 1), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_any_mask_gives_the_numbers_and_gradients_of_sdpa(batch, length, share, seed) -> None:
    chance = torch.Generator().manual_seed(seed)
    mask = (torch.rand(batch, 1, length, length, generator=chance) < share).logical_or_(torch.eye(length, dtype=torch.bool))
    inputs = [torch.randn(batch, heads, length, 4, generator=chance, dtype=torch.double) for heads in (4, 2, 2)]
    found = []
    for attend in (sdpa_attention_forward, attention.sparse_sdpa_forward):
        given_to = [one.clone().requires_grad_() for one in inputs]
        seen, _ = attend(Layer(), *given_to, mask, scaling=0.3)
        (seen * torch.arange(length)[:, None, None]).sum().backward()
        found.append([seen, *(one.grad for one in given_to)])
    assert all(torch.allclose(whole, in_runs, atol=1e-9) for whole, in_runs in zip(*found, strict=True))


def test_a_run_leaves_out_the_keys_that_none_of_its_queries_sees(short_runs) -> None:
    mask = torch.eye(20, dtype=torch.bool)[None, None].clone()
    mask[..., 0] = True
    runs = attention.split_mask(mask)
    assert [run.keys.tolist() for run in runs] == [[*range(8)], [0, *range(8, 16)], [0, *range(16, 20)]]
    assert attention.split_mask(mask) is runs, "found once for all layers"


@pytest.mark.parametrize("name", [name for name in TINY if not TINY[name].family.qformer_reads_text])
def test_trees_learn_as_rows_in_every_family(name, short_runs, monkeypatch) -> None:
    model, masks, remembered = TINY[name].model(processor_of(name)), [], attention.split_mask
    looking = [part.config for part in model.modules() if "ision" in type(part).__name__ and hasattr(part, "config")]
    before = [config._attn_implementation for config in looking]
    attention.use_sparse_attention(model)
    assert read_attention(model) == AttentionSettings(SPARSE, read_attention(model).windows)
    assert [config._attn_implementation for config in looking] == before
    monkeypatch.setattr(attention, "split_mask", lambda mask: masks.append(mask) or remembered(mask))
    learns_as_rows(name, model, rows_of_images())
    assert any(mask.shape[-1] > attention.CHUNK_SIZE for mask in masks), "the family's attention goes this way"


def test_rows_and_generation_go_as_they_did(short_runs) -> None:
    name = "LLaVA-1.5, SigLIP"
    model, batch = TINY[name].model(processor_of(name)).eval(), collator_of(name)(rows_of_images())
    asked = {key: value[:1] for key, value in batch.items() if key != "labels"}
    with torch.no_grad():
        loss, said = model(**batch).loss, model.generate(**asked, max_new_tokens=5, do_sample=False)
        attention.use_sparse_attention(model)
        assert torch.allclose(model(**batch).loss, loss)
        assert torch.equal(model.generate(**asked, max_new_tokens=5, do_sample=False), said)


def test_what_is_saved_does_not_name_it(tmp_path) -> None:
    model = TINY["Qwen2-VL"].model(processor_of("Qwen2-VL"))
    attention.use_sparse_attention(model)
    model.save_pretrained(tmp_path)
    assert SPARSE not in (tmp_path / "config.json").read_text()
