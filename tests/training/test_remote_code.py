"""Code from a model's repository is never run, whoever says yes on the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
CODE = """
import pathlib
pathlib.Path({ran!r}).write_text("ran")
from transformers import PretrainedConfig, PreTrainedModel, ProcessorMixin, PreTrainedTokenizerFast
class Config(PretrainedConfig): model_type = "theirs"
class Model(PreTrainedModel): config_class = Config
class Processor(ProcessorMixin): attributes = []
class Tokenizer(PreTrainedTokenizerFast): pass
"""
LOADERS = {
    "processor": "from comvint_hf.model_families import load_processor as load; load(folder)",
    "model": (
        "from trl import ModelConfig; from comvint_hf.training.model_loading import load_model;"
        "load_model(ModelConfig(model_name_or_path=folder))"
    ),
    "base": (
        "from comvint_hf.training.merge import BaseCheckpoint, load_base;"
        "load_base(BaseCheckpoint(name_or_path=folder, revision=None, dtype=None, quantization=None))"
    ),
}


@pytest.fixture
def theirs(tmp_path) -> tuple[Path, Path]:
    """A model folder that only its own code can load, and the file that this code would write."""
    folder, ran = tmp_path / "theirs", tmp_path / "ran"
    folder.mkdir()
    (folder / "theirs.py").write_text(CODE.format(ran=str(ran)))
    classes = {"AutoConfig": "Config", "AutoModelForImageTextToText": "Model", "AutoProcessor": "Processor"}
    auto_map = {name: f"theirs.{kind}" for name, kind in classes.items()}
    (folder / "config.json").write_text(json.dumps({"model_type": "theirs", "auto_map": auto_map}))
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Processor", "auto_map": auto_map}))
    auto_map = {"AutoTokenizer": ["theirs.Tokenizer", "theirs.Tokenizer"]}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Tokenizer", "auto_map": auto_map}))
    return folder, ran


@pytest.mark.parametrize("loader", LOADERS)
def test_a_model_that_needs_its_own_code_ends_in_a_sentence_although_yes_is_typed(loader, theirs) -> None:
    folder, ran = theirs
    script = f"""
import sys
from comvint_hf.errors import first_line
folder = sys.argv[1]
try:
    {LOADERS[loader]}
except Exception as error:
    print("ended:", first_line(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], input="y\n" * 100, capture_output=True, text=True, check=True, cwd=PACKAGE
    )
    assert not ran.exists(), done.stdout
    assert "ended:" in done.stdout and "code from a model's repository is never run" in done.stdout, done.stdout + done.stderr
    assert "[y/N]" not in done.stdout + done.stderr


def test_every_auto_class_of_the_package_is_loaded_without_remote_code() -> None:
    files = [path for room in ("comvint_hf", "train", "space", "builders") for path in (PACKAGE / room).rglob("*.py")]
    calls = [
        (path.name, text[start : start + 300].split(")\n")[0])
        for path in files
        if (text := path.read_text())
        for start in range(len(text))
        if text.startswith("Auto", start) and ".from_pretrained(" in text[start : start + 60].split("\n")[0]
    ]
    assert len(calls) >= 8
    assert not [call for call in calls if "trust_remote_code=False" not in call[1]]
