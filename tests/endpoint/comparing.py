"""A dry run beside what a scripted full writer really costs at an endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from endpoint.full_writer import endpoint_settings, piece_tokens
from endpoint.server import Endpoint, serve

from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.client.usage import UsageCounts
from comvint_hf.generation.recipe import Recipe
from comvint_hf.pipeline.llms import open_dry_run, open_llms
from comvint_hf.types import NOT_VERIFIED, Scene

WRITER, JUDGE = "gpt-4o", "gpt-4o-mini"


class Compared(NamedTuple):
    """What was estimated and what was paid, and the share of samples that no check rejected; the judge may."""

    estimated: UsageCounts
    paid: UsageCounts
    kept: float

    @property
    def ratio(self) -> float:
        """Estimated dollars for each dollar that was paid."""
        return self.estimated.cost / self.paid.cost


def compare(
    recipe: Recipe, scenes: Sequence[Scene], cache: Path, count: Callable[[str], int] = piece_tokens, sample: int | None = None
) -> Compared:
    """Run the recipe on all scenes against the full writer, and rehearse it on them, or on the first `sample`."""
    return asyncio.run(_compare(recipe, scenes, cache, count, sample))


async def _compare(
    recipe: Recipe, scenes: Sequence[Scene], cache: Path, count: Callable[[str], int], sample: int | None
) -> Compared:
    dry_run = open_dry_run(WRITER, JUDGE)
    estimate = dry_run.estimate([await dry_run.rehearse(scene, recipe) for scene in scenes[:sample]], len(scenes))
    made = []
    with serve(Endpoint(**endpoint_settings(count))) as url:
        llms = open_llms(WRITER, JUDGE, LLMSettings(base_url=url, cache=cache))
        for scene in scenes:
            made += await recipe.run(scene, llms)
        await llms.close()
    good = sum(sample.reason is None or sample.reason.startswith(NOT_VERIFIED) for sample in made)
    return Compared(estimate.total, llms.usage.total, good / max(len(made), 1))
