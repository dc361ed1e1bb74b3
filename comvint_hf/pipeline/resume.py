"""Find the scenes that are still to be built, in a folder where some shards may be finished."""

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
from comvint_hf.errors import InputError
from comvint_hf.generation.stage import NO_REPLY
from comvint_hf.pipeline.plan import BuildState
from comvint_hf.pipeline.progress import Progress
from comvint_hf.types import Scene

DUPLICATE = "images skipped: their id came before"


def select_unfinished(state: BuildState, scenes: Iterator[Scene], progress: Progress) -> Iterator[tuple[int, Scene]]:
    """Yield the scenes to build, each with the number of its shard.

    The scenes of finished shards are only compared by id with those that were built.
    """
    # The source is always read from its start: a shard is defined by the order of its scenes, and reading is cheap.
    number, count = 0, state.plan.shard_scenes
    while count == state.plan.shard_scenes:
        in_shard = islice(scenes, state.plan.shard_scenes)
        if number not in state.subset:
            count = sum(1 for _ in in_shard)
        elif (marker := shards.read_marker(state.out, number)) is None:
            count = 0
            for count, scene in enumerate(in_shard, start=1):
                yield number, scene
        else:
            earlier = Statistics.from_json(marker["statistics"])
            failed = state.count_failed(earlier.rejected)
            reopened = list(in_shard) if failed and state.retry_failed else []
            count = _check_scenes(state, number, marker, reopened or in_shard)
            if reopened:
                state.retried_images.update(_find_failed_images(state.out, marker))
                yield from ((number, scene) for scene in reopened)
            else:
                state.verifications.append(earlier.verification)
                progress.advance(count, earlier.kept, earlier.num_rejected - failed, failed, new=False)
        number += 1


def skip_duplicates(scenes: Iterable[Scene], notes: Counter[str]) -> Iterator[Scene]:
    """Skip scenes whose id came before, so that row ids stay unique. It keeps 16 bytes for each scene."""
    seen: set[bytes] = set()
    for scene in scenes:
        if (key := blake2b(scene.id.encode(), digest_size=16).digest()) in seen:
            notes[DUPLICATE] += 1
            continue
        seen.add(key)
        yield scene


def _find_failed_images(out: Path, marker: dict[str, Any]) -> set[str]:
    """The images of a finished shard that have failed samples."""
    files = (out / name for name in marker["files"] if name.startswith(f"{shards.REJECTED}/"))
    rows = (row for path in files for row in read_columns(path, ("image_id", "reason")))
    return {row["image_id"] for row in rows if row["reason"].startswith(NO_REPLY)}


def _check_scenes(state: BuildState, number: int, marker: dict[str, Any], scenes: Iterable[Scene]) -> int:
    """Count a finished shard's scenes. Raises `InputError` where they are not the ones that were built."""
    ids = [scene.id for scene in scenes]
    if shards.hash_ids(ids) != marker["scenes"]:
        raise InputError(
            f"The scenes of shard {number} in {state.out} are not the ones that {state.plan.scenes} gives now; "
            "choose another --out, or add --overwrite to build it anew."
        )
    return len(ids)
