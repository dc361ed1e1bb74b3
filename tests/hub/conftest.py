"""The local Hub and clients of it in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Client = Callable[..., str]


class Hub:
    """A running local Hub: its address, what it was asked, and faults to come."""

    def __init__(self, url: str) -> None:
        self.url = url

    def log(self) -> dict[str, int]:
        return json.loads(urllib.request.urlopen(f"{self.url}/_log", timeout=10).read())

    def fail(self, pattern: str, status: int, times: int = 1, after: bool = False) -> None:
        self._post("_fault", {"pattern": pattern, "status": status, "times": times, "after": after})

    def forget(self, everything: bool = False) -> None:
        self._post("_forget", {"all": everything})

    def _post(self, path: str, body: dict) -> None:
        request = urllib.request.Request(f"{self.url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).read()


@pytest.fixture(scope="session")
def _hub_process() -> Iterator[str]:
    server = subprocess.Popen([sys.executable, Path(__file__).with_name("local_hub.py")], stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def hub(_hub_process: str) -> Hub:
    """The local Hub, empty."""
    running = Hub(_hub_process)
    running.forget(everything=True)
    return running


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    """Run Python code in a process of its own whose Hub is the local one; gives what it prints.

    Leaving a streamed dataset early can hang pyarrow at exit, so there is a time-out.
    """

    def run(code: str, *arguments: str, check: bool = True) -> str:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "hf_local",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        }
        for proxy in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            environment.pop(proxy, None)
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        if check and done.returncode:
            raise AssertionError(done.stderr[-4000:])
        return done.stdout if check else done.stdout + done.stderr

    return run
