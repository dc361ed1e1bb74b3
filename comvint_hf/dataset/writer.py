"""One shard being written: samples in, rows on the disk and counts out.

This file knows samples, rows and files; it knows no recipe and no language model.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.plan import Plan
from comvint_hf.dataset.scene_images import photo_bytes
from comvint_hf.dataset.schema import Row, to_rejected_row, to_row
from comvint_hf.dataset.shards import Shard
from comvint_hf.dataset.splits import TRAIN
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.verification import Health
from comvint_hf.errors import RowError, UnknownTagError
from comvint_hf.types import Sample, Scene

NO_ROW = "images that gave no row"


class Book:
    """The rows of a run of scenes. Nothing is seen in the folder before `close`."""

    def __init__(self, out: Path, number: int, plan: Plan) -> None:
        self.number = number
        self._plan = plan
        self._shard = Shard(out, number)
        self._statistics = Statistics()
        self._ids: list[str] = []

    def write(self, scene: Scene, samples: list[Sample]) -> tuple[int, int]:
        """Write one scene's samples; says how many were kept and how many rejected.

        Row ids are "<scene id>/<task>/<number>", counted over kept and rejected samples alike, so they never change
        between runs of one plan.
        """
        self._ids.append(scene.id)
        split = self._plan.split_of(scene)
        photo = self._photo(scene) if any(sample.reason is None for sample in samples) else None
        numbers: Counter[str] = Counter()
        kept = 0
        for sample in samples:
            id = f"{scene.id}/{sample.task}/{numbers[sample.task]}"
            numbers[sample.task] += 1
            kept += self._write(sample, id, split, photo)
        if kept:
            self._statistics.images[split] += 1
            if photo is not None and self._plan.images == "table":
                self._shard.add(shards.IMAGES, "", TRAIN, _image_row(scene, photo, self._plan))
        else:
            self._statistics.notes[NO_ROW] += 1
        return kept, len(samples) - kept

    @property
    def health(self) -> Health:
        """How complicating and verifying went so far."""
        return self._statistics.health

    def close(self, **more: Any) -> None:
        """Move the files into place and write down the counts, and whatever `more` the marker should tell."""
        self._shard.commit({"scenes": digest(self._ids), "statistics": self._statistics.to_json(), **more})

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._shard.abandon()

    def _photo(self, scene: Scene) -> bytes | None:
        if self._plan.images is False:
            return None
        photo, problem = photo_bytes(scene)
        if problem:
            self._statistics.notes[problem] += 1
        return photo

    def _write(self, sample: Sample, id: str, split: str, photo: bytes | None) -> bool:
        sample = sample if sample.generator else sample.model_copy(update={"generator": self._plan.generator})
        embedded = photo if self._plan.images is True else None
        try:
            row = to_row(sample, id, embedded) if sample.reason is None else None
            reason = sample.reason
        except UnknownTagError as error:
            reason = f"points at something the scene does not have: {error}"
        except RowError as error:
            reason = str(error)
        if reason is not None:
            row = to_rejected_row(sample, id, reason)
            self._statistics.refuse(row)
            self._shard.add(shards.REJECTED, "", TRAIN, row)
            return False
        self._statistics.add(row, split)
        self._shard.add(shards.WITHOUT_IMAGES if embedded is None else shards.WITH_IMAGES, sample.task, split, row)
        return True


def digest(ids: Iterable[str]) -> str:
    """A hash of the scene ids in order, by which a later run knows that a shard is still of the same scenes."""
    hashed = hashlib.sha256()
    for id in ids:
        hashed.update(f"{id}\n".encode())
    return hashed.hexdigest()


def _image_row(scene: Scene, photo: bytes, plan: Plan) -> Row:
    return {
        "image_id": scene.image_id,
        "image": {"bytes": photo, "path": None},
        "width": scene.width,
        "height": scene.height,
        "licence": str(scene.meta.get("licence") or plan.licence["name"]),
        "url": str(scene.meta.get("url") or ""),
    }
