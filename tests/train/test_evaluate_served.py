"""train/evaluate.py --serve: the endpoint of the model is there for the evaluation and for no longer."""

import json
import subprocess
import sys
from pathlib import Path

from endpoint import served

from comvint_hf import AnnotationLLM, LLMs, build, load_scenes
from comvint_hf.generation.recipes.comvint import comvint

SCRIPT = Path(__file__).parents[2] / "train" / "evaluate.py"


def test_a_served_model_is_evaluated_and_its_server_ended(tmp_path) -> None:
    recipe = comvint(rounds=0, formats=("bool",), count=2)
    build(load_scenes("shapes:8"), recipe, LLMs.one(AnnotationLLM()), tmp_path / "set", progress=False, split=0.5)
    command = f"{sys.executable} {served.__file__} --port {{port}} --requests {tmp_path / 'requests'}"
    words = [
        "--model",
        "toy-model",
        "--serve",
        command,
        "--dataset",
        tmp_path / "set",
        "--limit",
        3,
        "--out",
        tmp_path / "r.json",
    ]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0 < json.loads((tmp_path / "r.json").read_text())["n"]["closed"] <= 3
    assert "listening on" in (tmp_path / "server.log").read_text()
    assert not any(map(served.is_running, map(int, (tmp_path / "requests").read_text().split())))
