"""The training script: full, LoRA and QLoRA on the tiny model; exact resume; what it leaves behind and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

from comvint_hf.conventions import Conventions

ADAPTER = ["--use_peft", "--lora_r", "4"]
NF4 = [*ADAPTER, "--load_in_4bit", "--dtype", "bfloat16"]


def losses(folder: Path) -> dict[int, float]:
    state = json.loads((folder / "trainer_state.json").read_text())
    return {entry["step"]: entry["loss"] for entry in state["log_history"] if "loss" in entry}


@pytest.mark.parametrize("flags", [[], ADAPTER], ids=["full", "lora"])
def test_resumed_run_goes_on_as_if_it_had_not_stopped(tune, tmp_path, flags):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    steps = ["--max_steps", "6", "--save_steps", "3", *flags]
    tune(whole, *steps)
    shutil.copytree(whole / "checkpoint-3", resumed / "checkpoint-3")
    tune(resumed, *steps, "--resume_from_checkpoint", "true")
    expected, found = losses(whole / "checkpoint-6"), losses(resumed / "checkpoint-6")
    assert found == expected
    assert expected[6] < expected[1] - 0.1, "the steps are too small for the test to tell a fresh model from a resumed one"


def test_full_run_leaves_a_model_that_loads_with_its_conventions(tune, tmp_path, model, dataset, capsys):
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    tune(tmp_path, "--max_steps", "2", "--save_strategy", "no", "--templates", "mine")
    told = capsys.readouterr().out
    assert "1 task templates carry no loss: Answer with one word." in told and "step 2 of 2" in told
    before, after = (AutoModelForImageTextToText.from_pretrained(folder).state_dict() for folder in (model, tmp_path))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and not any("vision_tower" in name for name in changed)
    assert AutoProcessor.from_pretrained(tmp_path).chat_template
    agreed = Conventions.read(tmp_path)
    assert agreed.templates == ("Answer with one word.",) and agreed.learn == "instruction+response"
    assert agreed.base_model == str(model) and agreed.dataset == str(dataset)
    assert agreed.recipe == "svit" and agreed.prompts == {"svit/conversation": "abc"}
    assert json.loads((tmp_path / "all_results.json").read_text())["train_runtime"] > 0


def test_qlora_quantises_and_trains_the_language_model_only(tune, tmp_path, capsys):
    tune(tmp_path, "--max_steps", "2", "--save_strategy", "no", *NF4)
    table = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("model.")}
    assert "bfloat16" in table["model.vision_tower"] and "bfloat16" in table["model.multi_modal_projector"]
    assert "4-bit" in table["model.language_model"]
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert "language_model" in config["target_modules"]
    assert Conventions.read(tmp_path).learn == "instruction+response"


def test_response_only_learning_has_another_loss(tune, tmp_path):
    first = []
    for learn in ("instruction+response", "response"):
        tune(tmp_path / learn, "--max_steps", "1", "--save_steps", "1", "--learn", learn)
        first.append(losses(tmp_path / learn / "checkpoint-1")[1])
        assert Conventions.read(tmp_path / learn).learn == learn
    assert abs(first[0] - first[1]) > 1e-3


def test_rows_without_their_pictures_are_refused_unless_asked_for(tune, tmp_path, dataset, capsys):
    from datasets import load_dataset

    blind = tmp_path / "blind"
    blind.mkdir()
    load_dataset(str(dataset), split="train").remove_columns("images").to_parquet(blind / "train-00000.parquet")
    with pytest.raises(SystemExit):
        tune(tmp_path / "out", "--max_steps", "1", rows=blind)
    assert "--images" in capsys.readouterr().err
    tune(tmp_path / "out", "--max_steps", "1", "--save_strategy", "no", "--text_only", rows=blind)


def test_resume_without_a_checkpoint_is_refused(tune, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tune(tmp_path, "--max_steps", "1", "--resume_from_checkpoint", "true")
    assert "no checkpoint to resume" in capsys.readouterr().err.lower()


def test_trees_train_like_rows(tune, tmp_path, dataset):
    tune(tmp_path, "--max_steps", "1", "--save_steps", "1", "--pack", "tree")
    assert losses(tmp_path / "checkpoint-1")[1] > 0


def test_long_rows_are_left_out_with_a_reason(tune, tmp_path, capsys):
    tune(tmp_path, "--max_steps", "1", "--save_strategy", "no", "--max_length", "26")
    told = capsys.readouterr().out
    assert "rows are left out; the first:" in told and "max_length" in told


def test_resumed_run_with_like_lengths_goes_on_exactly(tune, tmp_path):
    """`--alike` gives rows by epochs, and a resumed run meets the same rows in the same order."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    steps = ["--alike", "--num_train_epochs", "1", "--save_steps", "3"]
    tune(whole, *steps)
    shutil.copytree(whole / "checkpoint-3", resumed / "checkpoint-3")
    tune(resumed, *steps, "--resume_from_checkpoint", "true")
    last = max(int(folder.name.rpartition("-")[2]) for folder in whole.glob("checkpoint-*"))
    expected = losses(whole / f"checkpoint-{last}")
    assert losses(resumed / f"checkpoint-{last}") == expected and len(expected) == last > 6
