"""The training script: full, LoRA and QLoRA on the tiny model; exact resume; what it leaves behind and what it refuses."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from comvint_hf.conventions import Conventions

SFT = Path(__file__).parents[2] / "train" / "sft.py"
QUIET = ["--bf16", "false", "--use_cpu", "--gradient_checkpointing", "false", "--report_to", "none", "--logging_steps", "1"]
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


@pytest.fixture
def batches(monkeypatch) -> list:
    """Every batch that the collator makes from now on, with the entries it was made from."""
    from comvint_hf import L2TCollator

    made, collate = [], L2TCollator.__call__

    def remembered(self, rows):
        made.append((list(rows), collate(self, rows)))
        return dict(made[-1][1])

    monkeypatch.setattr(L2TCollator, "__call__", remembered)
    return made


def loss_of_rows(model: Path, rows: list[dict]) -> tuple[float, int]:
    """The loss of rows one at a time, summed, and the labels it is summed over."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from comvint_hf import L2TCollator

    loaded, collate = AutoModelForImageTextToText.from_pretrained(model), L2TCollator(AutoProcessor.from_pretrained(model))
    single = [collate([row]) for row in rows]
    return sum(loaded(**batch, num_items_in_batch=1).loss.item() for batch in single), sum(
        int((batch["labels"][:, 1:] != -100).sum()) for batch in single
    )


@pytest.mark.parametrize("flags", [[], ["--alike"]], ids=["", "alike"])
def test_trees_of_a_real_run_have_the_loss_of_their_rows(tune, tmp_path, model, batches, flags):
    """A learning rate of 0 keeps the weights, so every step can be checked; two batches a step, so tokens are counted over both."""
    slow = ["--learning_rate", "0", "--gradient_accumulation_steps", "2", "--templates", "none", *flags]
    tune(tmp_path, "--max_steps", "2", "--save_steps", "2", "--pack", "tree", "--per_device_train_batch_size", "2", *slow)
    told = losses(tmp_path / "checkpoint-2")
    state = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    # The first batch is one row, read to see whether it can be trained on.
    taken = batches[1:5]
    images = [[row["image_id"] for row in entry["rows"]] for rows, _ in taken for entry in rows]
    assert len(images) == 8 and all(len(set(tree)) == 1 for tree in images)
    assert len({tree[0] for tree in images}) == 8, "an image came twice in an epoch"
    assert min(map(len, images)) >= 2, "an image has no branches"
    assert all(len(batch["pixel_values"]) == len(batch["input_ids"]) == 2 for _, batch in taken)
    seen = 0
    for step, pair in enumerate((taken[:2], taken[2:]), start=1):
        loss, labels = loss_of_rows(model, [row for rows, _ in pair for entry in rows for row in entry["rows"]])
        assert told[step] == pytest.approx(loss / labels, abs=2e-4)
        seen += sum(int((batch["input_ids"] != 0).sum()) for _, batch in pair)
    assert state["log_history"][1]["num_tokens"] == seen


def test_trees_evaluate_and_are_refused_where_they_cannot_be(tune, tmp_path, batches, capsys):
    tree = ["--pack", "tree", "--max_steps", "1", "--save_strategy", "no"]
    tune(tmp_path / "out", *tree, "--eval_strategy", "steps", "--eval_steps", "1", "--branches", "3")
    assert len(batches) > 3 and max(len(entry["rows"]) for rows, _ in batches[2:] for entry in rows) == 3
    with pytest.raises(SystemExit):
        tune(tmp_path / "eager", *tree, "--attn_implementation", "eager")
    assert "needs SDPA attention: the model uses 'eager'" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model_name_or_path", "/nope"], "The model /nope cannot be loaded"),
        (["--dataset_name", "/nope"], "The dataset /nope cannot be loaded"),
        (["--output_dir", "/proc/nope"], "The folder /proc/nope cannot be made"),
        (["--eval_strategy", "steps", "--dataset_test_split", "none"], "no split 'none' but train, test"),
        (["--config", "/nope.yaml"], "No such file or directory: '/nope.yaml'"),
        (["--learn", "everything"], "learn is 'everything'"),
        (["--freeze", "tower"], "There is no module 'tower' to freeze"),
        (["--load_in_4bit", "--dtype", "bfloat16"], "add --use_peft"),
        (["--max_length", "3"], "No row is left of"),
        (["--packing"], "The trainer refuses these settings"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(tune, tmp_path, flags, said, capsys):
    with pytest.raises(SystemExit):
        tune(tmp_path, "--max_steps", "1", *flags)
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_rotten_picture_is_said_in_a_sentence(tune, tmp_path, dataset, workers, capsys):
    from datasets import Dataset, Image, List, load_dataset

    rows = load_dataset(str(dataset), split="train")
    raw = rows.cast_column("images", List(Image(decode=False))).to_list()
    raw[5]["images"][0]["bytes"] = raw[5]["images"][0]["bytes"][:200]
    (tmp_path / "rotten").mkdir()
    Dataset.from_list(raw, features=rows.features).to_parquet(tmp_path / "rotten" / "train-0.parquet")
    with pytest.raises(SystemExit):
        flags = ["--num_train_epochs", "1", "--save_strategy", "no", "--dataloader_num_workers", workers]
        tune(tmp_path / "out", *flags, rows=tmp_path / "rotten")
    told = capsys.readouterr().err
    assert "(image file is truncated): mend the picture" in told and "Traceback" not in told


def test_a_row_that_the_collator_refuses_is_named_from_a_worker_too(tune, tmp_path, dataset, capsys):
    from datasets import load_dataset

    def broken(row, place):
        content = row["messages"][1]["content"] + ("<|end|>" if place == 5 else "")
        return {"messages": [row["messages"][0], {"role": "assistant", "content": content}]}

    (tmp_path / "rows").mkdir()
    load_dataset(str(dataset), split="train").map(broken, with_indices=True).to_parquet(tmp_path / "rows" / "train-0.parquet")
    with pytest.raises(SystemExit):
        tune(tmp_path / "out", "--num_train_epochs", "1", "--dataloader_num_workers", "1", rows=tmp_path / "rows")
    told = capsys.readouterr().err
    assert "has a literal <|end|> in its text" in told and "Traceback" not in told


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("flags", [["--alike"], ["--pack", "tree"]], ids=["alike", "tree"])
def test_two_processes_learn_as_one_that_accumulates(flags, tmp_path, model, dataset):
    """Two processes with a batch each, and one process that takes the same two batches for a step: the same losses and token counts."""
    common = [
        "--model_name_or_path",
        model,
        "--dataset_name",
        dataset,
        *QUIET,
        "--learning_rate",
        "1e-2",
        "--max_steps",
        "4",
        "--save_steps",
        "4",
        *flags,
    ]
    common += ["--per_device_train_batch_size", "2"]
    one = [sys.executable, SFT, *common, "--gradient_accumulation_steps", "2", "--output_dir", tmp_path / "one"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    two = [*launcher, SFT, *common, "--ddp_backend", "gloo", "--output_dir", tmp_path / "two"]
    for command in (one, two):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=280, env=environment)
    histories = []
    for run in ("one", "two"):
        state = json.loads((tmp_path / run / "checkpoint-4" / "trainer_state.json").read_text())
        histories.append([(entry["loss"], entry["num_tokens"]) for entry in state["log_history"] if "loss" in entry])
    for first, second in zip(*histories, strict=True):
        assert second == pytest.approx(first, rel=1e-4)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
