"""Estimates what a build would ask and cost: a dry run on a sample of scenes that calls no endpoint.

The recipe is really run: every prompt is rendered and counted, and `RehearsalLLM` answers it as a writer would that leaves
nothing out. So the estimate follows whatever a recipe asks, with no formula of its own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from comvint_hf.formatting import format_cost
from comvint_hf.generation.client.cost import find_price
from comvint_hf.generation.client.rehearsal import PASS_RATE, RehearsalLLM
from comvint_hf.generation.client.reply_parsing import build_schema
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.client.token_counts import CHAT_TOKENS, count_tokens, find_weights
from comvint_hf.generation.client.usage import Usage, UsageCounts
from comvint_hf.generation.llm import LLM, LLMs, R
from comvint_hf.generation.prompt import Prompt

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.types import Scene

SAMPLE = 50
"""Scenes that a dry run samples."""
TOKENS_PER_SECOND, FIRST_TOKEN_SECONDS = 60.0, 0.7
"""Speed of one request, typical of hosted models of middle size."""
IMAGE_TOKENS = 1500
"""Prompt tokens of an image where no price file has them."""
FEWEST_CACHED_TOKENS = 1024
"""The shortest beginning of a prompt that providers keep for later prompts."""


@dataclass
class SceneCost:
    """What one scene asks and costs.

    Attributes:
        saving: Dollars that a provider's cache of the prompts' common beginnings would save at most.
        rows: Rows that are kept.
        verdicts: Whether the judge passed each rewrite (of a pilot).
    """

    usage: Usage = field(default_factory=Usage)
    saving: float = 0.0
    rows: int = 0
    verdicts: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Estimate:
    """The estimate for all scenes together.

    Attributes:
        usage: The counts by model and prompt.
        margin: The share by which another sample of as many scenes would change the tokens (95 %); 0 if none was left out.
        saving: Dollars that a provider's cache of prompts would save at most.
        seconds: `None` for batches, whose time depends on the provider.
    """

    scenes: int
    sampled: int
    rows: int
    usage: Usage
    margin: float
    saving: float
    seconds: float | None

    @property
    def total(self) -> UsageCounts:
        return self.usage.total

    @property
    def cost(self) -> float | None:
        """Dollars; `None` where a price is unknown."""
        return None if self.total.unpriced else self.total.cost

    def format_line(self) -> str:
        """Format the estimate on one line."""
        total = self.total
        tokens = f"{total.prompt_tokens:,} prompt and {total.completion_tokens:,} reply tokens"
        time = "as long as the provider takes for its batches" if self.seconds is None else _format_duration(self.seconds)
        margin = f" (within {self.margin:.0%}, from {self.sampled:,} of the scenes)" if self.margin else ""
        saving = f", {format_cost(self.saving)} less if all prompts' common beginnings are cached" if self.saving >= 0.01 else ""
        return (
            f"{self.scenes:,} scenes: about {total.requests:,} requests, {tokens}, {_format_price(total)}{margin}{saving}, {time}; "
            f"about {self.rows:,} rows"
        )

    def format_details(self) -> str:
        """Format the requests of each prompt, one a line."""
        return "\n".join(
            f"  {prompt}: about {counts.requests:,} requests of {round(counts.prompt_tokens / counts.requests):,} prompt and "
            f"{round(counts.completion_tokens / counts.requests):,} reply tokens, {_format_price(counts)}"
            for prompt, counts in self.usage.by_prompt.items()
            if counts.requests
        )


class CountingLLM:
    """An LLM that counts prompt and reply tokens and lets a stand-in reply."""

    deterministic = False

    def __init__(self, name: str, stand_in: LLM, settings: LLMSettings) -> None:
        self.name = name
        self.sees = settings.see
        self.price = find_price(name, settings.prices)
        self.scene = SceneCost()
        self.was_asked = False
        self._stand_in, self._batch = stand_in, settings.batch
        self._weights = find_weights(name)
        self._image_tokens = (self.price.image_tokens if self.price else IMAGE_TOKENS) if settings.see else 0
        self._earlier: dict[str, str] = {}

    def start_scene(self, scene: SceneCost) -> None:
        """Count what follows for `scene`."""
        self.scene = scene
        self._earlier.clear()

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        prompt = prompt.with_image() if self.sees else prompt
        text = f"{prompt.text}\n\n{build_schema(reply_type, prompt.make_form).describe()}"
        counts = self.scene.usage.get_counts(self.name, prompt.name)
        prompt_tokens = count_tokens(text, self._weights) + CHAT_TOKENS + self._image_tokens
        self.was_asked = True
        counts.requests += 1
        counts.prompt_tokens += prompt_tokens
        self._count_cached(prompt.name, text)
        try:
            reply = await self._stand_in.ask(prompt, reply_type)
            completion_tokens = count_tokens(reply.model_dump_json(), self._weights)
        except BaseException:
            completion_tokens = 0
            raise
        finally:
            counts.completion_tokens += completion_tokens
            counts.unpriced += self.price is None
            counts.cost += self.price.compute_cost(prompt_tokens, completion_tokens, batch=self._batch) if self.price else 0.0
        return reply

    def _count_cached(self, name: str, text: str) -> None:
        """Add what a cache of prompts would save: the longest beginning that an earlier prompt of the scene had too."""
        if self.price is not None and self.price.cached_input is not None and not self._batch:
            cached = max((len(commonprefix((text, earlier))) for earlier in self._earlier.values()), default=0)
            tokens = count_tokens(text[:cached], self._weights)
            if tokens >= FEWEST_CACHED_TOKENS:
                self.scene.saving += self.price.compute_cost(tokens, 0) - self.price.compute_cost(tokens, 0, tokens)
        self._earlier[name] = text


class DryRun:
    """Rehearse a recipe on some scenes, then `estimate` all of them.

    Args:
        writer: Name of the model that writes.
        judge: Name of the model that judges; the writer by default.
        settings: How the models would be asked.
        pass_rate: Share of rewrites that the judge passes.
        unasked: An LLM that stands for itself and costs nothing, under its own name: the annotator.
    """

    def __init__(
        self,
        writer: str,
        judge: str | None = None,
        settings: LLMSettings | None = None,
        *,
        pass_rate: float = PASS_RATE,
        unasked: LLM | None = None,
    ) -> None:
        self.settings = settings = settings or LLMSettings()
        self.pass_rate = pass_rate
        self._counters: list[CountingLLM] = []

        def open_model(name: str) -> LLM:
            if unasked is not None and name == unasked.name:
                return unasked
            counter = CountingLLM(name, RehearsalLLM(name, pass_rate), settings)
            self._counters.append(counter)
            return counter

        self.llms = LLMs(open_model(writer), open_model(judge or writer))
        self._judge = self.llms.judge

    async def rehearse(self, scene: Scene, recipe: Recipe) -> SceneCost:
        """Run the recipe on a scene."""
        cost = SceneCost()
        for counter in self._counters:
            counter.start_scene(cost)
        cost.rows = sum(made.reason is None for made in await recipe.run(scene, self.llms))
        return cost

    def estimate(self, sampled: Sequence[SceneCost], scenes: int) -> Estimate:
        """Scale what the sampled scenes cost to all `scenes`."""
        scale = scenes / max(len(sampled), 1)
        usage = Usage()
        for scene in sampled:
            usage.merge(scene.usage.to_json())
        usage = scale_usage(usage, scale)
        tokens = [scene.usage.total.prompt_tokens + scene.usage.total.completion_tokens for scene in sampled]
        return Estimate(
            scenes=scenes,
            sampled=len(sampled),
            rows=round(scale * sum(scene.rows for scene in sampled)),
            usage=usage,
            margin=compute_margin(tokens, scenes),
            saving=scale * sum(scene.saving for scene in sampled),
            seconds=None if self.settings.batch else estimate_seconds(usage, self.settings),
        )

    def format_assumptions(self) -> str:
        """What the estimate takes for granted, one sentence a line."""
        if not any(counter.was_asked for counter in self._counters):
            return "No language model is asked."
        is_judged = isinstance(self.llms.judge, CountingLLM) and self.llms.judge.was_asked
        judged = f"; the judge passes {self.pass_rate:.0%} of rewrites (--judge-pass-rate)" if is_judged else ""
        return (
            f"Assumed: every reply is usable, complete and as long as its prompt asks for{judged}; a reasoning model's thoughts are "
            "not counted.\n--pilot 5 measures this on five scenes, whose replies are paid for and kept."
        )


def scale_usage(usage: Usage, scale: float) -> Usage:
    """Multiply all counts."""
    scaled = Usage()
    for model, prompt, counts in usage.to_json():
        scaled.merge(
            [(model, prompt, {name: value * scale if name == "cost" else round(value * scale) for name, value in counts.items()})]
        )
    return scaled


def compute_margin(values: Sequence[float], population: int) -> float:
    """The share by which the mean of a random sample may miss that of its population (95 %).

    >>> compute_margin([1, 1, 1], 100), compute_margin([1, 2], 2)
    (0.0, 0.0)
    """
    if len(values) < 2 or len(values) >= population or not any(values):
        return 0.0
    left = math.sqrt(1 - len(values) / population)
    return 1.96 * stdev(values) / math.sqrt(len(values)) * left / fmean(values)


def estimate_seconds(usage: Usage, settings: LLMSettings) -> float:
    """How long the requests take at the settings' concurrency and rates; each model has its own."""
    longest = 0.0
    total = usage.total
    busy = total.requests * FIRST_TOKEN_SECONDS + total.completion_tokens / TOKENS_PER_SECOND
    for model in usage.by_model.values():
        tokens = model.prompt_tokens + model.completion_tokens
        longest = max(longest, model.requests / settings.requests_per_minute * 60 if settings.requests_per_minute else 0.0)
        longest = max(longest, tokens / settings.tokens_per_minute * 60 if settings.tokens_per_minute else 0.0)
    return max(longest, busy / settings.concurrency)


def sample_scenes(scenes: Iterable[Scene], size: int) -> tuple[list[Scene], int]:
    """Draw a random sample of the scenes and count all of them."""
    # Reservoir sampling: scenes are a stream whose length is known only at its end.
    sampled: list[Scene] = []
    rng, count = random.Random(0), 0
    for count, scene in enumerate(scenes, start=1):
        if len(sampled) < size:
            sampled.append(scene)
        elif (place := rng.randrange(count)) < size:
            sampled[place] = scene
    return sampled, count


async def estimate_build(scenes: Iterable[Scene], recipe: Recipe, dry_run: DryRun, *, sample: int = SAMPLE) -> str:
    """Estimate a build: count all scenes, run the recipe on a random `sample` of them, and write nothing."""
    sampled, count = sample_scenes(scenes, sample)
    estimate = dry_run.estimate([await dry_run.rehearse(scene, recipe) for scene in sampled], count)
    return "\n".join(filter(None, (estimate.format_line(), estimate.format_details(), dry_run.format_assumptions())))


def _format_price(counts: UsageCounts) -> str:
    return "at an unknown price" if counts.unpriced else format_cost(counts.cost)


def _format_duration(seconds: float) -> str:
    """Format a duration in hours and minutes.

    >>> _format_duration(5400)
    'about 1 h 30 min'
    """
    minutes = max(1, round(seconds / 60))
    return f"about {minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"about {minutes} min"
