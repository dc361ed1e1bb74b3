"""The parts of real_weights.py that need no weights: what it asks for, what it serves with, and what it prints."""

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from real.weights import find_weights, make_serve_command
from real.yields import format_table, read_yields

from comvint_hf import build
from comvint_hf.errors import InputError
from comvint_hf.sources import load_scenes

SCRIPT = Path(__file__).parents[2] / "examples" / "experiments" / "real_weights.py"


def test_without_weights_it_says_how_to_give_some(tmp_path) -> None:
    for gguf in ((), ("--gguf", str(tmp_path / "none.gguf"))):
        words = [sys.executable, str(SCRIPT), *gguf, "--tools", str(tmp_path), "--out", str(tmp_path / "out")]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "REAL_GGUF" in done.stderr and "Traceback" not in done.stderr


def test_fetched_weights_are_found_again(tmp_path) -> None:
    (tmp_path / "small.gguf").touch()
    assert find_weights(None, "small", tmp_path / "no-tools", tmp_path) == tmp_path / "small.gguf"


def test_llama_server_is_preferred_and_its_absence_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="llama-server.*REAL_SERVE=COMMAND"):
        make_serve_command(Path("small.gguf"), tmp_path)
    (tmp_path / "llama-server").touch()
    (tmp_path / "llama-server").chmod(stat.S_IRWXU)
    words = shlex.split(make_serve_command(Path("small model.gguf"), tmp_path))
    assert words[:3] == ["llama-server", "-m", "small model.gguf"] and words[words.index("--port") + 1] == "{port}"
    assert os.environ["PATH"] == str(tmp_path)


def test_the_table_has_what_was_kept_and_why_the_rest_was_not(tmp_path, toy_recipe) -> None:
    from comvint_hf import LLMs, ScriptedLLM

    build(load_scenes("shapes:6"), toy_recipe, LLMs.one(ScriptedLLM([])), tmp_path / "set", progress=False)
    yields = read_yields(tmp_path / "set")
    table = format_table({"toy": tmp_path / "set", "stopped": tmp_path / "none"})
    assert sum(kept for kept, _ in yields.values()) and sum(reasons.total() for _, reasons in yields.values())
    for task, (kept, reasons) in yields.items():
        assert f"| toy | {task} | {kept + reasons.total()} | {kept} (" in table
        assert all(reason in table for reason, _ in reasons.most_common(3))
    assert "stopped" not in table
