"""transformers' Trainer under the training script, for the families that TRL's cannot take: the right loss, and the same flags."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from training.tiny.families import TINY, collator_of, model_of, processor_of, row_of, talk

from comvint_hf.errors import InputError
from comvint_hf.training.trainer import TransformersTrainer, check_no_trl_settings

NAME = "BLIP-2"
ONCE = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}


def rows() -> list[dict]:
    """Answers of several lengths, so that a mean over rows is not a mean over tokens."""
    return [row_of(f"Is it {'very ' * number}red?", "yes " * (1 + 3 * number)) for number in range(4)]


def trainer(folder: Path, **settings) -> TransformersTrainer:
    from datasets import Dataset
    from trl import SFTConfig

    arguments = SFTConfig(str(folder), **{**ONCE, "max_length": None, "remove_unused_columns": False, **settings})
    model = TINY[NAME].model(processor_of(NAME))
    for module in model.modules():
        # The loss of a step is compared with one without chance.
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
        elif isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return TransformersTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows()),
        eval_dataset=Dataset.from_list(rows()),
        data_collator=collator_of(NAME),
        processing_class=processor_of(NAME),
    )


@pytest.mark.parametrize(("size", "accumulated"), [(4, 1), (2, 2), (1, 4)])
def test_the_loss_of_a_step_is_that_of_its_tokens_however_it_is_split(tmp_path, size, accumulated) -> None:
    with torch.no_grad():
        wanted = model_of(NAME)(**collator_of(NAME)(rows())).loss.item()
    settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated, "max_steps": 1}
    made = trainer(tmp_path, learning_rate=0.0, gradient_checkpointing=False, **settings)
    made.train()
    assert made.state.log_history[0]["loss"] == pytest.approx(wanted, abs=1e-4)
    assert made.evaluate()["eval_loss"] == pytest.approx(wanted, rel=0.2)


@pytest.mark.parametrize("setting", [{"packing": True}, {"assistant_only_loss": True}, {"loss_type": "dft"}])
def test_settings_that_only_trl_knows_are_refused(tmp_path, setting) -> None:
    from trl import SFTConfig

    with pytest.raises(InputError, match=f"--{next(iter(setting))} is a setting of TRL's trainer"):
        check_no_trl_settings(SFTConfig(str(tmp_path), use_cpu=True, bf16=False, **setting))
    check_no_trl_settings(SFTConfig(str(tmp_path), use_cpu=True, bf16=False))


@pytest.mark.parametrize("flags", [[], ["--use_peft", "--lora_r", "4"], ["--pack", "tree"]], ids=["full", "lora", "tree"])
def test_the_same_command_trains_resumes_and_leaves_a_model_that_talks(tmp_path, monkeypatch, flags) -> None:
    from datasets import Dataset

    from comvint_hf import load_chat

    base, whole, resumed = tmp_path / "base", tmp_path / "whole", tmp_path / "resumed"
    processor_of(NAME).save_pretrained(base)
    TINY[NAME].model(processor_of(NAME)).save_pretrained(base)
    (tmp_path / "rows").mkdir()
    made = [{**row, "image_id": str(number // 2)} for number, row in enumerate(rows() * 4)]
    Dataset.from_list(made).to_parquet(tmp_path / "rows" / "train-0.parquet")

    def tune(out: Path, *more: str) -> None:
        names = [
            "--model_name_or_path",
            base,
            "--dataset_name",
            tmp_path / "rows",
            "--output_dir",
            out,
            "--freeze",
            "vision_model",
        ]
        here = ["--use_cpu", "--bf16", "false", "--report_to", "none", "--logging_steps", "1", "--learning_rate", "1e-2"]
        steps = ["--per_device_train_batch_size", "2", "--max_steps", "4", "--save_steps", "2", "--save_only_model", "false"]
        monkeypatch.setattr(sys, "argv", ["sft.py", *map(str, [*names, *here, *steps, *flags, *more])])
        runpy.run_path(str(Path(__file__).parents[2] / "train" / "sft.py"), run_name="__main__")

    def losses(out: Path) -> list[float]:
        state = json.loads((out / "checkpoint-4" / "trainer_state.json").read_text())
        return [entry["loss"] for entry in state["log_history"] if "loss" in entry]

    tune(whole)
    shutil.copytree(whole / "checkpoint-2", resumed / "checkpoint-2")
    tune(resumed, "--resume_from_checkpoint", "true")
    assert losses(resumed) == losses(whole) and len(losses(whole)) == 4
    chat = load_chat(whole, device="cpu", max_new_tokens=3)
    assert isinstance(chat.answer(talk("Is it red?"), rows()[0]["images"][0]), str)
