"""Run the recipe over the scenes that are left and write their shards, in order."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice

from comvint_hf.dataset.statistics import short_reason
from comvint_hf.dataset.writer import Book
from comvint_hf.errors import EndpointError, InputError, PendingError
from comvint_hf.generation.client.ask_again import asking_again
from comvint_hf.generation.client.usage import Bill, billed
from comvint_hf.pipeline.concurrency import in_order
from comvint_hf.pipeline.job import Job
from comvint_hf.pipeline.resume import unfinished, unique
from comvint_hf.progress import Progress
from comvint_hf.types import Sample, Scene

SECONDS_BETWEEN_LOOKS = 1.0
"""So often the progress display is told that time has passed, however long an endpoint takes to answer."""
Made = tuple[list[Sample] | None, Bill]
"""A scene's samples, `None` while they wait for a batch, and what the replies behind them took."""


async def write_shards(job: Job, scenes: Iterable[Scene], progress: Progress) -> None:
    """Write the shards of the job's share that are not written yet. Raises `PendingError` while scenes wait for a batch."""
    async with _ticking(progress):
        pending = await _write_unfinished(job, islice(unique(scenes, job.notes), job.plan.limit), progress)
    if pending:
        raise PendingError(f"{pending:,} images wait for a batch; run the same command again when it has come.")


@asynccontextmanager
async def _ticking(progress: Progress) -> AsyncIterator[None]:
    """Let time and cost go on in the display while no scene comes back."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            progress.look()

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()


async def _write_unfinished(job: Job, scenes: Iterator[Scene], progress: Progress) -> int:
    """Run the recipe over the scenes of unfinished shards and write each shard as its last scene comes back.

    Gives the number of scenes that wait for a batch; their shards are not written. A failure that no sample can carry
    (wrong key, full disk, empty budget) cancels what is under way and is raised.
    """
    page: _Page | None = None
    pending: Counter[int] = Counter()
    jobs = (((number, scene), functools.partial(_make, job, scene)) for number, scene in unfinished(job, scenes, progress))
    try:
        async with aclosing(in_order(jobs, job.concurrency, fatal=(EndpointError, InputError))) as finished:
            async for (number, scene), (samples, bill) in finished:
                if page is not None and page.book.number != number:
                    page.close()
                    page = None
                if samples is None:
                    pending[number] += 1
                if number in pending:
                    if page is not None:
                        page.book.abandon()
                        page = None
                    continue
                page = page or _open_page(job, number)
                kept, rejected = page.write(scene, samples, bill)
                failed = job.failed(Counter(short_reason(sample.reason) for sample in samples if sample.reason))
                progress.advance(kept=kept, rejected=rejected - failed, failed=failed)
        if page is not None:
            page.close()
            page = None
    finally:
        if page is not None:
            page.book.abandon()
    return pending.total()


async def _make(job: Job, scene: Scene) -> Made:
    with billed() as bill, asking_again(scene.image_id in job.again):
        try:
            return await job.recipe.run(scene, job.llms), bill
        except PendingError:
            return None, bill


@dataclass
class _Page:
    """The shard that is being written, and what its replies took."""

    book: Book
    closed: Callable[[int], None] | None
    bill: Bill = field(default_factory=Bill)

    def write(self, scene: Scene, samples: list[Sample], bill: Bill) -> tuple[int, int]:
        self.bill.merge(bill.to_json())
        return self.book.write(scene, samples)

    def close(self) -> None:
        self.book.close(usage=self.bill.to_json())
        if self.closed is not None:
            self.closed(self.book.number)


def _open_page(job: Job, number: int) -> _Page:
    page = _Page(Book(job.out, number, job.plan), job.closed)
    job.healths.append(page.book.health)
    return page
