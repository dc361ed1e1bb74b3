"""`--report_to trackio` leaves curves on this machine that trackio reads back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SFT = Path(__file__).parents[2] / "train" / "sft.py"


def test_a_run_leaves_its_curves(model, dataset, tmp_path) -> None:
    pytest.importorskip("trackio")
    names = ["--model_name_or_path", model, "--dataset_name", dataset, "--output_dir", tmp_path / "out"]
    here = ["--use_cpu", "--bf16", "false", "--gradient_checkpointing", "false", "--save_strategy", "no"]
    curves = ["--max_steps", "3", "--logging_steps", "1", "--report_to", "trackio", "--project", "tried"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRACKIO_DIR": str(tmp_path / "trackio")}

    def do(*command: object) -> str:
        return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, env=environment).stdout

    do(sys.executable, SFT, *names, *here, *curves)
    run = json.loads(do(sys.executable, "-m", "trackio.cli", "list", "runs", "--project", "tried", "--json"))["runs"][0]
    loss = ["get", "metric", "--project", "tried", "--run", run, "--metric", "train/loss", "--json"]
    told = json.loads(do(sys.executable, "-m", "trackio.cli", *loss))
    assert len(told["values"]) == 3 and all(point["value"] > 0 for point in told["values"])
