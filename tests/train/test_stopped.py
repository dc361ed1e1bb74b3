"""A training run that is stopped, meets a full disk, or finds a damaged checkpoint: one sentence, and nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from train.conftest import QUIET, SFT, SMALL

from comvint_hf.training.checkpoints import find_checkpoint, find_damage

RESUME = ["--resume_from_checkpoint", "true"]
STEPS = ["--max_steps", "3", "--save_steps", "1"]
PATIENCE = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory, model, dataset) -> Path:
    """The folder of a run of three steps, with a checkpoint of each."""
    out = tmp_path_factory.mktemp("run") / "out"
    done = subprocess.run(command(out, model, dataset, *STEPS), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def fresh(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "out"))


def command(out: Path, model: Path, dataset: Path, *flags: str) -> list[str]:
    names = ["--model_name_or_path", str(model), "--dataset_name", str(dataset), "--output_dir", str(out)]
    return [sys.executable, str(SFT), *names, *QUIET, *SMALL, *flags]


def content(folder: Path) -> dict[str, bytes]:
    """Every file; without the card, which TRL writes at each checkpoint and the script at the end."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "README.md")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def cut(path: Path, size: int = 1000) -> None:
    os.truncate(path, min(size, path.stat().st_size // 2))


DAMAGES = {
    "cut optimizer": (lambda folder: cut(folder / "optimizer.pt"), "optimizer.pt is cut off"),
    "empty scheduler": (lambda folder: os.truncate(folder / "scheduler.pt", 0), "scheduler.pt is cut off"),
    "cut weights": (lambda folder: cut(folder / "model.safetensors", 10**5), "model.safetensors is cut off"),
    "cut head of weights": (lambda folder: os.truncate(folder / "model.safetensors", 4), "model.safetensors is cut off"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "its weights are missing"),
    "no optimizer": (lambda folder: (folder / "optimizer.pt").unlink(), "optimizer.pt is missing"),
    "no state": (lambda folder: (folder / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    "cut state": (lambda folder: cut(folder / "trainer_state.json", 300), "trainer_state.json cannot be read as JSON"),
    "state of zeros": (lambda folder: (folder / "trainer_state.json").write_bytes(bytes(500)), "trainer_state.json cannot be"),
    "state without step": (lambda folder: (folder / "trainer_state.json").write_text("{}"), "trainer_state.json names no step"),
    "cut config": (lambda folder: cut(folder / "config.json", 30), "config.json cannot be read as JSON"),
    "empty folder": (lambda folder: (shutil.rmtree(folder), folder.mkdir()), "trainer_state.json is missing"),
    "a shard is missing": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-2.safetensors"}}'),
        "model.safetensors.index.json names model-2.safetensors, which is missing",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_found_and_the_one_before_is_taken(damage, fresh) -> None:
    spoil, found = DAMAGES[damage]
    spoil(fresh / "checkpoint-3")
    lines: list[str] = []
    assert find_checkpoint("true", fresh, lines.append) == str(fresh / "checkpoint-2")
    assert len(lines) == 1 and lines[0].startswith(f"checkpoint-3 is damaged: {found}")
    assert lines[0].endswith("training goes on from checkpoint-2.")


def test_whole_checkpoints_are_whole_and_the_latest_step_counts(fresh) -> None:
    assert [find_damage(fresh / f"checkpoint-{step}") for step in (1, 2, 3)] == [None] * 3
    (fresh / "checkpoint-1").rename(fresh / "checkpoint-10")
    assert find_checkpoint(True, fresh) == str(fresh / "checkpoint-10")


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tune, fresh, run, capsys) -> None:
    cut(fresh / "checkpoint-3" / "optimizer.pt")
    tune(fresh, *STEPS, *RESUME)
    assert "checkpoint-3 is damaged: optimizer.pt is cut off, so training goes on from checkpoint-2." in capsys.readouterr().out
    assert (fresh / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_without_a_whole_checkpoint_it_is_wrong_use(tune, fresh, capsys) -> None:
    for step in (1, 2, 3):
        cut(fresh / f"checkpoint-{step}" / "optimizer.pt")
    with pytest.raises(SystemExit) as ended:
        tune(fresh, *STEPS, *RESUME)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith(f"No checkpoint under {fresh} is whole (checkpoint-3 is damaged: ")
    assert len(said.splitlines()) == 1


def test_a_named_checkpoint_that_is_damaged_is_refused_with_the_one_to_take(tune, fresh, capsys) -> None:
    (fresh / "checkpoint-3" / "trainer_state.json").unlink()
    with pytest.raises(SystemExit) as ended:
        tune(fresh, *STEPS, "--resume_from_checkpoint", str(fresh / "checkpoint-3"))
    said = capsys.readouterr().err
    assert ended.value.code == 2 and f"resume from {fresh / 'checkpoint-2'}" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("steps", [STEPS, ["--num_train_epochs", "0.25", "--save_steps", "1"]], ids=["steps", "epochs"])
def test_a_finished_run_gets_no_step_more_however_often_it_is_resumed(steps, tune, tmp_path, capsys) -> None:
    tune(tmp_path, *steps)
    before = content(tmp_path)
    for _ in range(2):
        capsys.readouterr()
        tune(tmp_path, *steps, *RESUME)
        said = capsys.readouterr().out
        assert (
            "The run is finished: " in said
            and "so no step was added." in said
            and "loss" not in said.split("The run is")[0][-60:]
        )
        after = content(tmp_path)
        assert after.keys() == before.keys()
        changed = {name for name in before if after[name] != before[name] and not name.endswith("training_args.bin")}
        assert not changed


def test_a_finished_run_that_was_killed_before_it_saved_its_model_saves_it(tune, fresh, run) -> None:
    for name in ("model.safetensors", "config.json", "comvint.json", "README.md"):
        (fresh / name).unlink()
    tune(fresh, *STEPS, *RESUME)
    assert (fresh / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert (fresh / "comvint.json").exists() and (fresh / "README.md").exists()


def start(out: Path, model: Path, dataset: Path, *flags: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(out, model, dataset, *flags), env=os.environ | {"PYTHONUNBUFFERED": "1"}, **pipes)


def until_said(child: subprocess.Popen[str], words: str) -> None:
    for line in child.stdout:
        if words in line:
            return
    raise AssertionError(child.stderr.read())


def test_sigterm_ends_the_step_saves_a_checkpoint_and_says_how_to_go_on(model, dataset, tmp_path, tune, capsys) -> None:
    child = start(tmp_path, model, dataset, "--max_steps", "4000", "--save_strategy", "no")
    until_said(child, "step 2 of")
    child.send_signal(signal.SIGTERM)
    out, said = child.communicate(timeout=PATIENCE)
    (saved,) = tmp_path.glob("checkpoint-*")
    step = int(saved.name.partition("-")[2])
    hint = f"To continue from {saved.name}, run the same command with --resume_from_checkpoint true."
    assert child.returncode == 130 and said.splitlines()[-1] == f"Stopped. {hint}" and "Traceback" not in out + said
    assert find_damage(saved) is None and not (tmp_path / "model.safetensors").exists()
    tune(tmp_path, "--max_steps", str(step + 1), "--save_strategy", "no", *RESUME)
    assert f"step {step + 1} of {step + 1}" in capsys.readouterr().out


def test_ctrl_c_says_from_where_the_run_goes_on(model, dataset, tmp_path) -> None:
    child = start(tmp_path, model, dataset, "--max_steps", "4000", "--save_strategy", "no")
    until_said(child, "step 2 of")
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130
    assert said.splitlines()[-1] == "Stopped. No checkpoint was saved yet, so the same command starts from the beginning."


@pytest.mark.parametrize("written", ["nothing", "model.safetensors", "optimizer.pt"])
def test_a_full_disk_at_a_checkpoint_is_one_sentence_and_the_earlier_ones_stay(written, tune, run, small_disk, capsys) -> None:
    """A real disk that is full after this file of the new checkpoint."""
    out = Path(shutil.copytree(run, small_disk() / "out"))
    before = content(out)
    sizes = {name: (run / "checkpoint-3" / name).stat().st_size for name in ("model.safetensors", "optimizer.pt")}
    small_disk(
        {"nothing": 0, "model.safetensors": sizes["model.safetensors"], "optimizer.pt": sum(sizes.values())}[written] + 20_000
    )
    with pytest.raises(SystemExit) as ended:
        tune(out, "--max_steps", "5", "--save_steps", "1", *RESUME)
    said = capsys.readouterr().err
    assert (
        ended.value.code == 1
        and f"{out / 'checkpoint-4'} cannot be written. The disk refuses" in said
        and "Traceback" not in said
    )
    assert said.endswith("To continue from checkpoint-3, run the same command with --resume_from_checkpoint true.\n")
    assert content(out) == before


def test_a_checkpoint_that_was_written_stays_whatever_fails_after_it(tune, tmp_path, monkeypatch, capsys) -> None:
    def failing(**_: object) -> None:
        raise ConnectionError("the upload failed")

    monkeypatch.setattr("transformers.trainer.rotate_checkpoints", failing)
    with pytest.raises(SystemExit):
        tune(tmp_path, *STEPS)
    assert find_damage(tmp_path / "checkpoint-1") is None and "the upload failed" in capsys.readouterr().err
