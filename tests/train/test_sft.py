"""The training script: full, LoRA and QLoRA on the tiny model; exact resume; what it leaves behind and what it refuses."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from comvint_hf.conventions import Conventions
from comvint_hf.training.packing import attention as sparse

SFT = Path(__file__).parents[2] / "train" / "sft.py"
QUIET = ["--bf16", "false", "--use_cpu", "--gradient_checkpointing", "false", "--report_to", "none", "--logging_steps", "1"]
ADAPTER = ["--use_peft", "--lora_r", "4"]
NF4 = [*ADAPTER, "--load_in_4bit", "--dtype", "bfloat16"]


def losses(folder: Path, figure: str = "loss") -> dict[int, float]:
    state = json.loads((folder / "trainer_state.json").read_text())
    return {entry["step"]: entry[figure] for entry in state["log_history"] if "loss" in entry}


TREES = ["--pack", "tree", "--per_device_train_batch_size", "2"]


@pytest.mark.parametrize("flags", [[], ADAPTER, [*NF4, "--train_projector"], TREES], ids=["full", "lora", "qlora", "trees"])
def test_resumed_run_goes_on_as_if_it_had_not_stopped(tune, tmp_path, flags):
    """In the middle of an epoch; losses and the weights at the end are the same to the last bit."""
    from safetensors.torch import load_file

    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    steps = ["--max_steps", "6", "--save_steps", "3", *flags]
    tune(whole, *steps)
    shutil.copytree(whole / "checkpoint-3", resumed / "checkpoint-3")
    tune(resumed, *steps, "--resume_from_checkpoint", "true")
    expected, found = losses(whole / "checkpoint-6"), losses(resumed / "checkpoint-6")
    assert found == expected and losses(resumed / "checkpoint-6", "num_tokens") == losses(whole / "checkpoint-6", "num_tokens")
    assert expected[6] < expected[1] - 0.1, "the steps are too small for the test to tell a fresh model from a resumed one"
    file = "adapter_model.safetensors" if "--use_peft" in flags else "model.safetensors"
    first, second = load_file(whole / file), load_file(resumed / file)
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_full_run_leaves_a_model_that_loads_with_its_conventions(tune, tmp_path, model, dataset, capsys):
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


def test_a_projector_is_trained_in_its_models_own_precision(tune, tmp_path, capsys):
    """TRL makes all that QLoRA trains bfloat16, which a float32 model without autocast cannot calculate with."""
    tune(tmp_path, "--max_steps", "1", "--save_strategy", "no", *ADAPTER, "--load_in_4bit", "--train_projector")
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("model.multi_modal_projector"))
    assert "float32" in line and "bfloat16" not in line


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


def test_rows_without_their_images_are_refused_unless_asked_for(tune, tmp_path, dataset, capsys):
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
    taken = batches[:4]
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


def test_trees_attend_sparsely_on_a_cpu_and_rows_as_ever(tune, tmp_path, monkeypatch):
    masks = []
    monkeypatch.setattr(sparse, "CHUNK_SIZE", 8)
    monkeypatch.setattr(sparse, "split_mask", lambda mask, found=sparse.split_mask: masks.append(mask) or found(mask))
    step = ["--max_steps", "1", "--save_strategy", "no"]
    tune(tmp_path / "rows", *step)
    assert not masks
    tune(tmp_path / "trees", *step, "--pack", "tree")
    assert masks


def test_trees_evaluate_and_are_refused_where_they_cannot_be(tune, tmp_path, model, dataset, batches, capsys):
    from datasets import load_dataset

    tree = ["--pack", "tree", "--max_steps", "1", "--learning_rate", "0", "--templates", "none"]
    tune(tmp_path / "out", *tree, "--save_steps", "1", "--eval_strategy", "steps", "--eval_steps", "1", "--branches", "3")
    assert max(len(entry["rows"]) for rows, _ in batches[2:] for entry in rows) == 3
    loss, labels = loss_of_rows(model, list(load_dataset(str(dataset), split="test")))
    history = json.loads((tmp_path / "out" / "checkpoint-1" / "trainer_state.json").read_text())["log_history"]
    told = next(entry["eval_loss"] for entry in history if "eval_loss" in entry)
    assert told == pytest.approx(loss / labels, rel=1e-5), "the mean over labels, however many rows a batch has"
    for attention, said in (
        ("eager", "the model uses 'eager'"),
        ("flex_attention", "FlexAttention computes no gradients on a CPU"),
    ):
        with pytest.raises(SystemExit):
            tune(tmp_path / attention, *tree, "--save_strategy", "no", "--attn_implementation", attention)
        assert said in capsys.readouterr().err


def test_long_rows_are_left_out_and_counted(tune, tmp_path, capsys):
    with pytest.warns(UserWarning, match="max_length is 26.* The row is left out of its batch"):
        tune(tmp_path, "--max_steps", "3", "--save_strategy", "no", "--max_length", "26")
    assert re.search(r"\d+ rows were left out of training: \d+ too long", capsys.readouterr().out)


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
    ("flags", "said", "code"),
    [
        (["--model_name_or_path", "/nope"], "There is no folder /nope; expected the folder of a model", 2),
        (["--dataset_name", "/nope"], "There is no folder /nope; expected the folder of a dataset", 2),
        (["--push_to_hub", "--hub_model_id", "org/model"], "The Hub cannot be reached", 1),
        (["--output_dir", "/proc/nope"], "The folder /proc/nope cannot be made", 1),
        (["--eval_strategy", "steps", "--dataset_test_split", "none"], "no split 'none' but train, test", 2),
        (["--config", "/nope.yaml"], "The --config file /nope.yaml cannot be read (No such file or directory)", 2),
        (["--learning_rat"], "There is no flag --learning_rat (did you mean --learning_rate?)", 2),
        (["--lern", "response", "--use_cpu", "false"], "There is no flag --lern (did you mean --learn?)", 2),
        (["--learn", "everything"], "--learn: invalid choice: 'everything'", 2),
        (["--boxes", "inches"], "--boxes: invalid choice: 'inches'", 2),
        (["--templates", "/nope.txt"], "--templates is '/nope.txt'", 2),
        (["--max_pixels", "1000"], "LlavaProcessor resizes all images to one size", 2),
        (["--freeze", "tower"], "There is no module 'tower' to freeze", 2),
        (["--load_in_4bit", "--dtype", "bfloat16"], "add --use_peft", 2),
        (["--attn_implementation", "spda"], "cannot be loaded (Specified `attn_implementation", 2),
        (["--chat_template_path", "/nope.jinja"], "The trainer refuses these settings", 2),
        (["--packing"], "The trainer refuses these settings", 2),
        (["--max_length", "3"], "None of the first 20 rows can be trained on", 1),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(tune, tmp_path, flags, said, code, capsys, monkeypatch):
    """Wrong use ends with the code 2, as the builders' does; rows that cannot be trained on, disks and the Hub with 1."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(SystemExit) as ended:
        tune(tmp_path, "--max_steps", "1", *flags)
    told = capsys.readouterr().err
    assert said in told and "Traceback" not in told and ended.value.code == code


def test_a_flag_that_changes_nothing_is_named(tune, tmp_path, capsys):
    tune(tmp_path, "--max_steps", "1", "--save_strategy", "no", "--train_projector", "--branches", "3")
    told = capsys.readouterr().out
    assert "--train_projector changes nothing, as a full run trains the projector anyway" in told
    assert "--branches changes nothing, as there is no --pack tree." in told


@pytest.fixture(scope="session")
def rotten(dataset, tmp_path_factory) -> Path:
    """The dataset with an image that is cut off (row 5) and an answer with a control token (rows 8 to 15)."""
    from datasets import Dataset, Image, List, load_dataset

    rows = load_dataset(str(dataset), split="train")
    raw = rows.cast_column("images", List(Image(decode=False))).to_list()
    raw[5]["images"][0]["bytes"] = raw[5]["images"][0]["bytes"][:200]
    for row in raw[8:16]:
        row["messages"][1]["content"] += "<|end|>"
    folder = tmp_path_factory.mktemp("rotten")
    Dataset.from_list(raw, features=rows.features).to_parquet(folder / "train-0.parquet")
    return folder


IN_ORDER = ["--train_sampling_strategy", "sequential", "--templates", "none"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("workers", ["0", "1"])
def test_bad_rows_are_left_out_of_their_batch_and_counted(tune, tmp_path, rotten, workers, capsys):
    """Batches of 4: the second lacks one row, the third and fourth have none left and change nothing; a resumed run counts on."""
    steps = [*IN_ORDER, "--max_steps", "6", "--save_steps", "3", "--dataloader_num_workers", workers, "--weight_decay", "0"]
    tune(tmp_path / "whole", *steps, rows=rotten)
    assert "9 rows were left out of training: 1 image not readable, 8 not usable" in capsys.readouterr().out
    found = losses(tmp_path / "whole" / "checkpoint-6")
    assert found[3] == found[4] == 0 < min(found[step] for step in (1, 2, 5, 6))

    shutil.copytree(tmp_path / "whole" / "checkpoint-3", tmp_path / "again" / "checkpoint-3")
    tune(tmp_path / "again", *steps, "--resume_from_checkpoint", "true", rows=rotten)
    assert losses(tmp_path / "again" / "checkpoint-6") == found
    assert "9 rows were left out of training" in capsys.readouterr().out
    state = json.loads((tmp_path / "again" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["SkipCountCallback"]["attributes"]["skipped"] == {"image not readable": 1, "not usable": 8}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_evaluation_is_of_the_good_rows_alone(tune, tmp_path, rotten, dataset, capsys):
    """With and without the bad rows the loss of an evaluation is the same."""
    from datasets import load_dataset

    (tmp_path / "good").mkdir()
    good = load_dataset(str(rotten), split="train").select([*range(5), *range(6, 8), *range(16, 30)])
    good.to_parquet(tmp_path / "good" / "train-0.parquet")
    evaluated = [
        "--eval_strategy",
        "steps",
        "--eval_steps",
        "1",
        "--dataset_test_split",
        "train",
        "--per_device_eval_batch_size",
        "1",
    ]
    found = []
    for name, rows in (("good", tmp_path / "good"), ("all", rotten)):
        rows = shorter(rows, tmp_path / f"{name} 30")
        tune(tmp_path / name, "--max_steps", "1", "--learning_rate", "0", "--save_steps", "1", *evaluated, *IN_ORDER, rows=rows)
        state = json.loads((tmp_path / name / "checkpoint-1" / "trainer_state.json").read_text())
        found.append(next(entry["eval_loss"] for entry in state["log_history"] if "eval_loss" in entry))
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert "9 rows were left out of evaluation: 1 image not readable, 8 not usable." in capsys.readouterr().out


def shorter(rows: Path, folder: Path) -> Path:
    """The first 30 rows, whose images stay files."""
    from datasets import load_dataset

    from comvint_hf.training.data_loading import disable_decoding

    folder.mkdir()
    disable_decoding(load_dataset(str(rows), split="train")).take(30).to_parquet(folder / "train-0.parquet")
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bad_rows_are_left_out_of_a_stream(tune, tmp_path, rotten, capsys):
    """Of training and of each evaluation."""
    rows = shorter(rotten, tmp_path / "30")
    evaluated = ["--eval_strategy", "steps", "--eval_steps", "3", "--dataset_test_split", "train"]
    tune(
        tmp_path / "out",
        *("--dataset_streaming", "--max_steps", "6", "--save_strategy", "no", "--templates", "none"),
        *evaluated,
        rows=rows,
    )
    told = capsys.readouterr().out
    assert "9 rows were left out of training: 1 image not readable, 8 not usable." in told
    assert told.count("9 rows were left out of evaluation: 1 image not readable, 8 not usable.") == 2
    assert "No row was left out of evaluation" not in told


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bad_rows_are_left_out_of_trees(tune, tmp_path, rotten, capsys):
    """A tree takes the image of its first row, so the one that is cut off is never opened."""
    tune(tmp_path, "--num_train_epochs", "1", "--save_strategy", "no", "--pack", "tree", *IN_ORDER, rows=rotten)
    assert "8 rows were left out of training: 8 not usable" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_bad_row_ends_the_run_where_it_is_told_to(tune, tmp_path, rotten, workers, capsys):
    with pytest.raises(SystemExit):
        flags = ["--skip_bad_rows", "false", "--save_strategy", "no", "--dataloader_num_workers", workers]
        tune(tmp_path, "--num_train_epochs", "1", *IN_ORDER, *flags, rows=rotten)
    told = capsys.readouterr().err
    assert "(image file is truncated): repair the image" in told and "Traceback" not in told


def test_a_row_that_the_collator_refuses_is_named_from_a_worker_too(tune, tmp_path, dataset, capsys):
    from datasets import load_dataset

    def broken(row, place):
        content = row["messages"][1]["content"] + ("<|end|>" if place == 5 else "")
        return {"messages": [row["messages"][0], {"role": "assistant", "content": content}]}

    (tmp_path / "rows").mkdir()
    load_dataset(str(dataset), split="train").map(broken, with_indices=True).to_parquet(tmp_path / "rows" / "train-0.parquet")
    with pytest.raises(SystemExit):
        flags = ["--num_train_epochs", "1", "--dataloader_num_workers", "1", "--skip_bad_rows", "false"]
        tune(tmp_path / "out", *flags, rows=tmp_path / "rows")
    told = capsys.readouterr().err
    assert "has a literal <|end|> in its text" in told and "Traceback" not in told


def test_too_little_memory_ends_in_a_sentence_that_names_the_flags(tune, tmp_path, monkeypatch, capsys):
    from comvint_hf.training.trainer import L2TTrainer

    def greedy(self, *_, **__):
        torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(L2TTrainer, "training_step", greedy)
    steps = ["--max_steps", "1", "--save_strategy", "no"]
    with pytest.raises(SystemExit):
        tune(tmp_path, *steps)
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("There was not enough memory") and "Traceback" not in told
    assert all(flag in told for flag in ("--per_device_train_batch_size 2", "--gradient_checkpointing", "--load_in_4bit"))
    with pytest.raises(RuntimeError, match="can't allocate memory") as raised:
        tune(tmp_path, *steps, "--traceback")
    assert "--per_device_train_batch_size 2" in raised.value.__notes__[0]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("flags", "rows"),
    [([], "dataset"), (["--alike"], "dataset"), (["--pack", "tree"], "dataset"), (IN_ORDER, "rotten")],
    ids=["plain", "alike", "tree", "bad rows"],
)
def test_two_processes_learn_as_one_that_accumulates(flags, rows, tmp_path, model, request):
    """Two processes with a batch each, and one process that takes the same two batches for a step: the same losses, tokens, bad rows."""
    names = ["--model_name_or_path", model, "--dataset_name", request.getfixturevalue(rows), *QUIET, *flags]
    steps = ["--learning_rate", "1e-2", "--max_steps", "5", "--save_steps", "5", "--per_device_train_batch_size", "2"]
    one = [sys.executable, SFT, *names, *steps, "--gradient_accumulation_steps", "2", "--output_dir", tmp_path / "one"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(free_port())]
    two = [*launcher, SFT, *names, *steps, "--ddp_backend", "gloo", "--output_dir", tmp_path / "two"]
    for command in (one, two):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        subprocess.run(list(map(str, command)), check=True, capture_output=True, env=environment)
    states = [json.loads((tmp_path / run / "checkpoint-5" / "trainer_state.json").read_text()) for run in ("one", "two")]
    histories = [[(entry["loss"], entry["num_tokens"]) for entry in state["log_history"] if "loss" in entry] for state in states]
    for first, second in zip(*histories, strict=True):
        assert second == pytest.approx(first, rel=1e-4)
    first, second = (state["stateful_callbacks"]["SkipCountCallback"]["attributes"]["skipped"] for state in states)
    assert first == second == ({"image not readable": 1, "not usable": 8} if rows == "rotten" else {})


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
