"""Show how far a long run is: a bar in a terminal, a line now and then in a log. It knows only numbers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Counts scenes, kept rows and rejected rows, and shows the rate and the time left.

    `total` is the number of scenes if it is known. Use as a context manager; `shown=False` only counts.
    """

    def __init__(self, title: str, total: int | None, shown: bool = True) -> None:
        self.title, self.total = title, total
        self.scenes = self.kept = self.rejected = 0
        self._fresh = 0
        self._started = time.monotonic()
        self._spoke = self._started
        self._show = _silent if not shown else self._bar() if sys.stderr.isatty() else self._line

    def advance(self, scenes: int = 1, kept: int = 0, rejected: int = 0, fresh: bool = True) -> None:
        """Count finished work; work that an earlier run did (`fresh=False`) does not speed up the rate."""
        self.scenes += scenes
        self.kept += kept
        self.rejected += rejected
        self._fresh += scenes if fresh else 0
        self._show()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __str__(self) -> str:
        """One line: done of total, rows, scenes a second, time left."""
        rate = self._fresh / max(self.seconds, 1e-9)
        of = f" of {self.total:,}" if self.total else ""
        left = f", {duration((self.total - self.scenes) / rate)} left" if self.total and rate else ""
        return f"{self.title}: {self.scenes:,}{of} images, {self.kept:,} rows, {self.rejected:,} rejected, {rate:,.0f} images/s{left}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if stop := getattr(self, "_stop", None):
            stop()

    def _line(self) -> None:
        if time.monotonic() - self._spoke >= SECONDS_BETWEEN_LINES:
            self._spoke = time.monotonic()
            print(self, file=sys.stderr, flush=True)

    def _bar(self) -> Callable[[], None]:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        bar = RichProgress(BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True))
        bar.start()
        self._stop = bar.stop
        task = bar.add_task(str(self), total=self.total)

        def show() -> None:
            if time.monotonic() - self._spoke >= 0.2 or self.scenes == self.total:
                self._spoke = time.monotonic()
                bar.update(task, completed=self.scenes, description=str(self))

        return show


def _silent() -> None:
    """Show nothing."""


def duration(seconds: float) -> str:
    """A length of time as a person says it.

    >>> duration(42), duration(150), duration(7260)
    ('42 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
