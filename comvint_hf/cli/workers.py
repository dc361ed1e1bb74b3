"""A build in many tasks: how they are started, and what each of them does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from comvint_hf.cli.exit_codes import stopping_calmly, until_stopped, wrong_use
from comvint_hf.cli.setup import open_llms, open_scenes
from comvint_hf.cli.validation import require_no_batch

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.pipeline.distributed import Task
    from comvint_hf.pipeline.options import BuildOptions
    from comvint_hf.sources import SceneStream


def in_tasks(
    scenes: SceneStream, recipe: Recipe, options: BuildOptions, finish: Callable[[Recipe, BuildOptions], None]
) -> list[str]:
    """Build the shards in many tasks, and give what was asked and paid, in lines.

    Slurm is given them instead, and `finish` to run with the options of one process when they are done.
    """
    import asyncio

    from comvint_hf.dataset.plan import hold
    from comvint_hf.pipeline import distributed
    from comvint_hf.pipeline.plan import expected, plan_of
    from comvint_hf.progress import Progress

    require_no_batch(options)
    with stopping_calmly(options.out):
        distributed.collect(options)
        with wrong_use():
            llms = open_llms(options)  # refuses a missing key or price before anything is started
        plan = plan_of(scenes, recipe, llms, **options.decided).to_json()
        asyncio.run(llms.close())
        build = functools.partial(build_task, recipe)
        with hold(options.out, plan, options.overwrite):
            if options.executor != "slurm":
                title = f"{recipe.name} on {scenes.name}, {options.tasks:,} tasks"
                return distributed.run(build, options, Progress(title, expected(scenes, options.limit)), plan)
        alone = replace(options, executor="local", tasks=1, overwrite=False, out=options.out.absolute())
        click.echo(distributed.submit(build, functools.partial(finish, recipe, alone), options, plan))
        return []


def build_task(recipe: Recipe, task: Task) -> None:
    """Build the shards of one task in this process; Ctrl-C and SIGTERM stop it as they stop a build."""
    import asyncio

    from comvint_hf.pipeline.build import build_share

    options = task.options
    scenes = open_scenes(options)
    llms = open_llms(options, task.known)
    task.usage = getattr(llms, "usage", None)
    with stopping_calmly(options.out):
        work = build_share(
            task.share,
            scenes,
            recipe,
            llms,
            options.out,
            task.report,
            concurrency=options.scenes_at_once,
            closed=task.closed,
            **options.decided,
        )
        asyncio.run(until_stopped(work, llms))
