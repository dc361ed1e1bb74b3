"""A build counts its whole corpus once: a limit, workers and a second run ask by the same tables."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from annotator.toy_corpus import make_scene

from comvint_hf import LLMs, build, comvint
from comvint_hf.annotator import AnnotationLLM
from comvint_hf.annotator.balance import counting
from comvint_hf.dataset.plan import ShardSubset
from comvint_hf.dataset.reader import list_row_files, read_columns
from comvint_hf.pipeline import balance
from comvint_hf.pipeline.build import build_shards
from comvint_hf.pipeline.plan import BuildState, make_plan
from comvint_hf.pipeline.progress import Progress

SCENES = [make_scene(number) for number in range(60)]
RECIPE = comvint(rounds=0, formats=("bool", "choice"))
SETTINGS = {"images": False, "shard_scenes": 10}


@pytest.fixture(autouse=True)
def small_corpora_count(monkeypatch) -> None:
    monkeypatch.setattr(counting, "FEWEST_SCENES", 50)
    monkeypatch.setattr(counting, "FEWEST_RIGHT", 1)


def rows(out: Path, config: str = "default") -> dict[str, tuple]:
    found = [
        row
        for split in ("train", "test")
        for path in list_row_files(out, config, split)
        for row in read_columns(path, ("id", "messages"))
    ]
    return {row["id"]: tuple(message["content"] for message in row["messages"]) for row in found}


def run(out: Path, **settings) -> dict[str, tuple]:
    build(SCENES, RECIPE, LLMs.one(AnnotationLLM()), out, progress=False, **SETTINGS, **settings)
    return rows(out)


def test_a_limit_gives_the_first_rows_of_the_whole(tmp_path) -> None:
    whole, part = run(tmp_path / "whole"), run(tmp_path / "part", limit=20)
    ids = {scene.id for scene in SCENES[:20]}
    assert part and part == {
        id: texts
        for id, texts in whole.items()
        if id.rpartition("/")[0] in ids or any(id.startswith(f"{known}/") for known in ids)
    }


def test_the_corpus_is_counted_once(tmp_path, monkeypatch) -> None:
    first = run(tmp_path / "set")
    (tables,) = (tmp_path / "set" / balance.TABLES).iterdir()
    before = tables.read_bytes()
    monkeypatch.setattr("comvint_hf.annotator.count_corpus", None)  # a second count would fail
    assert run(tmp_path / "set") == first and tables.read_bytes() == before


def test_workers_write_the_rows_of_one_process(tmp_path) -> None:
    alone, out = run(tmp_path / "alone"), tmp_path / "shared"
    for rank in range(3):
        llms = LLMs.one(AnnotationLLM())
        plan = make_plan(SCENES, RECIPE, llms, limit=None, seed=0, split=None, **SETTINGS)
        state = BuildState(plan, RECIPE, llms, out, 4, ShardSubset(rank, 3))
        asyncio.run(build_shards(state, SCENES, Progress("worker", None, False)))
    assert run(out) == alone
