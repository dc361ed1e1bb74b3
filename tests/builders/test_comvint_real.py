"""ComVint on real annotations, offline and through a local endpoint: every box of a row is annotated, groups are whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from endpoint.answers import RecordedReplies
from endpoint.asking import opened
from endpoint.server import Endpoint, serve

from comvint_hf import AnnotationLLM, LLMs, build, load_scenes
from comvint_hf.generation.recipes.comvint import comvint
from comvint_hf.grounding import format_box, parse_boxes
from comvint_hf.pipeline.build import build_async

SPECS = {
    "flickr30k": "flickr30k:{}/flickr30k_entities",
    "coco": "coco:{}/coco",
    "visual_genome": "visual_genome:{}/visual_genome",
}
PART = [("flickr30k", 25), ("coco", 15), ("visual_genome", 3)]
WHOLE = [("flickr30k", 348), ("coco", None), ("visual_genome", None)]
RECIPE = comvint(rounds=2)


def rows_of(folder: Path) -> list[dict]:
    files = [path for path in sorted(folder.rglob("*.parquet")) if "rejected" not in path.parts and "images" not in path.parts]
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def offline(spec: str, count: int | None, out: Path) -> list[dict]:
    build(load_scenes(spec, limit=count), RECIPE, LLMs.one(AnnotationLLM()), out, progress=False, images=pictures(spec))
    return rows_of(out)


def through_endpoint(spec: str, count: int | None, out: Path) -> list[dict]:
    recorded = RecordedReplies()
    listening = LLMs.one(recorded.record(AnnotationLLM(), deterministic=False))

    async def go() -> None:
        for scene in load_scenes(spec, limit=count):
            await RECIPE.run(scene, listening)
        with serve(Endpoint(answer=recorded.answer, keep_requests=False)) as url:
            async with opened(url, out.parent / "replies.sqlite") as llm:
                scenes = load_scenes(spec, limit=count)
                await build_async(scenes, RECIPE, LLMs.one(llm), out, progress=False, images=pictures(spec))

    asyncio.run(go())
    return rows_of(out)


def pictures(spec: str) -> bool:
    """Flickr30k's photos are not here and may not be shared: its rows are text."""
    return not spec.startswith("flickr30k")


def check_boxes(rows: list[dict], spec: str, count: int | None) -> int:
    """Hold every box against the annotations; gives how many pieces of evidence are groups of several boxes."""
    scenes = {scene.id: scene for scene in load_scenes(spec, limit=count)}
    groups = 0
    for row in rows:
        things = scenes[row["image_id"]].by_tag
        assert row["evidence"] or (row["format"], row["messages"][-1]["content"]) == ("bool", "No")
        for piece in row["evidence"]:
            thing = things[piece["tag"]]
            boxes = [thing.box] if hasattr(thing, "box") else thing.boxes
            assert np.asarray(piece["boxes"]) == pytest.approx(np.asarray([box.xyxy for box in boxes], dtype="float32"))
            groups += len(boxes) > 1
        known = {format_box(box) for thing in things.values() for box in ([thing.box] if hasattr(thing, "box") else thing.boxes)}
        for message in row["messages"]:
            assert {format_box(box) for box in parse_boxes(message["content"])} <= known
    return groups


def check_build(make, source: str, count: int | None, shared: Path, tmp_path: Path) -> None:
    spec = SPECS[source].format(shared)
    rows = make(spec, count, tmp_path / "out")
    groups = check_boxes(rows, spec, count)
    # What cannot be asked in the drawn format without giving its answer away is left out, so few images give many rows.
    assert len({row["image_id"] for row in rows}) > 0.15 * (count or 1)
    assert "cross_modal" in {row["task"] for row in rows} <= {"cross_modal", "outside_knowledge"}
    assert "open" in {row["format"] for row in rows} <= {"open", "bool", "choice"}
    assert {row["rounds"] for row in rows} <= {0, 1, 2}
    with_photo = {scene.id for scene in load_scenes(spec, limit=count) if scene.image is not None} if pictures(spec) else set()
    assert all(bool(row.get("images")) == (row["image_id"] in with_photo) for row in rows)
    if source == "flickr30k" and len(rows) > 100:  # a handful of rows may point at no group
        assert groups > 0.02 * len(rows), "an id with several boxes keeps them all"


@pytest.mark.parametrize("make", [offline, through_endpoint])
@pytest.mark.parametrize(("source", "count"), PART, ids=[source for source, _ in PART])
def test_a_part_of_the_real_annotations(make, source, count, shared, tmp_path) -> None:
    check_build(make, source, count, shared, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("make", [offline, through_endpoint])
@pytest.mark.parametrize(("source", "count"), WHOLE, ids=[source for source, _ in WHOLE])
def test_all_of_the_real_annotations(make, source, count, shared, tmp_path) -> None:
    check_build(make, source, count, shared, tmp_path)
