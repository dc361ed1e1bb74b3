"""Ctrl-C and SIGTERM from the first moment on, and disks that refuse: one sentence, the right code, no traceback, nothing lost.

Every command runs in a process of its own and gets real signals.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    "builders/svit.py",
    "builders/comvint.py",
    "builders/vlit.py",
    "builders/mix.py",
    "train/sft.py",
    "train/evaluate.py",
    "train/merge.py",
    "train/pretrain_tiny.py",
    "space/app.py",
    "space/deploy.py",
]
COMMANDS = {"comvint": ["-m", "comvint_hf.cli"], **{script: [str(ROOT / script)] for script in SCRIPTS}}
SIGNALS = [signal.SIGINT, signal.SIGTERM]
PATIENCE = 300
HANDLED = 1 << (signal.SIGTERM - 1)


def start(arguments: list[str], **settings) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, **pipes, **settings)


def wait_until_guarded(child: subprocess.Popen[str]) -> None:
    """Until the first lines of the script have run: Python itself handles no SIGTERM."""
    status = Path(f"/proc/{child.pid}/status")
    if not status.exists():
        pytest.skip("this system does not tell which signals a process handles")
    over = time.monotonic() + PATIENCE
    while not int(status.read_text().split("SigCgt:")[1].split()[0], 16) & HANDLED:
        assert child.poll() is None and time.monotonic() < over
        time.sleep(0.001)


@pytest.mark.parametrize("stop", SIGNALS, ids=lambda one: one.name)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_while_the_libraries_load_is_one_sentence(name, stop) -> None:
    child = start([*COMMANDS[name], "--help"])
    wait_until_guarded(child)
    time.sleep(0.02)
    child.send_signal(stop)
    out, said = child.communicate(timeout=PATIENCE)
    assert (child.returncode, out, said) == (130, "", "Stopped. Nothing was done yet.\n")


ROWS_OF = 30
"""Scenes of a dataset that has plots."""
MIX = ["builders/mix.py", "--dataset", "{rows}", "--out", "{disk}/mix"]
WRITERS = {
    "mix": MIX,
    "preview": ["-m", "comvint_hf.cli", "preview", "{rows}", "--out", "{disk}/page.html"],
    "plots": ["-m", "comvint_hf.cli", "stats", "{rows}", "--plots", "{disk}/plots"],
    "build": ["builders/svit.py", "--scenes", "shapes:12", "--out", "{disk}/build"],
}


def refuse(writer: str, rows: Path, disk: Path) -> str:
    """Run a command whose disk refuses; gives its sentence."""
    child = start([word.format(rows=rows, disk=disk) for word in WRITERS[writer]])
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode in (1, 2) and "Traceback" not in said, said
    assert len([line for line in said.splitlines() if line and not line.startswith(("Usage:", "Try "))]) == 1, said
    return said


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_sentence_and_a_second_run_finishes(writer, toy_dataset, small_disk) -> None:
    rows, disk = toy_dataset(scenes=ROWS_OF), small_disk(4096)
    assert "No space left on device" in refuse(writer, rows, disk)
    small_disk()
    child = start([word.format(rows=rows, disk=disk) for word in WRITERS[writer]])
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, said


@pytest.mark.parametrize("writer", WRITERS)
def test_a_read_only_folder_is_one_sentence(writer, toy_dataset, tmp_path, read_only) -> None:
    (tmp_path / "shelf").mkdir()
    read_only(tmp_path / "shelf")
    said = refuse(writer, toy_dataset(scenes=ROWS_OF), tmp_path / "shelf")
    assert "Read-only file system" in said or "not writable" in said


@pytest.mark.parametrize("writer", ["mix", "preview"])
def test_what_stood_there_survives_a_full_disk(writer, toy_dataset, small_disk) -> None:
    rows, disk = toy_dataset(scenes=ROWS_OF), small_disk()
    command = [word.format(rows=rows, disk=disk) for word in WRITERS[writer]]
    assert start(command).wait(PATIENCE) == 0
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file() and path.name != ".ballast"}
    small_disk(4096)
    child = start([*command, *(["--overwrite", "--seed", "1"] if writer == "mix" else ["--seed", "1"])])
    _, said = child.communicate(timeout=PATIENCE)
    assert child.returncode == 1 and "No space left on device" in said and len(said.splitlines()) == 1
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("delay", [0.01, 0.2, 0.4])
@pytest.mark.parametrize("stop", SIGNALS, ids=lambda one: one.name)
@pytest.mark.parametrize("writer", ["mix", "build"])
def test_a_signal_at_any_moment_is_one_sentence_and_a_second_run_finishes(writer, stop, delay, toy_dataset, tmp_path) -> None:
    words = [word.format(rows=toy_dataset(), disk=tmp_path) for word in WRITERS[writer]]
    child = start(words)
    wait_until_guarded(child)
    time.sleep(delay)
    child.send_signal(stop)
    _, said = child.communicate(timeout=PATIENCE)
    # A command that has done its work may end, or be ended, without a word.
    assert (child.returncode, len(said.splitlines())) == (130, 1) if said else child.returncode in (0, -stop), (child, said)
    assert start(words).wait(PATIENCE) == 0
