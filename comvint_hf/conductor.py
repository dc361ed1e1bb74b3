"""Scenes x recipe -> dataset folder: the one place that knows sources, synthesis and data.

`build` runs a recipe over scenes, restores their order, writes shards and draws the card. It can be killed at any moment
and run again: finished shards are kept, and the folder ends up with the same bytes as if nothing had happened. Shards depend
on the scenes alone, so several processes may each `build_share` of them, and `build` then finishes the folder.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import __version__
from comvint_hf.conventions import Conventions
from comvint_hf.data import card, shards
from comvint_hf.data.book import Book, digest
from comvint_hf.data.folder import read_columns, row_files
from comvint_hf.data.health import Health, passed_so_far
from comvint_hf.data.plan import Pictures, Plan, Share, claim, hold, shown_source
from comvint_hf.data.progress import Progress
from comvint_hf.data.report import Statistics, short_reason
from comvint_hf.errors import EndpointError, InputError, PendingError
from comvint_hf.order import in_order
from comvint_hf.records import Sample, Scene
from comvint_hf.synthesis.engine.again import asking_again
from comvint_hf.synthesis.engine.usage import Bill, billed
from comvint_hf.synthesis.llm import LLMs
from comvint_hf.synthesis.prompt import prompt_hash
from comvint_hf.synthesis.stages.asking import NO_REPLY

if TYPE_CHECKING:
    from comvint_hf.synthesis.recipes import Recipe

SCENES_A_SHARD = 1000
REPEATED = "images skipped: their id came before"
SECONDS_BETWEEN_LOOKS = 1.0
"""So often the progress display is told that time has passed, however long an endpoint takes to answer."""
Made = tuple[list[Sample] | None, Bill]
"""A scene's samples, `None` while they wait for a batch, and what the replies behind them took."""


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


@dataclass
class _Job:
    """A plan and what it takes to carry it out; `closed` hears of each finished shard, `notes` counts what happened on the way.

    With `retry_failed`, `again` gathers the images of finished shards whose failed samples are asked for once more; `healths`
    has one entry a shard.
    """

    plan: Plan
    recipe: Recipe
    llms: LLMs
    out: Path
    concurrency: int
    share: Share = field(default_factory=Share)
    closed: Callable[[int], None] | None = None
    retry_failed: bool = False
    again: set[str] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)
    healths: list[Health] = field(default_factory=list)

    def failed(self, reasons: Counter[str]) -> int:
        """How many of these rejections are failures: a writer of fixed answers that has none for a scene has not failed."""
        return 0 if self.llms.writer.deterministic else reasons[NO_REPLY]

    def beside(self) -> str:
        """What stands beside the progress: how much the judge passes, and what was asked, got and paid; "" for neither."""
        usage = getattr(self.llms, "usage", None) or getattr(self.llms.writer, "usage", None)
        paid = usage.line() if usage is not None and usage.used else ""
        return "; ".join(filter(None, (passed_so_far(self.healths), paid)))


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
    job = _Job(plan, recipe, llms, Path(out), concurrency, retry_failed=retry_failed)
    shown = Progress(f"{recipe.name} on {plan.source}", expected(scenes, limit), progress, job.beside)
    with hold(job.out, plan.to_json(), overwrite), shown:
        await _write_shards(job, scenes, shown)
        statistics, usage, signs = _finish(job, scenes)
        return BuildReport(job.out, statistics, shown.scenes, shown.seconds, shown.failed, usage, signs)


@functools.wraps(build_async)
def build(*arguments: Any, **options: Any) -> BuildReport:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(build_async(*arguments, **options))
    with ThreadPoolExecutor(1) as pool:  # a notebook's loop is running in this thread
        return pool.submit(asyncio.run, build_async(*arguments, **options)).result()


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
    job = _Job(plan_of(scenes, recipe, llms, **decided), recipe, llms, Path(out), concurrency, share, closed)
    claim(job.out, job.plan.to_json())
    with progress:
        await _write_shards(job, scenes, progress)


def plan_of(
    scenes: Iterable[Scene], recipe: Recipe, llms: LLMs, *, asking: Mapping[str, Any] | None = None, **decided: Any
) -> Plan:
    """The plan of a build with these arguments of `build_async`: limit, seed, shard_scenes, images, split and `asking`."""
    return Plan(asking=dict(asking or {}), **decided, **_described(scenes, recipe, llms))


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


def expected(scenes: Iterable[Scene], limit: int | None = None) -> int | None:
    """How many scenes will come, where that is known before they do."""
    if limit is not None:
        return limit
    if hasattr(scenes, "__len__"):
        return len(scenes)
    found = re.match(r"shapes:(\d+)", getattr(scenes, "spec", ""))
    counts = [count for count in (getattr(scenes, "limit", None), int(found[1]) if found else None) if count is not None]
    return min(counts, default=None)


def _unique(scenes: Iterable[Scene], notes: Counter[str]) -> Iterator[Scene]:
    """Skip scenes whose id came before, so that row ids stay unique; keeps a digest a scene."""
    seen: set[bytes] = set()
    for scene in scenes:
        if (key := blake2b(scene.id.encode(), digest_size=16).digest()) in seen:
            notes[REPEATED] += 1
            continue
        seen.add(key)
        yield scene


async def _write_shards(job: _Job, scenes: Iterable[Scene], progress: Progress) -> None:
    """Write the shards of the job's share that are not written yet. Raises `PendingError` while scenes wait for a batch."""
    async with _ticking(progress):
        pending = await _write_unfinished(job, islice(_unique(scenes, job.notes), job.plan.limit), progress)
    if pending:
        raise PendingError(f"{pending:,} images wait for a batch; run the same command again when it has come.")


async def _write_unfinished(job: _Job, scenes: Iterator[Scene], progress: Progress) -> int:
    """Run the recipe over the scenes of unfinished shards and write each shard as its last scene comes back.

    Gives the number of scenes that wait for a batch; their shards are not written. A failure that no sample can carry
    (wrong key, full disk, empty budget) cancels what is under way and is raised.
    """
    page: _Page | None = None
    pending: Counter[int] = Counter()
    jobs = (((number, scene), functools.partial(_make, job, scene)) for number, scene in _unfinished(job, scenes, progress))
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


async def _make(job: _Job, scene: Scene) -> Made:
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


def _open_page(job: _Job, number: int) -> _Page:
    page = _Page(Book(job.out, number, job.plan), job.closed)
    job.healths.append(page.book.health)
    return page


def _unfinished(job: _Job, scenes: Iterator[Scene], progress: Progress) -> Iterator[tuple[int, Scene]]:
    """Scenes of the share's shards that are to be written; the scenes of those that stay as they are, are only compared by id."""
    number, count = 0, job.plan.shard_scenes
    while count == job.plan.shard_scenes:
        run = islice(scenes, job.plan.shard_scenes)
        if number not in job.share:
            count = sum(1 for _ in run)
        elif (done := shards.read_marker(job.out, number)) is None:
            count = 0
            for count, scene in enumerate(run, start=1):
                yield number, scene
        else:
            earlier = Statistics.from_json(done["statistics"])
            failed = job.failed(earlier.rejected)
            opened = list(run) if failed and job.retry_failed else []
            count = _compare(job, number, done, opened or run)
            if opened:
                job.again.update(_failed_images(job.out, done))
                yield from ((number, scene) for scene in opened)
            else:
                job.healths.append(earlier.health)
                progress.advance(count, earlier.kept, earlier.refused - failed, failed, fresh=False)
        number += 1


def _failed_images(out: Path, done: dict[str, Any]) -> set[str]:
    """The images of a finished shard that have failed samples."""
    files = (out / name for name in done["files"] if name.startswith(f"{shards.REJECTED}/"))
    rows = (row for path in files for row in read_columns(path, ("image_id", "reason")))
    return {row["image_id"] for row in rows if row["reason"].startswith(NO_REPLY)}


def _compare(job: _Job, number: int, done: dict[str, Any], run: Iterable[Scene]) -> int:
    ids = [scene.id for scene in run]
    if digest(ids) != done["scenes"]:
        raise InputError(
            f"The scenes of shard {number} in {job.out} are not the ones that {job.plan.scenes} gives now; "
            "choose another --out, or add --overwrite to build it anew."
        )
    return len(ids)


def _finish(job: _Job, scenes: Iterable[Scene]) -> tuple[Statistics, dict[str, dict[str, float]], list[str]]:
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
