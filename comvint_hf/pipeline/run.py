"""Run a build as its options say: in this process, in rounds of provider batches, or in several workers."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from comvint_hf.dataset import markers
from comvint_hf.dataset.plan import lock_folder
from comvint_hf.errors import InputError, PendingError, first_line
from comvint_hf.generation.client.batch import run_in_batches
from comvint_hf.generation.client.estimate import SAMPLE, estimate_build, sample_scenes
from comvint_hf.generation.client.pilot import Projection, measure_scene, project
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.pipeline.balance import balance_answers
from comvint_hf.pipeline.build import BuildReport, build_shards, run_build
from comvint_hf.pipeline.concurrency import run_in_order
from comvint_hf.pipeline.distributed import Worker, merge_worker_caches, run_workers, submit_workers
from comvint_hf.pipeline.executor.config import EXECUTORS
from comvint_hf.pipeline.executor.pickled_call import PickledCall
from comvint_hf.pipeline.llms import LLMSession, open_dry_run, open_llms
from comvint_hf.pipeline.options import BuildOptions, OptionsError
from comvint_hf.pipeline.plan import BuildState, count_expected, make_plan
from comvint_hf.pipeline.progress import Progress
from comvint_hf.pipeline.resume import check_finished_shards
from comvint_hf.pipeline.serving import serve_model, without_server
from comvint_hf.sources import load_scenes

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe

T = TypeVar("T")


class BuildRun:
    """A build in this process: at once, or in rounds while provider batches bring replies.

    After `run`, `cost` holds what was asked and paid, as lines.

    Raises:
        OptionsError: Where there are no scenes, and where their images are to be pushed but may not be re-hosted.
    """

    llms: LLMSession

    def __init__(self, recipe: Recipe, options: BuildOptions) -> None:
        self.recipe, self.options = recipe, options
        with _options_errors():
            self.scenes = load_scenes(options.scenes, seed=options.seed, limit=options.limit, images=options.images)
        if options.push_to and options.store_images != "none" and not self.scenes.licence.images_may_be_shared:
            raise OptionsError(
                f"The images of {self.scenes.name} may not be re-hosted: add --store-images none, or leave out --push-to."
            )
        self.settings = self._make_settings()
        self.cost: list[str] = []
        self._checked: set[int] = set()
        self._started = time.monotonic()

    def run(self, finish: Callable[[Recipe, BuildOptions], None]) -> BuildReport | str:
        """Build the dataset, with the model's server if the options name one. SIGTERM stops it as Ctrl-C does.

        Args:
            finish: Called with the options of one process when the workers of an executor that takes the work over are done.

        Returns:
            The report; or a text where nothing was built here: the estimate of a dry run, or the jobs that were submitted.

        Raises:
            OptionsError: For a budget without a price.
            EndpointError: For a missing key, and where the endpoint refuses for good.
            InputError: Where the folder holds another dataset, or the disk refuses to write.
        """
        with self.serving():
            return self.work(finish)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run the model's server, if the options name one, and ask there."""
        with serve_model(self.options) as self.options:
            self.settings = self._make_settings()
            yield

    def work(self, finish: Callable[[Recipe, BuildOptions], None]) -> BuildReport | str:
        """Do what `run` does, once the model's server is there."""
        with stop_errors(self.options.out):
            self.open_llms()
            report = asyncio.run(until_stopped(self._run_rounds(), self.llms))
        self.cost += self.llms.format_lines()
        return replace(report, seconds=time.monotonic() - self._started)

    def _make_settings(self) -> LLMSettings:
        return replace(self.options.llm_settings, cache=self.options.reply_cache, seed=self.options.seed)

    def open_llms(self) -> None:
        """Open the writer and the judge, with the replies that earlier workers left on other machines."""
        merge_worker_caches(self.options)
        with _options_errors():
            self.llms = open_llms(self.options.llm, self.options.judge, self.settings)

    def make_state(self) -> BuildState:
        """Make the state from which the shards are written."""
        options = self.options
        plan = make_plan(self.scenes, self.recipe, self.llms, **options.plan_settings)
        scenes = options.concurrent_scenes
        return BuildState(
            plan, self.recipe, self.llms, options.out, scenes, retry_failed=options.retry_failed, checked=self._checked
        )

    async def _run_rounds(self) -> BuildReport:
        overwrite = self.options.overwrite

        async def run_round() -> BuildReport:
            nonlocal overwrite
            now, overwrite = overwrite, overwrite and "continue"  # only the first round starts afresh
            return await run_build(self.make_state(), self.scenes, overwrite=now)

        async def run_pending() -> None:
            with suppress(PendingError):
                await run_round()

        if self.llms.batches:
            await run_in_batches(run_pending, self.llms.batches, partial(print, flush=True))
        return await run_round()


class EstimateRun(BuildRun):
    """A dry run: it asks no model and writes nothing."""

    def run(self, finish: Callable[[Recipe, BuildOptions], None]) -> str:
        """Estimate requests, cost, time and rows on a sample of the scenes."""
        with _options_errors():
            options = self.options
            dry_run = open_dry_run(options.llm, options.judge, self.settings, pass_rate=options.judge_pass_rate)
        return asyncio.run(estimate_build(self.scenes, self.recipe, dry_run))


class PilotRun(BuildRun):
    """A pilot: a few scenes are really asked, and project the cost of all. Their replies stay in the cache."""

    def run(self, finish: Callable[[Recipe, BuildOptions], None]) -> BuildReport | str:
        """Project the build and stop, or with `yes` print the projection and build; see `BuildRun.run`."""
        options = self.options
        with self.serving():
            with stop_errors(options.out):
                self.open_llms()
                projection = asyncio.run(until_stopped(self._project(), self.llms))
            text = "\n".join(
                [projection.format(options.judge_pass_rate), *(self.llms.meter.format_lines() if self.llms.meter else ())]
            )
            if not options.yes:
                return (
                    f"{text}\nNothing else was asked, and these replies are kept in {options.reply_cache}. Run the same command "
                    "without --pilot to build; --pilot with --yes builds without asking."
                )
            print(text, flush=True)
            if EXECUTORS[options.executor].shares == "machine":
                return self._build(self.options, finish)
        return self._build(options, finish)  # elsewhere each worker has a server of its own

    def _build(self, options: BuildOptions, finish: Callable[[Recipe, BuildOptions], None]) -> BuildReport | str:
        build = open_run(self.recipe, replace(options, pilot=None, yes=False))
        report = build.run(finish)
        self.cost = build.cost
        return report

    async def _project(self) -> Projection:
        options = self.options
        sampled, count = sample_scenes(self.scenes, max(SAMPLE, options.pilot or 0))
        random.Random(options.seed).shuffle(sampled)  # the first ones of a reservoir are the source's first
        chosen = sampled[: options.pilot]
        calls = ((scene.id, partial(measure_scene, scene, self.recipe, self.llms)) for scene in chosen)
        pilot = [cost async for _, cost in run_in_order(calls, options.concurrent_scenes)]
        dry_run = open_dry_run(options.llm, options.judge, self.settings, pass_rate=options.judge_pass_rate)
        rehearsed = [await dry_run.rehearse(scene, self.recipe) for scene in sampled]
        return project(pilot, rehearsed[: len(chosen)], dry_run.estimate(rehearsed, count), self.settings)


class WorkersRun(BuildRun):
    """A build whose shards are written by workers; this process, or a job after them, finishes the dataset."""

    _workers_serve: dict[str, Any]

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run one server for all workers of this machine; on other machines each worker runs its own."""
        if EXECUTORS[self.options.executor].shares == "machine":
            with super().serving():
                self._workers_serve = {}
                yield
            return
        self._workers_serve = {"serve": self.options.serve, "llm_settings": self.options.llm_settings}
        self.options = without_server(self.options)
        self.settings = self._make_settings()
        yield

    def work(self, finish: Callable[[Recipe, BuildOptions], None]) -> BuildReport | str:
        """Start the workers; see `BuildRun.run`."""
        options, executor = self.options, EXECUTORS[self.options.executor]
        build = PickledCall(build_in_worker, self.recipe)
        with stop_errors(options.out):
            self.open_llms()  # a missing key or price must be an error before anything is started
            state = self.make_state()
            plan = state.plan.to_json()
            asyncio.run(self.llms.close())  # the workers open the cache themselves
            with lock_folder(options.out, plan, options.overwrite) as folder:
                asyncio.run(balance_answers(self.llms, state.plan, self.recipe, self.scenes, folder, shown=True))
                shared = _move_output(replace(options, **self._workers_serve), folder)
                check_finished_shards(replace(self.make_state(), out=folder), self.scenes)
                if executor.waits:
                    title = f"{self.recipe.name} on {self.scenes.name}, {options.num_workers:,} workers"
                    total = count_expected(self.scenes, options.limit)
                    self.cost = run_workers(build, shared, Progress(title, total), plan)
                    if executor.shares != "nothing":  # each worker has compared its shards with their files and photos
                        self._checked.update(markers.list_marked_shards(folder))
            self.options = replace(options, overwrite=options.overwrite and "continue")
            if not executor.waits:  # the job that finishes the dataset takes the lock
                alone = replace(self.options, executor="local", num_workers=1, out=options.out.absolute())
                return submit_workers(build, PickledCall(finish, self.recipe, alone), shared, plan)
        return super().work(finish)


def _move_output(options: BuildOptions, folder: Path) -> BuildOptions:
    """Let the workers write into another folder, with the replies where they are."""
    if folder == options.out:
        return options
    return replace(options, out=folder, llm_settings=replace(options.llm_settings, cache=options.reply_cache))


def open_run(recipe: Recipe, options: BuildOptions) -> BuildRun:
    """Choose how to run a build, and open its scenes; raises as `BuildRun` does."""
    kind = EstimateRun if options.dry_run else PilotRun if options.pilot else WorkersRun if options.is_distributed else BuildRun
    return kind(recipe, options)


def build_in_worker(recipe: Recipe, worker: Worker) -> None:
    """Build the shards of one worker in this process. Ctrl-C and SIGTERM stop it as they stop a build."""
    with serve_model(worker.options, f"server-{worker.subset.rank:05d}") as options:
        run = BuildRun(recipe, options)
        run.llms = open_llms(options.llm, options.judge, run.settings, snapshot=worker.snapshot)
        worker.usage = run.llms.usage
        with stop_errors(options.out):
            state = replace(run.make_state(), subset=worker.subset, on_shard=worker.upload_shard)
            asyncio.run(until_stopped(build_shards(state, run.scenes, worker.progress), run.llms))


@contextmanager
def _options_errors() -> Iterator[None]:
    """Raise `OptionsError` for an `InputError` about what the options name."""
    try:
        yield
    except InputError as error:
        raise OptionsError(str(error)) from error


@contextmanager
def stop_errors(out: Path) -> Iterator[None]:
    """Raise `KeyboardInterrupt` for a stop by SIGTERM, and `InputError` for an error of the disk."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except asyncio.CancelledError:  # asyncio itself turns only Ctrl-C into KeyboardInterrupt
        raise KeyboardInterrupt from None
    except OSError as error:
        raise InputError(
            f"The build in {out} cannot go on ({first_line(error)}): make room or mend the permission, then run the same "
            "command again; what was finished is kept."
        ) from error
    finally:
        with suppress(ValueError):  # asyncio leaves SIGTERM without a handler; only a main thread can set one
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


async def until_stopped(work: Awaitable[T], session: LLMSession) -> T:
    """Await `work` and close the language models, which waits for replies under way. SIGTERM stops it as Ctrl-C does."""
    again = ""

    def on_wait(replies: int, seconds: float) -> None:
        stop = f"press Ctrl-C {again}to leave at once"
        # One write: workers share stderr, and print writes the line and its end apart.
        sys.stderr.write(f"Waiting for {replies:,} replies under way (at most {seconds:.0f} s); {stop}.\n")
        sys.stderr.flush()

    task = asyncio.current_task()
    assert task is not None
    with suppress(RuntimeError):  # only a main thread can, and none on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        again = "again "  # the first signal ended the work, a second one ends the wait
        raise
    finally:
        await session.close(on_wait)
