"""From what a user names on the command line to the two LLMs of a run: `--llm`, `--judge`, `--budget` and their friends.

This file knows which LLM stands for which name; what they do is theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comvint_hf.generation.client.batch import BatchLLM
from comvint_hf.generation.client.cache import Cache
from comvint_hf.generation.client.cost import Meter
from comvint_hf.generation.client.estimate import Rehearsal
from comvint_hf.generation.client.openai_llm import OpenAILLM
from comvint_hf.generation.client.rate_limit import Pace
from comvint_hf.generation.client.usage import Usage
from comvint_hf.generation.llm import LLM, LLMs

ANNOTATIONS = "annotations"
"""The name of the embedded annotator, which needs no endpoint."""


@dataclass(frozen=True)
class OpenLLMs(LLMs):
    """The LLMs of a run and what they share: the counts, the budget's meter and the reply cache (`None` offline)."""

    usage: Usage = field(default_factory=Usage)
    meter: Meter | None = None
    cache: Cache | None = None

    @property
    def batches(self) -> list[BatchLLM]:
        """The LLMs that answer through batches, for `batch.in_batches`; [] where requests are sent at once."""
        return [llm for llm in dict.fromkeys((self.writer, self.judge)) if isinstance(llm, BatchLLM)]

    def summary(self) -> dict[str, Any]:
        """What was asked, got and paid, for the last line of a run and for `build.json`."""
        money = {"budget": self.meter.budget, "unconfirmed_cost": self.meter.unconfirmed} if self.meter else {}
        return {**self.usage.summary(), **money}

    def lines(self) -> list[str]:
        """What this run asked, got and paid: by model and prompt, and a line for the budget; [] where nobody was asked."""
        lines = self.usage.lines()
        if len(self.usage.models) > 1:
            lines.append(f"together: {self.usage.line()}")
        if self.meter is not None and self.meter.budget is not None:
            lines.append(self.meter.line())
        return lines

    async def close(self, told: Callable[[int, float], None] | None = None) -> None:
        """Let what was sent come back, close the connections and then the cache, which gives unneeded budget back.

        `told` hears how many replies are waited for, if any, and for how many seconds at most. Cancel it to wait no longer.
        """
        inner = (llm.llm if isinstance(llm, BatchLLM) else llm for llm in dict.fromkeys((self.writer, self.judge)))
        models = [llm for llm in inner if isinstance(llm, OpenAILLM)]
        under_way = sum(len(model.requester.under_way) for model in models)
        if told and under_way:
            told(under_way, max(model.requester.timeout for model in models))
        try:
            await asyncio.gather(*(model.close() for model in models))
        finally:
            if self.cache is not None:
                self.cache.close()


def open_llms(
    llm: str,
    judge: str | None = None,
    *,
    base_url: str | None = None,
    cache: Path | str | None = None,
    known: Path | None = None,
    concurrency: int = 32,
    budget: float | None = None,
    attempts: int = 3,
    see: bool = False,
    see_pixels: int | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    settings: Mapping[str, Any] | None = None,
    prices: Path | None = None,
    batch: bool = False,
    poll: float = 30.0,
    seed: int = 0,
) -> OpenLLMs:
    """Open the writer `llm` and the `judge` (the same model where none is named).

    "annotations" stands for the embedded annotator, in either place; every other name is a model at `base_url`, with its
    replies in `cache`, and earlier ones read from `known` (see `merging`). Only the writer sees pictures. The rates a minute
    and `concurrency` are each model's. Raises `EndpointError` for a missing key and `InputError` for a budget without a price.
    """
    judge = judge or llm
    usage = Usage()
    annotator = _annotator(seed) if ANNOTATIONS in (llm, judge) else None
    if annotator is not None and llm == judge:
        return OpenLLMs(annotator, annotator, usage)
    opened = Cache(cache if cache is not None else "replies.sqlite", known)
    paces = {name: Pace(concurrency, requests_per_minute, tokens_per_minute) for name in (llm, judge)}
    meter = Meter(opened, budget)

    def model(name: str, *, sees: bool) -> LLM:
        if name == ANNOTATIONS:
            return annotator
        bound = {} if see_pixels is None else {"see_pixels": see_pixels}
        asked = OpenAILLM(
            name,
            cache=opened,
            base_url=base_url,
            pace=paces[name],
            attempts=attempts,
            meter=meter,
            usage=usage,
            see=sees,
            temperature=temperature,
            max_tokens=max_tokens,
            settings=settings,
            prices=prices,
            **bound,
        )
        return BatchLLM(asked, poll=poll) if batch else asked

    writer = model(llm, sees=see)
    return OpenLLMs(writer, writer if judge == llm and not see else model(judge, sees=False), usage, meter, opened)


def rehearse(
    llm: str, judge: str | None = None, *, see: bool = False, batch: bool = False, prices: Path | None = None, seed: int = 0
) -> Rehearsal:
    """The LLMs of a dry run: the embedded annotator answers, and what the models would be asked is counted."""
    return Rehearsal(llm, judge, _annotator(seed), see=see, batch=batch, prices=prices)


def _annotator(seed: int) -> LLM:
    from comvint_hf.annotator import AnnotationLLM

    return AnnotationLLM(seed=seed)
