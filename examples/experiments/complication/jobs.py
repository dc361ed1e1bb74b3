"""Do several long things beside each other, each a command with a log of its own, and say how long is left.

It knows commands and callables; it knows no model and no dataset.
"""

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

Say = Callable[[str], None]
SECONDS_BETWEEN_LINES = 20.0


def run(
    command: Sequence[object], log: Path, name: str, say: Say = print, threads: int = 1, fine: Collection[int] = (0,)
) -> None:
    """Run a command with `threads` threads, all that it prints in `log`; its lines that tell the time left are said under `name`.

    Raises `InputError` with its last line when its exit status is not one of `fine`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    settings = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    last, spoke = "it printed nothing", time.monotonic()
    with log.open("a", encoding="utf-8") as file, subprocess.Popen(list(map(str, command)), env=settings, **streams) as child:
        for line in child.stdout:
            file.write(line)
            last = line.strip() or last
            if line.rstrip().endswith(" left") and time.monotonic() - spoke > SECONDS_BETWEEN_LINES:
                spoke = time.monotonic()
                say(f"  {name}: {line.strip()}")
    if child.returncode not in fine:
        raise InputError(f"{name} failed with exit status {child.returncode}; the last line of {log} is: {last}")


def all_of(title: str, jobs: Mapping[str, Callable[[], None]], at_once: int = 1, say: Say = print) -> None:
    """Do all jobs, `at_once` beside each other, and say after each how many are done and how long the rest will take.

    The first one that fails stops those that have not begun, and its error is raised.
    """
    began, done, stopped, one_speaks = time.monotonic(), [], threading.Event(), threading.Lock()

    def do(name: str) -> None:
        if stopped.is_set():
            return
        try:
            jobs[name]()
        except BaseException:
            stopped.set()
            raise
        with one_speaks:
            done.append(name)
            left = (time.monotonic() - began) / len(done) * (len(jobs) - len(done))
            say(f"{title}: {len(done)} of {len(jobs)} done ({name}), {timedelta(seconds=round(left))} left")

    with ThreadPoolExecutor(max_workers=at_once) as workers:
        try:
            for future in as_completed([workers.submit(do, name) for name in jobs]):
                future.result()
        except BaseException:
            stopped.set()
            raise
