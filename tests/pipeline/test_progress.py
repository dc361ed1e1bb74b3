"""Progress: the numbers it shows, and how it speaks where there is no terminal."""

from __future__ import annotations

from comvint_hf.pipeline import progress
from comvint_hf.pipeline.progress import Progress


def test_it_tells_done_rate_and_time_left(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("svit on coco", 1000, shown=False) as shown:
        shown.advance(400, kept=4000, rejected=3, new=False)
        now[0] = 110.0
        shown.advance(100, kept=1000)
    assert str(shown) == "svit on coco: 500 of 1,000 images, 5,000 rows, 3 rejected, 10 images/s, 50 s left"


def test_without_a_total_it_promises_nothing() -> None:
    shown = Progress("x", None, shown=False)
    shown.advance()
    assert "left" not in str(shown) and " of " not in str(shown)
    assert str(Progress("x", 5, shown=False)) == "x: 0 of 5 images, 0 rows, 0 rejected"


def test_in_a_log_it_speaks_now_and_then(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("x", 100) as shown:
        for second in range(100):
            now[0] = float(second)
            shown.advance()
    lines = capsys.readouterr().err.strip().splitlines()
    assert 5 <= len(lines) <= 7 and all(line.startswith("x: ") for line in lines)


def test_failed_rows_and_the_running_cost_stand_in_the_line_though_nothing_is_finished(monkeypatch, capsys) -> None:
    now, asked = [0.0], [0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("svit", 10, note=lambda: f"{asked[0]} requests, $0.{asked[0]:02}") as shown:
        shown.advance(kept=3, rejected=1, failed=2)
        now[0], asked[0] = 20.0, 7
        shown.refresh()
    told = capsys.readouterr().err.strip()
    assert told == "svit: 1 of 10 images, 3 rows, 1 rejected, 2 failed, 3.0 images/min, 3 min 0 s left; 7 requests, $0.07"
