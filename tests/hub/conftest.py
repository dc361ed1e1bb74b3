"""The local Hub and clients of it in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Client = Callable[..., str]
CUT, HOLD = 0, 1
"""Statuses of faults that cut the connection instead of answering, and that keep the request waiting until it is released."""
PATIENCE = 200
"""Seconds for anything that another process does: on a busy machine it may have a tenth of a core."""
WORKER = """
import contextlib, io, json, sys, traceback
for line in sys.stdin:
    code, arguments = json.loads(line)
    sys.argv, said, whole = ["-c", *arguments], io.StringIO(), True
    with contextlib.redirect_stdout(said):
        try:
            exec(code, {"__name__": "__main__"})
        except SystemExit as end:
            whole = not end.code
        except BaseException:
            whole = False
            print(traceback.format_exc(), end="")
    print(json.dumps([whole, said.getvalue()]), flush=True)
"""
"""Runs one piece of code after another, so that the libraries are loaded once for all tests."""


class Hub:
    """A running local Hub: its address, what it was asked, and faults to come."""

    def __init__(self, url: str) -> None:
        self.url = url

    def log(self) -> dict[str, int]:
        return json.loads(urllib.request.urlopen(f"{self.url}/_log", timeout=PATIENCE).read())

    def sent_by_xet(self) -> dict[str, int]:
        """Bytes of new content, and of what describes it, in clients' Xet stores."""
        return json.loads(urllib.request.urlopen(f"{self.url}/_xet", timeout=PATIENCE).read())

    def fail(self, pattern: str, status: int, times: int = 1, after: bool = False) -> None:
        self._post("_fault", {"pattern": pattern, "status": status, "times": times, "after": after})

    def unmet(self) -> int:
        """How many times faults are still to come."""
        return int(urllib.request.urlopen(f"{self.url}/_unmet", timeout=PATIENCE).read())

    @contextmanager
    def holding(self, pattern: str, count: int = 1, after: int = 0) -> Iterator[Callable[[], None]]:
        """Hold requests of a kind, all but the first `after`; what is given waits until `count` are held. Lets them go in the end."""
        self._post("_fault", {"pattern": pattern, "status": HOLD, "times": 10**6, "skip": after})
        try:
            yield lambda: urllib.request.urlopen(f"{self.url}/_held?count={count}", timeout=PATIENCE).read()
        finally:
            self._post("_release", {})

    def kill(self, pushing: subprocess.Popen) -> None:
        """`kill -9` a client whose request is held, and wait until the Hub has noticed."""
        pushing.kill()
        pushing.wait(PATIENCE)
        urllib.request.urlopen(f"{self.url}/_gone", timeout=PATIENCE).read()

    def forget(self, everything: bool = False) -> None:
        self._post("_forget", {"all": everything})

    def _post(self, path: str, body: dict) -> None:
        request = urllib.request.Request(f"{self.url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=PATIENCE).read()


@pytest.fixture(scope="module")
def _hub_process(tmp_path_factory) -> Iterator[str]:
    command = [sys.executable, Path(__file__).with_name("local_hub.py")]
    own = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("hub"))}
    server = subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait(PATIENCE)


@pytest.fixture
def hub(_hub_process: str) -> Hub:
    """The local Hub, empty."""
    running = Hub(_hub_process)
    running.forget(everything=True)
    return running


@pytest.fixture(scope="module")
def environment(_hub_process: str, tmp_path_factory) -> dict[str, str]:
    """What a client's process must be told so that its Hub is the local one."""
    found = {
        **os.environ,
        "HF_ENDPOINT": _hub_process,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "hf_local",
        "HF_HOME": str(tmp_path_factory.mktemp("hf")),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    for proxy in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        found.pop(proxy, None)
    return found


@pytest.fixture(scope="module")
def _worker(environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, **pipes)
    yield process
    process.kill()
    process.wait(PATIENCE)


@pytest.fixture
def client(hub: Hub, _worker: subprocess.Popen) -> Client:
    """Run Python code in a process other than this one, whose Hub is the local one; gives what it prints.

    With `check=False` code may fail, and its traceback is part of what it prints.
    """

    def run(code: str, *arguments: str, check: bool = True) -> str:
        late = threading.Timer(PATIENCE, _worker.kill)
        late.start()
        try:
            _worker.stdin.write(json.dumps([code, arguments]) + "\n")
            _worker.stdin.flush()
            whole, said = json.loads(_worker.stdout.readline())
        finally:
            late.cancel()
        assert whole or not check, said[-4000:]
        return said

    return run


@pytest.fixture
def process(hub: Hub, environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start Python code in a process of its own, with an empty cache; what is still running in the end is killed."""
    started: list[subprocess.Popen] = []

    def start(code: str, *arguments: str) -> subprocess.Popen:
        own = {**environment, "HF_HOME": str(tmp_path / f"hf-{len(started)}")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, "-c", code, *arguments], env=own, **pipes))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait(PATIENCE)
