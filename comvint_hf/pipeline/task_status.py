"""How far each of several tasks is: small files that the tasks write and that whoever started them reads and shows together."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from comvint_hf.progress import Progress

SECONDS_BETWEEN_REPORTS = 1.0
COUNTED = ("scenes", "kept", "rejected", "failed", "fresh")
Told = dict[str, Any]
"""What a task told last: its counts, its `usage`, whether it is `done`, and the `error` that ended it."""


class Report(Progress):
    """A progress display for one task that writes a file instead of a line; `usage` gives what else to tell, as JSON."""

    def __init__(self, path: Path, usage: Callable[[], Any] = list) -> None:
        super().__init__("", None, shown=False)
        self.path = path
        self._temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.partial")
        self._usage = usage
        self._written = 0.0
        self._show = self._now_and_then

    def _now_and_then(self) -> None:
        if time.monotonic() - self._written >= SECONDS_BETWEEN_REPORTS:
            self.write()

    def write(self, *, done: bool = False, error: str = "") -> None:
        """Tell how far the task is, or how it ended."""
        counts = {name: getattr(self, name) for name in COUNTED}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary.write_text(json.dumps({**counts, "usage": self._usage(), "done": done, "error": error}), encoding="utf-8")
        os.replace(self._temporary, self.path)
        self._written = time.monotonic()


def report_path(folder: Path, rank: int) -> Path:
    """Where a task's report lies."""
    return folder / f"{rank:05d}.json"


def read_reports(folder: Path, tasks: int) -> list[Told | None]:
    """What each task told last; `None` for one that told nothing yet."""
    paths = [report_path(folder, rank) for rank in range(tasks)]
    return [json.loads(path.read_text(encoding="utf-8")) if path.exists() else None for path in paths]


class Watch:
    """Shows, while it is open, the sum of what tasks tell; `heard` gets all reports each time, before they are shown."""

    def __init__(
        self, folder: Path, tasks: int, shown: Progress, heard: Callable[[Iterable[Told]], None] = lambda told: None
    ) -> None:
        self._folder, self._tasks, self._shown, self._heard = folder, tasks, shown, heard
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch-tasks", daemon=True)

    def __enter__(self) -> Self:
        self._shown.__enter__()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self._shown.__exit__(kind, error, trace)

    def _watch(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_REPORTS):
            self._look()

    def _look(self) -> None:
        told = [one for one in read_reports(self._folder, self._tasks) if one]
        self._heard(told)
        self._shown.tell(**{name: sum(one[name] for one in told) for name in COUNTED})
