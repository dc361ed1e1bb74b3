"""Run long jobs in parallel, each a command with its own log, and print the time left."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta
from pathlib import Path

from comvint_hf.errors import InputError

Echo = Callable[[str], None]
LINE_INTERVAL = 20.0
"""Seconds between two progress lines of one command."""


def run_command(
    command: Sequence[object], log: Path, name: str, echo: Echo = print, threads: int = 1, ok_codes: Collection[int] = (0,)
) -> None:
    """Run a command with `threads` threads and its output in `log`; lines that end with the time left are also echoed.

    Raises `InputError` with the last line of the output if the exit status is not one of `ok_codes`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    last, echoed = "it printed nothing", time.monotonic()
    # Appended, because a repeated run must not lose the log of the run that failed.
    with log.open("a", encoding="utf-8") as file, subprocess.Popen(list(map(str, command)), env=environment, **streams) as child:
        for line in child.stdout:
            file.write(line)
            last = line.strip() or last
            if line.rstrip().endswith(" left") and time.monotonic() - echoed > LINE_INTERVAL:
                echoed = time.monotonic()
                echo(f"  {name}: {line.strip()}")
    if child.returncode not in ok_codes:
        raise InputError(f"{name} failed with exit status {child.returncode}; the last line of {log} is: {last}")


def run_jobs(title: str, jobs: Mapping[str, Callable[[], None]], workers: int = 1, echo: Echo = print) -> None:
    """Run all jobs, `workers` in parallel; after each, echo how many are done and the time left.

    The first job that fails stops those that have not started, and its error is raised.
    """
    start, done, stopped, lock = time.monotonic(), [], threading.Event(), threading.Lock()

    def run(name: str) -> None:
        if stopped.is_set():
            return
        try:
            jobs[name]()
        except BaseException:
            stopped.set()
            raise
        with lock:
            done.append(name)
            left = (time.monotonic() - start) / len(done) * (len(jobs) - len(done))
            echo(f"{title}: {len(done)} of {len(jobs)} done ({name}), {timedelta(seconds=round(left))} left")

    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for future in as_completed([pool.submit(run, name) for name in jobs]):
                future.result()
        except BaseException:
            stopped.set()
            raise
