"""Write one shard: samples in, rows on the disk and counts out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.plan import Plan
from comvint_hf.dataset.scene_hashes import NOT_READ, SceneHashes, hash_photo
from comvint_hf.dataset.schema import Row, to_rejected_row, to_row
from comvint_hf.dataset.shards import Shard
from comvint_hf.dataset.splits import TRAIN
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.dataset.verification import VerificationStatistics
from comvint_hf.errors import RowError, UnknownTagError
from comvint_hf.grounding import parse
from comvint_hf.images import outline_boxes, read_checked
from comvint_hf.strict_reader import redact
from comvint_hf.types import Sample, Scene

NO_ROW = "images that gave no row"


class ShardWriter:
    """Writes the samples of a run of scenes. Nothing appears in the folder before `close`."""

    def __init__(self, out: Path, number: int, plan: Plan) -> None:
        self.number = number
        self._plan = plan
        self._shard = Shard(out, number)
        self._statistics = Statistics()
        self._ids: list[str] = []
        self._hashes = SceneHashes()
        self._reasons: dict[str, str] = {}

    def write(self, scene: Scene, samples: list[Sample]) -> tuple[int, int]:
        """Write one scene's samples.

        Row ids are "<scene id>/<task>/<number>", counted over kept and rejected samples alike, so that they never change
        between runs of one plan.

        Returns:
            The numbers of kept and of rejected samples.
        """
        self._ids.append(scene.id)
        split = self._plan.assign_split(scene)
        needs_image = self._plan.images is not False and any(sample.reason is None for sample in samples)
        image = self._read_image(scene) if needs_image else None
        self._hashes.add(scene, hash_photo(scene, image) if needs_image else NOT_READ)
        numbers: Counter[str] = Counter()
        kept = 0
        for sample in samples:
            id = f"{scene.id}/{sample.task}/{numbers[sample.task]}"
            numbers[sample.task] += 1
            kept += self._write_sample(sample, id, split, image)
        if kept:
            self._statistics.images[split] += 1
            if image is not None and self._plan.images == "table":
                self._shard.add(shards.IMAGES, "", TRAIN, _image_row(scene, image, self._plan))
        else:
            self._statistics.notes[NO_ROW] += 1
        return kept, len(samples) - kept

    @property
    def verification(self) -> VerificationStatistics:
        """The counts of complicating and verifying so far."""
        return self._statistics.verification

    def close(self, **summary: Any) -> None:
        """Move the files into place; the marker holds the counts, and `summary` beside them."""
        hashes = {"scenes": shards.hash_ids(self._ids), **self._hashes.to_json()}
        self._shard.commit({**hashes, "statistics": self._statistics.to_json(), **summary})

    def discard(self) -> None:
        """Delete everything that was written so far."""
        self._shard.discard()

    def _read_image(self, scene: Scene) -> bytes | None:
        image, problem = read_checked(scene, self._statistics.notes)
        if problem:
            self._statistics.notes[problem] += 1
        return image

    def _write_sample(self, sample: Sample, id: str, split: str, image: bytes | None) -> bool:
        """Write a sample as a row or a rejected row, and return whether it was kept."""
        # Stages that ask no LLM leave the generator empty.
        sample = sample if sample.generator else sample.model_copy(update={"generator": self._plan.generator})
        embedded = image if self._plan.images in (True, "marked") else None
        reason = sample.reason
        if reason is None:
            try:
                row = to_row(sample, id, embedded)
            except UnknownTagError as error:
                reason = f"points at something the scene does not have: {error}"
            except RowError as error:
                reason = str(error)
            else:
                if embedded is not None and self._plan.images == "marked":
                    row["images"] = [{"bytes": mark_regions(embedded, row), "path": None}]
                self._statistics.add(row, split)
                folder = shards.WITHOUT_IMAGES if embedded is None else shards.WITH_IMAGES
                self._shard.add(folder, sample.task, split, row)
                return True
        row = to_rejected_row(sample, id, self._redact(reason))
        self._statistics.add_rejected(row)
        self._shard.add(shards.REJECTED, "", TRAIN, row)
        return False

    def _redact(self, reason: str) -> str:
        """Clean a reason, whatever stage or error it came from: all of them pass here on their way to rows, cards and commands."""
        if reason not in self._reasons:  # many samples have the same one, and cleaning takes longer than writing
            self._reasons[reason] = redact(reason)
        return self._reasons[reason]


def mark_regions(image: bytes, row: Row) -> bytes:
    """Draw the boxes that a row's first question points at onto its encoded image (PAPERS section 4: marked regions)."""
    asked = row["messages"][0]["content"]
    boxes = [box for found in parse(asked) for box in found.boxes]
    return outline_boxes(image, boxes) if boxes else image


def _image_row(scene: Scene, image: bytes, plan: Plan) -> Row:
    return {
        "image_id": scene.image_id,
        "image": {"bytes": image, "path": None},
        "width": scene.width,
        "height": scene.height,
        "licence": str(scene.meta.get("licence") or plan.licence["name"]),
        "url": str(scene.meta.get("url") or ""),
    }
