"""What a build made: counts, cost, failures and warnings, in one record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from comvint_hf.dataset import shards
from comvint_hf.dataset.reader import read_columns, row_files
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.generation.stage import NO_REPLY


@dataclass(frozen=True)
class BuildReport:
    """What a build made: where it lies, what it holds, how long it took, and by model what its replies took.

    `failed` of the rejected got no usable reply, however often the writer was asked; `signs` are sentences about what
    looks wrong with the whole (ComVint's failure signs).
    """

    out: Path
    statistics: Statistics
    scenes: int
    seconds: float
    failed: int = 0
    usage: dict[str, dict[str, float]] = field(default_factory=dict)
    signs: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        return self.statistics.kept

    @property
    def rejected(self) -> int:
        return self.statistics.refused

    def failures(self) -> Iterator[str]:
        """Each failed sample in a line: its id and what went wrong."""
        for path in row_files(self.out, shards.REJECTED) if self.failed else ():
            for row in read_columns(path, ("id", "reason")):
                if row["reason"].startswith(NO_REPLY):
                    yield f"{row['id']}: {row['reason']}"

    def __str__(self) -> str:
        images = self.statistics.images.total()
        return f"{self.out}: {self.kept:,} rows of {images:,} images, {self.rejected:,} rejected, in {self.seconds:.1f} s"
