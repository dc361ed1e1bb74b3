"""A recipe is a list of stages that one can read aloud; this file holds the papers' recipes and what runs them.

A stage takes one sample and gives any number. It may ask the language models and nothing else. Rejected samples pass by
the later stages and are published with their reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from comvint_hf.errors import ReplyError
from comvint_hf.records import FORMATS, Sample, Scene
from comvint_hf.synthesis import checks
from comvint_hf.synthesis.llm import LLMs
from comvint_hf.synthesis.stages import comvint as comvint_stages
from comvint_hf.synthesis.stages import svit as svit_stages
from comvint_hf.synthesis.stages import vlit as vlit_stages
from comvint_hf.synthesis.stages.asking import prompts_of

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
            return [sample.reject(f"no usable reply: {error}")]

    if len(samples) == 1:
        return await one(samples[0])
    return [made for group in await asyncio.gather(*map(one, samples)) for made in group]


def each(*stages: Stage) -> Stage:
    """Give the same sample to several stages and keep all that they make."""

    async def fan_out(sample: Sample, llms: LLMs) -> list[Sample]:
        groups = await asyncio.gather(*(_apply(stage, [sample], llms) for stage in stages))
        return [made for group in groups for made in group]

    fan_out.prompts = tuple(name for stage in stages for name in prompts_of(stage))
    return fan_out


def up_to(count: int, *steps: Stage) -> Stage:
    """Repeat the steps up to `count` times; a sample that a step rejects falls back to its last good version.

    The failed attempt stays in `history`. The first failure ends it: what could not be made harder once is good as it is.
    """

    async def repeat(sample: Sample, llms: LLMs) -> list[Sample]:
        for number in range(1, count + 1):
            attempt = sample
            for step in steps:
                (attempt,) = await _apply(step, [attempt], llms)
                if attempt.reason is not None:
                    return [sample.model_copy(update={"history": (*sample.history, checks.failed(number, attempt))})]
            sample = attempt.model_copy(update={"rounds": number})
        return [sample]

    repeat.prompts = tuple(name for step in steps for name in prompts_of(step))
    return repeat


SVIT_TASKS = {
    "conversation": svit_stages.conversation,
    "complex_reasoning": svit_stages.complex_reasoning,
    "referring_qa": svit_stages.referring_qa,
    "detail_description": svit_stages.detail_description,
}
COMVINT_KINDS = ("cross_modal", "outside_knowledge")


def svit(tasks: Sequence[str] = tuple(SVIT_TASKS)) -> Recipe:
    """SVIT (PAPERS section 1): up to four tasks an image, each regenerated until clean."""
    return Recipe("svit", (each(*(SVIT_TASKS[task] for task in tasks)), checks.check), {"tasks": list(tasks)})


def comvint(
    rounds: int = 1,
    formats: Sequence[str] = FORMATS,
    kinds: Sequence[str] = COMVINT_KINDS,
    count: int = 4,
) -> Recipe:
    """ComVint (PAPERS section 2): synthesise, complicate-then-verify, reformulate.

    `count` samples of each kind are synthesised an image; each ends in one of `formats`, all of them equally likely.
    """
    return Recipe(
        "comvint",
        (
            each(*(comvint_stages.synthesize(kind, count) for kind in kinds)),
            checks.check,
            up_to(rounds, comvint_stages.complicate, checks.check, comvint_stages.verify),
            comvint_stages.reformulate(tuple(formats)),
            checks.check,
        ),
        {"rounds": rounds, "formats": list(formats), "kinds": list(kinds), "count": count},
    )


def vlit(generations: int = 5, constraints: Sequence[str] = tuple(vlit_stages.CONSTRAINTS)) -> Recipe:
    """The VLIT review's example pipeline (PAPERS section 4): several dialogues an image under switchable constraints."""
    return Recipe(
        "vlit",
        (vlit_stages.dialogues(generations, tuple(constraints)), checks.check),
        {"generations": generations, "constraints": list(constraints)},
    )


SVIT = svit()
COMVINT = comvint()
VLIT = vlit()
