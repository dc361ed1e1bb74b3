"""Which modules are quantised and trained: asked for by path, checked on what was loaded, over several model families."""

import pytest

from comvint_hf.errors import ModelError
from comvint_hf.training import lora
from comvint_hf.training.merge import QUANTIZATIONS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from comvint_hf.training.tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny"), ["a red circle"] * 3)


@pytest.fixture
def plain(folder):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder)


def load_in_4_bits(folder, **changes):
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

    settings = {"bnb_4bit_compute_dtype": torch.bfloat16, **QUANTIZATIONS["nf4-nested"]}
    quantisation = lora.limit_to_decoder(BitsAndBytesConfig(**settings), AutoConfig.from_pretrained(folder))
    for name, value in changes.items():
        setattr(quantisation, name, value)
    return AutoModelForImageTextToText.from_pretrained(folder, quantization_config=quantisation, dtype=torch.bfloat16)


def with_lora(model, targets):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=4, target_modules=targets))


def test_nf4_and_lora_stay_in_the_language_model(folder):
    model = load_in_4_bits(folder)
    adapted = with_lora(model, lora.build_lora_targets(model))
    lora.check_model(adapted)
    stored = {row.name: row.stored for row in lora.list_parameter_groups(adapted) if row.stored != "float32"}
    assert stored["model.vision_tower"] == stored["model.multi_modal_projector"] == "bfloat16"
    assert lora.ParameterGroup("model.language_model", 638_976, "4-bit", 0) in lora.list_parameter_groups(adapted)
    trained = {row.name for row in lora.list_parameter_groups(adapted) if row.trained}
    assert trained == {"model.language_model (LoRA)"}
    assert "4-bit" in lora.format_parameter_table(adapted)


def test_quantised_tower_is_found_out(folder):
    """The trap: a bare module name is ignored without a word, and the tower is quantised."""
    model = load_in_4_bits(folder, llm_int8_skip_modules=["vision_tower", "lm_head"])
    with pytest.raises(ModelError, match=r"model\.(vision_tower|multi_modal_projector)\S* was quantised"):
        lora.check_model(model)


def test_language_model_left_whole_is_found_out(folder):
    model = load_in_4_bits(
        folder, llm_int8_skip_modules=["lm_head", "model.vision_tower", "model.multi_modal_projector", "o_proj"]
    )
    with pytest.raises(ModelError, match="o_proj was not quantised"):
        lora.check_model(model)


def test_a_model_that_was_to_be_quantised_and_was_not_is_found_out(plain):
    plain.is_quantized = True
    with pytest.raises(ModelError, match="was not quantised; expected all linear layers under model.language_model"):
        lora.check_model(plain)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"]])
def test_lora_in_the_tower_is_found_out(plain, targets):
    with pytest.raises(ModelError, match="LoRA was found on .*vision_tower"):
        lora.check_model(with_lora(plain, targets))


def test_base_weights_trained_beside_the_adapter_are_found_out(plain):
    adapted = with_lora(plain, lora.build_lora_targets(plain))
    plain.model.multi_modal_projector.requires_grad_(True)
    with pytest.raises(ModelError, match="multi_modal_projector.* is trained beside the adapter"):
        lora.check_model(adapted)


def test_freeze_names_what_is_there(plain):
    lora.freeze_modules(plain, ["vision_tower"])
    trained = {row.name: row.trained for row in lora.list_parameter_groups(plain)}
    assert trained["model.vision_tower"] == 0 < trained["model.language_model"]
    with pytest.raises(ModelError, match="parts are .*vision_tower"):
        lora.freeze_modules(plain, ["tower"])


def idefics3():
    from transformers import Idefics3Config, LlamaConfig
    from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

    vision = Idefics3VisionConfig(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32)
    text = LlamaConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=99, pad_token_id=0
    )
    return Idefics3Config(vision_config=vision, text_config=text, pad_token_id=0)


def gemma3():
    from transformers import Gemma3Config, Gemma3TextConfig, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    text = Gemma3TextConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        vocab_size=99,
    )
    return Gemma3Config(vision_config=vision, text_config=text, mm_tokens_per_image=1)


def qwen2_vl():
    from transformers import Qwen2VLConfig

    vision = {"embed_dim": 32, "hidden_size": 32, "depth": 1, "num_heads": 2}
    text = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 99,
    }
    return Qwen2VLConfig(vision_config=vision, text_config=text)


@pytest.mark.parametrize(
    ("make", "decoder"),
    [(idefics3, "model.text_model"), (gemma3, "model.language_model"), (qwen2_vl, "model.language_model")],
    ids=["idefics3", "gemma3", "qwen2_vl"],
)
def test_other_families_are_told_apart(make, decoder):
    """No name is guessed: the decoder is where the model says it is, and all beside it is skipped."""
    import re

    model = lora.build_meta_model(make())
    assert lora.find_decoder_path(model) == decoder
    skipped, targets = lora.find_other_modules(model), re.compile(lora.build_lora_targets(model))
    assert "lm_head" in skipped and not any(name.startswith(decoder) for name in skipped)
    for name, module in model.named_modules():
        if type(module).__name__ == "Linear":
            beside = any(name == part or name.startswith(f"{part}.") for part in skipped)
            assert bool(targets.fullmatch(name)) == (name.startswith(f"{decoder}.")) == (not beside), name
