"""What the scripts and the command `comvint` do with what they were told: build, show, push, and say calmly what went wrong.

Everything here calls functions of the library and says how it went; nothing here decides.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from comvint_hf.errors import ComvintError, InputError, first_line
from comvint_hf.flags import STORE, BuildOptions, wrong_use

if TYPE_CHECKING:
    from comvint_hf.conductor import BuildReport
    from comvint_hf.shares import Task
    from comvint_hf.synthesis.recipes import Recipe

T = TypeVar("T")
VERIFY = "comvint/verify"
"""The prompt that judges are asked."""
INCOMPLETE = 3
"""The exit code of a build whose dataset is finished although some prompts got no usable reply."""
SCENES_A_REQUEST = 2
"""Scenes under way for each request that may be: enough that one always waits to be sent, whatever a scene asks."""
GO_ON = "Run the same command again to go on where it was."
NAMED = 20
"""So many failed samples are named; the others are counted."""


def calm(command: Callable[..., None] | None = None, *, go_on: str = GO_ON) -> Callable[..., Any]:
    """Say what went wrong in one sentence, and of a stopped run how to `go_on`."""
    if command is None:
        return functools.partial(calm, go_on=go_on)

    @functools.wraps(command)
    def guarded(*arguments: Any, **values: Any) -> None:
        try:
            command(*arguments, **values)
        except ComvintError as error:
            click.echo(f"{error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo(f"Stopped. {go_on}", err=True)
            sys.exit(130)

    return guarded


def make_dataset(recipe: Recipe, options: BuildOptions) -> None:
    """Open the scenes and the language models, build, say what came out, and push if asked to.

    Ends the process with `INCOMPLETE` where some prompt got no usable reply.
    """
    import asyncio

    from comvint_hf.shares import collect
    from comvint_hf.sources import load_scenes

    if options.judge and VERIFY not in recipe.prompts:
        raise click.UsageError(f"--judge names who checks rewrites, and the recipe {recipe.name} makes none: leave it out.")
    with wrong_use():
        scenes = load_scenes(options.scenes, seed=options.seed, limit=options.limit, images=options.images)
        if options.push_to and options.store_images != "none":
            refuse_unshareable(scenes.name, scenes.licence.images_may_be_shared)
        rehearsal = _rehearsal(options) if options.dry_run else None
    if rehearsal is not None:
        click.echo(asyncio.run(_rehearse(scenes, recipe, rehearsal, options)))
        return
    began, paid = time.monotonic(), []
    if not options.in_one_process:
        paid = _in_tasks(scenes, recipe, options)
        if options.executor == "slurm":
            return
        options = replace(options, overwrite=False)
    with _stopping_calmly(options.out):
        collect(options)
        with wrong_use():
            llms = _open_llms(options)
        report, more = asyncio.run(_build(scenes, recipe, llms, options))
    paid, report = paid + more, replace(report, seconds=time.monotonic() - began)
    show(report.statistics)
    click.echo(report)
    for line in paid:
        click.echo(line)
    look_at(report.signs)
    if options.push_to:
        push_folder(options.out, options.push_to, options.private)
    if report.failed:
        _name_failures(report)
        sys.exit(INCOMPLETE)


def _in_tasks(scenes: Any, recipe: Recipe, options: BuildOptions) -> list[str]:
    """Build the shards in many tasks, or give them to Slurm; gives what was asked and paid, in lines."""
    import asyncio

    from comvint_hf import shares
    from comvint_hf.conductor import expected, plan_of
    from comvint_hf.data.plan import hold
    from comvint_hf.data.progress import Progress

    if options.batch:
        raise click.UsageError(
            "--batch and --tasks do not go together: a batch is one request for all, so leave out one of them."
        )
    with _stopping_calmly(options.out):
        shares.collect(options)
        with wrong_use():
            llms = _open_llms(options)  # refuses a missing key or price before anything is started
        plan = plan_of(scenes, recipe, llms, **_decided(options)).to_json()
        asyncio.run(llms.close())
        build = functools.partial(build_task, recipe)
        with hold(options.out, plan, options.overwrite):
            if options.executor != "slurm":
                title = f"{recipe.name} on {scenes.name}, {options.tasks:,} tasks"
                return shares.run(build, options, Progress(title, expected(scenes, options.limit)), plan)
        finish = replace(options, executor="local", tasks=1, overwrite=False, out=options.out.absolute())
        click.echo(shares.submit(build, functools.partial(make_dataset, recipe, finish), options, plan))
        return []


def build_task(recipe: Recipe, task: Task) -> None:
    """Build the shards of one task in this process; Ctrl-C and SIGTERM stop it as they stop a build."""
    import asyncio

    from comvint_hf.conductor import build_share
    from comvint_hf.sources import load_scenes

    options = task.options
    scenes = load_scenes(options.scenes, seed=options.seed, limit=options.limit, images=options.images)
    llms = _open_llms(options, task.known)
    task.usage = getattr(llms, "usage", None)
    with _stopping_calmly(options.out):
        work = build_share(
            task.share,
            scenes,
            recipe,
            llms,
            options.out,
            task.report,
            concurrency=SCENES_A_REQUEST * options.concurrency,
            closed=task.closed,
            **_decided(options),
        )
        asyncio.run(_until_stopped(work, llms))


@contextlib.contextmanager
def _stopping_calmly(out: Path) -> Iterator[None]:
    """Turn a stop by SIGTERM into the one by Ctrl-C, and a disk's refusal into a sentence."""
    import asyncio

    try:
        yield
    except asyncio.CancelledError:  # by SIGTERM; of Ctrl-C asyncio makes this itself
        raise KeyboardInterrupt from None
    except OSError as error:
        raise InputError(
            f"The build in {out} cannot go on ({first_line(error)}): make room or mend the permission, then run the same "
            "command again; what was finished is kept."
        ) from error


def _rehearsal(options: BuildOptions) -> Any:
    from comvint_hf.synthesis.engine import endpoints

    return endpoints.rehearse(
        options.llm, options.judge, see=options.see, batch=options.batch, prices=options.prices, seed=options.seed
    )


async def _rehearse(scenes: Any, recipe: Recipe, rehearsal: Any, options: BuildOptions) -> str:
    from comvint_hf.synthesis.engine.estimate import rehearse

    return await rehearse(
        scenes,
        recipe,
        rehearsal,
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
    )


def _decided(options: BuildOptions) -> dict[str, Any]:
    """What the options say of a build's plan."""
    return {
        "limit": options.limit,
        "seed": options.seed,
        "shard_scenes": options.shard_scenes,
        "images": STORE[options.store_images],
        "split": options.split,
        "asking": options.asking,
    }


def _open_llms(options: BuildOptions, known: Path | None = None) -> Any:
    from comvint_hf.synthesis.engine import endpoints

    return endpoints.open_llms(
        options.llm,
        options.judge,
        base_url=options.base_url,
        cache=options.replies,
        known=known,
        concurrency=options.concurrency,
        budget=options.budget,
        attempts=options.attempts,
        see=options.see,
        see_pixels=options.see_pixels,
        temperature=options.temperature,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
        prices=options.prices,
        batch=options.batch,
        poll=options.poll,
        seed=options.seed,
    )


def _name_failures(report: BuildReport) -> None:
    """Say on stderr which samples no model could make."""
    click.echo(f"{report.failed:,} samples got no usable reply; they are in the config `rejected`:", err=True)
    for failure in islice(report.failures(), NAMED):
        click.echo(f"  {failure}", err=True)
    if report.failed > NAMED:
        click.echo(f"  and {report.failed - NAMED:,} more", err=True)
    click.echo("Add --retry-failed to ask for these once more; all else stays as it is.", err=True)


async def _build(scenes: Any, recipe: Recipe, llms: Any, options: BuildOptions) -> tuple[BuildReport, list[str]]:
    """Build at once, or in rounds while batches bring replies.

    Gives what was built, and what was paid for it in this run, a line a model.
    """
    from comvint_hf.conductor import build_async
    from comvint_hf.errors import PendingError
    from comvint_hf.synthesis.engine.batch import in_batches

    work = functools.partial(
        build_async,
        scenes,
        recipe,
        llms,
        options.out,
        concurrency=SCENES_A_REQUEST * options.concurrency,
        retry_failed=options.retry_failed,
        **_decided(options),
    )

    overwrite = [options.overwrite]  # only the first round starts afresh

    async def one_round() -> BuildReport:
        return await work(overwrite=overwrite.pop() if overwrite else False)

    async def round_of_batches() -> None:
        with contextlib.suppress(PendingError):
            await one_round()

    async def all_rounds() -> tuple[BuildReport, list[str]]:
        if llms.batches:
            await in_batches(round_of_batches, llms.batches, told=click.echo)
        return await one_round(), llms.lines()

    return await _until_stopped(all_rounds(), llms)


async def _until_stopped(work: Awaitable[T], llms: Any) -> T:
    """Await the work; however it ends, what was sent is let come back. SIGTERM stops it as Ctrl-C does."""
    import asyncio
    import signal

    again = ""

    def waiting(replies: int, seconds: float) -> None:
        stop = f"press Ctrl-C {again}to leave at once"
        click.echo(f"Waiting for {replies:,} replies under way (at most {seconds:.0f} s); {stop}.", err=True)

    with contextlib.suppress(RuntimeError):  # only a main thread can, and none on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    try:
        return await work
    except asyncio.CancelledError:
        again = "again "
        raise
    finally:
        await llms.close(waiting)


def refuse_unshareable(source: str, may_be_shared: bool) -> None:
    """Raise `InputError` where photos may not be re-hosted, before any work is done."""
    if not may_be_shared:
        raise InputError(f"The photos of {source} may not be re-hosted: add --store-images none, or leave out --push-to.")


def show(statistics: Any) -> None:
    """Print the statistics as tables, and what was rejected."""
    from rich.console import Console
    from rich.table import Table

    from comvint_hf.data.tables import tables

    console = Console(width=None if sys.stdout.isatty() else 160)
    for header, *lines in tables(statistics):
        drawn = Table(*header, box=None, header_style="bold", padding=(0, 2, 0, 0))
        for line in lines:
            drawn.add_row(*line)
        console.print(drawn)
        console.print()
    for reason, count in statistics.rejected.most_common():
        console.print(f"rejected {count:,}: {reason}", highlight=False)
    for note, count in sorted(statistics.notes.items()):
        console.print(f"{note}: {count:,}", highlight=False)


def look_at(signs: Iterable[str]) -> None:
    """Print what looks wrong with a dataset."""
    for sign in signs:
        click.echo(f"Look at this: {sign}")


def push_folder(folder: Path, repository: str, private: bool | None, base: str | None = None) -> None:
    """Push the folder of a dataset or of a tuned model, and say where it is and how its version is called."""
    from comvint_hf.data import hub

    if hub.is_model(folder):
        click.echo(f"Pushed: {hub.push_model(folder, repository, private=private, base=base)}")
        return
    click.echo(f"Pushed: {hub.push(folder, repository, private=private)}")
    click.echo(f'This version: load_dataset("{repository}", revision="{hub.version_of(folder)}")')
