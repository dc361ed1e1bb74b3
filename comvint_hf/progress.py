"""Show how far a long run is: a bar in a terminal, a line now and then in a log. It knows only numbers and a text beside them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Counts scenes, kept rows, rejected rows and failed ones (nobody could make them), and shows the rate and the time left.

    `total` is the number of scenes if it is known; `beside` gives what else to show, such as the running cost, or "". Use as
    a context manager; `shown=False` only counts.
    """

    def __init__(self, title: str, total: int | None, shown: bool = True, beside: Callable[[], str] | None = None) -> None:
        self.title, self.total = title, total
        self.scenes = self.kept = self.rejected = self.failed = self.fresh = 0
        self.beside = beside or str
        self._started = time.monotonic()
        self._spoke = self._started
        self._show = _silent if not shown else self._bar() if sys.stderr.isatty() else self._line

    def advance(self, scenes: int = 1, kept: int = 0, rejected: int = 0, failed: int = 0, fresh: bool = True) -> None:
        """Count finished work; work that an earlier run did (`fresh=False`) does not speed up the rate."""
        self.scenes += scenes
        self.kept += kept
        self.rejected += rejected
        self.failed += failed
        self.fresh += scenes if fresh else 0
        self._show()

    def tell(self, **counts: int) -> None:
        """Show these counts (scenes, kept, rejected, failed, and how many of the scenes are `fresh`), which others have made."""
        vars(self).update(counts)
        self._show()

    def look(self) -> None:
        """Show the time that has passed, and what it cost, though no work was finished."""
        self._show()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __str__(self) -> str:
        """One line: done of total, rows, rejected and failed ones, rate, time left."""
        rate = self.fresh / max(self.seconds, 1e-9)
        of = f" of {self.total:,}" if self.total else ""
        failed = f", {self.failed:,} failed" if self.failed else ""
        left = f", {duration((self.total - self.scenes) / rate)} left" if self.total and rate else ""
        speed = f", {pace(rate)}" if rate else ""
        return f"{self.title}: {self.scenes:,}{of} images, {self.kept:,} rows, {self.rejected:,} rejected{failed}{speed}{left}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if stop := getattr(self, "_stop", None):
            stop()

    def _line(self) -> None:
        if time.monotonic() - self._spoke >= SECONDS_BETWEEN_LINES:
            self._spoke = time.monotonic()
            print(self._told("; "), file=sys.stderr, flush=True)

    def _told(self, joint: str) -> str:
        return joint.join(filter(None, (str(self), self.beside())))

    def _bar(self) -> Callable[[], None]:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        bar = RichProgress(BarColumn(20), TextColumn("{task.description}"), console=Console(stderr=True))
        bar.start()
        self._stop = bar.stop
        task = bar.add_task(self._told("\n"), total=self.total)

        def show() -> None:
            if time.monotonic() - self._spoke >= 0.2 or self.scenes == self.total:
                self._spoke = time.monotonic()
                bar.update(task, completed=self.scenes, description=self._told("\n"))

        return show


def _silent() -> None:
    """Show nothing."""


def pace(rate: float) -> str:
    """A number of images a second, as it is easily read: slow ones by the minute.

    >>> pace(1234.5), pace(2.345), pace(0.05)
    ('1,234 images/s', '2.3 images/s', '3.0 images/min')
    """
    if rate < 1:
        return f"{rate * 60:,.1f} images/min"
    return f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:,.1f} images/s"


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
