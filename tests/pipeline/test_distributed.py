"""A build in many tasks: each takes its part, and together they leave the very bytes that one process would."""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import suppress
from pathlib import Path

import pytest

from comvint_hf import build, load_scenes
from comvint_hf.dataset import shards
from comvint_hf.dataset.plan import Share, hold
from comvint_hf.errors import ComvintError, InputError
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.pipeline import distributed as together
from comvint_hf.pipeline.build import build_share
from comvint_hf.pipeline.options import BuildOptions
from comvint_hf.pipeline.plan import plan_of
from comvint_hf.pipeline.task_status import Report, read_reports
from comvint_hf.progress import Progress

NOBODY = LLMs.one(ScriptedLLM([]))
SCENES = 47
DECIDED = {"limit": None, "seed": 0, "shard_scenes": 5, "images": True, "split": 0.3}


def everything(folder: Path) -> dict[str, str]:
    """Every file of a build by its hash, the shards' markers and the plan among them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def take(out: Path, recipe, rank: int, tasks: int, scenes: int = SCENES) -> None:
    stream = load_scenes(f"shapes:{scenes}")
    asyncio.run(build_share(Share(rank, tasks), stream, recipe, NOBODY, out, Progress("", None, shown=False), **DECIDED))


def finish(out: Path, recipe, scenes: int = SCENES):
    options = {**DECIDED, "progress": False}
    return build(load_scenes(f"shapes:{scenes}"), recipe, NOBODY, out, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, toy_recipe) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "set"
    finish(out, toy_recipe)
    return everything(out)


@pytest.mark.parametrize("tasks", [2, 3, 7, 20])
def test_any_number_of_tasks_in_any_order_leaves_the_same_bytes(tasks, whole, tmp_path, toy_recipe) -> None:
    out = tmp_path / "set"
    for rank in random.Random(tasks).sample(range(tasks), tasks):
        take(out, toy_recipe, rank, tasks)
    assert len(shards.markers(out)) == -(-SCENES // 5), "the tasks have built every shard"
    finish(out, toy_recipe)
    assert everything(out) == whole


def test_what_one_number_of_tasks_began_another_ends(whole, tmp_path, toy_recipe) -> None:
    out = tmp_path / "set"
    for rank, tasks in ((1, 4), (0, 3), (1, 2)):
        take(out, toy_recipe, rank, tasks)
    there = {path.name for path in (out / shards.STATE).glob("0*.json")}
    assert there == {f"{number:05d}.json" for number in range(10) if number % 4 == 1 or number % 3 == 0 or number % 2 == 1}
    finish(out, toy_recipe)
    assert everything(out) == whole


def test_a_task_leaves_another_plans_folder_alone(tmp_path, toy_recipe) -> None:
    finish(tmp_path / "set", toy_recipe, 12)
    with pytest.raises(InputError, match="made with --scenes shapes:12, and this command says --scenes shapes:13"):
        take(tmp_path / "set", toy_recipe, 0, 2, 13)


def test_of_two_that_write_one_shard_the_first_to_finish_counts(tmp_path) -> None:
    first, second = shards.Shard(tmp_path, 3), shards.Shard(tmp_path, 3)
    for shard, url in ((first, "first"), (second, "second")):
        shard.add(shards.IMAGES, "", "train", {"image_id": "test/1", "url": url})
    first.commit({"by": "first"})
    held = everything(tmp_path / shards.IMAGES)
    second.commit({"by": "second"})
    assert shards.read_marker(tmp_path, 3)["by"] == "first" and everything(tmp_path / shards.IMAGES) == held
    assert not list(tmp_path.rglob("*.partial"))


def test_what_killed_tasks_left_half_written_is_swept_away(tmp_path, toy_recipe) -> None:
    lost = shards.Shard(tmp_path, 2)
    lost.add(shards.IMAGES, "", "train", {"image_id": "test/1"})
    assert list(tmp_path.rglob("*.partial"))
    plan = plan_of(load_scenes("shapes:3"), toy_recipe, NOBODY, **DECIDED)
    with hold(tmp_path, plan.to_json()):
        assert not list(tmp_path.rglob("*.partial"))
    lost.abandon()


def options(out: Path, **more) -> BuildOptions:
    blank = dict.fromkeys(BuildOptions.__dataclass_fields__)
    given = {"scenes": "shapes:9", "llm": "annotations", "out": out, "executor": "local", "executor_set": (), "tasks": 1}
    return BuildOptions(**{**blank, "concurrency": 64, "overwrite": False, **given, **more})


def test_the_tasks_together_ask_no_more_at_once_or_a_minute_than_one_would(tmp_path) -> None:
    given = options(tmp_path, requests_per_minute=90.0, tokens_per_minute=5000.0, tasks=3, concurrency=64)
    parts = []

    def note(task: together.Task) -> None:
        parts.append(task)

    for rank in range(3):
        together.work(note, given, rank, 3)
    assert sum(task.options.concurrency for task in parts) <= 64 and min(task.options.concurrency for task in parts) == 21
    assert sum(task.options.requests_per_minute for task in parts) == 90
    assert sum(task.options.tokens_per_minute for task in parts) == pytest.approx(5000)
    assert [task.share for task in parts] == [Share(rank, 3) for rank in range(3)]
    assert {task.options.replies for task in parts} == {given.replies}, "on one machine they share the cache and its budget"
    assert all(told["done"] for told in read_reports(tmp_path / together.REPORTS, 3))


def test_a_task_tells_what_ended_it_and_the_run_says_which_tasks_those_were(tmp_path) -> None:
    def failing(task: together.Task) -> None:
        if task.share.rank in (0, 2):
            raise InputError("The disk is full: make room.")

    given = options(tmp_path, tasks=4)
    for rank in range(3):
        with suppress(InputError):
            together.work(failing, given, rank, 4)
    told = read_reports(tmp_path / together.REPORTS, 4)
    with pytest.raises(ComvintError) as raised:
        together._look_at(told, {0: 1, 1: 0, 2: 1, 3: -9})
    lines = str(raised.value).splitlines()
    assert lines[0] == "Task 0, 2 of 4: The disk is full: make room."
    assert lines[1].startswith("Task 3 of 4: it was killed (signal 9); finished shards are kept.") and len(lines) == 2


def test_a_task_whose_run_was_killed_tells_the_next_run_nothing(tmp_path, monkeypatch) -> None:
    def stopped(task: together.Task) -> None:
        monkeypatch.setattr(together.os, "getppid", lambda: 1)
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        together.work(stopped, options(tmp_path, tasks=2), 0, 2)
    assert read_reports(tmp_path / together.REPORTS, 1) == [None]


def test_a_report_is_whole_whenever_it_is_read_and_tells_the_last_counts(tmp_path) -> None:
    report = Report(tmp_path / "tasks" / "00000.json", lambda: [["model", "prompt", {"requests": 2}]])
    assert read_reports(tmp_path / "tasks", 1) == [None]
    report.advance(2, kept=5, rejected=1)
    report.advance(1, kept=2, fresh=False)
    report.write(done=True)
    (told,) = read_reports(tmp_path / "tasks", 1)
    assert told == {
        "scenes": 3, "kept": 7, "rejected": 1, "failed": 0, "fresh": 2, "done": True, "error": "",
        "usage": [["model", "prompt", {"requests": 2}]],
    }  # fmt: skip
