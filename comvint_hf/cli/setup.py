"""From a build's options to what they name: scenes, language models, the rehearsal of a dry run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comvint_hf.generation.client.estimate import Rehearsal
    from comvint_hf.pipeline.llms import OpenLLMs
    from comvint_hf.pipeline.options import BuildOptions
    from comvint_hf.sources import SceneStream


def open_scenes(options: BuildOptions) -> SceneStream:
    """The scenes that `--scenes` names. Raises `InputError` where there are none."""
    from comvint_hf.sources import load_scenes

    return load_scenes(options.scenes, seed=options.seed, limit=options.limit, images=options.images)


def open_llms(options: BuildOptions, known: Path | None = None) -> OpenLLMs:
    """The writer and the judge; replies in the cache `known` are read too. Raises as `endpoints.open_llms` does."""
    from comvint_hf.pipeline import llms

    return llms.open_llms(
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


def open_rehearsal(options: BuildOptions) -> Rehearsal:
    """Who answers in a dry run."""

    from comvint_hf.pipeline import llms

    return llms.rehearse(
        options.llm, options.judge, see=options.see, batch=options.batch, prices=options.prices, seed=options.seed
    )
