"""A recipe is a list of stages that one can read aloud; this file holds what they are made of; the papers' own are in `recipes/`.

A stage takes one sample and gives any number. It may ask the language models and nothing else. Rejected samples pass by
the later stages and are published with their reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from comvint_hf.errors import InputError, ReplyError
from comvint_hf.generation import filters
from comvint_hf.generation.llm import LLMs
from comvint_hf.generation.stage import prompts_of, unanswered
from comvint_hf.types import Sample, Scene

Stage = Callable[[Sample, LLMs], Awaitable[list[Sample]]]


@dataclass(frozen=True)
class Recipe:
    """A name, the stages in order, and the settings that tell two recipes of the same name apart."""

    name: str
    stages: tuple[Stage, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    async def run(self, scene: Scene, llms: LLMs) -> list[Sample]:
        """Make every sample of one scene: kept ones and rejected ones (`reason` is set), in a stable order."""
        samples = [Sample.model_construct(scene=scene)]
        for stage in self.stages:
            samples = await _apply(stage, samples, llms)
        return [sample for sample in samples if sample.messages or sample.reason]

    @property
    def prompts(self) -> tuple[str, ...]:
        """The names of the prompts that the stages may ask."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in prompts_of(stage)))


async def _apply(stage: Stage, samples: Sequence[Sample], llms: LLMs) -> list[Sample]:
    async def one(sample: Sample) -> list[Sample]:
        if sample.reason is not None:
            return [sample]
        try:
            return await stage(sample, llms)
        except ReplyError as error:
            return [sample.reject(unanswered(error))]

    if len(samples) == 1:
        return await one(samples[0])
    return await _each(one, samples, llms)


async def _each(work: Callable[[Any], Awaitable[list[Sample]]], items: Sequence[Any], llms: LLMs) -> list[Sample]:
    """Do the work on every item: beside one another, or in turn where nobody has to be waited for."""
    if llms.writer.deterministic and llms.judge.deterministic:
        return [made for item in items for made in await work(item)]
    return [made for group in await asyncio.gather(*map(work, items)) for made in group]


def each(*stages: Stage) -> Stage:
    """Give the same sample to several stages and keep all that they make."""

    async def fan_out(sample: Sample, llms: LLMs) -> list[Sample]:
        return await _each(lambda stage: _apply(stage, [sample], llms), stages, llms)

    fan_out.prompts = tuple(name for stage in stages for name in prompts_of(stage))
    return fan_out


def up_to(count: int, *steps: Stage) -> Stage:
    """Repeat the steps up to `count` times; a sample that a step rejects falls back to its last good version.

    What was found of the failed attempt stays in `history`. The first failure ends it: what could not be made harder once is
    good as it is.
    """

    async def repeat(sample: Sample, llms: LLMs) -> list[Sample]:
        for number in range(1, count + 1):
            attempt = sample
            for step in steps:
                (attempt,) = await _apply(step, [attempt], llms)
                if attempt.reason is not None:
                    return [_fallen_back(sample, attempt, number)]
            sample = attempt.changed(rounds=number)
        return [sample]

    repeat.prompts = tuple(name for step in steps for name in prompts_of(step))
    return repeat


def _fallen_back(good: Sample, attempt: Sample, number: int) -> Sample:
    """The last good version; its history tells what was said of the attempt, and why it was not kept."""
    said = [edit for edit in attempt.history[len(good.history) :] if filters.is_note(edit)]
    return good.changed(history=(*good.history, *said, filters.failed(number, attempt)))


def require_known(setting: str, given: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The names that were given. Raises `InputError` for one that is not known, and for none at all."""
    given, known = tuple(given), tuple(known)
    if not given or not set(given) <= set(known):
        raise InputError(f"{','.join(given) or 'nothing'} was given for {setting}: expected some of {', '.join(known)}.")
    return given


def require_at_least(setting: str, given: int, least: int) -> None:
    if given < least:
        raise InputError(f"{setting} is {given}: expected {least} or more.")
