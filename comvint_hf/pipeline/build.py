"""`build`: run a recipe over scenes and leave a dataset folder.

A build can be killed at any moment and run again: finished shards are kept, and the folder ends up with the same bytes.
Shards depend on the scenes alone, so several workers may each `build_shards`, and `build` then finishes the folder.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import registry
from comvint_hf.conventions import Conventions
from comvint_hf.dataset import card, shards
from comvint_hf.dataset.plan import ImageStorage, Overwrite, Plan, claim_folder, lock_folder, strip_folders
from comvint_hf.dataset.reader import list_row_files, read_columns
from comvint_hf.dataset.statistics import Statistics
from comvint_hf.errors import InputError
from comvint_hf.generation.client.usage import CostRecord
from comvint_hf.generation.llm import LLMs
from comvint_hf.pipeline.balance import balance_answers
from comvint_hf.pipeline.plan import BuildState, count_expected, make_plan
from comvint_hf.pipeline.progress import Progress
from comvint_hf.pipeline.resume import check_finished_shards
from comvint_hf.pipeline.write import write_shards
from comvint_hf.quality.blind_probe import probe_files
from comvint_hf.types import NO_REPLY, Scene

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe


@dataclass(frozen=True)
class BuildReport:
    """The result of a build.

    Args:
        out: The dataset folder.
        scenes: Scenes that were read.
        failed: Rejected samples that got no usable reply.
        usage: What the replies behind the rows cost, by model.
        warnings: Sentences about signs of a failed dataset (ComVint).
    """

    out: Path
    statistics: Statistics
    scenes: int
    seconds: float
    failed: int = 0
    usage: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        return self.statistics.kept

    @property
    def rejected(self) -> int:
        return self.statistics.num_rejected

    def failures(self) -> Iterator[str]:
        """Yield a line for each failed sample: its id and the reason."""
        for path in list_row_files(self.out, shards.REJECTED) if self.failed else ():
            for row in read_columns(path, ("id", "reason")):
                if row["reason"].startswith(NO_REPLY):
                    yield f"{row['id']}: {row['reason']}"

    def __str__(self) -> str:
        images = self.statistics.images.total()
        return f"{self.out}: {self.kept:,} rows of {images:,} images, {self.rejected:,} rejected, in {self.seconds:.1f} s"


async def build_async(
    scenes: Iterable[Scene],
    recipe: Recipe,
    llms: LLMs,
    out: Path | str,
    *,
    limit: int | None = None,
    seed: int = 0,
    shard_scenes: int = 1000,
    images: ImageStorage = True,
    concurrency: int = 64,
    progress: bool = True,
    split: float | None = None,
    asking: Mapping[str, Any] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> BuildReport:
    """Run `recipe` over `scenes` and leave a dataset in the folder `out` that `load_dataset` opens.

    A finished or half-finished folder of the same plan is continued.

    Args:
        limit: Stop after this many scenes.
        seed: Noted in the plan.
        shard_scenes: Scenes in one shard, which is also what a kill can cost.
        images: Whether each row holds its image, `"table"` for a config `images`, or `False` for none.
        concurrency: Scenes in progress at once; finished ones may wait behind a slow one.
        split: Share of the images to hold out; by default the rule of `dataset.splits`.
        asking: How the language models are asked (temperature and the like), noted in the plan.
        retry_failed: Ask once more for the failed samples of finished shards; every other row stays as it is.
        overwrite: Replace a dataset of another plan, once the new one is finished.

    Raises:
        InputError: If the folder holds a dataset of another plan, or files that no build wrote; if annotations or photos of finished
            shards have changed; and if no row was kept, when only the rejected rows and their reasons are left in the folder.
        PendingError: While scenes wait for a batch. Run again when it has come.
    """
    plan = make_plan(
        scenes, recipe, llms, limit=limit, seed=seed, shard_scenes=shard_scenes, images=images, split=split, asking=asking
    )
    state = BuildState(plan, recipe, llms, Path(out), concurrency, retry_failed=retry_failed)
    return await run_build(state, scenes, shown=progress, overwrite=overwrite)


@functools.wraps(build_async)
def build(*arguments: Any, **options: Any) -> BuildReport:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(build_async(*arguments, **options))
    with ThreadPoolExecutor(1) as pool:  # a notebook's loop is running in this thread
        return pool.submit(asyncio.run, build_async(*arguments, **options)).result()


async def run_build(
    state: BuildState, scenes: Iterable[Scene], *, shown: bool = True, overwrite: Overwrite = False
) -> BuildReport:
    """Write the shards that are missing, then build.json, stats.json, comvint.json and the card; see `build`."""
    plan, out = state.plan, state.out
    total = count_expected(scenes, plan.limit)
    # The card is written under the lock too: it must describe exactly the shards that lie there.
    with lock_folder(out, plan.to_json(), overwrite) as folder:
        state = replace(state, out=folder)
        await balance_answers(state.llms, plan, state.recipe, scenes, folder, shown)
        with Progress(f"{plan.recipe} on {plan.source}", total, shown, state.format_note) as progress:
            check_finished_shards(state, scenes)
            await write_shards(state, scenes, progress)
            statistics, about = _summarize(state, scenes)
            Conventions(recipe=plan.recipe, generator=plan.generator, judge=plan.judge, prompts=plan.prompts).write(state.out)
            warnings = card.write_card(state.out, about, statistics, probe_files(state.out, about["files"], plan.seed))
        # Under the lock: a dataset that is to be replaced stays where nothing takes its place.
        _require_rows(plan, statistics)
    return BuildReport(out, statistics, progress.scenes, progress.seconds, progress.failed, about["usage"], warnings)


def _require_rows(plan: Plan, statistics: Statistics) -> None:
    """Raise `InputError` with the counted reasons for a build that kept no row of the scenes that it was to read."""
    if statistics.kept or plan.limit == 0:
        return
    counted = statistics.rejected.most_common() or sorted(statistics.notes.items())
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in counted) or "it gave no image"
    made = f"{statistics.num_rejected:,} samples were rejected" if statistics.rejected else "no sample was made"
    again = ", or ask again for those without a reply with --retry-failed" if statistics.rejected[NO_REPLY] else ""
    raise InputError(
        f"No row was kept of {plan.scenes}: {made} ({reasons}). Rejected rows are no dataset; read them in the config `rejected` and "
        f"check the annotations and the recipe{again}."
    )


async def build_shards(state: BuildState, scenes: Iterable[Scene], progress: Progress) -> None:
    """Write the shards of one of several workers beside those of the others.

    The process that starts the workers locks the folder and runs `build` over it when they are done.

    Raises:
        InputError: If the folder holds the rows of another plan.
    """
    claim_folder(state.out, state.plan.to_json())
    await balance_answers(state.llms, state.plan, state.recipe, scenes, state.out)
    with progress:
        await write_shards(state, scenes, progress)


def _summarize(state: BuildState, scenes: Iterable[Scene]) -> tuple[Statistics, dict[str, Any]]:
    """Add up the shards: the statistics, and the content of build.json."""
    statistics, files, cost = Statistics(), {}, CostRecord()
    # From the markers alone, so that a resumed build adds up to the very same files.
    for marker in shards.read_markers(state.out):
        statistics.merge(Statistics.from_json(marker["statistics"]))
        files.update(marker["files"])
        cost.merge(marker.get("usage", {}))
    statistics.notes += Counter(getattr(scenes, "counts", {})) + state.notes
    return statistics, {
        "parts": [_describe_part(state.plan, state.recipe, scenes)],
        "files": dict(sorted(files.items())),
        "rows": statistics.kept,
        "rejected": statistics.num_rejected,
        "usage": cost.to_json(),
    }


def _describe_part(plan: Plan, recipe: Recipe, scenes: Iterable[Scene]) -> dict[str, Any]:
    """The plan with what a card cites and compares, so that it needs neither the recipe nor the source."""
    spec = strip_folders(plan.scenes)
    joined = (registry.sources.find(name) for name in re.findall(r",(\w+):", spec))  # as in visual_genome:DIR,coco:DIR
    cited = (recipe, getattr(scenes, "source", None), *joined)
    return {
        **plan.to_json(),
        "scenes": spec,
        "citations": [citation for declared in cited if (citation := getattr(declared, "citation", ""))],
        "figures": dict(getattr(recipe, "figures", {})),
        "recipe_licence": getattr(recipe, "licence", ""),
    }
