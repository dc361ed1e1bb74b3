"""Tasks as processes of this machine.

datatrove's own local executor gives them to a pool, which waits for ever for a process that was killed. So the processes
are ours: each end is noticed, and what stops the parent stops them as Ctrl-C stops a build in one process.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import multiprocess
from datatrove.executor import LocalPipelineExecutor
from datatrove.utils.logging import logger
from multiprocess import resource_tracker
from multiprocess.connection import wait

SECONDS_TO_LEAVE = 2.0
"""After a second Ctrl-C, a task that still runs after so long is told again."""


class LocalTasks(LocalPipelineExecutor):
    """datatrove's local executor with processes of its own; after `run`, `ended` holds the exit code of each task."""

    ended: dict[int, int]

    def run(self) -> None:
        """Run every task in a process of its own, at most `workers` at once, and wait for all of them.

        A first Ctrl-C or SIGTERM stops the tasks as SIGTERM would stop one alone, a second one at once; when all have ended,
        `KeyboardInterrupt` is raised.
        """
        context = multiprocess.get_context("spawn")
        waiting = list(range(self.tasks))
        running: dict[int, Any] = {}
        self.ended = {}

        def stop() -> None:
            for process in running.values():
                process.terminate()

        with _heard(stop) as stopped:
            while running or (waiting and not stopped):
                while waiting and not stopped and len(running) < self.workers:
                    rank = waiting.pop(0)
                    process = context.Process(target=_alone, args=(self, rank), name=f"task {rank}")
                    _start(process)
                    running[rank] = process
                    if stopped:  # while it started
                        process.terminate()
                wait([process.sentinel for process in running.values()], timeout=SECONDS_TO_LEAVE)
                for rank in [rank for rank, process in running.items() if process.exitcode is not None]:
                    self.ended[rank] = running.pop(rank).exitcode
                if len(stopped) > 1:  # two that meet before a process looks are one to it, and it would still wait for replies
                    stop()
        if stopped:
            raise KeyboardInterrupt


def _alone(executor: LocalTasks, rank: int) -> None:
    """What a process does; what goes wrong is for the task itself to tell, so nothing more is said of it here."""
    logger.disable("datatrove")
    try:
        executor._run_for_rank(rank, local_rank=rank)
    except Exception:  # noqa: BLE001 (of any kind)
        sys.exit(1)


def _start(process: Any) -> None:
    """Start a process that Ctrl-C does not reach: a terminal sends that to all, and only the parent shall hear it.

    The process inherits that the signal is held back; here it is heard as soon as the process has started.
    """
    resource_tracker.ensure_running()  # which would let the signal through again, were it started in here
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _heard(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call `stop` at every Ctrl-C and SIGTERM, and gather them."""
    signals: list[int] = []

    def hear(number: int, _: Any) -> None:
        signals.append(number)
        stop()

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
