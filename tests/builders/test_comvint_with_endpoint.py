"""ComVint whole through a local endpoint: two rounds, three votes, a judge of its own; faults and kills change no row."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from endpoint.answers import RecordedReplies
from endpoint.faults import HTTP, MESSAGE, Faults
from endpoint.server import Endpoint, serve

from builders import wired
from comvint_hf import AnnotationLLM, LLMs, load_scenes, mine_templates
from comvint_hf.generation.recipes.comvint import comvint
from comvint_hf.generation.recipes.comvint.stages import LETTER_TEMPLATES, YES_NO_TEMPLATES

SCENES = 20


@pytest.fixture(scope="module")
def rehearsed() -> RecordedReplies:
    """What the annotations answer to every prompt of the run."""
    recorded = RecordedReplies()
    llms = LLMs.one(recorded.record(AnnotationLLM(), deterministic=False))

    async def run() -> None:
        for scene in load_scenes(f"shapes:{SCENES}"):
            await comvint(rounds=2, votes=3, count=2).run(scene, llms)

    asyncio.run(run())
    return recorded


def start(url: str, out: Path, *more: str, judge: tuple[str, ...] = ("--judge", "toy-judge")) -> subprocess.Popen[str]:
    asked = ("--rounds", 2, "--votes", 3, "--count", 2, "--shard-scenes", 5, "--base-url", url, "--out", out)
    return wired.run("comvint", "--scenes", f"shapes:{SCENES}", "--llm", "toy-writer", *judge, *asked, *more)


def finish(child: subprocess.Popen[str]) -> str:
    return "".join(wired.finish(child))


def parquet(folder: Path) -> dict[str, list[dict]]:
    return {str(path.relative_to(folder)): pq.read_table(path).to_pylist() for path in sorted(folder.rglob("*.parquet"))}


def asked(out: Path) -> Counter[tuple[str, str]]:
    """How many replies were paid for, by model and prompt."""
    with sqlite3.connect(out / ".build" / "replies.sqlite") as replies:
        found = replies.execute("SELECT model, prompt, count(*) FROM replies GROUP BY model, prompt")
        return Counter({(model, prompt.rpartition("/")[2]): count for model, prompt, count in found})


@pytest.fixture(scope="module")
def whole(rehearsed, tmp_path_factory) -> tuple[Path, int]:
    """An undisturbed run: its dataset and how many replies it paid for."""
    out, endpoint = tmp_path_factory.mktemp("whole") / "set", Endpoint(answer=rehearsed.answer)
    with serve(endpoint) as url:
        assert "judges its own rewrites" not in finish(start(url, out))
    return out, endpoint.paid.total()


def test_writer_and_judge_have_their_own_prompts_and_rows_name_both(whole) -> None:
    counts = asked(whole[0])
    assert {model for (model, prompt), _ in counts.items() if prompt == "verify"} == {"toy-judge"}
    assert {prompt for model, prompt in counts if model == "toy-writer"} == {"synthesize", "complicate", "boolean", "choice"}
    rows = [row for name, group in parquet(whole[0]).items() if not name.startswith("rejected") for row in group]
    assert {row["generator"] for row in rows} == {"toy-writer"}
    assert {row["judge"] for row in rows if row["rounds"]} == {"toy-judge"}
    assert max(row["rounds"] for row in rows) == 2
    for row in rows:
        steps = [edit["stage"].partition(":")[0] for edit in row["history"] if not edit["stage"].startswith("complicate ")]
        passed = [edit for edit in row["history"] if edit["stage"].startswith("verify: passed (complexity ")]
        assert len(passed) == row["rounds"]
        assert steps[: 2 * row["rounds"]] == ["complicate", "verify"] * row["rounds"]
        assert all(set(edit) == {"stage", "instruction", "response"} for edit in row["history"])


def test_a_vote_more_is_asked_only_where_it_can_matter(whole) -> None:
    counts = asked(whole[0])
    rows = [row for group in parquet(whole[0]).values() for row in group]
    judged = sum(edit["stage"].startswith("verify: ") for row in rows for edit in row["history"])
    asked_about_groups = counts["toy-judge", "verify"]
    assert asked_about_groups % 2 == 0, "this judge always agrees with itself, so two votes settle it"
    assert judged / 2 <= asked_about_groups < judged, "the four rewrites of an image share a request, and each gets two votes"


def test_the_task_templates_are_sentences_of_their_own_that_are_found(whole) -> None:
    rows = [row for name, group in parquet(whole[0]).items() if not name.startswith("rejected") for row in group]
    assert set(mine_templates(rows)) == {*YES_NO_TEMPLATES, *LETTER_TEMPLATES}


def test_one_fault_in_five_answers_changes_no_row(rehearsed, whole, tmp_path) -> None:
    # Of a reply that breaks off the good part is kept, and only the rest is asked for again.
    kinds = tuple(kind for kind in (*HTTP, *MESSAGE, "wrong_type") if kind not in ("stall", "truncated", "malformed"))
    endpoint = Endpoint(answer=rehearsed.answer, faults=Faults(share=0.2, kinds=kinds, retry_after="0.05"))
    with serve(endpoint) as url:
        finish(start(url, tmp_path / "set"))
    assert sum(endpoint.statuses[kind] for kind in kinds) > 20
    assert parquet(tmp_path / "set") == parquet(whole[0])


def test_killed_and_run_again_only_what_is_missing_is_asked(rehearsed, whole, tmp_path) -> None:
    endpoint = Endpoint(answer=rehearsed.answer, latency=0.01)
    with serve(endpoint) as url:
        for stop in (40, 120, 200):
            child = start(url, tmp_path / "set", "--concurrency", "4")
            wired.until(child, lambda stop=stop: endpoint.paid.total() >= stop)
            wired.kill(child)
        finish(start(url, tmp_path / "set", "--concurrency", "4"))
    in_the_air = 3 * (4 + 4)  # at the writer and at the judge
    assert endpoint.paid.total() <= whole[1] + in_the_air, "only what was in the air when the process died is paid again"
    assert parquet(tmp_path / "set") == parquet(whole[0])


def test_a_writer_that_judges_itself_is_told_of_in_one_sentence(rehearsed, tmp_path) -> None:
    with serve(Endpoint(answer=rehearsed.answer)) as url:
        said = finish(start(url, tmp_path / "set", "--limit", "1", judge=()))
    assert said.count("toy-writer judges its own rewrites; --judge MODEL names another one") == 1
