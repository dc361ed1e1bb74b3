"""The local endpoint as a process of its own, for benchmarks: its address, and what it counted. Knows no client."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]


@contextmanager
def server(*flags: str) -> Iterator[str]:
    """Run the endpoint with these flags of `tests/endpoint/server.py`; gives its base URL."""
    command = [sys.executable, TESTS / "endpoint" / "server.py", *flags]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(20)


def log(url: str) -> dict[str, Any]:
    """What the endpoint counted since its start."""
    return json.loads(urllib.request.urlopen(f"{url}/log", timeout=30).read())
