"""Build as the builders and `comvint build` do: open what the options name, build, say what came out, push."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from comvint_hf.cli.exit_codes import INCOMPLETE, stopping_calmly, until_stopped, wrong_use
from comvint_hf.cli.output import look_at, name_failures, show, tell_of_photos
from comvint_hf.cli.push import push_folder
from comvint_hf.cli.setup import open_llms, open_rehearsal, open_scenes
from comvint_hf.cli.validation import require_judging, require_shareable
from comvint_hf.cli.workers import in_tasks

if TYPE_CHECKING:
    from comvint_hf.generation.client.estimate import Rehearsal
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.pipeline.llms import OpenLLMs
    from comvint_hf.pipeline.options import BuildOptions
    from comvint_hf.pipeline.report import BuildReport
    from comvint_hf.sources import SceneStream


def make_dataset(recipe: Recipe, options: BuildOptions) -> None:
    """Open the scenes and the language models, build, say what came out, and push if asked to.

    Ends the process with `INCOMPLETE` where some prompt got no usable reply.
    """
    import asyncio

    from comvint_hf.pipeline.distributed import collect

    require_judging(recipe, options)
    with wrong_use():
        scenes = open_scenes(options)
        require_shareable(scenes, options)
        rehearsal = open_rehearsal(options) if options.dry_run else None
    if rehearsal is not None:
        click.echo(asyncio.run(_rehearse(scenes, recipe, rehearsal, options)))
        return
    began, paid = time.monotonic(), []
    if not options.in_one_process:
        paid = in_tasks(scenes, recipe, options, make_dataset)
        if options.executor == "slurm":
            return
        options = replace(options, overwrite=False)
    with stopping_calmly(options.out):
        collect(options)
        with wrong_use():
            llms = open_llms(options)
        report, more = asyncio.run(_build(scenes, recipe, llms, options))
    paid, report = paid + more, replace(report, seconds=time.monotonic() - began)
    show(report.statistics)
    click.echo(report)
    tell_of_photos(options.out)
    for line in paid:
        click.echo(line)
    look_at(report.signs)
    if options.push_to:
        push_folder(options.out, options.push_to, options.private)
    if report.failed:
        name_failures(report)
        sys.exit(INCOMPLETE)


async def _rehearse(scenes: SceneStream, recipe: Recipe, rehearsal: Rehearsal, options: BuildOptions) -> str:
    from comvint_hf.generation.client.estimate import rehearse

    return await rehearse(
        scenes,
        recipe,
        rehearsal,
        concurrency=options.concurrency,
        requests_per_minute=options.requests_per_minute,
        tokens_per_minute=options.tokens_per_minute,
    )


async def _build(scenes: SceneStream, recipe: Recipe, llms: OpenLLMs, options: BuildOptions) -> tuple[BuildReport, list[str]]:
    """Build at once, or in rounds while batches bring replies.

    Gives what was built, and what was paid for it in this run, a line a model.
    """
    from comvint_hf.errors import PendingError
    from comvint_hf.generation.client.batch import in_batches
    from comvint_hf.pipeline.build import build_async

    work = functools.partial(
        build_async,
        scenes,
        recipe,
        llms,
        options.out,
        concurrency=options.scenes_at_once,
        retry_failed=options.retry_failed,
        **options.decided,
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

    return await until_stopped(all_rounds(), llms)
