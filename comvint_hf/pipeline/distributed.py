"""Share a build among workers, and put their shards, replies and costs together again.

The executor's `shares` (see `executors`) decides what each worker gets: the common reply cache, and with it the budget, or a
cache and a part of the budget of its own, beside a snapshot of the common cache. This module does not know what builds.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from comvint_hf.dataset import markers, shards
from comvint_hf.dataset.plan import ShardSubset
from comvint_hf.dataset.swap_folder import new_folder
from comvint_hf.errors import ComvintError, InputError, first_line
from comvint_hf.generation.client import cache_files
from comvint_hf.generation.client.usage import Usage
from comvint_hf.pipeline.balance import TABLES
from comvint_hf.pipeline.executor import launch
from comvint_hf.pipeline.executor.config import EXECUTORS
from comvint_hf.pipeline.options import BuildOptions
from comvint_hf.pipeline.progress import Progress
from comvint_hf.pipeline.storage import RemoteFolder
from comvint_hf.pipeline.worker_status import Status, StatusMonitor, WorkerProgress, read_statuses, status_path

REPLIES, STATUSES, LOGS = (f"{shards.STATE}/{name}" for name in ("replies", "tasks", "executor"))
SNAPSHOT = f"{REPLIES}/known.sqlite"
"""A copy of the build's reply cache, from which workers on other machines read."""


@dataclass
class Worker:
    """One worker: its shards, and the build's options with its part of the rate limits, the budget and the cache.

    `usage` is set by what builds, to the counts of the worker's requests.
    """

    subset: ShardSubset
    options: BuildOptions
    snapshot: Path | None = None
    remote: RemoteFolder | None = None
    usage: Usage | None = None
    progress: WorkerProgress = field(init=False)

    def __post_init__(self) -> None:
        path = status_path(self.options.out / STATUSES, self.subset.rank)
        self.progress = WorkerProgress(path, lambda: self.usage.to_json() if self.usage else [])
        self._parent = os.getppid()

    def upload_shard(self, number: int) -> None:
        """Upload a finished shard, where there is no common disk."""
        if self.remote is not None:
            self.remote.upload_shard(self.options.out, number)
            self._upload_status()

    def finish(self, error: str = "") -> None:
        """Write how the worker ended.

        On a common disk it writes nothing if its parent is gone: the next run would take it for a status of its own worker.
        """
        if self.remote is not None or os.getppid() == self._parent:
            self.progress.write(done=not error, error=error)
        self._upload_status()

    def _upload_status(self) -> None:
        """Upload the replies and the status of a worker without a common disk."""
        if self.remote is None:
            return
        cache = self.options.reply_cache
        if cache.exists():
            cache_files.write_snapshot(cache, cache.with_suffix(".snapshot"))
            self.remote.upload(self.options.out, f"{REPLIES}/{cache.stem}.snapshot", f"{REPLIES}/{cache.name}")
        self.remote.upload(self.options.out, f"{STATUSES}/{self.progress.path.name}")


BuildFunction = Callable[[Worker], None]


def run_worker(build: BuildFunction, options: BuildOptions, rank: int, num_workers: int) -> None:
    """Run one worker, from its part of the options to its last status. Every executor calls this."""
    with _open_worker(options, rank, num_workers) as worker:
        try:
            build(worker)
        except KeyboardInterrupt:
            worker.finish("it was stopped")
            raise SystemExit(130) from None
        except ComvintError as error:
            worker.finish(str(error))
            raise
        except Exception as error:
            traceback.print_exc()
            worker.finish(f"{type(error).__name__}: {first_line(error)}")
            raise
        worker.finish()


@contextmanager
def _open_worker(options: BuildOptions, rank: int, num_workers: int) -> Iterator[Worker]:
    """Make a worker in the common folder or, where nothing is shared, in a temporary one."""
    options = _split_limits(options, num_workers)
    shares = EXECUTORS[options.executor].shares
    if shares == "machine":
        yield Worker(ShardSubset(rank, num_workers), options)
    elif shares == "folder":
        own, snapshot = _own_cache(options.out, rank), options.out / SNAPSHOT
        # An executor may start a worker again on another node: earlier caches of this rank hold replies that are paid for.
        cache_files.merge_caches(own, own.parent.glob(f"{rank:05d}-*.sqlite"))
        yield Worker(ShardSubset(rank, num_workers), _with_llm(options, cache=own), snapshot if snapshot.exists() else None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            remote, out = RemoteFolder(remote_url(options)), Path(folder)
            snapshot_copy = remote.download(out, SNAPSHOT) if SNAPSHOT in remote.list_files(REPLIES) else None
            for name in remote.list_files(TABLES):
                remote.download(out, name)
            options = _with_llm(replace(options, out=out), cache=_own_cache(out, rank))
            yield Worker(ShardSubset(rank, num_workers, remote.finished_shards()), options, snapshot_copy, remote)


def _own_cache(out: Path, rank: int) -> Path:
    return out / REPLIES / f"{rank:05d}-{uuid.uuid4().hex[:12]}.sqlite"


def _with_llm(options: BuildOptions, **changed: Any) -> BuildOptions:
    return replace(options, llm_settings=replace(options.llm_settings, **changed))


def _split_limits(options: BuildOptions, num_workers: int) -> BuildOptions:
    """Give a worker its part of the concurrent requests (at least one) and of the rates."""
    settings = options.llm_settings
    rates = {name: getattr(settings, name) for name in ("requests_per_minute", "tokens_per_minute")}
    parts = {name: rate / num_workers for name, rate in rates.items() if rate is not None}
    return _with_llm(replace(options, overwrite=False), concurrency=max(1, settings.concurrency // num_workers), **parts)


def remote_url(options: BuildOptions) -> str:
    """Return the URL of the folder that workers without a common disk exchange files through.

    Raises:
        InputError: If `--executor-set` gives none.
    """
    for setting in options.executor_set:
        if setting.startswith("logging_dir="):
            return setting.partition("=")[2].rstrip("/")
    raise InputError(
        f"--executor {options.executor} needs a folder on the Hub that this machine and the workers can write to: "
        "--executor-set logging_dir=hf://buckets/ORG/NAME/FOLDER."
    )


def run_workers(build: BuildFunction, options: BuildOptions, progress: Progress, plan: dict[str, Any]) -> list[str]:
    """Build all shards in workers and wait for them. The folder must be locked for `plan` (as JSON).

    Returns:
        What the workers asked and paid, as lines.

    Raises:
        ComvintError: Where a worker did not finish. What was finished and paid for is kept.
        KeyboardInterrupt: After Ctrl-C; the same is kept.
    """
    total = Usage()

    # Each status holds all counts of its worker, so the sum is made anew each time.
    def add_up(statuses: Sequence[Status]) -> None:
        nonlocal total
        total = Usage()
        for status in statuses:
            total.merge(status["usage"])

    progress.note = lambda: total.format_line() if total.has_counts else ""
    options = _prepare(options, plan)
    worker, num_workers = partial(run_worker, build, options), options.num_workers
    with StatusMonitor(options.out / STATUSES, num_workers, progress, add_up):
        exit_codes = launch.run(options.executor, worker, num_workers, options.out / LOGS, options.executor_set)
        if EXECUTORS[options.executor].shares == "nothing":
            _download_results(options)
    merge_worker_caches(options)
    _raise_failures(read_statuses(options.out / STATUSES, num_workers), exit_codes)
    return total.format_lines()


def submit_workers(build: BuildFunction, finish: Callable[[], None], options: BuildOptions, plan: dict[str, Any]) -> str:
    """Submit the workers, and `finish` to run when they are done; returns a sentence that names the jobs."""
    options = _prepare(options, plan)
    worker = partial(run_worker, build, options)
    return launch.submit(options.executor, worker, finish, options.num_workers, options.out / LOGS, options.executor_set)


def merge_worker_caches(options: BuildOptions) -> None:
    """Merge the caches that workers on other machines left into the build's own."""
    for out in (options.out, new_folder(options.out)):  # the workers of an overwrite write beside the dataset
        caches = (path for path in (out / REPLIES).glob("*.sqlite") if path.name != Path(SNAPSHOT).name)
        cache_files.merge_caches(options.reply_cache, caches)
        (out / SNAPSHOT).unlink(missing_ok=True)


def _prepare(options: BuildOptions, plan: dict[str, Any]) -> BuildOptions:
    """Copy what is known to where workers read it, and give each of them its part of the budget that is left."""
    shutil.rmtree(options.out / STATUSES, ignore_errors=True)
    shares = EXECUTORS[options.executor].shares
    if shares == "machine":
        return options
    settings, cache = options.llm_settings, options.reply_cache
    paths = {name: path.absolute() for name in ("out", "images") if (path := getattr(options, name))}
    options = replace(options, **paths)  # a worker may start in another folder
    settings = replace(settings, cache=cache.absolute(), prices=settings.prices and settings.prices.absolute())
    if cache.exists():
        cache_files.write_snapshot(cache, options.out / SNAPSHOT)
        if settings.budget is not None:
            remaining = cache_files.compute_remaining_budget(cache, settings.budget)
            settings = replace(settings, budget=remaining / options.num_workers)
    options = replace(options, llm_settings=settings)
    if shares == "nothing":
        _upload_build(options, plan)
    return options


def _upload_build(options: BuildOptions, plan: dict[str, Any]) -> None:
    """Upload the plan, the markers and the known replies. Raises `InputError` if the folder holds another plan's shards."""
    remote, out = RemoteFolder(remote_url(options)), options.out
    name = f"{shards.STATE}/plan.json"
    if name in remote.list_files(shards.STATE) and remote.read_json(name) != plan:
        raise InputError(
            f"{remote_url(options)} holds the shards of another dataset: give another logging_dir, or empty that folder."
        )
    remote.upload(out, name)
    # The markers alone tell the workers which shards are finished; their files stay here.
    for number in markers.list_marked_shards(out):
        if markers.read_marker(out, number) is not None:
            remote.upload(out, markers.marker_path(Path(), number).as_posix())
    if (out / SNAPSHOT).exists():
        remote.upload(out, SNAPSHOT)
    for path in sorted((out / TABLES).glob("*.json")):
        remote.upload(out, f"{TABLES}/{path.name}")


def _download_results(options: BuildOptions) -> None:
    """Download the workers' shards, statuses and replies."""
    remote = RemoteFolder(remote_url(options))
    remote.download_shards(options.out)
    for name in remote.list_files(STATUSES):
        remote.download(options.out, name)
    for name in remote.list_files(REPLIES):
        if name != SNAPSHOT:
            remote.download(options.out, name)
        remote.delete(name)  # or the next run would count its costs twice


def _raise_failures(statuses: list[Status | None], exit_codes: dict[int, int]) -> None:
    """Raise `ComvintError` with one line for each error, and the workers that it ended."""
    ranks: dict[str, list[int]] = {}
    for rank, status in enumerate(statuses):
        if status is None or not status["done"]:
            error = (status or {}).get("error") or _describe_exit(exit_codes.get(rank, 0))
            ranks.setdefault(error, []).append(rank)
    if ranks:
        lines = (f"Worker {', '.join(map(str, ended))} of {len(statuses)}: {error}" for error, ended in ranks.items())
        raise ComvintError("\n".join(lines))


def _describe_exit(code: int) -> str:
    """A sentence about a worker that ended without a status."""
    how = f"was killed (signal {-code})" if code < 0 else "ended before its work was done"
    return f"it {how}; finished shards are kept. Run the same command again, with any --num-workers."
