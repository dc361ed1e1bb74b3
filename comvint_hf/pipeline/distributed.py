"""One build in many tasks: what each takes of the shards, the requests and the money, and how all come together again.

Processes of one machine share the folder, the reply cache and with it the budget. On several machines each task has a cache
and a part of the budget of its own, and reads a copy of what was known before. Hugging Face Jobs have no common disk: they
hand shards and caches over through a folder elsewhere. This file knows options and folders; what builds is given to it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from comvint_hf.dataset import shards
from comvint_hf.dataset.plan import Share
from comvint_hf.errors import ComvintError, InputError, first_line
from comvint_hf.generation.client import merge_caches
from comvint_hf.generation.client.usage import Usage
from comvint_hf.pipeline.options import BuildOptions
from comvint_hf.pipeline.storage import Depot
from comvint_hf.pipeline.task_status import Report, Told, Watch, read_reports, report_path
from comvint_hf.progress import Progress

REPLIES, REPORTS, LOGS = (f"{shards.STATE}/{name}" for name in ("replies", "tasks", "executor"))
KNOWN = f"{REPLIES}/known.sqlite"
KEYS = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "OPENAI_BASE_URL")
"""What Jobs are told of this machine's environment, so that they reach the same endpoint."""
Build = Callable[["Task"], None]


@dataclass
class Task:
    """One task: which shards are its own, and its options, in which the requests, the money and the cache are its part.

    `known` is a reply cache to read; `usage` is to be set to what counts the task's requests.
    """

    share: Share
    options: BuildOptions
    known: Path | None
    depot: Depot | None
    usage: Usage | None = None

    def __post_init__(self) -> None:
        path = report_path(self.options.out / REPORTS, self.share.rank)
        self.report = Report(path, lambda: self.usage.to_json() if self.usage else [])
        self._parent = os.getppid()

    def closed(self, number: int) -> None:
        """Where there is no common disk, hand over a shard as soon as it is finished."""
        if self.depot is not None:
            self.depot.put_shard(self.options.out, number)
            self._hand_over()

    def ended(self, error: str = "") -> None:
        """Tell how the task ended.

        On a common disk it says nothing when whoever started it is gone: the next run would take it for its own task's word.
        """
        if self.depot is not None or os.getppid() == self._parent:
            self.report.write(done=not error, error=error)
        self._hand_over()

    def _hand_over(self) -> None:
        """Hand over the replies and the report of a task without a common disk."""
        if self.depot is None:
            return
        cache = self.options.replies
        if cache.exists():
            merge_caches.snapshot(cache, cache.with_suffix(".handed"))
            self.depot.put(self.options.out, f"{REPLIES}/{cache.stem}.handed", f"{REPLIES}/{cache.name}")
        self.depot.put(self.options.out, f"{REPORTS}/{self.report.path.name}")


def work(build: Build, options: BuildOptions, rank: int, tasks: int) -> None:
    """What every executor runs: one of the tasks, from its options to its report."""
    with _opened(options, rank, tasks) as task:
        try:
            build(task)
        except KeyboardInterrupt:
            task.ended("it was stopped")
            raise SystemExit(130) from None
        except ComvintError as error:
            task.ended(str(error))
            raise
        except Exception as error:
            traceback.print_exc()
            task.ended(f"{type(error).__name__}: {first_line(error)}")
            raise
        task.ended()


@contextmanager
def _opened(options: BuildOptions, rank: int, tasks: int) -> Iterator[Task]:
    """Make out a task's part, in the common folder or, for Jobs, in one of this machine's own."""
    options = _portion(options, tasks)
    if options.executor == "local":
        yield Task(Share(rank, tasks), options, None, None)
    elif options.executor == "jobs":
        with tempfile.TemporaryDirectory() as folder:
            depot, out = Depot(depot_of(options)), Path(folder)
            known = depot.fetch(out, KNOWN) if KNOWN in depot.names(REPLIES) else None
            mine = replace(options, out=out, cache=_own_cache(out, rank))
            yield Task(Share(rank, tasks, depot.finished()), mine, known, depot)
    else:
        cache, known = _own_cache(options.out, rank), options.out / KNOWN
        merge_caches.merge(
            cache, cache.parent.glob(f"{rank:05d}-*.sqlite")
        )  # of this task's earlier lives, on nodes that were lost
        yield Task(Share(rank, tasks), replace(options, cache=cache), known if known.exists() else None, None)


def _own_cache(out: Path, rank: int) -> Path:
    return out / REPLIES / f"{rank:05d}-{uuid.uuid4().hex[:12]}.sqlite"


def _portion(options: BuildOptions, tasks: int) -> BuildOptions:
    """A task's part of what all may have on its way at once and ask in a minute; at least one request at once."""
    rates = {name: getattr(options, name) for name in ("requests_per_minute", "tokens_per_minute")}
    parts = {name: rate / tasks for name, rate in rates.items() if rate is not None}
    return replace(options, concurrency=max(1, options.concurrency // tasks), overwrite=False, **parts)


def depot_of(options: BuildOptions) -> str:
    """The folder through which Jobs hand things over. Raises `InputError` where none was given."""
    for setting in options.executor_set:
        if setting.startswith("logging_dir="):
            return setting.partition("=")[2].rstrip("/")
    raise InputError(
        "--executor jobs needs a folder on the Hub that this machine and the Jobs can write to: "
        "--executor-set logging_dir=hf://buckets/ORG/NAME/FOLDER."
    )


def run(build: Build, options: BuildOptions, shown: Progress, plan: dict[str, Any]) -> list[str]:
    """Build all shards in tasks and wait for them; gives what was asked and paid, in lines.

    `plan` is the plan as JSON, and the folder must be held for it (`data.plan.hold`). Raises `ComvintError` where a task did
    not do its work, and `KeyboardInterrupt` after Ctrl-C; either way what was finished and paid for is kept.
    """
    from comvint_hf.pipeline.executor import launch

    paid = Usage()

    def heard(told: Iterable[Told]) -> None:
        nonlocal paid
        paid = Usage()
        for one in told:
            paid.add(one["usage"])

    shown.beside = lambda: paid.line() if paid.used else ""
    shutil.rmtree(options.out / REPORTS, ignore_errors=True)
    options = _spread(options, plan)
    task = partial(work, build, options)
    secrets = {"secrets": {name: os.environ[name] for name in KEYS if name in os.environ}} if options.executor == "jobs" else {}
    with Watch(options.out / REPORTS, options.tasks, shown, heard):
        ended = launch.run(options.executor, task, options.tasks, options.out / LOGS, options.executor_set, secrets)
        if options.executor == "jobs":
            _bring_home(options)
    collect(options)
    _look_at(read_reports(options.out / REPORTS, options.tasks), ended)
    return paid.lines()


def submit(build: Build, after: Callable[[], None], options: BuildOptions, plan: dict[str, Any]) -> str:
    """Give the tasks to Slurm, and `after` to run when they are done; says what was done."""
    from comvint_hf.pipeline.executor import launch

    shutil.rmtree(options.out / REPORTS, ignore_errors=True)
    options = _spread(options, plan)
    return launch.submit(partial(work, build, options), after, options.tasks, options.out / LOGS, options.executor_set)


def collect(options: BuildOptions) -> None:
    """Put the caches that tasks on other machines left behind into the build's own."""
    folder = options.out / REPLIES
    merge_caches.merge(options.replies, (path for path in folder.glob("*.sqlite") if path.name != Path(KNOWN).name))
    (options.out / KNOWN).unlink(missing_ok=True)


def _spread(options: BuildOptions, plan: dict[str, Any]) -> BuildOptions:
    """Give tasks on other machines what was known before, and each an equal part of what is left of the budget."""
    if options.executor == "local":
        return options
    paths = {name: path.absolute() for name in ("out", "images", "prices", "cache") if (path := getattr(options, name))}
    options = replace(options, **paths)  # a task may start in another folder
    if options.replies.exists():
        merge_caches.snapshot(options.replies, options.out / KNOWN)
        if options.budget is not None:
            options = replace(options, budget=merge_caches.left(options.replies, options.budget) / options.tasks)
    if options.executor == "jobs":
        _send_away(options, plan)
    return options


def _send_away(options: BuildOptions, plan: dict[str, Any]) -> None:
    """Put what Jobs must know into the folder that they share. Raises `InputError` if it holds another plan's shards."""
    depot, out = Depot(depot_of(options)), options.out
    name = f"{shards.STATE}/plan.json"
    if name in depot.names(shards.STATE) and depot.read(name) != plan:
        raise InputError(
            f"{depot_of(options)} holds the shards of another dataset: give another logging_dir, or empty that folder."
        )
    depot.put(out, name)
    for path in sorted((out / shards.STATE).glob("[0-9]*.json")):
        if shards.read_marker(out, int(path.stem)) is not None:
            depot.put(out, f"{shards.STATE}/{path.name}")
    if (out / KNOWN).exists():
        depot.put(out, KNOWN)


def _bring_home(options: BuildOptions) -> None:
    """Take what Jobs made, paid for and told."""
    depot = Depot(depot_of(options))
    depot.fetch_shards(options.out)
    for name in depot.names(REPORTS):
        depot.fetch(options.out, name)
    for name in depot.names(REPLIES):
        if name != KNOWN:
            depot.fetch(options.out, name)
        depot.delete(name)


def _look_at(told: list[Told | None], ended: dict[int, int]) -> None:
    """Raise `ComvintError` with what went wrong in which tasks, if anything did."""
    wrong: dict[str, list[int]] = {}
    for rank, one in enumerate(told):
        if one is None or not one["done"]:
            wrong.setdefault((one or {}).get("error") or _unsaid(ended.get(rank, 0)), []).append(rank)
    if wrong:
        said = (f"Task {', '.join(map(str, ranks))} of {len(told)}: {sentence}" for sentence, ranks in wrong.items())
        raise ComvintError("\n".join(said))


def _unsaid(code: int) -> str:
    """What to say of a task that ended without a word."""
    how = f"was killed (signal {-code})" if code < 0 else "ended before its work was done"
    return f"it {how}; finished shards are kept. Run the same command again, with any number of --tasks."
