"""Builders with `--serve`: the server is there for the run and for no longer, whatever happens to either."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import pytest
from builders.wired import finish, run, until
from endpoint import served

SCRIPT = Path(served.__file__)
SCENES = "shapes:8"


def server(tmp_path: Path, *flags: object) -> str:
    requests, starts = tmp_path / "requests", tmp_path / "starts"
    words = [sys.executable, SCRIPT, "--port", "{port}", "--requests", requests, "--state", starts, *flags]
    return shlex.join(map(str, words))


def start(tmp_path: Path, command: str, *more: object, scenes: str = SCENES, script: str = "vlit"):
    flags = ("--scenes", scenes, "--llm", "toy-model", "--concurrency", 4, "--out", tmp_path / "out")
    return run(script, *flags, "--serve", command, *more)


def servers(tmp_path: Path) -> set[int]:
    """The processes that answered requests."""
    return set(map(int, (tmp_path / "requests").read_text().split()))


def check_gone(tmp_path: Path) -> None:
    assert not any(map(served.is_running, servers(tmp_path)))


def test_a_server_that_dies_on_the_way_costs_no_row(tmp_path) -> None:
    told, _ = finish(start(tmp_path, server(tmp_path, "--die-at", 9, "--load", 0.2)))
    assert "40 rows of 8 images" in (tmp_path / "out" / "README.md").read_text() and "40 requests" in told
    assert len(servers(tmp_path)) == 2
    check_gone(tmp_path)
    assert "CUDA out of memory" in (tmp_path / "out" / ".build" / "server.log").read_text()


def test_a_server_that_keeps_dying_ends_the_build_with_its_log_and_what_was_paid_for_is_kept(tmp_path) -> None:
    _, said = finish(start(tmp_path, server(tmp_path, "--die-at", 3, "--deaths", 99), "--concurrency", 1), code=1)
    assert "The server died 4 times (exit code 9). Its last words:" in said and "CUDA out of memory" in said
    assert str(tmp_path / "out" / ".build" / "server.log") in said
    check_gone(tmp_path)
    told, _ = finish(start(tmp_path, server(tmp_path)))
    assert "8 from the cache" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_the_server_too(number, tmp_path) -> None:
    child = start(tmp_path, server(tmp_path), scenes="shapes:2000")
    until(child, (tmp_path / "requests").exists)
    child.send_signal(number)
    _, said = finish(child, code=130)
    assert said.strip().splitlines()[-1].startswith("Stopped. Run the same command again")
    check_gone(tmp_path)


def test_a_stop_while_the_server_loads_ends_it(tmp_path) -> None:
    child = start(tmp_path, server(tmp_path, "--never", "--child", tmp_path / "child"))
    until(child, lambda: (tmp_path / "child").exists() and bool((tmp_path / "child").read_text()))
    child.send_signal(signal.SIGTERM)
    finish(child, code=130)
    assert not served.is_running(int((tmp_path / "child").read_text()))


def test_a_server_that_cannot_start_is_said_in_one_sentence(tmp_path) -> None:
    _, said = finish(start(tmp_path, server(tmp_path, "--wrong")), code=1)
    assert "The server ended before it answered (exit code 2)" in said.splitlines()[-1] and "server.log" in said.splitlines()[-1]
    _, said = finish(start(tmp_path, "no-such-server --port {port}"), code=2)
    assert "there is no program 'no-such-server'" in said
    assert not (tmp_path / "out" / "README.md").exists()


def test_local_workers_share_one_server(tmp_path) -> None:
    pytest.importorskip("datatrove", reason="workers need datatrove: pip install '.[scale]'")
    finish(start(tmp_path, server(tmp_path), "--num-workers", 2, "--shard-scenes", 2))
    assert (tmp_path / "starts").read_text() == "1"
    assert "40 rows of 8 images" in (tmp_path / "out" / "README.md").read_text()
    check_gone(tmp_path)


def test_a_pilot_is_asked_at_the_same_server(tmp_path) -> None:
    told, _ = finish(start(tmp_path, server(tmp_path), "--pilot", 2, "--yes"))
    assert "The pilot's 2 scenes" in told and (tmp_path / "starts").read_text() == "1"
    assert "40 rows of 8 images" in (tmp_path / "out" / "README.md").read_text()


def test_a_dry_run_starts_no_server(tmp_path) -> None:
    told, _ = finish(start(tmp_path, server(tmp_path), "--dry-run"))
    assert "8 scenes: about 40 requests" in told and not (tmp_path / "starts").exists()
