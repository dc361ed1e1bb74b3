"""Recipes: a list of stages, and `branch` and `repeat` to arrange them. The papers' own recipes are in `recipes/`.

A stage takes one sample and returns any number; a group stage takes all samples of an image. It may ask the LLMs and does no
other I/O. Rejected samples skip the later stages and are published with their reason.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

from comvint_hf.errors import InputError, ReplyError
from comvint_hf.generation import filters
from comvint_hf.generation.group import run_all
from comvint_hf.generation.llm import LLMs, sees
from comvint_hf.generation.stage import GroupStage, Stage, missing_reply_reason, prompts_of, stage, takes_group
from comvint_hf.types import Sample, Scene

AnyStage = Stage | GroupStage


@dataclass(frozen=True)
class Recipe:
    """A way to make samples from scenes.

    Args:
        name: Stored in the dataset's metadata and shown in its card.
        stages: The stages in order.
        settings: JSON values that tell two recipes of the same name apart. A build resumes only under equal settings.
        citation: The paper to cite, one line of Markdown for the dataset card.
        licence: The terms that the recipe adds to those of the source, one sentence for the dataset card.
        figures: Figures of the paper's own dataset, which the card compares with the build's:
            `{"name": ..., "source": URL, "rows": ..., "tasks": {TASK: {"pairs": ..., "question_words": ...}}}`, all optional.
    """

    name: str
    stages: tuple[AnyStage, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    citation: str = ""
    licence: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    async def run(self, scene: Scene, llms: LLMs) -> list[Sample]:
        """Make all samples of one scene, kept and rejected ones (`reason` is set), in a stable order."""
        # An empty sample carries the scene to the first stage, which writes the messages.
        samples = [Sample.model_construct(scene=scene, seen=sees(llms.writer))]
        for step in self.stages:
            samples = await _apply(step, samples, llms)
        return [sample for sample in samples if sample.messages or sample.reason]

    @property
    def prompts(self) -> tuple[str, ...]:
        """The names of the prompts that the stages may ask."""
        return _prompts_of_all(self.stages)


def load_figures(folder: Path) -> dict[str, Any]:
    """Read the figures of a paper's dataset from the `figures.toml` of its recipe's folder."""
    return tomllib.loads((folder / "figures.toml").read_text(encoding="utf-8"))


def branch(*steps: AnyStage) -> Stage:
    """Make a stage that gives the same sample to several stages and keeps all their samples."""

    @stage(*_prompts_of_all(steps))
    async def run_branches(sample: Sample, llms: LLMs) -> list[Sample]:
        made = await run_all(lambda step: _apply(step, [sample], llms), steps, llms)
        return [sample for branch in made for sample in branch]

    return run_branches


def repeat(count: int, *steps: AnyStage) -> GroupStage:
    """Make a stage that runs the steps up to `count` times; a rejected attempt falls back to the last good version.

    The notes on the failed attempt stay in `history`. The first failure ends the repetition: a sample that could not be made
    harder once is kept as it is.
    """

    @stage(*_prompts_of_all(steps), group=True)
    async def run_rounds(samples: Sequence[Sample], llms: LLMs) -> list[list[Sample]]:
        versions, running = list(samples), list(range(len(samples)))
        for number in range(1, count + 1):
            attempts = [versions[place] for place in running]
            for step in steps:
                # A repeated step rewrites one sample into one: with more, there would be no single version to fall back to.
                attempts = [attempt for (attempt,) in await _apply_each(step, attempts, llms)]
            for place, attempt in zip(running, attempts, strict=True):
                failed = attempt.reason is not None
                versions[place] = _keep_last_good(versions[place], attempt, number) if failed else attempt.replace(rounds=number)
            running = [place for place, attempt in zip(running, attempts, strict=True) if attempt.reason is None]
        return [[version] for version in versions]

    return run_rounds


def validate_choices(setting: str, given: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the given names. Raises `InputError` for an unknown name, and for none at all."""
    given, known = tuple(given), tuple(known)
    if not given or not set(given) <= set(known):
        raise InputError(f"{','.join(given) or 'nothing'} was given for {setting}: expected some of {', '.join(known)}.")
    return given


def validate_minimum(setting: str, given: int, least: int) -> None:
    """Raise `InputError` for a number below `least`."""
    if given < least:
        raise InputError(f"{setting} is {given}: expected {least} or more.")


def validate_range(setting: str, given: int, least: int, most: int) -> None:
    """Raise `InputError` for a number outside the range."""
    if not least <= given <= most:
        raise InputError(f"{setting} is {given}: expected {least} to {most}.")


async def _apply(step: AnyStage, samples: Sequence[Sample], llms: LLMs) -> list[Sample]:
    return [made for group in await _apply_each(step, samples, llms) for made in group]


async def _apply_each(step: AnyStage, samples: Sequence[Sample], llms: LLMs) -> list[list[Sample]]:
    """What a stage makes of each sample; rejected samples pass by."""
    good = [sample for sample in samples if sample.reason is None]
    if takes_group(step):
        made = await step(good, llms) if good else []
    else:
        made = await run_all(partial(_apply_one, cast("Stage", step), llms), good, llms)
    results = iter(zip(good, made, strict=True))
    return [next(results)[1] if sample.reason is None else [sample] for sample in samples]


async def _apply_one(step: Stage, llms: LLMs, sample: Sample) -> list[Sample]:
    try:
        return await step(sample, llms)
    except ReplyError as error:
        return [sample.reject(missing_reply_reason(error))]


def _keep_last_good(good: Sample, attempt: Sample, number: int) -> Sample:
    """The last good version; its history gets the verdicts on the attempt and the reason of its failure."""
    notes = [edit for edit in attempt.history[len(good.history) :] if filters.is_note(edit)]
    return good.replace(history=(*good.history, *notes, filters.make_failure_note(number, attempt)))


def _prompts_of_all(steps: Iterable[AnyStage]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for step in steps for name in prompts_of(step)))
