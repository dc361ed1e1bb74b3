"""How far each worker is: status files that the workers write and the process that started them reads and shows together."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from comvint_hf.errors import InputError
from comvint_hf.pipeline.progress import Progress
from comvint_hf.strict_reader import bounded_int, read_json_file

STATUS_INTERVAL = 1.0
"""Seconds between two writes of a status file, and between two reads of all of them."""
MAX_COUNT = 10**15
COUNTS = ("scenes", "kept", "rejected", "failed", "new")
Status = dict[str, Any]
"""A worker's latest status: its `COUNTS`, its `usage`, whether it is `done`, and the `error` that ended it."""


class WorkerProgress(Progress):
    """The progress of one worker, written to a status file instead of a terminal.

    Args:
        usage: Returns what was asked and paid so far, as JSON.
    """

    def __init__(self, path: Path, usage: Callable[[], Any] = list) -> None:
        super().__init__("", None, shown=False)
        self.path = path
        self._temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.partial")
        self._usage = usage
        self._written_at = 0.0
        self._show = self._write_sometimes

    def _write_sometimes(self) -> None:
        if time.monotonic() - self._written_at >= STATUS_INTERVAL:
            self.write()

    def write(self, *, done: bool = False, error: str = "") -> None:
        """Write the counts, and how the worker ended if it did."""
        counts = {name: getattr(self, name) for name in COUNTS}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary.write_text(json.dumps({**counts, "usage": self._usage(), "done": done, "error": error}), encoding="utf-8")
        os.replace(self._temporary, self.path)  # a reader must never see half a file
        self._written_at = time.monotonic()


def status_path(folder: Path, rank: int) -> Path:
    """Return the path of a worker's status file."""
    return folder / f"{rank:05d}.json"


def read_statuses(folder: Path, num_workers: int) -> list[Status | None]:
    """Read the latest status of each worker; `None` for one that has written none yet."""
    paths = [status_path(folder, rank) for rank in range(num_workers)]
    return [_read_status(path) if path.exists() else None for path in paths]


def _read_status(path: Path) -> Status | None:
    """Read a status; `None` for one that a full disk or a killed worker cut."""
    try:
        status = read_json_file(path)
    except InputError:
        return None
    has_counts = isinstance(status, dict) and all(bounded_int(status.get(name), 0, MAX_COUNT) is not None for name in COUNTS)
    return status if has_counts and isinstance(status.get("usage"), list) and "done" in status else None


class StatusMonitor:
    """Shows the sum of the workers' counts while it is open.

    Args:
        on_update: Called with all statuses each time, before their sum is shown.
    """

    def __init__(
        self, folder: Path, num_workers: int, progress: Progress, on_update: Callable[[Sequence[Status]], None] = lambda _: None
    ) -> None:
        self._folder, self._num_workers, self._progress, self._on_update = folder, num_workers, progress, on_update
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch-workers", daemon=True)

    def __enter__(self) -> Self:
        self._progress.__enter__()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._thread.join()
        self._update()  # the last counts came after the thread's last look
        self._progress.__exit__(kind, error, trace)

    def _watch(self) -> None:
        while not self._closed.wait(STATUS_INTERVAL):
            self._update()

    def _update(self) -> None:
        statuses = [status for status in read_statuses(self._folder, self._num_workers) if status]
        self._on_update(statuses)
        self._progress.set_counts(**{name: sum(status[name] for status in statuses) for name in COUNTS})
