"""The builders with `--num-workers N`: processes here, stopped and killed in every way, and the dataset is the same for any number."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from builders.wired import BUILDERS, PATIENCE, contents, finish, kill, rehearse, run, start, until
from endpoint.answers import RecordedReplies
from endpoint.server import Endpoint, serve

from comvint_hf.pipeline import distributed

pytest.importorskip("datatrove", reason="workers need datatrove: pip install '.[scale]'")
SCENES = 24
SHARDS = ("--shard-scenes", "5")


def offline(out: Path, *more: object, scenes: int = SCENES, script: str = "svit") -> subprocess.Popen[str]:
    return run(script, "--scenes", f"shapes:{scenes}", "--out", out, *SHARDS, *more)


def state(out: Path) -> dict[str, bytes]:
    """The plan and the markers of the shards."""
    return {path.name: path.read_bytes() for path in sorted((out / ".build").glob("*.json"))}


def children(parent: int) -> list[int]:
    """The workers that a process has started and that still run, in their order."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            its = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if its == parent and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return sorted(found)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def pending(pid: int, number: int) -> bool:
    """Whether a signal was sent to a process that has not yet looked."""
    masks = re.search(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(masks[1], 16) >> (number - 1) & 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "set"
    finish(offline(out))
    return out


def test_four_workers_leave_the_bytes_of_one_and_what_else_they_leave_is_named(whole, tmp_path) -> None:
    told, said = finish(offline(tmp_path / "set", "--num-workers", 4))
    assert contents(tmp_path / "set") == contents(whole) and state(tmp_path / "set") == state(whole)
    beside = {path.name for path in (tmp_path / "set" / ".build").iterdir() if not path.name.endswith(".json")}
    assert beside == {"lock", Path(distributed.STATUSES).name, Path(distributed.LOGS).name}
    assert re.search(rf"rows of {SCENES} images, 0 rejected, in [\d.]+ s", told) and "datatrove" not in told + said


def test_a_number_of_tasks_is_still_taken_for_the_workers_with_a_warning(tmp_path) -> None:
    finish(offline(tmp_path / "one" / "set", "--tasks", "referring_qa", scenes=8))
    for number, flags in {2: ("--tasks", 2), 3: ("--tasks=3",)}.items():
        out = tmp_path / str(number) / "set"
        _, said = finish(offline(out, *flags, "--tasks", "referring_qa", scenes=8))
        assert said.splitlines()[0] == "--tasks is now called --num-workers; the old name goes with the next version."
        assert contents(tmp_path / "one" / "set") == contents(out)
        assert len(list((out / distributed.STATUSES).iterdir())) == number
    assert {path.name for path in (tmp_path / "one" / "set" / "data").iterdir()} == {"referring_qa"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--num-workers", "0"), "Invalid value for '--num-workers': 0 is not in the range x>=1."),
        (("--tasks", "-2"), "Invalid value for '--num-workers': -2 is not in the range x>=1."),
        (("--tasks", "four"), "four was given: expected some of conversation, "),
    ],
)
def test_what_is_neither_a_number_nor_names_is_refused_in_a_sentence(flags, said, tmp_path) -> None:
    _, error = finish(offline(tmp_path / "set", *flags), code=2)
    assert said in " ".join(error.split())


def test_one_process_needs_no_datatrove(tmp_path) -> None:
    code = "import runpy, sys; sys.modules['datatrove'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    script = str(BUILDERS / "svit.py")
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.argv = {[script, '--scenes', 'shapes:3', '--out', str(tmp_path / 'set')]}; {code}",
    ]
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).returncode == 0
    command[-1] = command[-1].replace("'--out'", "'--num-workers', '2', '--out'")
    refused = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False, text=True)
    assert refused.returncode == 1 and "need datatrove, which is not installed: pip install '.[scale]'" in refused.stderr


def shards_of(out: Path) -> int:
    return len(list((out / ".build").glob("0*.json")))


def test_killed_at_any_moment_any_other_number_of_workers_ends_with_the_same_bytes(tmp_path) -> None:
    dice, out, left, many = random.Random(7), tmp_path / "set", [], 400
    for workers in (3, 2):
        child, more = offline(out, "--num-workers", workers, scenes=many), shards_of(out) + dice.randint(1, 9)
        until(child, lambda more=more: shards_of(out) >= more)
        left += children(child.pid)
        kill(child)
    assert left and shards_of(out) < many / 5, "workers were running"
    finish(offline(out, "--num-workers", 4, scenes=many))
    assert all(gone(pid) for pid in left), "workers stop when the process that started them is gone"
    finish(offline(tmp_path / "whole" / "set", scenes=many))
    assert contents(out) == contents(tmp_path / "whole" / "set") and state(out) == state(tmp_path / "whole" / "set")


def test_a_worker_that_is_killed_is_noticed_and_named_and_the_others_do_their_work(whole, tmp_path) -> None:
    out = tmp_path / "set"
    child = offline(out, "--num-workers", 2)
    until(child, lambda: bool(children(child.pid)))
    os.kill(children(child.pid)[0], signal.SIGKILL)
    _, said = finish(child, code=1)
    assert re.search(r"Worker 0 of 2: it was killed \(signal 9\); finished shards are kept\. Run the same command again", said)
    assert {path.name for path in (out / ".build").glob("0*.json")} >= {"00001.json", "00003.json"}
    finish(offline(out, "--num-workers", 3))
    assert contents(out) == contents(whole)


@pytest.fixture(scope="module")
def rehearsed() -> RecordedReplies:
    return rehearse(f"shapes:{SCENES}")


@pytest.fixture(scope="module")
def asked(rehearsed, tmp_path_factory) -> tuple[Path, Endpoint, str]:
    """One process with an endpoint: its dataset, what it paid for, and what it said."""
    out, endpoint = tmp_path_factory.mktemp("asked") / "set", Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        told, _ = finish(start(url, out, *SHARDS))
    return out, endpoint, told


def test_workers_share_the_replies_and_say_together_what_was_asked(rehearsed, asked, tmp_path) -> None:
    out, before, said = asked
    endpoint = Endpoint(answer=rehearsed.answer, latency=0.01)
    with serve(endpoint) as url:
        told, _ = finish(start(url, tmp_path / "set", *SHARDS, "--num-workers", 3, "--concurrency", 9))
        finish(
            start(url, tmp_path / "again" / "set", *SHARDS, "--cache", tmp_path / "set/.build/replies.sqlite", "--num-workers", 2)
        )
    assert endpoint.paid == before.paid, "nothing is paid twice, by one worker or by two"
    assert contents(tmp_path / "set") == contents(out) == contents(tmp_path / "again" / "set")
    counted = [line for line in said.splitlines() if line.startswith(("toy-model: ", "  svit/"))]
    assert len(counted) > 4 and [line for line in told.splitlines() if line in counted] == counted


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_lets_the_replies_of_all_workers_come_back(stop, rehearsed, asked, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer, held=Future())
    with serve(endpoint) as url:
        child = start(url, tmp_path / "set", *SHARDS, "--num-workers", 2, "--concurrency", 8)
        until(child, lambda: endpoint.asked.total() >= 8)
        child.send_signal(stop)
        for _ in range(2):
            assert child.stderr.readline().startswith("Waiting for 4 replies under way")
        endpoint.held.set_result(None)
        _, said = finish(child, code=130)
        assert said.startswith("Stopped. Run the same command again") and endpoint.asked.total() == 8
        finish(start(url, tmp_path / "set", *SHARDS, "--num-workers", 3))
    assert endpoint.paid == asked[1].paid and contents(tmp_path / "set") == contents(asked[0])


@contextmanager
def two_workers_waiting(rehearsed: RecordedReplies, out: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A build of two workers that wait for four replies each, which will not come; and the workers."""
    endpoint = Endpoint(answer=rehearsed.answer, latency=3600)
    with serve(endpoint) as url:
        child = start(url, out, *SHARDS, "--num-workers", 2, "--concurrency", 8)
        until(child, lambda: endpoint.asked.total() >= 8)
        yield child, children(child.pid)


def test_a_second_signal_leaves_at_once(rehearsed, tmp_path) -> None:
    with two_workers_waiting(rehearsed, tmp_path / "set") as (child, left):
        child.send_signal(signal.SIGINT)
        assert child.stderr.readline().startswith("Waiting for 4 replies under way")
        child.send_signal(signal.SIGINT)
        _, said = finish(child, code=130)
    assert "Stopped." in said and len(left) == 2 and all(gone(pid) for pid in left)


def test_workers_to_which_both_signals_are_one_leave_as_well(rehearsed, tmp_path) -> None:
    with two_workers_waiting(rehearsed, tmp_path / "set") as (child, left):
        for pid in left:
            os.kill(pid, signal.SIGSTOP)  # as if it had no processor just then
        for number in (signal.SIGINT, signal.SIGTERM):  # two of one kind might be one to the parent too
            child.send_signal(number)
        until(child, lambda: all(pending(pid, signal.SIGTERM) for pid in left))
        for pid in left:
            os.kill(pid, signal.SIGCONT)
        _, said = finish(child, code=130)
    assert "Stopped." in said and all(gone(pid) for pid in left)


def test_the_budget_holds_over_all_workers_and_is_said_once(rehearsed, asked, tmp_path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["toy-model"]\ninput = 100\noutput = 200\n')
    endpoint = Endpoint(answer=rehearsed.answer, latency=0.02)
    flags = (*SHARDS, "--concurrency", 8, "--prices", prices)
    with serve(endpoint) as url:
        for budget, workers in ((5, 2), (9, 3)):
            _, said = finish(start(url, tmp_path / "set", *flags, "--num-workers", workers, "--budget", budget), code=1)
            assert f"The budget of ${budget}.00 has no room for the next request" in said
            tokens = endpoint.tokens
            assert 0 < (100 * tokens["prompt"] + 200 * tokens["completion"]) / 1e6 <= budget
        finish(start(url, tmp_path / "set", *flags, "--num-workers", 2, "--budget", 500))
    assert endpoint.paid == asked[1].paid


def test_a_wrong_key_is_one_sentence_however_many_workers_get_it(tmp_path) -> None:
    endpoint = Endpoint(key="another")
    with serve(endpoint) as url:
        _, said = finish(start(url, tmp_path / "set", *SHARDS, "--num-workers", 2), code=1)
    (line,) = [line for line in said.splitlines() if line.startswith("Worker ")]
    assert line.startswith("Worker 0, 1 of 2: ") and "Incorrect API key provided." in line


def test_a_batch_is_not_split(tmp_path) -> None:
    endpoint = Endpoint()
    with serve(endpoint) as url:
        child = start(url, tmp_path / "set", "--num-workers", 2, "--batch")
        assert "--batch cannot be used, as --num-workers and --executor split the build" in finish(child, code=2)[1]
    assert not endpoint.asked


def test_a_killed_build_with_an_endpoint_pays_again_only_for_what_was_on_its_way(rehearsed, asked, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer, latency=0.02)
    with serve(endpoint) as url:
        child = start(url, tmp_path / "set", *SHARDS, "--num-workers", 2, "--concurrency", 4)
        until(child, lambda: endpoint.paid.total() >= 30)
        kill(child)
        finish(start(url, tmp_path / "set", *SHARDS, "--num-workers", 3, "--concurrency", 4))
    assert endpoint.paid.total() <= asked[1].paid.total() + 4 and contents(tmp_path / "set") == contents(asked[0])


def test_workers_overwrite_beside_and_swap(tmp_path) -> None:
    out = tmp_path / "set"
    for scenes in (6, 9):
        command = [
            sys.executable,
            "builders/vlit.py",
            "--scenes",
            f"shapes:{scenes}",
            "--shard-scenes",
            "3",
            "--num-workers",
            "2",
        ]
        done = subprocess.run(
            [*command, "--out", str(out), "--overwrite"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"rows of {scenes} images" in done.stdout and len(list(out.glob(".build/0*.json"))) == scenes // 3
        assert [path.name for path in tmp_path.iterdir()] == ["set"]
