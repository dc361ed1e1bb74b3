"""`kill -9` at random moments of a build, its workers, a mix, a push and a training run: what is finished afterwards is whole.

Slow. `make attack` shows the outcomes in its table.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from attacks.outcome import Outcome, compare_rows
from hub.conftest import Hub
from hub.fault_matrix import rows_of
from hub.reading import ids
from train.conftest import QUIET, SFT, SMALL

from comvint_hf.training.checkpoints import find_whole

ROOT = Path(__file__).parents[2]
KILLS = {"build": 22, "workers": 22, "mix": 16, "push": 16, "train": 6}
PATIENCE = 900
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.fixture
def report(record_property) -> Callable[[list[Outcome]], None]:
    """Keep the outcomes for the table, and fail for one that is not clean."""

    def check(outcomes: list[Outcome]) -> None:
        record_property("outcomes", [asdict(outcome) for outcome in outcomes])
        assert [outcome for outcome in outcomes if not outcome.is_clean] == []

    return check


def start(command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, **pipes)


def finish(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, str, int]:
    """Run a command to its end; the seconds that it took, what it said, and its code."""
    began = time.monotonic()
    child = start(command, environment)
    _, said = child.communicate(timeout=PATIENCE)
    return time.monotonic() - began, said, child.returncode


def kill(command: list[str], latest: float, dice: random.Random, environment: dict[str, str] | None = None) -> bool:
    """Start a command and kill it at a random moment before `latest` seconds; whether it was still running."""
    child = start(command, environment)
    try:
        child.wait(dice.uniform(0.1, 1.0) * latest)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        running = True
    else:
        running = False  # it was sooner than it was before, on a busier machine
    child.communicate(timeout=PATIENCE)  # also until workers are gone, which hold the pipe
    return running


def rows(folder: Path) -> list[str]:
    return sorted(row for names in ids(folder).values() for row in names)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and ".build" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", ["build", "workers"])
def test_a_killed_build_goes_on_to_the_same_bytes(kind, tmp_path, report) -> None:
    flags = ["--tasks", "detail_description", "--shard-scenes", "2", *(["--num-workers", "2"] if kind == "workers" else [])]
    dice, outcomes, name = random.Random(f"{kind} 1"), [], ""

    def command(out: Path) -> list[str]:
        return ["builders/svit.py", "--scenes", "shapes:16", "--out", str(out), *flags]

    seconds, said, code = finish(command(tmp_path / "whole"))
    assert code == 0, said
    expected, bytes_expected = rows(tmp_path / "whole"), contents(tmp_path / "whole")
    while len(outcomes) < KILLS[kind]:
        name, out = f"{kind} {len(outcomes) + 1}", tmp_path / f"out-{len(outcomes)}"
        killed = sum(kill(command(out), seconds, dice) for _ in range(4))
        _, said, code = finish(command(out))
        note = "" if code == 0 and contents(out) == bytes_expected else f"it ended with {code} and other bytes: {said[-300:]}"
        outcome = compare_rows(name, rows(out) if code == 0 else [], expected, said=said, note=note)
        outcomes += [outcome, *(Outcome(name) for _ in range(killed - 1))][:killed]
        shutil.rmtree(out)
    report(outcomes)


def test_a_killed_mix_leaves_the_old_one_or_the_new_one(toy_dataset, tmp_path, report) -> None:
    parts, dice, outcomes = [str(toy_dataset(scenes=5)), str(toy_dataset(scenes=4, split=0.0))], random.Random("mix 1"), []

    def command(seed: int, out: Path) -> list[str]:
        flags = ["--take", "referring_qa=5", "--seed", str(seed), "--overwrite"]
        return ["builders/mix.py", "--dataset", *parts, "--out", str(out), *flags]

    versions = []
    for seed in (0, 1):
        seconds, said, code = finish(command(seed, tmp_path / f"mix-{seed}"))
        assert code == 0, said
        versions.append(rows(tmp_path / f"mix-{seed}"))
    out = Path(shutil.copytree(tmp_path / "mix-0", tmp_path / "out"))
    turn = 0
    while len(outcomes) < KILLS["mix"]:
        turn += 1
        if not kill(command(turn % 2, out), seconds, dice):
            continue
        if not out.exists():  # a kill between two renames: the next run puts the old one back
            out = out.with_name(f".{out.name}.replaced")
        outcomes.append(compare_rows(f"mix {len(outcomes) + 1}", rows(out), *versions))
        out = tmp_path / "out"
    _, said, code = finish(command(1, out))
    outcomes[-1] = compare_rows("mix at the end", rows(out), versions[1], said=said, note=said if code else "")
    report(outcomes)


def test_a_killed_push_leaves_the_old_version_or_the_new_one(hub: Hub, environment, toy_dataset, tmp_path, report) -> None:
    folders, dice, outcomes = [toy_dataset(scenes=4), toy_dataset(scenes=6)], random.Random("push 1"), []
    own = {**environment, "HF_HOME": str(tmp_path / "hf")}
    versions = [rows(folder) for folder in folders]

    def command(number: int) -> list[str]:
        return ["-m", "comvint_hf.cli", "push", str(folders[number]), "tester/kills"]

    for number in (1, 0):
        seconds, said, code = finish(command(number), own)
        assert code == 0, said
    turn = 0
    while len(outcomes) < KILLS["push"]:
        turn += 1
        if kill(command(turn % 2), seconds, dice, own):
            outcomes.append(compare_rows(f"push {len(outcomes) + 1}", rows_of(hub, "tester/kills"), *versions))
    _, said, code = finish(command(1), own)
    end = compare_rows("push at the end", rows_of(hub, "tester/kills"), versions[1], said=said, note=said if code else "")
    report([*outcomes[:-1], end])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, model, dataset, report) -> None:
    dice, outcomes = random.Random("train 1"), []

    def command(out: Path) -> list[str]:
        names = ["--model_name_or_path", str(model), "--dataset_name", str(dataset), "--output_dir", str(out)]
        resume = ["--resume_from_checkpoint", "true"] if find_whole(out) else []
        return [str(SFT), *names, *QUIET, *SMALL, "--max_steps", "12", "--save_steps", "1", "--save_total_limit", "3", *resume]

    seconds, said, code = finish(command(tmp_path / "whole"))
    assert code == 0, said
    expected = (tmp_path / "whole" / "model.safetensors").read_bytes()
    out, kills = tmp_path / "out", 0
    while len(outcomes) < KILLS["train"]:
        killed = kill(command(out), seconds, dice)
        kills += killed
        if killed and kills % 4:
            outcomes.append(Outcome(f"train {len(outcomes) + 1}"))
            continue
        _, said, code = finish(command(out))
        same = code == 0 and (out / "model.safetensors").read_bytes() == expected
        traceback = int("Traceback (most recent call last)" in said)
        note = "" if same else f"it ended with {code} and other weights: {said[-300:]}"
        outcomes.append(Outcome(f"train {len(outcomes) + 1}", lost=int(not same), tracebacks=traceback, note=note))
        shutil.rmtree(out)
    report(outcomes)


def test_there_are_as_many_kills_as_the_table_wants() -> None:
    assert sum(KILLS.values()) >= 80 and os.name == "posix"
