"""The builders, stopped while requests are under way: what was sent is paid for, so it comes back before the process ends."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import Future
from pathlib import Path

import pytest
from builders.wired import BUILDERS, PATIENCE, contents, finish, rehearse, start, until
from endpoint.answers import RecordedReplies
from endpoint.server import Endpoint, serve
from endpoint.wire import Response

SCENES = 24
AT_ONCE = 8
FLAGS = ("--shard-scenes", "5", "--concurrency", AT_ONCE)
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(scope="module")
def rehearsed() -> RecordedReplies:
    return rehearse(f"shapes:{SCENES}")


@pytest.fixture(scope="module")
def paid_once(rehearsed, tmp_path_factory) -> Counter[str]:
    """What an undisturbed run pays for, by prompt: some prompts come several times."""
    endpoint = Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        finish(start(url, tmp_path_factory.mktemp("whole") / "set", *FLAGS))
    return endpoint.paid


def test_a_budget_stop_keeps_the_replies_under_way(rehearsed, paid_once, tmp_path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["toy-model"]\ninput = 100\noutput = 200\n')
    endpoint = Endpoint(answer=rehearsed.answer, latency=0.1)
    with serve(endpoint) as url:
        for budget in (9, 17):
            _, said = finish(start(url, tmp_path / "set", *FLAGS, "--prices", prices, "--budget", budget), code=1)
            assert f"The budget of ${budget}.00 has no room" in said.splitlines()[-1]
        finish(start(url, tmp_path / "set", *FLAGS, "--prices", prices, "--budget", 500))
    assert endpoint.paid == paid_once


@pytest.mark.parametrize("stop", SIGNALS)
def test_a_first_signal_waits_for_the_replies_under_way(stop, rehearsed, paid_once, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer, held=Future())
    with serve(endpoint) as url:
        child = start(url, tmp_path / "set", *FLAGS)
        until(child, lambda: endpoint.asked.total() >= AT_ONCE)
        child.send_signal(stop)
        waiting = "replies under way (at most 300 s); press Ctrl-C again to leave at once."
        assert child.stderr.readline() == f"Waiting for {AT_ONCE} {waiting}\n"
        endpoint.held.set_result(None)
        _, said = finish(child, code=130)
        assert said.startswith("Stopped. Run the same command again") and len(said.splitlines()) == 1
        assert endpoint.asked.total() == AT_ONCE, "nothing new was sent meanwhile"
        finish(start(url, tmp_path / "set", *FLAGS))
    assert endpoint.paid == paid_once


@pytest.mark.parametrize("stop", SIGNALS)
def test_a_second_signal_leaves_at_once(stop, rehearsed, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer, latency=3600)
    with serve(endpoint) as url:
        child = start(url, tmp_path / "set", *FLAGS)
        until(child, lambda: endpoint.asked.total() >= AT_ONCE)
        child.send_signal(stop)
        assert child.stderr.readline().startswith(f"Waiting for {AT_ONCE} replies under way")
        child.send_signal(stop)
        _, said = finish(child, code=130)
    assert said.startswith("Stopped.") and len(said.splitlines()) == 1


class Expiring(Endpoint):
    """Takes the key for `good` requests and refuses it from then on."""

    good = AT_ONCE // 2

    def _refused(self, body: dict) -> Response | None:
        return self._refuse(401, "Your key has expired.", "invalid_api_key") if self.asked.total() > self.good else None


def test_a_permanent_error_keeps_the_replies_under_way(rehearsed, paid_once, tmp_path) -> None:
    endpoint = Expiring(answer=rehearsed.answer, held=Future())
    with serve(endpoint) as url:
        child = start(url, tmp_path / "set", *FLAGS)
        waiting = child.stderr.readline().strip()
        assert waiting.startswith("Waiting for ") and waiting.endswith("press Ctrl-C to leave at once.")
        endpoint.held.set_result(None)
        _, refused = finish(child, code=1)
        assert "Your key has expired." in refused and endpoint.asked.total() <= endpoint.good + AT_ONCE
        endpoint.good = 10**9
        finish(start(url, tmp_path / "set", *FLAGS))
    assert endpoint.paid == paid_once


def build_offline(out: Path, file_bytes: int = -1) -> subprocess.CompletedProcess[str]:
    """Build without an endpoint; no file may become longer than `file_bytes`, as on a full disk."""
    command = [sys.executable, str(BUILDERS / "svit.py"), "--scenes", "shapes:8", "--shard-scenes", "4", "--out", str(out)]
    limit = (file_bytes, file_bytes)
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )


def test_a_full_disk_is_one_calm_sentence_and_the_next_run_goes_on(tmp_path) -> None:
    full = build_offline(tmp_path / "set", 4096)
    assert full.returncode == 1 and len(full.stderr.splitlines()) == 1, full.stderr
    assert f"{tmp_path / 'set'} cannot go on" in full.stderr and "run the same command again" in full.stderr
    for out in (tmp_path / "set", tmp_path / "fresh" / "set"):
        assert build_offline(out).returncode == 0
    assert contents(tmp_path / "set") == contents(tmp_path / "fresh" / "set")


def test_a_folder_that_cannot_be_made_is_one_calm_sentence(tmp_path) -> None:
    (tmp_path / "file").touch()
    done = build_offline(tmp_path / "file" / "set")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "Not a directory" in done.stderr
