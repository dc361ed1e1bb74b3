"""Workers as processes here: no signal is lost while one starts, and Ctrl-C of a terminal reaches the parent alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip("datatrove", reason="workers need datatrove: pip install '.[scale]'")
from comvint_hf.pipeline.executor import local


class Interrupted:
    """A process while which starts Ctrl-C is pressed."""

    def start(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_ctrl_c_while_a_worker_starts_arrives_when_it_has_started() -> None:
    with local._on_signal(lambda: None) as received:
        local._start(Interrupted())
        assert received == [signal.SIGINT]


START = """
import multiprocess, os, time
from comvint_hf.pipeline.executor import local
for _ in range(2):  # the first one starts multiprocess's own helper too
    process = multiprocess.get_context("spawn").Process(target=time.sleep, args=(60,))
    local._start(process)
    print(open(f"/proc/{process.pid}/status").read())
    process.kill()
print("here", open("/proc/self/status").read())
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells which signals a process blocks")
def test_a_worker_does_not_receive_ctrl_c_and_its_parent_does() -> None:
    told = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True).stdout
    held_back = [bool(int(mask, 16) >> (signal.SIGINT - 1) & 1) for mask in re.findall(r"^SigBlk:\s*(\w+)$", told, re.MULTILINE)]
    assert held_back == [True, True, False]
