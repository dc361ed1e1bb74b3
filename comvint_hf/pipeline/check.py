"""Read a source or a dataset from end to end, write nothing, and say what would be kept, what not, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comvint_hf import registry
from comvint_hf.dataset.inputs import REFUSED, open_input
from comvint_hf.dataset.schema import Row
from comvint_hf.images import MISSING, read_checked
from comvint_hf.pipeline.progress import Progress
from comvint_hf.quality.duplicates import group_duplicates, hash_picture
from comvint_hf.read_counts import READ_AS, ReadCounts
from comvint_hf.sources import load_scenes
from comvint_hf.sources.image_files import MISSING as NOT_FOUND

PARTS = ("captions", "objects", "regions", "relations", "texts", "questions")
MAX_SHOWN = 10


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        unit: What was counted: "images" of a source, "rows" of a dataset.
        read: How many of them can be used.
        holding: How many have which parts, or which task.
        counts: What was skipped or changed, with examples.
        duplicates: Ids of images that show the same picture.
    """

    name: str
    unit: str
    read: int = 0
    holding: Counter[str] = field(default_factory=Counter)
    counts: ReadCounts = field(default_factory=ReadCounts)
    duplicates: list[list[str]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing would be lost."""
        return not self.counts.lost

    @property
    def recognised(self) -> list[str]:
        """Which columns and forms were recognised."""
        return [reason.removeprefix(READ_AS) for reason in self.counts if reason.startswith(READ_AS)]

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        changed = {reason: count for reason, count in self.counts.items() if reason not in self.counts.lost}
        return {
            "name": self.name,
            "complete": self.complete,
            self.unit: self.read,
            "holding": dict(self.holding),
            "recognised": self.recognised,
            "lost": dict(self.counts.lost),
            "changed": {reason: count for reason, count in changed.items() if not reason.startswith(READ_AS)},
            "examples": self.counts.examples,
            "duplicates": self.duplicates,
        }

    def lines(self) -> Iterator[str]:
        """Yield the report line by line."""
        yield f"{self.name}: {self.read:,} {self.unit} can be used."
        yield from (f"  {count:,} with {part}" for part, count in self.holding.items())
        yield from (f"  read as {what}" for what in self.recognised)
        lost = self.counts.lost
        yield "Nothing would be lost." if self.complete else "Lost:"
        yield from (f"  {line}" for reason, line in self._described() if reason in lost)
        changed = [line for reason, line in self._described() if reason not in lost and not reason.startswith(READ_AS)]
        if changed:
            yield "Kept, but not as it stood:"
            yield from (f"  {line}" for line in changed)
        if self.duplicates:
            images = sum(map(len, self.duplicates))
            yield f"The same picture: {images:,} images in {len(self.duplicates):,} groups, such as"
            yield from (f"  {', '.join(group[:4])}" for group in self.duplicates[:MAX_SHOWN])

    def _described(self) -> Iterator[tuple[str, str]]:
        yield from zip([reason for reason, _ in self.counts.most_common()], self.counts.describe(), strict=True)


def check(
    name: str, *, images: Path | None = None, limit: int | None = None, duplicates: bool = True, shown: bool = True
) -> CheckReport:
    """Read a source (`coco:DIR`) or a dataset (a folder, a Hub repository, a LLaVA file) from end to end.

    Args:
        images: The folder of its image files.
        limit: Stop after this many images or rows.
        duplicates: Look for images that show the same picture, which decodes each of them.
        shown: Show progress on stderr.

    Raises:
        InputError: If it cannot be read at all.
    """
    is_source = ":" in name and registry.sources.find(name.partition(":")[0]) is not None
    report = CheckReport(name, "images" if is_source else "rows")
    hashes: dict[str, int] = {}
    with Progress(f"check {name}", limit, shown) as progress:
        checked = _check_scenes(report, images, limit) if is_source else _check_rows(report, images, limit)
        for image_id, encoded in checked:
            progress.advance()
            if duplicates and encoded is not None and image_id not in hashes:
                found = hash_picture(encoded)
                if found is not None:
                    hashes[image_id] = found
    report.duplicates = group_duplicates(hashes.items())
    return report


def _check_scenes(report: CheckReport, images: Path | None, limit: int | None) -> Iterator[tuple[str, bytes | None]]:
    stream = load_scenes(report.name, images=images, limit=limit)
    missing: list[str] = []
    problems = ReadCounts()
    for scene in stream:
        report.read += 1
        report.holding.update(part for part in PARTS if getattr(scene, part))
        encoded, problem = read_checked(scene, problems)
        if problem == MISSING:
            missing.append(scene.id)
        elif problem:
            problems.skip(problem, scene.id)
        yield scene.id, encoded
    report.counts = ReadCounts()
    report.counts.add(stream.counts)
    report.counts.add(problems)
    _count_missing(report, missing)


def _count_missing(report: CheckReport, missing: list[str]) -> None:
    """Count scenes without a file as lost, unless there are no image files at all: text alone is then what is built."""
    if len(missing) == report.read:
        report.counts.notes |= {MISSING, NOT_FOUND}
    # A source that looks for files has counted them already, by their names.
    if not report.counts[NOT_FOUND]:
        for image_id in missing:
            report.counts.skip(MISSING, image_id)


def _check_rows(report: CheckReport, images: Path | None, limit: int | None) -> Iterator[tuple[str, bytes | None]]:
    opened = open_input(report.name, images)
    seen: set[str] = set()
    for number, (split, row) in enumerate(opened.rows(counts=report.counts)):
        if number == limit:
            break
        if REFUSED in row:
            report.counts.skip(row[REFUSED])
            continue
        report.read += 1
        report.holding[f"the task {row['task']} ({split})"] += 1
        if row["id"] in seen:
            report.counts.skip("rows whose id came before", row["id"])
        seen.add(row["id"])
        yield row.get("image_id") or row["id"], _first_image(row)


def _first_image(row: Row) -> bytes | None:
    found = row.get("images") or []
    return found[0].get("bytes") if found and isinstance(found[0], dict) else None
