"""Opens the LLMs of a run, from the names that the user gives them: `--llm` and `--judge`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comvint_hf.generation.client.batch import BatchLLM
from comvint_hf.generation.client.cache import Cache
from comvint_hf.generation.client.cost import BudgetMeter
from comvint_hf.generation.client.estimate import DryRun
from comvint_hf.generation.client.openai_llm import OpenAILLM
from comvint_hf.generation.client.rate_limit import RateLimiter
from comvint_hf.generation.client.rehearsal import PASS_RATE
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.client.usage import Usage
from comvint_hf.generation.llm import LLM, LLMs
from comvint_hf.pipeline.options import ANNOTATIONS


@dataclass(frozen=True)
class LLMSession(LLMs):
    """The LLMs of a run and what they share: the counts, the budget and the reply cache (`None` without a model)."""

    usage: Usage = field(default_factory=Usage)
    meter: BudgetMeter | None = None
    cache: Cache | None = None

    @property
    def batches(self) -> list[BatchLLM]:
        """The LLMs that reply through batches, for `run_in_batches`; [] where requests are sent at once."""
        return [llm for llm in dict.fromkeys((self.writer, self.judge)) if isinstance(llm, BatchLLM)]

    def summary(self) -> dict[str, Any]:
        """Counts and costs of this run as plain numbers."""
        budget = {"budget": self.meter.budget, "unconfirmed_cost": self.meter.unconfirmed} if self.meter else {}
        return {**self.usage.summary(), **budget}

    def format_lines(self) -> list[str]:
        """Format counts and costs of this run by model and prompt, and the state of the budget; [] where nothing was asked."""
        lines = self.usage.format_lines()
        if len(self.usage.models) > 1:
            lines.append(f"together: {self.usage.format_line()}")
        models = (llm.llm if isinstance(llm, BatchLLM) else llm for llm in dict.fromkeys((self.writer, self.judge)))
        lines += [note for model in models if isinstance(model, OpenAILLM) for note in model.requester.capabilities.notes]
        return lines + (self.meter.format_lines() if self.meter else [])

    async def close(self, on_wait: Callable[[int, float], None] | None = None) -> None:
        """Wait for requests in flight, close the connections and then the cache, which releases unused budget.

        `on_wait` is called with the number of requests in flight, if there are any, and the seconds they may take at most.
        A cancellation ends the wait.
        """
        inner = (llm.llm if isinstance(llm, BatchLLM) else llm for llm in dict.fromkeys((self.writer, self.judge)))
        models = [llm for llm in inner if isinstance(llm, OpenAILLM)]
        in_flight = sum(len(model.requester.in_flight) for model in models)
        if on_wait and in_flight:
            on_wait(in_flight, max(model.settings.timeout for model in models))
        try:
            await asyncio.gather(*(model.close() for model in models))
        finally:
            if self.cache is not None:
                self.cache.close()


def open_llms(
    writer: str, judge: str | None = None, settings: LLMSettings | None = None, *, snapshot: Path | None = None
) -> LLMSession:
    """Open the writer and the judge of a run.

    Args:
        writer: Name of a model at the endpoint, or "annotations" for the embedded annotator.
        judge: The same for the judge; the writer by default.
        settings: How models are asked; concurrency and rate limits are each model's.
        snapshot: A read-only cache whose replies count as well, see `write_snapshot`.

    Raises:
        EndpointError: For a missing API key.
        InputError: For a budget without a price.
    """
    judge = judge or writer
    settings = settings or LLMSettings()
    usage = Usage()
    if writer == judge == ANNOTATIONS:
        annotator = _open_annotator(settings)
        return LLMSession(annotator, annotator, usage)
    cache = Cache(settings.cache or "replies.sqlite", snapshot)
    meter = BudgetMeter(cache, settings.budget)
    limiters = {
        name: RateLimiter(settings.concurrency, settings.requests_per_minute, settings.tokens_per_minute)
        for name in (writer, judge)
    }

    def open_model(name: str, settings: LLMSettings) -> LLM:
        if name == ANNOTATIONS:
            return _open_annotator(settings)
        model = OpenAILLM(name, settings, cache=cache, meter=meter, usage=usage, limiter=limiters[name])
        return BatchLLM(model) if settings.batch else model

    writer_llm = open_model(writer, settings)
    judge_llm = writer_llm if judge == writer else open_model(judge, settings)
    return LLMSession(writer_llm, judge_llm, usage, meter, cache)


def open_dry_run(
    writer: str, judge: str | None = None, settings: LLMSettings | None = None, *, pass_rate: float = PASS_RATE
) -> DryRun:
    """Open a dry run, in which the requests to models are counted; the embedded annotator answers for itself."""
    settings = settings or LLMSettings()
    return DryRun(writer, judge, settings, pass_rate=pass_rate, unasked=_open_annotator(settings))


def open_stand_in(settings: LLMSettings) -> LLM:
    """Open the embedded annotator, which replies where no model is to be asked."""
    return _open_annotator(settings)


def _open_annotator(settings: LLMSettings) -> LLM:
    from comvint_hf.annotator import AnnotationLLM

    return AnnotationLLM(seed=settings.seed)
