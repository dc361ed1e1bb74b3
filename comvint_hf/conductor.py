"""Scenes x recipe -> dataset folder: the one place that knows sources, synthesis and data.

`build` runs a recipe over scenes, restores their order, writes shards and draws the card. It can be killed at any moment
and run again: finished shards are kept, and the folder ends up with the same bytes as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import functools
import random
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import __version__
from comvint_hf.conventions import Conventions
from comvint_hf.data import card, shards
from comvint_hf.data.book import Book, digest
from comvint_hf.data.plan import Pictures, Plan, hold
from comvint_hf.data.progress import Progress
from comvint_hf.data.report import Statistics
from comvint_hf.errors import InputError, PendingError
from comvint_hf.records import Sample, Scene
from comvint_hf.synthesis.llm import LLMs
from comvint_hf.synthesis.prompt import prompt_hash

if TYPE_CHECKING:
    from comvint_hf.synthesis.engine.estimate import Rehearsal
    from comvint_hf.synthesis.recipes import Recipe

SCENES_A_SHARD = 1000
REPEATED = "images skipped: their id came before"
Finished = tuple[int, Scene, list[Sample] | None]
"""A scene that came back: its shard's number and its samples, `None` while they wait for a batch."""


@dataclass(frozen=True)
class BuildReport:
    """What a build made: where it lies, what it holds, and how long it took."""

    out: Path
    statistics: Statistics
    scenes: int
    seconds: float

    @property
    def kept(self) -> int:
        return self.statistics.kept

    @property
    def rejected(self) -> int:
        return self.statistics.refused

    def __str__(self) -> str:
        return f"{self.out}: {self.kept:,} rows of {self.scenes:,} images, {self.rejected:,} rejected, in {self.seconds:.1f} s"


@dataclass
class _Job:
    """A plan and what it takes to carry it out; `notes` counts what happened on the way."""

    plan: Plan
    recipe: Recipe
    llms: LLMs
    out: Path
    concurrency: int
    notes: Counter[str] = field(default_factory=Counter)


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
    overwrite: bool = False,
) -> BuildReport:
    """Run `recipe` over `scenes` and leave a dataset in the folder `out` that `load_dataset` opens.

    `limit` stops after so many scenes; `shard_scenes` is how many go into one shard, which is also what a kill can cost;
    `concurrency` is how many scenes are under way at once; `split` is the share of images held out (`None`: the house's
    rule, see `data.splits`); `seed` and `asking` (how the language models are asked) are written down with the rest of the plan. A
    finished or half-finished folder of the same plan is continued; one of another plan raises `InputError` unless
    `overwrite` says to delete it first. Raises `PendingError` while scenes wait for a batch: run again when it came.
    """
    plan = Plan(
        limit=limit,
        seed=seed,
        shard_scenes=shard_scenes,
        images=images,
        split=split,
        asking=dict(asking or {}),
        **_described(scenes, recipe, llms),
    )
    job = _Job(plan, recipe, llms, Path(out), concurrency)
    total = limit if limit is not None else _expected(scenes)
    with hold(job.out, plan.to_json(), overwrite), Progress(f"{recipe.name} on {plan.source}", total, progress) as shown:
        pending = await _write_shards(job, islice(_unique(scenes, job.notes), limit), shown)
        if pending:
            raise PendingError(f"{pending:,} images wait for a batch; run the same command again when it has come.")
        statistics = _finish(job, scenes)
        return BuildReport(job.out, statistics, shown.scenes, shown.seconds)


@functools.wraps(build_async)
def build(*arguments: Any, **options: Any) -> BuildReport:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(build_async(*arguments, **options))
    with ThreadPoolExecutor(1) as pool:  # a notebook's loop is running in this thread
        return pool.submit(asyncio.run, build_async(*arguments, **options)).result()


def _described(scenes: Iterable[Scene], recipe: Recipe, llms: LLMs) -> dict[str, Any]:
    """The part of a plan that the three say about themselves; any iterable of scenes will do for a source."""
    name = getattr(scenes, "name", type(scenes).__name__)
    licence = getattr(scenes, "licence", None)
    return {
        "version": __version__,
        "recipe": recipe.name,
        "settings": getattr(recipe, "settings", {}),
        "prompts": {prompt: prompt_hash(prompt) for prompt in recipe.prompts},
        "generator": llms.writer.name,
        "judge": llms.judge.name,
        "scenes": getattr(scenes, "spec", name),
        "source": name,
        "licence": {
            "name": getattr(licence, "name", "unknown"),
            "text": getattr(licence, "text", ""),
            "share_images": getattr(licence, "images_may_be_shared", True),
        },
    }


def _expected(scenes: Iterable[Scene]) -> int | None:
    """How many scenes will come, where that is known before they do."""
    if hasattr(scenes, "__len__"):
        return len(scenes)
    found = re.match(r"shapes:(\d+)", getattr(scenes, "spec", ""))
    counts = [count for count in (getattr(scenes, "limit", None), int(found[1]) if found else None) if count is not None]
    return min(counts, default=None)


def _unique(scenes: Iterable[Scene], notes: Counter[str]) -> Iterator[Scene]:
    """Skip scenes whose id came before, so that row ids stay unique; keeps one number a scene."""
    seen: set[int] = set()
    for scene in scenes:
        if (key := hash(scene.id)) in seen:
            notes[REPEATED] += 1
            continue
        seen.add(key)
        yield scene


async def _write_shards(job: _Job, scenes: Iterator[Scene], progress: Progress) -> int:
    """Run the recipe over the scenes of unfinished shards and write each shard as its last scene comes back.

    Gives the number of scenes that wait for a batch; their shards are not written.
    """
    book: Book | None = None
    pending: Counter[int] = Counter()
    try:
        async with aclosing(_in_order(job, scenes, progress)) as finished:
            async for number, scene, samples in finished:
                if book is not None and book.number != number:
                    book.close()
                    book = None
                if samples is None:
                    pending[number] += 1
                if number in pending:
                    if book is not None:
                        book.abandon()
                        book = None
                    continue
                book = book or Book(job.out, number, job.plan)
                kept, rejected = book.write(scene, samples)
                progress.advance(kept=kept, rejected=rejected)
        if book is not None:
            book.close()
            book = None
    finally:
        if book is not None:
            book.abandon()
    return pending.total()


async def _in_order(job: _Job, scenes: Iterator[Scene], progress: Progress) -> AsyncIterator[Finished]:
    """Run up to `concurrency` scenes at once and give them back in the order they came, with their shard's number.

    A failure that no sample can carry (wrong key, empty budget) cancels what is under way and is raised.
    """
    under_way: deque[tuple[int, Scene, asyncio.Task[list[Sample]]]] = deque()
    try:
        for number, scene in _unfinished(job, scenes, progress):
            under_way.append((number, scene, asyncio.create_task(job.recipe.run(scene, job.llms))))
            if len(under_way) >= job.concurrency:
                yield await _first(under_way)
        while under_way:
            yield await _first(under_way)
    finally:
        for _, _, task in under_way:
            task.cancel()
        await asyncio.gather(*(task for _, _, task in under_way), return_exceptions=True)


async def _first(under_way: deque[tuple[int, Scene, asyncio.Task[list[Sample]]]]) -> Finished:
    number, scene, task = under_way[0]
    try:
        samples = await task
    except PendingError:
        samples = None
    under_way.popleft()
    return number, scene, samples


def _unfinished(job: _Job, scenes: Iterator[Scene], progress: Progress) -> Iterator[tuple[int, Scene]]:
    """Scenes of shards that no earlier run finished; the scenes of finished ones are only compared by id."""
    number, count = 0, job.plan.shard_scenes
    while count == job.plan.shard_scenes:
        run = islice(scenes, job.plan.shard_scenes)
        done = shards.read_marker(job.out, number)
        if done is None:
            count = 0
            for count, scene in enumerate(run, start=1):
                yield number, scene
        else:
            count = _compare(job, number, done, run)
            earlier = Statistics.from_json(done["statistics"])
            progress.advance(count, earlier.kept, earlier.refused, fresh=False)
        number += 1


def _compare(job: _Job, number: int, done: dict[str, Any], run: Iterator[Scene]) -> int:
    ids = [scene.id for scene in run]
    if digest(ids) != done["scenes"]:
        raise InputError(
            f"The scenes of shard {number} in {job.out} are not the ones that {job.plan.scenes} gives now; "
            "choose another --out, or add --overwrite to build it anew."
        )
    return len(ids)


def _finish(job: _Job, scenes: Iterable[Scene]) -> Statistics:
    """Add up the shards and write build.json, stats.json, comvint.json and the card."""
    statistics, files = Statistics(), {}
    for summary in shards.markers(job.out):
        statistics.merge(Statistics.from_json(summary["statistics"]))
        files.update(summary["files"])
    statistics.notes += Counter(getattr(scenes, "counts", {})) + job.notes
    plan = job.plan
    about = {
        "parts": [{**plan.to_json(), "scenes": _shown(plan.scenes)}],
        "files": dict(sorted(files.items())),
        "rows": statistics.kept,
        "rejected": statistics.refused,
    }
    Conventions(recipe=plan.recipe, generator=plan.generator, judge=plan.judge, prompts=plan.prompts).write(job.out)
    card.write_folder(job.out, about, statistics)
    return statistics


def _shown(spec: str) -> str:
    """The source as a card names it: folders of the builder's own machine are nobody's business.

    >>> _shown("visual_genome:/home/me/vg,coco:/data/coco"), _shown("shapes:500")
    ('visual_genome:vg,coco:coco', 'shapes:500')
    """
    return re.sub(r":([^,]*[/\\])([^,/\\]+)", r":\2", spec)


async def rehearse(
    scenes: Iterable[Scene], recipe: Recipe, rehearsal: Rehearsal, *, sample: int = 20, concurrency: int = 64
) -> str:
    """Say in one line what a build would take: count all scenes, run the recipe on some that stand for them, write nothing."""
    chosen: list[Scene] = []
    dice, count = random.Random(0), 0
    for count, scene in enumerate(scenes, start=1):
        if len(chosen) < sample:
            chosen.append(scene)
        elif (place := dice.randrange(count)) < sample:
            chosen[place] = scene
    kept = 0
    for scene in chosen:
        kept += sum(made.reason is None for made in await recipe.run(scene, rehearsal.llms))
    estimate = rehearsal.estimate(len(chosen), count, concurrency=concurrency)
    return f"{estimate.line()}; about {kept * count // max(len(chosen), 1):,} rows"
