"""Built rows train with TRL's own command, unmodified."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import load_dataset


def test_trl_sft_trains_on_a_built_folder(tmp_path, toy_dataset) -> None:
    pytest.importorskip("trl")
    from comvint_hf.training.tiny_model import make_tiny_model

    folder = toy_dataset(scenes=30)
    rows = load_dataset(str(folder), split="train")
    make_tiny_model(tmp_path / "model", [message["content"] for row in rows for message in row["messages"]])
    command = [str(Path(sys.executable).with_name("trl")), "sft", "--model_name_or_path", str(tmp_path / "model")]
    command += ["--dataset_name", str(folder), "--output_dir", str(tmp_path / "tuned"), "--max_steps", "3"]
    command += [
        "--per_device_train_batch_size",
        "2",
        "--max_length",
        "4096",
        "--report_to",
        "none",
        "--use_cpu",
        "True",
        "--bf16",
        "False",
    ]
    command += ["--save_strategy", "steps", "--save_steps", "3", "--logging_steps", "1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (state,) = (tmp_path / "tuned").glob("checkpoint-*/trainer_state.json")
    losses = [step["loss"] for step in json.loads(state.read_text())["log_history"] if "loss" in step]
    assert len(losses) == 3 and all(0 < loss < 20 for loss in losses)
