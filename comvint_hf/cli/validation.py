"""Which flags of a build go together, and with which recipe and source: what is refused, and what is said to change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from comvint_hf.errors import InputError
from comvint_hf.pipeline.options import ANNOTATIONS, BuildOptions

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.sources import SceneStream

VERIFY = "comvint/verify"
"""The prompt that judges are asked."""


@dataclass(frozen=True)
class _Need:
    """Flags that say nothing unless something else is so: what that is, and what to say where it is not.

    `harmless` ones only bound or place what does not happen, so a command that works with a model works without it too.
    """

    flags: tuple[str, ...]
    met: Callable[[BuildOptions], bool]
    said: str
    harmless: bool = False


_NO_MODEL = "no language model is asked"
_NAME_ONE = f"{_NO_MODEL}: name one with --llm MODEL"
_NEEDS = (
    _Need(("base_url", "batch", "temperature", "attempts"), lambda options: options.asks_models, _NAME_ONE),
    _Need(
        ("see", "see_pixels"), lambda options: options.llm != ANNOTATIONS, "the annotations write: name a model with --llm MODEL"
    ),
    _Need(("see_pixels",), lambda options: options.see, "no photo is shown: add --see"),
    _Need(("retry_failed",), lambda options: not options.overwrite, "--overwrite makes all anew: choose one of them"),
    _Need(("retry_failed",), lambda options: not options.dry_run, "--dry-run is of a whole build: choose one of them"),
    _Need(("budget", "prices", "cache", "concurrency"), lambda options: options.asks_models, _NO_MODEL, harmless=True),
    _Need(("requests_per_minute", "tokens_per_minute"), lambda options: options.asks_models, _NO_MODEL, harmless=True),
    _Need(("retry_failed",), lambda options: options.asks_models, _NO_MODEL, harmless=True),
    _Need(
        ("requests_per_minute", "tokens_per_minute"),
        lambda options: not options.batch,
        "a batch goes at the provider's pace",
        harmless=True,
    ),
    _Need(("poll",), lambda options: options.batch, "there is no --batch to look at", harmless=True),
    _Need(("private",), lambda options: options.push_to is not None, "there is no --push-to", harmless=True),
)


def look_over(options: BuildOptions) -> None:
    """Refuse flags that were given and cannot have what they are for; say of harmless ones that they change nothing."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    for need in _NEEDS:
        named = [_as_flag(name, options) for name in need.flags if name in given]
        if not named or need.met(options):
            continue
        if not need.harmless:
            raise click.UsageError(f"{', '.join(named)} cannot be used, as {need.said}.")
        click.echo(f"{', '.join(named)} change{'s' * (len(named) == 1)} nothing, as {need.said}.", err=True)


def _as_flag(name: str, options: BuildOptions) -> str:
    return "--public" if name == "private" and options.private is False else f"--{name.replace('_', '-')}"


def require_judging(recipe: Recipe, options: BuildOptions) -> None:
    """Refuse a judge where the recipe has nothing judged."""
    if options.judge and VERIFY not in recipe.prompts:
        raise click.UsageError(f"--judge names who checks rewrites, and the recipe {recipe.name} makes none: leave it out.")


def require_shareable(scenes: SceneStream, options: BuildOptions) -> None:
    """Raise `InputError` where photos would be pushed that may not be re-hosted, before any work is done."""
    if options.push_to and options.store_images != "none" and not scenes.licence.images_may_be_shared:
        raise InputError(f"The photos of {scenes.name} may not be re-hosted: add --store-images none, or leave out --push-to.")


def require_no_batch(options: BuildOptions) -> None:
    """Refuse a provider's batch where the work is split."""
    if options.batch:
        raise click.UsageError(
            "--batch and --tasks do not go together: a batch is one request for all, so leave out one of them."
        )
