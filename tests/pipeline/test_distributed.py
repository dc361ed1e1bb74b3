"""A build in several workers: each builds its shards, and together they leave the very bytes that one process would."""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import suppress
from pathlib import Path

import pytest

from comvint_hf import build, load_scenes
from comvint_hf.dataset import shards
from comvint_hf.dataset.plan import ShardSubset, lock_folder
from comvint_hf.errors import ComvintError, InputError
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.pipeline import distributed
from comvint_hf.pipeline.build import build_shards
from comvint_hf.pipeline.options import BuildOptions
from comvint_hf.pipeline.plan import BuildState, make_plan
from comvint_hf.pipeline.progress import Progress
from comvint_hf.pipeline.worker_status import WorkerProgress, read_statuses

NOBODY = LLMs.one(ScriptedLLM([]))
SCENES = 47
DECIDED = {"limit": None, "seed": 0, "shard_scenes": 5, "images": True, "split": 0.3}


def everything(folder: Path) -> dict[str, str]:
    """Every file of a build by its hash, the shards' markers and the plan among them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def take(out: Path, recipe, rank: int, workers: int, scenes: int = SCENES) -> None:
    stream = load_scenes(f"shapes:{scenes}")
    plan = make_plan(stream, recipe, NOBODY, **DECIDED)
    state = BuildState(plan, recipe, NOBODY, out, concurrency=64, subset=ShardSubset(rank, workers))
    asyncio.run(build_shards(state, stream, Progress("", None, shown=False)))


def finish(out: Path, recipe, scenes: int = SCENES):
    options = {**DECIDED, "progress": False}
    return build(load_scenes(f"shapes:{scenes}"), recipe, NOBODY, out, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, toy_recipe) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole") / "set"
    finish(out, toy_recipe)
    return everything(out)


@pytest.mark.parametrize("workers", [2, 3, 7, 20])
def test_any_number_of_workers_in_any_order_leaves_the_same_bytes(workers, whole, tmp_path, toy_recipe) -> None:
    out = tmp_path / "set"
    for rank in random.Random(workers).sample(range(workers), workers):
        take(out, toy_recipe, rank, workers)
    assert len(shards.read_markers(out)) == -(-SCENES // 5), "the workers have built every shard"
    finish(out, toy_recipe)
    assert everything(out) == whole


def test_what_one_number_of_workers_began_another_ends(whole, tmp_path, toy_recipe) -> None:
    out = tmp_path / "set"
    for rank, workers in ((1, 4), (0, 3), (1, 2)):
        take(out, toy_recipe, rank, workers)
    there = {path.name for path in (out / shards.STATE).glob("0*.json")}
    assert there == {f"{number:05d}.json" for number in range(10) if number % 4 == 1 or number % 3 == 0 or number % 2 == 1}
    finish(out, toy_recipe)
    assert everything(out) == whole


def test_a_worker_leaves_another_plans_folder_alone(tmp_path, toy_recipe) -> None:
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


def test_what_killed_workers_left_half_written_is_swept_away(tmp_path, toy_recipe) -> None:
    lost = shards.Shard(tmp_path, 2)
    lost.add(shards.IMAGES, "", "train", {"image_id": "test/1"})
    assert list(tmp_path.rglob("*.partial"))
    plan = make_plan(load_scenes("shapes:3"), toy_recipe, NOBODY, **DECIDED)
    with lock_folder(tmp_path, plan.to_json()):
        assert not list(tmp_path.rglob("*.partial"))
    lost.discard()


def options(out: Path, **more) -> BuildOptions:
    return BuildOptions("shapes:9", out, **more)


def test_the_workers_together_ask_no_more_at_once_or_a_minute_than_one_would(tmp_path) -> None:
    settings = LLMSettings(concurrency=64, requests_per_minute=90.0, tokens_per_minute=5000.0)
    given, workers = options(tmp_path, llm_settings=settings, num_workers=3), []
    for rank in range(3):
        distributed.run_worker(workers.append, given, rank, 3)
    parts = [worker.options.llm_settings for worker in workers]
    assert sum(part.concurrency for part in parts) <= 64 and min(part.concurrency for part in parts) == 21
    assert sum(part.requests_per_minute for part in parts) == 90
    assert sum(part.tokens_per_minute for part in parts) == pytest.approx(5000)
    assert [worker.subset for worker in workers] == [ShardSubset(rank, 3) for rank in range(3)]
    caches = {worker.options.reply_cache for worker in workers}
    assert caches == {given.reply_cache}, "on one machine they share the cache and its budget"
    assert all(status["done"] for status in read_statuses(tmp_path / distributed.STATUSES, 3))


def test_a_worker_writes_what_ended_it_and_the_run_says_which_workers_those_were(tmp_path) -> None:
    def failing(worker: distributed.Worker) -> None:
        if worker.subset.rank in (0, 2):
            raise InputError("The disk is full: make room.")

    given = options(tmp_path, num_workers=4)
    for rank in range(3):
        with suppress(InputError):
            distributed.run_worker(failing, given, rank, 4)
    statuses = read_statuses(tmp_path / distributed.STATUSES, 4)
    with pytest.raises(ComvintError) as raised:
        distributed._raise_failures(statuses, {0: 1, 1: 0, 2: 1, 3: -9})
    lines = str(raised.value).splitlines()
    assert lines[0] == "Worker 0, 2 of 4: The disk is full: make room."
    assert lines[1].startswith("Worker 3 of 4: it was killed (signal 9); finished shards are kept.") and len(lines) == 2


def test_a_worker_whose_run_was_killed_writes_the_next_run_nothing(tmp_path, monkeypatch) -> None:
    def stopped(worker: distributed.Worker) -> None:
        monkeypatch.setattr(distributed.os, "getppid", lambda: 1)
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        distributed.run_worker(stopped, options(tmp_path, num_workers=2), 0, 2)
    assert read_statuses(tmp_path / distributed.STATUSES, 1) == [None]


def test_a_status_is_complete_whenever_it_is_read_and_holds_the_last_counts(tmp_path) -> None:
    progress = WorkerProgress(tmp_path / "tasks" / "00000.json", lambda: [["model", "prompt", {"requests": 2}]])
    assert read_statuses(tmp_path / "tasks", 1) == [None]
    progress.advance(2, kept=5, rejected=1)
    progress.advance(1, kept=2, new=False)
    progress.write(done=True)
    (status,) = read_statuses(tmp_path / "tasks", 1)
    assert status == {
        "scenes": 3, "kept": 7, "rejected": 1, "failed": 0, "new": 2, "done": True, "error": "",
        "usage": [["model", "prompt", {"requests": 2}]],
    }  # fmt: skip
