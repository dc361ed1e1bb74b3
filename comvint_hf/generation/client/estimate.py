"""What a run would ask, and what it would cost: a rehearsal on a sample of scenes that calls nobody.

Every prompt is rendered and counted; the replies that let the recipe go on come from a stand-in, usually the annotator.
This file knows prompts and prices; it knows no endpoint.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.formatting import dollars
from comvint_hf.generation.client.cost import Price, price_of
from comvint_hf.generation.client.reply_parsing import form_of
from comvint_hf.generation.llm import LLM, LLMs, R
from comvint_hf.generation.prompt import Prompt

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.types import Scene

BYTES_A_TOKEN = 4.0
"""English prose at the tokenizers of today."""
TOKENS_A_SECOND, FIRST_TOKEN_SECONDS = 60.0, 0.7
"""How fast one request is answered, where nothing better is known: typical of the hosted models of mid-size."""


@dataclass(frozen=True)
class Estimate:
    """What all scenes together would take; `cost` is in dollars, `None` where a price is unknown.

    `seconds` is `None` for batches, which take as long as their provider takes.
    """

    scenes: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    seconds: float | None
    by_prompt: dict[str, int]

    def line(self) -> str:
        """The estimate in one line."""
        price = "at a price nobody told" if self.cost is None else dollars(self.cost)
        tokens = f"{self.prompt_tokens:,} prompt and {self.completion_tokens:,} reply tokens"
        time = "as long as the provider takes for its batches" if self.seconds is None else _duration(self.seconds)
        return f"{self.scenes:,} scenes: about {self.requests:,} requests, {tokens}, {price}, {time}"

    def details(self) -> str:
        """The requests of each prompt, one a line."""
        return "\n".join(f"  {name}: about {requests:,} requests" for name, requests in self.by_prompt.items())


class _Counting:
    """An LLM that counts what it is asked and lets the stand-in answer."""

    def __init__(self, name: str, stand_in: LLM, price: Price | None, pictures: bool) -> None:
        self.name = name
        self.deterministic = True
        self.price = price
        self.asked: dict[str, list[tuple[int, int]]] = {}
        self._stand_in = stand_in
        self._picture_tokens = (price.image_tokens if price else 1500) if pictures else 0

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        sent = f"{prompt.text}\n\n{form_of(reply_type).wording}"
        count = self.asked.setdefault(prompt.name, [])
        count.append((round(len(sent.encode()) / BYTES_A_TOKEN) + self._picture_tokens, 0))
        place = len(count) - 1
        reply = await self._stand_in.ask(prompt, reply_type)
        count[place] = (count[place][0], round(len(reply.model_dump_json().encode()) / BYTES_A_TOKEN))
        return reply


class Rehearsal:
    """Run a recipe with `llms` on a sample of the scenes, then ask for the `estimate`.

    `stand_in` answers in the place of both models. `see` counts the writer's pictures; `batch` takes the batch price.
    """

    def __init__(
        self, llm: str, judge: str | None, stand_in: LLM, *, see: bool = False, batch: bool = False, prices: Path | None = None
    ) -> None:
        writer = _Counting(llm, stand_in, price_of(llm, prices), see)
        counsel = _Counting(judge or llm, stand_in, price_of(judge or llm, prices), False)
        counsel.deterministic = False  # a model is asked for every vote
        self.llms = LLMs(writer, counsel)
        self._batch = batch

    def estimate(
        self,
        sampled: int,
        scenes: int,
        *,
        concurrency: int = 32,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> Estimate:
        """Scale what `sampled` scenes asked to all `scenes`; each model has the rates a minute for itself."""
        scale = scenes / max(sampled, 1)
        counted = [self.llms.writer, self.llms.judge]
        requests = scale * sum(1 for llm in counted for _ in _all(llm))
        prompts, replies = (scale * sum(pair[side] for llm in counted for pair in _all(llm)) for side in (0, 1))
        seconds = (requests * FIRST_TOKEN_SECONDS + replies / TOKENS_A_SECOND) / concurrency
        for model in {llm.name for llm in counted}:
            asked = [pair for llm in counted if llm.name == model for pair in _all(llm)]
            seconds = max(seconds, scale * len(asked) / requests_per_minute * 60 if requests_per_minute else 0.0)
            seconds = max(seconds, scale * sum(map(sum, asked)) / tokens_per_minute * 60 if tokens_per_minute else 0.0)
        by_prompt: dict[str, int] = {}
        for llm in counted:
            for name, asked in llm.asked.items():
                by_prompt[name] = by_prompt.get(name, 0) + round(scale * len(asked))
        return Estimate(
            scenes=scenes,
            requests=round(requests),
            prompt_tokens=round(prompts),
            completion_tokens=round(replies),
            cost=self._cost(counted, scale),
            seconds=None if self._batch else seconds,
            by_prompt=by_prompt,
        )

    def _cost(self, counted: list[Any], scale: float) -> float | None:
        if any(llm.price is None for llm in counted if llm.asked):
            return None
        return scale * sum(
            llm.price.cost(prompt, reply, batch=self._batch)
            for llm in counted
            for prompt, reply in _all(llm)
            if llm.price is not None
        )


async def rehearse(
    scenes: Iterable[Scene], recipe: Recipe, rehearsal: Rehearsal, *, sample: int = 20, **pace: float | None
) -> str:
    """Say what a build would take: count all scenes, run the recipe on some that stand for them, write nothing.

    `pace` is what `Rehearsal.estimate` takes: concurrency, requests_per_minute, tokens_per_minute.
    """
    chosen: list[Scene] = []
    dice, count = random.Random(0), 0
    for count, scene in enumerate(scenes, start=1):
        if len(chosen) < sample:
            chosen.append(scene)
        elif (place := dice.randrange(count)) < sample:
            chosen[place] = scene
    kept = 0
    for scene in chosen:
        kept += sum(made.reason is None for made in await recipe.run(scene, rehearsal.llms))
    estimate = rehearsal.estimate(len(chosen), count, **pace)
    return f"{estimate.line()}; about {kept * count // max(len(chosen), 1):,} rows\n{estimate.details()}".rstrip()


def _all(llm: Any) -> Iterable[tuple[int, int]]:
    """(prompt tokens, reply tokens) of everything an LLM was asked."""
    return (pair for asked in llm.asked.values() for pair in asked)


def _duration(seconds: float) -> str:
    """A duration as people say it.

    >>> _duration(5400)
    'about 1 h 30 min'
    """
    minutes = max(1, round(seconds / 60))
    return f"about {minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"about {minutes} min"
