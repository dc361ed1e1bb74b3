"""Estimates what a build would ask and cost: a dry run on a sample of scenes that calls no endpoint.

Every prompt is rendered and counted; replies that let the recipe continue come from a stand-in, usually the annotator.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comvint_hf.formatting import format_cost
from comvint_hf.generation.client.cost import Price, find_price
from comvint_hf.generation.client.reply_parsing import build_schema
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.llm import LLM, LLMs, R
from comvint_hf.generation.prompt import Prompt

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.types import Scene

BYTES_PER_TOKEN = 4.0
"""English prose with the tokenizers of today."""
TOKENS_PER_SECOND, FIRST_TOKEN_SECONDS = 60.0, 0.7
"""Speed of one request, typical of hosted models of middle size."""


@dataclass(frozen=True)
class Estimate:
    """The estimate for all scenes together.

    Attributes:
        cost: Dollars; `None` where a price is unknown.
        seconds: `None` for batches, whose time depends on the provider.
        by_prompt: Requests of each prompt.
    """

    scenes: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float | None
    by_prompt: dict[str, int]

    def format_line(self) -> str:
        """Format the estimate on one line."""
        cost = "at an unknown price" if self.cost is None else format_cost(self.cost)
        tokens = f"{self.prompt_tokens:,} prompt and {self.completion_tokens:,} reply tokens"
        time = "as long as the provider takes for its batches" if self.seconds is None else _format_duration(self.seconds)
        return f"{self.scenes:,} scenes: about {self.requests:,} requests, {tokens}, {cost}, {time}"

    def format_details(self) -> str:
        """Format the requests of each prompt, one a line."""
        return "\n".join(f"  {name}: about {requests:,} requests" for name, requests in self.by_prompt.items())


class CountingLLM:
    """An LLM that counts prompt and reply tokens and lets a stand-in reply."""

    groups = True

    def __init__(self, name: str, stand_in: LLM, price: Price | None, *, see: bool, deterministic: bool) -> None:
        self.name = name
        self.deterministic = deterministic
        self.price = price
        self.requests: Counter[str] = Counter()
        self.prompt_tokens = self.completion_tokens = 0
        self._stand_in = stand_in
        self._image_tokens = (price.image_tokens if price else 1500) if see else 0

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        text = f"{prompt.text}\n\n{build_schema(reply_type).instruction}"
        self.requests[prompt.name] += 1
        self.prompt_tokens += round(len(text.encode()) / BYTES_PER_TOKEN) + self._image_tokens
        reply = await self._stand_in.ask(prompt, reply_type)
        self.completion_tokens += round(len(reply.model_dump_json().encode()) / BYTES_PER_TOKEN)
        return reply


class DryRun:
    """Run a recipe with `llms` on a sample of the scenes, then call `estimate`.

    Args:
        writer: Name of the model that writes.
        judge: Name of the model that judges; the writer by default.
        stand_in: LLM that replies in the place of both.
        settings: How the models would be asked.
    """

    def __init__(self, writer: str, judge: str | None, stand_in: LLM, settings: LLMSettings | None = None) -> None:
        self._settings = settings = settings or LLMSettings()
        price, judge_price = (find_price(name, settings.prices) for name in (writer, judge or writer))
        # A judge that is a model is asked for every vote, so it counts as not deterministic.
        self._counters = (
            CountingLLM(writer, stand_in, price, see=settings.see, deterministic=True),
            CountingLLM(judge or writer, stand_in, judge_price, see=settings.see, deterministic=False),
        )
        self.llms = LLMs(*self._counters)

    def estimate(self, sampled: int, scenes: int) -> Estimate:
        """Scale the counts of `sampled` scenes to all `scenes`; each model has its own rate limits."""
        scale = scenes / max(sampled, 1)
        by_prompt: dict[str, int] = {}
        for llm in self._counters:
            for name, requests in llm.requests.items():
                by_prompt[name] = by_prompt.get(name, 0) + round(scale * requests)
        return Estimate(
            scenes=scenes,
            requests=round(scale * sum(llm.requests.total() for llm in self._counters)),
            prompt_tokens=round(scale * sum(llm.prompt_tokens for llm in self._counters)),
            completion_tokens=round(scale * sum(llm.completion_tokens for llm in self._counters)),
            cost=self._estimate_cost(scale),
            seconds=None if self._settings.batch else self._estimate_seconds(scale),
            by_prompt=by_prompt,
        )

    def _estimate_seconds(self, scale: float) -> float:
        settings = self._settings
        busy = sum(
            llm.requests.total() * FIRST_TOKEN_SECONDS + llm.completion_tokens / TOKENS_PER_SECOND for llm in self._counters
        )
        seconds = scale * busy / settings.concurrency
        for model in {llm.name for llm in self._counters}:
            llms = [llm for llm in self._counters if llm.name == model]
            requests = scale * sum(llm.requests.total() for llm in llms)
            tokens = scale * sum(llm.prompt_tokens + llm.completion_tokens for llm in llms)
            seconds = max(seconds, requests / settings.requests_per_minute * 60 if settings.requests_per_minute else 0.0)
            seconds = max(seconds, tokens / settings.tokens_per_minute * 60 if settings.tokens_per_minute else 0.0)
        return seconds

    def _estimate_cost(self, scale: float) -> float | None:
        if any(llm.price is None for llm in self._counters if llm.requests):
            return None
        return scale * sum(
            llm.price.compute_cost(llm.prompt_tokens, llm.completion_tokens, batch=self._settings.batch)
            for llm in self._counters
            if llm.price is not None
        )


async def estimate_build(scenes: Iterable[Scene], recipe: Recipe, dry_run: DryRun, *, sample: int = 20) -> str:
    """Estimate a build: count all scenes, run the recipe on a random `sample` of them, and write nothing."""
    # Reservoir sampling: scenes are a stream whose length is known only at its end.
    sampled: list[Scene] = []
    rng, count = random.Random(0), 0
    for count, scene in enumerate(scenes, start=1):
        if len(sampled) < sample:
            sampled.append(scene)
        elif (place := rng.randrange(count)) < sample:
            sampled[place] = scene
    kept = 0
    for scene in sampled:
        kept += sum(made.reason is None for made in await recipe.run(scene, dry_run.llms))
    estimate = dry_run.estimate(len(sampled), count)
    rows = f"about {kept * count // max(len(sampled), 1):,} rows"
    return f"{estimate.format_line()}; {rows}\n{estimate.format_details()}".rstrip()


def _format_duration(seconds: float) -> str:
    """Format a duration in hours and minutes.

    >>> _format_duration(5400)
    'about 1 h 30 min'
    """
    minutes = max(1, round(seconds / 60))
    return f"about {minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"about {minutes} min"
