"""Show how far a long run is: as a bar in a terminal, as a line every 15 seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

LINE_INTERVAL = 15.0
"""Seconds between two lines of a log."""


class Progress:
    """Counts of scenes and of kept, rejected and failed rows (no usable reply), shown with the rate and the time left.

    Use it as a context manager.

    Args:
        total: The number of scenes, if it is known.
        shown: Whether anything is printed; otherwise it only counts.
        note: Returns a text to show beside the counts, such as the cost so far.
    """

    def __init__(self, title: str, total: int | None, shown: bool = True, note: Callable[[], str] | None = None) -> None:
        self.title, self.total = title, total
        self.scenes = self.kept = self.rejected = self.failed = self.new = 0
        self.note = note or str
        self._started = time.monotonic()
        self._shown_at = self._started
        self._show = _silent if not shown else self._bar() if sys.stderr.isatty() else self._line

    def advance(self, scenes: int = 1, kept: int = 0, rejected: int = 0, failed: int = 0, new: bool = True) -> None:
        """Count finished work. Work of an earlier run (`new=False`) does not count for the rate."""
        self.scenes += scenes
        self.kept += kept
        self.rejected += rejected
        self.failed += failed
        self.new += scenes if new else 0
        self._show()

    def set_counts(self, **counts: int) -> None:
        """Show counts of other processes: scenes, kept, rejected, failed, and how many of the scenes are `new`."""
        vars(self).update(counts)
        self._show()

    def refresh(self) -> None:
        """Show the time and the cost so far, although no work was finished."""
        self._show()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def __str__(self) -> str:
        """Format done of total, rows, rejected and failed ones, rate and time left as one line."""
        rate = self.new / max(self.seconds, 1e-9)
        of = f" of {self.total:,}" if self.total else ""
        failed = f", {self.failed:,} failed" if self.failed else ""
        left = f", {format_duration((self.total - self.scenes) / rate)} left" if self.total and rate else ""
        speed = f", {format_rate(rate)}" if rate else ""
        return f"{self.title}: {self.scenes:,}{of} images, {self.kept:,} rows, {self.rejected:,} rejected{failed}{speed}{left}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if stop := getattr(self, "_stop", None):
            stop()

    def _line(self) -> None:
        if time.monotonic() - self._shown_at >= LINE_INTERVAL:
            self._shown_at = time.monotonic()
            print(self._format("; "), file=sys.stderr, flush=True)

    def _format(self, separator: str) -> str:
        return separator.join(filter(None, (str(self), self.note())))

    def _bar(self) -> Callable[[], None]:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        bar = RichProgress(BarColumn(20), TextColumn("{task.description}"), console=Console(stderr=True))
        bar.start()
        self._stop = bar.stop
        task = bar.add_task(self._format("\n"), total=self.total)

        def show() -> None:
            # At most five times a second: offline, thousands of scenes are finished in one.
            if time.monotonic() - self._shown_at >= 0.2 or self.scenes == self.total:
                self._shown_at = time.monotonic()
                bar.update(task, completed=self.scenes, description=self._format("\n"))

        return show


def _silent() -> None:
    """Show nothing."""


def format_rate(rate: float) -> str:
    """Format a number of images a second; rates below one are given by the minute.

    >>> format_rate(1234.5), format_rate(2.345), format_rate(0.05)
    ('1,234 images/s', '2.3 images/s', '3.0 images/min')
    """
    if rate < 1:
        return f"{rate * 60:,.1f} images/min"
    return f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:,.1f} images/s"


def format_duration(seconds: float) -> str:
    """Format a length of time.

    >>> format_duration(42), format_duration(150), format_duration(7260)
    ('42 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
