"""What of a model's folder leaves the machine: everything others need, and no place of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comvint_hf.conventions import Conventions
from comvint_hf.hub.model_files import ADAPTER, collect_files

HOME = "/home/me/build"


@pytest.fixture
def tuned(tmp_path) -> Path:
    """An adapter as tuning leaves it, its base in a folder of this machine."""
    folder = tmp_path / "adapter"
    Conventions(base_model=f"{HOME}/tiny", base_revision="abc", dataset=f"{HOME}/rows", learn="response").write(folder)
    told = {
        ADAPTER: {"base_model_name_or_path": f"{HOME}/tiny", "revision": None, "r": 8, "target_modules": "model/.*/q_proj"},
        "trainer_state.json": {"best_model_checkpoint": f"{HOME}/my models/out/", "log_history": [{"loss": 1.5}]},
        "tokenizer_config.json": {"name_or_path": "C:\\Users\\me\\tiny", "eos_token": "</s>", "unk_token": "//"},
        "tokenizer.json": {"model": {"vocab": {"a": 0, "/home/me/": 1}}, "normalizer": "/usr/bin/env"},
        "processor_config.json": {"image_seq_length": 9},
    }
    for name, content in told.items():
        (folder / name).write_text(json.dumps(content))
    for name in ("adapter_model.safetensors", "training_args.bin", ".lock", "train.log", "results_answers.jsonl", "LICENSE"):
        (folder / name).write_bytes(b"x")
    (folder / "checkpoint-3").mkdir()
    return folder


def read(sent: Path | bytes) -> dict:
    return json.loads(sent if isinstance(sent, bytes) else sent.read_bytes())


def test_no_place_of_this_machine_is_sent(tuned) -> None:
    before = {path.name: path.read_bytes() for path in tuned.iterdir() if path.is_file()}
    sent = collect_files(tuned)
    assert before.keys() - sent.keys() == {"training_args.bin", ".lock", "train.log", "results_answers.jsonl"}
    agreed = read(sent["comvint.json"])
    assert (agreed["base_model"], agreed["base_revision"], agreed["dataset"]) == (None, None, "rows")
    assert agreed["learn"] == "response"
    assert read(sent[ADAPTER]) == {"base_model_name_or_path": None, "revision": None, "r": 8, "target_modules": "model/.*/q_proj"}
    assert read(sent["trainer_state.json"]) == {"best_model_checkpoint": "out", "log_history": [{"loss": 1.5}]}
    assert read(sent["tokenizer_config.json"]) == {"name_or_path": "tiny", "eos_token": "</s>", "unk_token": "//"}
    for name in ("tokenizer.json", "processor_config.json", "adapter_model.safetensors"):
        assert sent[name] == tuned / name, "nothing was to be mended there"
    assert {path.name: path.read_bytes() for path in tuned.iterdir() if path.is_file()} == before


def test_a_base_on_the_hub_is_named(tuned) -> None:
    sent = collect_files(tuned, "org/base")
    assert read(sent["comvint.json"])["base_model"] == read(sent[ADAPTER])["base_model_name_or_path"] == "org/base"
    Conventions(base_model="org/base", base_revision="abc", dataset="org/rows").write(tuned)
    assert collect_files(tuned)["comvint.json"] == tuned / "comvint.json"


def test_a_relative_folder_is_no_name_on_the_hub_wherever_one_stands(tuned, monkeypatch, tmp_path) -> None:
    (tuned.parent / "build" / "tiny").mkdir(parents=True)
    Conventions(base_model="build/tiny").write(tuned)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert read(collect_files(tuned)["comvint.json"])["base_model"] is None


def test_relative_places_keep_only_their_name_and_patterns_stay(tuned, monkeypatch) -> None:
    monkeypatch.chdir(tuned.parent)
    told = {
        "best_model_checkpoint": "adapter/checkpoint-3",
        "target_modules": "model/.*/q_proj",
        "hub": "org/other",
        "x": "/" * 300,
    }
    (tuned / "trainer_state.json").write_text(json.dumps(told))
    assert read(collect_files(tuned)["trainer_state.json"]) == {**told, "best_model_checkpoint": "checkpoint-3"}
