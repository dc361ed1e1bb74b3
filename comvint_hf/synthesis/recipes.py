"""A recipe is a list of stages that one can read aloud; this file holds the papers' recipes and what runs them.

A stage takes one sample and gives any number. It may ask the language models and nothing else. Rejected samples pass by
the later stages and are published with their reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from comvint_hf.errors import InputError, ReplyError
from comvint_hf.records import FORMATS, Sample, Scene
from comvint_hf.synthesis import checks
from comvint_hf.synthesis.llm import LLMs
from comvint_hf.synthesis.stages import comvint as comvint_stages
from comvint_hf.synthesis.stages import svit as svit_stages
from comvint_hf.synthesis.stages import vlit as vlit_stages
from comvint_hf.synthesis.stages.asking import prompts_of, unanswered
from comvint_hf.synthesis.stages.verification import verify

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
    said = [edit for edit in attempt.history[len(good.history) :] if checks.is_note(edit)]
    return good.changed(history=(*good.history, *said, checks.failed(number, attempt)))


SVIT_TASKS = {
    "conversation": svit_stages.conversation,
    "complex_reasoning": svit_stages.complex_reasoning,
    "referring_qa": svit_stages.referring_qa,
    "detail_description": svit_stages.detail_description,
}
COMVINT_KINDS = ("cross_modal", "outside_knowledge")


def svit(tasks: Sequence[str] = tuple(SVIT_TASKS)) -> Recipe:
    """SVIT (PAPERS section 1): up to four tasks an image, each regenerated until clean.

    Raises `InputError` for an unknown task.
    """
    tasks = _known("tasks", tasks, SVIT_TASKS)
    return Recipe("svit", (each(*(SVIT_TASKS[task] for task in tasks)), checks.check), {"tasks": list(tasks)})


def comvint(
    rounds: int = 1,
    formats: Sequence[str] = FORMATS,
    kinds: Sequence[str] | Mapping[str, float] = COMVINT_KINDS,
    count: int = 4,
    votes: int = 1,
) -> Recipe:
    """ComVint (PAPERS section 2): synthesise, complicate-then-verify, reformulate.

    `count` samples an image are synthesised for each of the `kinds`; where these have weights ({"cross_modal": 3,
    "outside_knowledge": 1}, or "cross_modal=3"), all samples of an image together are divided in that proportion. Each ends
    in one of `formats`, all of them equally likely. The judge is asked up to `votes` times a rewrite, and the majority
    counts. Synthesising and reformulating check what they get themselves, and ask again. Raises `InputError` for an unknown
    kind or format, a weight that is none, an even number of votes, and numbers that make no sample.
    """
    _at_least("rounds", rounds, 0)
    _at_least("count", count, 1)
    weights, formats = shares(kinds), _known("formats", formats, FORMATS)
    if votes < 1 or votes % 2 == 0:
        raise InputError(f"votes is {votes}: expected an odd number such as 3, so that a majority can always be found.")
    total = count * len(weights)
    return Recipe(
        "comvint",
        (
            each(*(comvint_stages.synthesize(kind, comvint_stages.quota(weights, total, kind)) for kind in weights)),
            up_to(rounds, comvint_stages.complicate, checks.check, partial(verify, votes=votes)),
            comvint_stages.reformulate(formats),
        ),
        {
            "rounds": rounds,
            "formats": list(formats),
            "kinds": list(weights) if len(set(weights.values())) == 1 else weights,
            "count": count,
            "votes": votes,
        },
    )


def shares(kinds: Iterable[str] | Mapping[str, float]) -> dict[str, float]:
    """The weight of each kind: 1 unless "name=weight" says otherwise. Raises `InputError` for anything else.

    >>> shares(["cross_modal=3", "outside_knowledge"])
    {'cross_modal': 3.0, 'outside_knowledge': 1.0}
    """
    given = kinds.items() if isinstance(kinds, Mapping) else (kind.strip().partition("=")[::2] for kind in kinds)
    weights = {}
    for name, weight in given:
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            weights[name] = 0.0
        if name not in COMVINT_KINDS or not 0 < weights[name] < float("inf"):
            raise InputError(
                f"{name}{'=' if weight else ''}{weight} was given for kinds: expected some of {', '.join(COMVINT_KINDS)}, each alone or with a weight "
                "above 0, as in cross_modal=3,outside_knowledge=1."
            )
    if not weights:
        raise InputError(f"No kind was given: expected some of {', '.join(COMVINT_KINDS)}.")
    return weights


def _known(setting: str, given: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The names that were given. Raises `InputError` for one that is not known, and for none at all."""
    given, known = tuple(given), tuple(known)
    if not given or not set(given) <= set(known):
        raise InputError(f"{','.join(given) or 'nothing'} was given for {setting}: expected some of {', '.join(known)}.")
    return given


def _at_least(setting: str, given: int, least: int) -> None:
    if given < least:
        raise InputError(f"{setting} is {given}: expected {least} or more.")


def vlit(generations: int = 5, constraints: Sequence[str] = tuple(vlit_stages.CONSTRAINTS)) -> Recipe:
    """The VLIT review's example pipeline (PAPERS section 4): several dialogues an image under switchable constraints.

    Raises `InputError` for an unknown constraint, and for less than one of the `generations`.
    """
    _at_least("generations", generations, 1)
    constraints = _known("constraints", constraints, vlit_stages.CONSTRAINTS)
    return Recipe(
        "vlit",
        (vlit_stages.dialogues(generations, constraints), checks.check),
        {"generations": generations, "constraints": list(constraints)},
    )


SVIT = svit()
COMVINT = comvint()
VLIT = vlit()
