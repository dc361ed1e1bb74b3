"""Which flags of a build go together, and which need a recipe of some kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from comvint_hf.pipeline.options import ANNOTATIONS, BuildOptions

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe

RECIPES_WITHOUT_JUDGE = ("svit", "vlit")
"""Recipes that ask the judge nothing, by the folder of their prompts. A user's recipe may ask it what it likes."""


@dataclass(frozen=True)
class _Requirement:
    """Flags that need something else, and why they change nothing without it.

    `optional` flags only set limits: a command that works with a model works without one too, with a note on stderr.
    """

    flags: tuple[str, ...]
    is_met: Callable[[BuildOptions], bool]
    reason: str
    optional: bool = False


_NO_MODEL = "no language model is asked"
_REQUIREMENTS = (
    _Requirement(
        ("base_url", "batch", "temperature", "attempts", "max_tokens", "timeout", "extra_body", "header"),
        lambda options: options.uses_models,
        f"{_NO_MODEL}: name one with --llm MODEL",
    ),
    _Requirement(
        ("see", "see_pixels"), lambda options: options.llm != ANNOTATIONS, "the annotations write: name a model with --llm MODEL"
    ),
    _Requirement(("see_pixels",), lambda options: options.llm_settings.see, "no image is shown: add --see"),
    _Requirement(("retry_failed",), lambda options: not options.overwrite, "--overwrite builds all anew: choose one of them"),
    _Requirement(("retry_failed",), lambda options: not options.dry_run, "--dry-run is of a whole build: choose one of them"),
    _Requirement(("pilot", "serve"), lambda options: options.uses_models, f"{_NO_MODEL}: name one with --llm MODEL"),
    _Requirement(("pilot",), lambda options: not options.dry_run, "--dry-run asks nobody: choose one of them"),
    _Requirement(
        ("pilot",),
        lambda options: not options.llm_settings.batch,
        "a --batch answers hours later: leave --batch out of the pilot",
    ),
    _Requirement(
        ("serve",), lambda options: not options.llm_settings.batch, "a server of your own has no batch API: leave out one of them"
    ),
    _Requirement(("serve_timeout",), lambda options: options.serve is not None, "there is no --serve", optional=True),
    _Requirement(("yes",), lambda options: bool(options.pilot), "there is no --pilot"),
    _Requirement(
        ("batch",),
        lambda options: not options.is_distributed,
        "--num-workers and --executor split the build, and a batch is one request for all of it: leave out one of them",
    ),
    _Requirement(
        ("budget", "prices", "cache", "concurrency", "requests_per_minute", "tokens_per_minute", "retry_failed"),
        lambda options: options.uses_models,
        _NO_MODEL,
        optional=True,
    ),
    _Requirement(
        ("requests_per_minute", "tokens_per_minute"),
        lambda options: not options.llm_settings.batch,
        "the provider sets the pace of a batch",
        optional=True,
    ),
    _Requirement(
        ("judge_pass_rate",),
        lambda options: options.dry_run or bool(options.pilot),
        "there is no --dry-run and no --pilot",
        optional=True,
    ),
    _Requirement(("poll",), lambda options: options.llm_settings.batch, "there is no --batch", optional=True),
    _Requirement(("private",), lambda options: options.push_to is not None, "there is no --push-to", optional=True),
)


def check_flags(options: BuildOptions, context: click.Context) -> None:
    """Refuse flags that were given and cannot have an effect, and name on stderr the optional ones that have none."""
    # A flag that is given its default value is given all the same: the user expects something of it.
    given = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    for requirement in _REQUIREMENTS:
        flags = [_format_flag(name, options) for name in requirement.flags if name in given]
        if not flags or requirement.is_met(options):
            continue
        if not requirement.optional:
            raise click.UsageError(f"{', '.join(flags)} cannot be used, as {requirement.reason}.")
        click.echo(f"{', '.join(flags)} change{'s' * (len(flags) == 1)} nothing, as {requirement.reason}.", err=True)


def _format_flag(name: str, options: BuildOptions) -> str:
    return "--public" if name == "private" and options.private is False else f"--{name.replace('_', '-')}"


def check_judge(recipe: Recipe, options: BuildOptions) -> None:
    """Refuse a judge where the recipe has nothing judged."""
    if options.judge and all(prompt.partition("/")[0] in RECIPES_WITHOUT_JUDGE for prompt in recipe.prompts):
        raise click.UsageError(f"--judge names who checks rewrites, and the recipe {recipe.name} makes none: leave it out.")
