"""`build`: scenes x recipe -> dataset folder.

It runs a recipe over scenes, restores their order, writes shards and draws the card. It can be killed at any moment
and run again: finished shards are kept, and the folder ends up with the same bytes as if nothing had happened. Shards depend
on the scenes alone, so several processes may each `build_share` of them, and `build` then finishes the folder.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.conventions import Conventions
from comvint_hf.dataset import card, shards
from comvint_hf.dataset.plan import Pictures, Share, claim, hold, shown_source
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.generation.client.usage import Bill
from comvint_hf.generation.llm import LLMs
from comvint_hf.pipeline.job import Job
from comvint_hf.pipeline.plan import expected, plan_of
from comvint_hf.pipeline.report import BuildReport
from comvint_hf.pipeline.write import write_shards
from comvint_hf.progress import Progress
from comvint_hf.types import Scene

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe

SCENES_A_SHARD = 1000


async def build_async(
    scenes: Iterable[Scene],
    recipe: Recipe,
    llms: LLMs,
    out: Path | str,
    *,
    limit: int | None = None,
    seed: int = 0,
    shard_scenes: int = SCENES_A_SHARD,
    images: Pictures = True,
    concurrency: int = 64,
    progress: bool = True,
    split: float | None = None,
    asking: Mapping[str, Any] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> BuildReport:
    """Run `recipe` over `scenes` and leave a dataset in the folder `out` that `load_dataset` opens.

    `limit` stops after so many scenes; `shard_scenes` is how many go into one shard, which is also what a kill can cost;
    `concurrency` is how many scenes are under way at once (finished ones may wait behind a slow one, see `order`); `split` is
    the share of images held out (`None`: the house's rule, see `data.splits`); `seed` and `asking` (how the language models
    are asked) are written down with the rest of the plan. A finished or half-finished folder of the same plan is
    continued; one of another plan raises `InputError` unless `overwrite` says to delete it first. `retry_failed` opens the
    shards again that hold failed samples, and asks for those once more; all else stays as it is. Raises `PendingError`
    while scenes wait for a batch: run again when it came.
    """
    plan = plan_of(
        scenes, recipe, llms, limit=limit, seed=seed, shard_scenes=shard_scenes, images=images, split=split, asking=asking
    )
    job = Job(plan, recipe, llms, Path(out), concurrency, retry_failed=retry_failed)
    shown = Progress(f"{recipe.name} on {plan.source}", expected(scenes, limit), progress, job.beside)
    with hold(job.out, plan.to_json(), overwrite), shown:
        await write_shards(job, scenes, shown)
        statistics, usage, signs = _finish(job, scenes)
        return BuildReport(job.out, statistics, shown.scenes, shown.seconds, shown.failed, usage, signs)


@functools.wraps(build_async)
def build(*arguments: Any, **options: Any) -> BuildReport:
    if not _in_a_loop():
        return asyncio.run(build_async(*arguments, **options))
    with ThreadPoolExecutor(1) as pool:  # a notebook's loop is running in this thread
        return pool.submit(asyncio.run, build_async(*arguments, **options)).result()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def build_share(
    share: Share,
    scenes: Iterable[Scene],
    recipe: Recipe,
    llms: LLMs,
    out: Path | str,
    progress: Progress,
    *,
    concurrency: int = 64,
    closed: Callable[[int], None] | None = None,
    **decided: Any,
) -> None:
    """Write the shards of one of several tasks into `out`, beside the others; `decided` is what `plan_of` takes.

    `closed` hears the number of each shard that this call finished. No card is drawn, and nobody is kept out of the folder:
    whoever starts the tasks holds it (`data.plan.hold`), and runs `build` over it when they are done. Raises `InputError` if the folder holds another plan's rows.
    """
    job = Job(plan_of(scenes, recipe, llms, **decided), recipe, llms, Path(out), concurrency, share, closed)
    claim(job.out, job.plan.to_json())
    with progress:
        await write_shards(job, scenes, progress)


def _finish(job: Job, scenes: Iterable[Scene]) -> tuple[Statistics, dict[str, dict[str, float]], list[str]]:
    """Add up the shards and write build.json, stats.json, comvint.json and the card.

    Gives the counts, what the replies took by model, and the signs of a build gone wrong.
    """
    statistics, files, bill = Statistics(), {}, Bill()
    for summary in shards.markers(job.out):
        statistics.merge(Statistics.from_json(summary["statistics"]))
        files.update(summary["files"])
        bill.merge(summary.get("usage", {}))
    statistics.notes += Counter(getattr(scenes, "counts", {})) + job.notes
    plan = job.plan
    about = {
        "parts": [{**plan.to_json(), "scenes": shown_source(plan.scenes)}],
        "files": dict(sorted(files.items())),
        "rows": statistics.kept,
        "rejected": statistics.refused,
        "usage": (usage := bill.to_json()),
    }
    Conventions(recipe=plan.recipe, generator=plan.generator, judge=plan.judge, prompts=plan.prompts).write(job.out)
    signs = card.write_folder(job.out, about, statistics)
    return statistics, usage, signs
