"""Ctrl-C and SIGTERM from the first moment on, and disks that refuse: one sentence, the right code, no traceback, nothing lost.

Every command runs in a process of its own and gets real signals.
"""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.1, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("arguments", [["preview"], ["stats"], ["build"]], ids=" ".join)
def test_ctrl_c_at_any_moment_is_one_sentence(arguments, delay, toy_dataset, tmp_path) -> None:
    """At the latest moments the command has done its work already."""
    flags = ["--recipe", "svit", "--scenes", "shapes:40", "--out", str(tmp_path / "out")]
    child = start(["-m", "comvint_hf.cli", *arguments, *(flags if arguments == ["build"] else [str(toy_dataset())])])
    wait_until_guarded(child)
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=PATIENCE)
    assert (child.returncode, len(said.splitlines())) == (130, 1) if said else child.returncode in (0, -signal.SIGINT)
    assert "Traceback" not in said
