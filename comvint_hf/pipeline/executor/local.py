"""Workers as processes of this machine.

datatrove's own local executor uses a pool, which waits for ever for a process that was killed. Here each exit is noticed, and
what stops the parent stops the workers as Ctrl-C stops a build in one process.
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

TERMINATE_INTERVAL = 2.0
"""Seconds between two SIGTERMs to a worker that still runs after a second Ctrl-C."""


class LocalExecutor(LocalPipelineExecutor):
    """datatrove's local executor with processes of its own; after `run`, `exit_codes` holds one for each rank."""

    exit_codes: dict[int, int]

    def run(self) -> None:
        """Run each worker in a process of its own, at most `workers` at once, and wait for all of them.

        A first Ctrl-C or SIGTERM sends SIGTERM to the workers, and so does every later one.

        Raises:
            KeyboardInterrupt: When all workers have ended after such a signal.
        """
        context = multiprocess.get_context("spawn")
        waiting = list(range(self.tasks))
        running: dict[int, Any] = {}
        self.exit_codes = {}

        def terminate() -> None:
            for process in running.values():
                process.terminate()

        with _on_signal(terminate) as received:
            while running or (waiting and not received):
                while waiting and not received and len(running) < self.workers:
                    rank = waiting.pop(0)
                    process = context.Process(target=_run_rank, args=(self, rank), name=f"worker {rank}")
                    _start(process)
                    running[rank] = process
                    if received:  # while it started
                        process.terminate()
                wait([process.sentinel for process in running.values()], timeout=TERMINATE_INTERVAL)
                for rank in [rank for rank, process in running.items() if process.exitcode is not None]:
                    self.exit_codes[rank] = running.pop(rank).exitcode
                if len(received) > 1:  # two signals that arrive before a worker handles the first are one to it
                    terminate()
        if received:
            raise KeyboardInterrupt


def _run_rank(executor: LocalExecutor, rank: int) -> None:
    """Run one worker in its process. The worker reports its own errors, so this only sets the exit code."""
    logger.disable("datatrove")
    try:
        executor._run_for_rank(rank, local_rank=rank)
    except Exception:  # noqa: BLE001 (of any kind)
        sys.exit(1)


def _start(process: Any) -> None:
    """Start a process that Ctrl-C does not reach: a terminal sends it to the whole group, but only the parent may act on it.

    The process inherits that SIGINT is blocked; this process receives a pending one as soon as the other has started.
    """
    resource_tracker.ensure_running()  # started in here, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _on_signal(terminate: Callable[[], None]) -> Iterator[list[int]]:
    """Call `terminate` at every Ctrl-C and SIGTERM, and collect their numbers."""
    received: list[int] = []

    def handle(number: int, _: Any) -> None:
        received.append(number)
        terminate()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
