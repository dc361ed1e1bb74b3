"""Find the scenes that are still to be built, in a folder where some shards may be finished."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from comvint_hf.dataset import markers, shards
from comvint_hf.dataset.reader import read_columns
from comvint_hf.dataset.scene_hashes import find_change
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.errors import InputError
from comvint_hf.pipeline.plan import BuildState
from comvint_hf.pipeline.progress import Progress
from comvint_hf.strict_reader import redact
from comvint_hf.types import NO_REPLY, Scene

DUPLICATE = "images skipped: their id came before"


def select_unfinished(state: BuildState, scenes: Iterator[Scene], progress: Progress) -> Iterator[tuple[int, Scene]]:
    """Yield the scenes to build, each with the number of its shard.

    The scenes of finished shards are only compared with those that were built.

    Raises:
        InputError: For a finished shard whose annotations or photos have changed, or that the source does not have.
    """
    # The source is always read from its start: a shard is defined by the order of its scenes, and reading is cheap.
    number, count = 0, state.plan.shard_scenes
    while count == state.plan.shard_scenes:
        in_shard = islice(scenes, state.plan.shard_scenes)
        if number not in state.subset:
            count = _pass_over(state, number, in_shard)
        elif (marker := _read_intact_marker(state, number)) is None:
            count = 0
            for count, scene in enumerate(in_shard, start=1):
                yield number, scene
            if count:
                state.checked.add(number)
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
    _check_no_other_shards(state, number)


def _read_intact_marker(state: BuildState, number: int) -> dict[str, Any] | None:
    """Read a finished shard's marker; `None`, with a word on stderr, where the marker or a file is not as it was written."""
    problem, marker = "", markers.read_marker(state.out, number)
    if marker is None:
        problem = markers.find_marker_problem(state.out, number)
    elif "statistics" not in marker:
        problem = f"{markers.marker_path(state.out, number)} counts no rows."
    elif number not in state.checked:
        changed = markers.find_changed_file(state.out, marker.get("sha256", {}))
        problem = f"{state.out / changed} is not as it was written." if changed else ""
    if problem:
        # One write: workers share stderr, and print writes the line and its end apart.
        sys.stderr.write(redact(f"{problem} Its shard {number} is built again; paid replies are kept.\n"))
        sys.stderr.flush()
        markers.marker_path(state.out, number).unlink(missing_ok=True)
        return None
    return marker


def check_finished_shards(state: BuildState, scenes: Iterable[Scene]) -> None:
    """Compare the annotations of all finished shards with the source before anything is built, where an unfinished one comes first.

    Its scenes would be built, and paid for, from changed annotations before the change is noticed. Where the finished shards come
    first, `select_unfinished` notices it in time.

    Raises:
        InputError: For annotations that have changed, and for a shard that the source does not have.
    """
    numbers = markers.list_marked_shards(state.out)
    if numbers == list(range(len(numbers))) or iter(scenes) is scenes:  # a generator can be read only once
        return
    read = islice(skip_duplicates(scenes, Counter()), state.plan.limit)
    number, count = 0, state.plan.shard_scenes
    while count == state.plan.shard_scenes:
        count = _pass_over(state, number, islice(read, state.plan.shard_scenes))
        number += 1
    _check_no_other_shards(state, number)


def _pass_over(state: BuildState, number: int, scenes: Iterator[Scene]) -> int:
    """Count the scenes of a shard of another worker; those of a finished one must be as they were."""
    if number in state.checked or (marker := markers.read_marker(state.out, number)) is None:
        return sum(1 for _ in scenes)
    return _check_scenes(state, number, marker, scenes, check_photos=False)


def _check_no_other_shards(state: BuildState, count: int) -> None:
    """Raise `InputError` for a marker beyond the shards of the source: its rows would become part of the dataset."""
    others = [number for number in markers.list_marked_shards(state.out) if number >= count and number in state.subset]
    if others:
        raise InputError(
            f"{state.out} has a shard {others[0]}, and {state.plan.scenes} gives only {count:,} now: choose another --out, or add "
            "--overwrite to build it anew (paid replies are kept)."
        )


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


def _check_scenes(
    state: BuildState, number: int, marker: dict[str, Any], scenes: Iterable[Scene], check_photos: bool = True
) -> int:
    """Count a finished shard's scenes. Raises `InputError` where they are not as they were when it was built."""
    ids: list[str] = []

    def note_ids() -> Iterator[Scene]:
        for scene in scenes:
            ids.append(scene.id)
            yield scene

    count, changed = find_change(marker, note_ids(), check_photos and number not in state.checked)
    what = f"shard {number} in {state.out}"
    anew = "choose another --out, or add --overwrite to build it anew (paid replies are kept)."
    if shards.hash_ids(ids) != marker.get("scenes"):
        raise InputError(f"The scenes of {what} are not the ones that {state.plan.scenes} gives now; {anew}")
    if changed:
        raise InputError(f"{what[0].upper()}{what[1:]} was built before {changed} changed: put it back as it was, {anew}")
    if check_photos:
        state.checked.add(number)
    return count
