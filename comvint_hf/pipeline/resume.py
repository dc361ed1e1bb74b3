"""Which scenes are still to be built, in a folder where some shards may be finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.reader import read_columns
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.writer import digest
from comvint_hf.errors import InputError
from comvint_hf.generation.stage import NO_REPLY
from comvint_hf.pipeline.job import Job
from comvint_hf.progress import Progress
from comvint_hf.types import Scene

REPEATED = "images skipped: their id came before"


def unfinished(job: Job, scenes: Iterator[Scene], progress: Progress) -> Iterator[tuple[int, Scene]]:
    """Scenes of the share's shards that are to be written; the scenes of those that stay as they are, are only compared by id."""
    number, count = 0, job.plan.shard_scenes
    while count == job.plan.shard_scenes:
        run = islice(scenes, job.plan.shard_scenes)
        if number not in job.share:
            count = sum(1 for _ in run)
        elif (done := shards.read_marker(job.out, number)) is None:
            count = 0
            for count, scene in enumerate(run, start=1):
                yield number, scene
        else:
            earlier = Statistics.from_json(done["statistics"])
            failed = job.failed(earlier.rejected)
            opened = list(run) if failed and job.retry_failed else []
            count = _compare(job, number, done, opened or run)
            if opened:
                job.again.update(_failed_images(job.out, done))
                yield from ((number, scene) for scene in opened)
            else:
                job.healths.append(earlier.health)
                progress.advance(count, earlier.kept, earlier.refused - failed, failed, fresh=False)
        number += 1


def unique(scenes: Iterable[Scene], notes: Counter[str]) -> Iterator[Scene]:
    """Skip scenes whose id came before, so that row ids stay unique; keeps a digest a scene."""
    seen: set[bytes] = set()
    for scene in scenes:
        if (key := blake2b(scene.id.encode(), digest_size=16).digest()) in seen:
            notes[REPEATED] += 1
            continue
        seen.add(key)
        yield scene


def _failed_images(out: Path, done: dict[str, Any]) -> set[str]:
    """The images of a finished shard that have failed samples."""
    files = (out / name for name in done["files"] if name.startswith(f"{shards.REJECTED}/"))
    rows = (row for path in files for row in read_columns(path, ("image_id", "reason")))
    return {row["image_id"] for row in rows if row["reason"].startswith(NO_REPLY)}


def _compare(job: Job, number: int, done: dict[str, Any], run: Iterable[Scene]) -> int:
    ids = [scene.id for scene in run]
    if digest(ids) != done["scenes"]:
        raise InputError(
            f"The scenes of shard {number} in {job.out} are not the ones that {job.plan.scenes} gives now; "
            "choose another --out, or add --overwrite to build it anew."
        )
    return len(ids)
