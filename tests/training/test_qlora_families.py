"""Every family in four bits: what is quantised, what is trained, and that an adapter lies rightly on the whole base again."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from training.tiny.families import FAMILY, TALK, TINY, collator_of, processor_of, row_of

from comvint_hf.errors import ModelError
from comvint_hf.model_families import FAMILIES
from comvint_hf.training import lora as qlora
from comvint_hf.training.merge import QUANTIZATIONS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
DECODER = {
    "Idefics3": "model.text_model",
    "SmolVLM": "model.text_model",
    "BLIP-2": "language_model.model.decoder",
    "InstructBLIP": "language_model.model",
}
"""Where the language model lies, written down by hand where it is not `model.language_model`."""
PLAIN = "LLaVA-1.5, SigLIP"
PER_LAYER = {"BLIP-2": 6}
"""Linear layers of a decoder layer; 7 elsewhere."""


def in_four_bits(name: str, folder: Any) -> Any:
    """The family's tiny model, saved whole and loaded as QLoRA loads it."""
    from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

    TINY[name].model(processor_of(name)).save_pretrained(folder)
    settings = {"bnb_4bit_compute_dtype": torch.bfloat16, **QUANTIZATIONS["nf4-nested"]}
    quantisation = qlora.limit_to_decoder(BitsAndBytesConfig(**settings), AutoConfig.from_pretrained(folder))
    return AutoModelForImageTextToText.from_pretrained(folder, quantization_config=quantisation, dtype=torch.bfloat16)


def adapted(name: str, model: Any) -> tuple[Any, list[str]]:
    from peft import LoraConfig, get_peft_model

    projector = qlora.find_projector_modules(model, FAMILIES[TINY[name].processor_class].projector_paths)
    return get_peft_model(
        model, LoraConfig(r=2, target_modules=qlora.build_lora_targets(model), modules_to_save=projector)
    ), projector


def learn_a_step(name: str, model: Any) -> None:
    batch = collator_of(name)([row_of(*TALK)])
    model(**{key: one.bfloat16() if one.is_floating_point() else one for key, one in batch.items()}).loss.backward()
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.grad is not None:
            # LoRA begins at zero, where a step of one gradient would be lost among bfloat16's digits.
            parameter.data += parameter.grad.sign() * 0.125


@FAMILY
def test_four_bits_and_training_stay_where_they_belong_and_the_adapter_fits_the_whole_base(name, tmp_path) -> None:
    from comvint_hf.serving.loading import load_chat

    small = in_four_bits(name, tmp_path / "base")
    decoder = DECODER.get(name, "model.language_model")
    quantised = [part for part, module in small.named_modules() if type(module).__name__ == "Linear4bit"]
    assert len(quantised) == 2 * PER_LAYER.get(name, 7), "two layers' linear modules, no head, no embedding"
    assert all(re.match(rf"{re.escape(decoder)}\.layers\.\d\.", part) for part in quantised)

    model, projector = adapted(name, small)
    qlora.check_model(model, projector)
    trained = {part.removeprefix("base_model.model.") for part, one in model.named_parameters() if one.requires_grad}
    lora = {f"{part}.lora_{side}.default.weight" for part in quantised for side in "AB"}
    copies = {part for part in trained if part.startswith(tuple(f"{one}.modules_to_save.default." for one in projector))}
    assert trained == lora | copies and copies
    lines = qlora.format_parameter_table(model, projector).splitlines()
    told = {(line.split("  ")[0], line.split()[-2]) for line in lines[1:-1]}
    assert (decoder, "4-bit") in told and {(f"{one} (trained copy)", "bfloat16") for one in projector} <= told

    learn_a_step(name, model)
    model.save_pretrained(tmp_path / "adapter")
    processor_of(name).save_pretrained(tmp_path / "adapter")
    state = {part.removeprefix("base_model.model."): one for part, one in model.state_dict().items()}
    before = dict(TINY[name].model(processor_of(name)).named_parameters())
    after = dict(load_chat(tmp_path / "adapter", dtype="float32", device="cpu").model.named_parameters())
    for part in quantised:
        lift = state[f"{part}.lora_B.default.weight"].float() @ state[f"{part}.lora_A.default.weight"].float()
        assert lift.abs().max() > 1e-3, "the adapter has learnt something"
        assert torch.allclose(after[f"{part}.weight"], before[f"{part}.weight"] + lift * 4, atol=1e-5)
    whole = {part: part.replace(".modules_to_save.default", "") for part in copies}
    assert all(torch.equal(after[at], state[part].float()) for part, at in whole.items())
    assert sum(not torch.equal(after[at], before[at].bfloat16().float()) for at in whole.values()) >= len(whole) / 2


@FAMILY
def test_a_full_run_leaves_what_looks_alone_and_trains_the_projector(name) -> None:
    model = TINY[name].model(processor_of(name))
    projector = qlora.find_projector_modules(model, FAMILIES[TINY[name].processor_class].projector_paths)
    qlora.freeze_modules(model, ["family"], projector)
    still = {part for part, one in model.named_parameters() if not one.requires_grad}
    assert still and all("vision" in part or "visual" in part for part in still)
    assert not any(part.startswith(tuple(projector)) for part in still)
    seen = {part for part, _ in model.named_parameters() if part.startswith(("model.vision", "model.visual", "vision"))}
    assert seen - still == {part for part in seen if part.startswith(tuple(projector))}


def test_an_unknown_projector_is_asked_for() -> None:
    model = TINY["Qwen2-VL"].model(processor_of("Qwen2-VL"))
    assert qlora.find_projector_modules(model, ["multi_modal_projector"]) == []
    with pytest.raises(ModelError, match="is not known: name the modules to freeze with --freeze, among lm_head, model.visual"):
        qlora.freeze_modules(model, ["family"])


def test_a_projector_that_is_not_trained_is_found_out() -> None:
    model = TINY[PLAIN].model(processor_of(PLAIN))
    trained, projector = adapted(PLAIN, model)
    with pytest.raises(ModelError, match=r"multi_modal_projector\.modules_to_save.* is trained beside the adapter"):
        qlora.check_model(trained)
    with pytest.raises(ModelError, match="model.vision_tower is not trained; expected a copy"):
        qlora.check_model(trained, [*projector, "model.vision_tower"])


@pytest.mark.parametrize("made", [torch.float32, torch.bfloat16], ids=["as peft", "as TRL"])
def test_an_adapter_is_bfloat16_and_a_projector_as_its_original_whatever_the_trainer_made_of_them(tmp_path, made) -> None:
    model, projector = adapted(PLAIN, in_four_bits(PLAIN, tmp_path))
    model.get_submodule(f"base_model.model.{projector[0]}").original_module.float()
    trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
    for one in trained.values():
        one.data = one.data.to(made)
    qlora.set_trained_precision(model)
    assert {("lora_" in name, one.dtype) for name, one in trained.items()} == {(True, torch.bfloat16), (False, torch.float32)}


def test_a_quantised_embedding_is_found_out() -> None:
    """No helper quantises embeddings today; should one, it would be seen."""
    model = TINY[PLAIN].model(processor_of(PLAIN))

    class Params4bit(torch.nn.Parameter):
        pass

    embedding = model.get_input_embeddings()
    embedding.weight = Params4bit(embedding.weight.data)
    with pytest.raises(ModelError, match="embed_tokens was quantised; expected only linear layers under model.language_model"):
        qlora.check_model(model)


def test_an_adapter_that_does_not_fit_its_base_is_not_filled_up_at_random(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    from comvint_hf.serving.loading import load_chat

    base = TINY[PLAIN].model(processor_of(PLAIN))
    base.save_pretrained(tmp_path / "base")
    processor_of(PLAIN).save_pretrained(tmp_path / "adapter")
    adapted(PLAIN, base)[0].save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(file)
    weights.pop(next(name for name in weights if "lora_B" in name))
    save_file(weights, file)
    with pytest.raises(ModelError, match="does not fit its base .*missing adapter keys"):
        load_chat(tmp_path / "adapter", base=tmp_path / "base", device="cpu")
