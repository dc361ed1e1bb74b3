"""Run the recipe over the scenes that are left and write their shards, in order."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice

from comvint_hf.dataset.statistics import reason_category
from comvint_hf.dataset.writer import ShardWriter
from comvint_hf.errors import EndpointError, InputError, PendingError
from comvint_hf.generation.client.retry import retrying_failed
from comvint_hf.generation.client.usage import CostRecord, collect_costs
from comvint_hf.pipeline.concurrency import run_in_order
from comvint_hf.pipeline.plan import BuildState
from comvint_hf.pipeline.progress import Progress
from comvint_hf.pipeline.resume import select_unfinished, skip_duplicates
from comvint_hf.types import Sample, Scene

REFRESH_INTERVAL = 1.0
"""Seconds between two updates of the progress while no scene is finished."""


async def write_shards(state: BuildState, scenes: Iterable[Scene], progress: Progress) -> None:
    """Write the shards of the state's subset that are not written yet.

    Raises:
        PendingError: While scenes wait for a batch.
    """
    async with _refreshing(progress):
        pending = await _write_unfinished(state, islice(skip_duplicates(scenes, state.notes), state.plan.limit), progress)
    if pending:
        raise PendingError(f"{pending:,} images wait for a batch; run the same command again when it has come.")


@asynccontextmanager
async def _refreshing(progress: Progress) -> AsyncIterator[None]:
    """Keep time and cost up to date in the display while no scene is finished."""

    async def refresh() -> None:
        while True:
            await asyncio.sleep(REFRESH_INTERVAL)
            progress.refresh()

    task = asyncio.create_task(refresh())
    try:
        yield
    finally:
        task.cancel()


async def _write_unfinished(state: BuildState, scenes: Iterator[Scene], progress: Progress) -> int:
    """Run the recipe over the scenes of unfinished shards, and write each shard when its last scene is finished.

    An error that no sample can carry (wrong key, full disk, empty budget) cancels what is in progress and is raised.
    Returns the number of scenes that wait for a batch; their shards are not written.
    """
    shard: _OpenShard | None = None
    pending: Counter[int] = Counter()
    unfinished = select_unfinished(state, scenes, progress)
    calls = (((number, scene), functools.partial(_run_recipe, state, scene)) for number, scene in unfinished)
    try:
        async with aclosing(run_in_order(calls, state.concurrency, fatal=(EndpointError, InputError))) as finished:
            async for (number, scene), (samples, cost) in finished:
                if shard is not None and shard.writer.number != number:
                    shard.close()
                    shard = None
                if samples is None:
                    pending[number] += 1
                # A shard is written whole or not at all: its other scenes are run again, from the cache, with the batch.
                if samples is None or number in pending:
                    if shard is not None:
                        shard.writer.discard()
                        shard = None
                    continue
                shard = shard or _open_shard(state, number)
                kept, rejected = shard.write(scene, samples, cost)
                failed = state.count_failed(Counter(reason_category(sample.reason) for sample in samples if sample.reason))
                progress.advance(kept=kept, rejected=rejected - failed, failed=failed)
        if shard is not None:
            shard.close()
            shard = None
    finally:
        if shard is not None:
            shard.writer.discard()
    return pending.total()


async def _run_recipe(state: BuildState, scene: Scene) -> tuple[list[Sample] | None, CostRecord]:
    """A scene's samples, `None` while they wait for a batch, and the cost of the replies behind them."""
    with collect_costs() as cost, retrying_failed(scene.image_id in state.retried_images):
        try:
            return await state.recipe.run(scene, state.llms), cost
        except PendingError:
            return None, cost


@dataclass
class _OpenShard:
    """The shard that is being written, and the cost of its replies."""

    writer: ShardWriter
    on_shard: Callable[[int], None] | None
    cost: CostRecord = field(default_factory=CostRecord)

    def write(self, scene: Scene, samples: list[Sample], cost: CostRecord) -> tuple[int, int]:
        self.cost.merge(cost.to_json())
        return self.writer.write(scene, samples)

    def close(self) -> None:
        self.writer.close(usage=self.cost.to_json())
        if self.on_shard is not None:
            self.on_shard(self.writer.number)


def _open_shard(state: BuildState, number: int) -> _OpenShard:
    shard = _OpenShard(ShardWriter(state.out, number, state.plan), state.on_shard)
    state.verifications.append(shard.writer.verification)
    return shard
