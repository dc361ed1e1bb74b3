"""A tiny random model, and a LoRA adapter on it."""

from pathlib import Path

import pytest

TEXTS = (
    "Is there a red circle in the picture?",
    "Where is the blue square? It is at <st>the blue square<ed>[0.125, 0.250, 0.500, 0.750].",
    "Yes, there is one. No, there is none.",
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA with random weights."""
    from comvint_hf.training.tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model", TEXTS * 8, words=400)


@pytest.fixture(scope="session")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter on it whose weights are not zero, with conventions beside it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    from comvint_hf.conventions import Conventions

    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_pretrained(tiny)
    joined = get_peft_model(
        model, LoraConfig(r=4, target_modules=r".*language_model.*\.(q_proj|v_proj)", init_lora_weights=False)
    )
    folder = tmp_path_factory.mktemp("adapter") / "model"
    joined.save_pretrained(folder)
    Conventions(box_dialect="thousand", max_pixels=64 * 64, base_model=str(tiny)).write(folder)
    return folder
