"""Adapters merged into what they were trained beside: LoRA, QLoRA, whole modules; what is not faithful is not written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training.tiny.families import TINY, processor_of

from comvint_hf.errors import InputError, ModelError
from comvint_hf.model_families import load_processor
from comvint_hf.training import lora, merge

LLAVA = "LLaVA-1.5, CLIP"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A base as it was loaded, and the folder of an adapter on it that changes what it says."""

    def make(name: str = LLAVA, quantised: str = "none", strength: float = 1.0, **options) -> tuple[merge.BaseCheckpoint, Path]:
        folder = tmp_path_factory.mktemp("trained")
        processor = processor_of(name)
        processor.save_pretrained(folder / "base")
        TINY[name].model(processor).save_pretrained(folder / "base")
        settings = merge.QUANTIZATIONS[quantised]
        base = merge.BaseCheckpoint(str(folder / "base"), dtype="bfloat16" if settings else "float32", quantization=settings)
        adapt(merge.load_base(base), strength, **options).save_pretrained(folder / "adapter")
        return base, folder / "adapter"

    return make


def adapt(model, strength: float, **options):
    """LoRA on the language model, as strong as `strength`; whole modules beside it are moved a little."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    where = {"target_modules": lora.build_lora_targets(model), "exclude_modules": r".*lm_head"}
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, **where, **options))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.mul_(strength)
            elif "modules_to_save" in name:
                parameter.add_(0.02 * torch.randn_like(parameter))
    return adapted


def asked(folder: Path, processor) -> torch.Tensor:
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return merge.compute_logits(model, merge.make_comparison_batch(processor))


@pytest.mark.parametrize(
    ("name", "quantised", "options"),
    [
        (LLAVA, "none", {}),
        (LLAVA, "nf4", {}),
        (LLAVA, "nf4-nested", {"modules_to_save": ["multi_modal_projector"]}),
        (LLAVA, "none", {"modules_to_save": ["multi_modal_projector", "lm_head"]}),
        ("Qwen2.5-VL", "nf4", {}),
        ("BLIP-2", "none", {"modules_to_save": ["language_projection"]}),
        ("BLIP-2", "nf4", {"modules_to_save": ["qformer", "language_projection"]}),
        ("InstructBLIP", "none", {}),
        ("InstructBLIP", "nf4-nested", {}),
    ],
)
def test_the_merged_model_says_what_the_trained_one_said(trained, tmp_path, name, quantised, options) -> None:
    base, adapter = trained(name, quantised, **options)
    found = merge.merge_adapter(adapter, base, processor_of(name), tmp_path / "merged", dtype="float32")
    assert found.difference < 1e-3 * found.effect and found.effect > 0.01
    assert "quantization_config" not in (tmp_path / "merged" / "config.json").read_text()
    # What is loaded again, processor included, says the same.
    again = asked(tmp_path / "merged", load_processor(str(tmp_path / "merged")))
    adapted = merge.attach_adapter(merge.load_base(base), adapter)
    merge.compute_in_float32(adapted)
    wanted = merge.compute_logits(adapted, merge.make_comparison_batch(processor_of(name)))
    assert (again - wanted).abs().max().item() == pytest.approx(found.difference, abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged"]


def test_tied_embeddings_come_apart_where_the_head_was_trained(tmp_path) -> None:
    """The head was trained as a whole and the embeddings were not: a folder that ties them again would have lost it."""
    from comvint_hf.training.tiny_model import make_tiny_model

    base = merge.BaseCheckpoint(str(make_tiny_model(tmp_path / "base", ["a red circle"] * 3)), dtype="float32")
    adapt(merge.load_base(base), 1.0, modules_to_save=["lm_head"]).save_pretrained(tmp_path / "adapter")
    processor = load_processor(base.name_or_path)
    found = merge.merge_adapter(tmp_path / "adapter", base, processor, tmp_path / "merged")
    assert found.difference < 1e-4 < found.effect


def test_other_ways_to_merge_qlora_lose_the_adapter(trained, tmp_path) -> None:
    """Into the base before rounding, or into packed weights: both answer otherwise than what was trained; ours does not."""
    base, adapter = trained(quantised="nf4", strength=0.3)
    batch = merge.make_comparison_batch(processor_of(LLAVA))
    adapted = merge.attach_adapter(merge.load_base(base), adapter)
    merge.compute_in_float32(adapted)
    wanted = merge.compute_logits(adapted, batch)
    packed = merge.attach_adapter(merge.load_base(base), adapter).merge_and_unload()
    merge.compute_in_float32(packed)
    unrounded = merge.attach_adapter(merge.load_base(merge.BaseCheckpoint(base.name_or_path)), adapter).merge_and_unload()
    ours = merge.merge_adapter(adapter, base, processor_of(LLAVA), tmp_path / "merged").difference
    for other in (packed, unrounded):
        assert (merge.compute_logits(other, batch) - wanted).abs().max().item() > 5 * ours


def test_what_is_not_faithful_is_not_written(trained, tmp_path) -> None:
    """An adapter that is weak beside the weights is rounded away in bfloat16."""
    base, adapter = trained(strength=0.002)
    refused = pytest.raises(ModelError, match=r"logits by up to .* where the adapter changes them by .* --dtype float32")
    with refused:
        merge.merge_adapter(adapter, base, processor_of(LLAVA), tmp_path / "merged", dtype="bfloat16")
    assert not list(tmp_path.iterdir())
    merge.merge_adapter(adapter, base, processor_of(LLAVA), tmp_path / "merged", dtype="float32")
    with pytest.raises(InputError, match="holds files already; give --out a new folder"):
        merge.merge_adapter(adapter, base, processor_of(LLAVA), tmp_path / "merged")


def test_an_adapter_that_fits_nothing_is_said_in_a_sentence(trained, tmp_path) -> None:
    _, adapter = trained()
    other, _ = trained("Idefics3")
    with pytest.raises(ModelError, match="does not fit its base .* give the right one with --base"):
        merge.merge_adapter(adapter, other, processor_of("Idefics3"), tmp_path / "merged")
    with pytest.raises(ModelError, match="The base .*nowhere cannot be loaded .* give its place with --base"):
        merge.merge_adapter(adapter, merge.BaseCheckpoint(str(tmp_path / "nowhere")), processor_of(LLAVA), tmp_path / "merged")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("quantised", list(merge.QUANTIZATIONS))
def test_how_a_base_was_loaded_is_kept_and_read_back(trained, quantised) -> None:
    base, _ = trained(quantised=quantised)
    kept = merge.describe_base_loading(merge.load_base(base))
    again = merge.BaseCheckpoint(base.name_or_path, dtype=kept["base_dtype"], quantization=kept["quantization"])
    assert merge.describe_base_loading(merge.load_base(again)) == kept
    assert kept["base_dtype"] == base.dtype and bool(kept["quantization"]) == (quantised != "none")
