"""What an evaluation leaves behind."""

import io
import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from comvint_hf.evaluation.results import git_commit, read_train_minutes, render_benchmark_tables, render_table, show_progress
from comvint_hf.evaluation.scoring import compute_metrics, extract_questions, score_answer


def printed(*renderables: object) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(*renderables)
    return out.getvalue()


def test_training_time_is_read_where_it_was_written(tmp_path: Path) -> None:
    assert read_train_minutes(tmp_path) is None
    (tmp_path / "all_results.json").write_text(json.dumps({"train_runtime": 90.0}))
    assert read_train_minutes(tmp_path) == 1.5
    (tmp_path / "train.json").write_text(json.dumps({"minutes": 12}))
    assert read_train_minutes(tmp_path) == 12.0


def test_the_commit_says_when_files_differ(tmp_path: Path) -> None:
    assert git_commit(tmp_path / "nowhere") is None

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    head = git("rev-parse", "HEAD")
    assert git_commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == head + "+"


def test_the_table_shows_every_figure_with_its_number() -> None:
    row = {"id": "r", "task": "cross_modal", "format": "bool", "topic": "existence", "evidence": []}
    turns = [{"role": "user", "content": "Is it?"}, {"role": "assistant", "content": "No"}]
    question = next(extract_questions({**row, "messages": turns}))
    shown = printed(render_table(compute_metrics([score_answer(question, "no", ()), score_answer(question, "yes", ())])))
    assert "closed questions, accuracy" in shown and "0.095 to 0.905" in shown
    assert "topic existence" in shown and "(truth 0.000)" in shown
    assert "boxes, mean IoU" in shown


def test_a_benchmarks_groups_have_a_table_of_their_own() -> None:
    shown = printed(
        *render_benchmark_tables("mme", {"perception": 1.5, "missing": ["OCR"], "tasks": {"count": {"n": 2, "score": 50.0}}})
    )
    assert "1.500" in shown and "OCR" in shown and "50.000" in shown and "tasks" in shown


def test_a_log_tells_the_end(capsys: pytest.CaptureFixture) -> None:
    with show_progress("asking", 3) as done:
        done(1)
        done(3)
    assert capsys.readouterr().err == "asking: 3 of 3, 0.0 min left\n"
