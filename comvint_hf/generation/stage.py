"""What stages share: which prompts they ask, draws that depend on the sample alone, and asking again until clean."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from comvint_hf.errors import NothingLeftError, ReplyError
from comvint_hf.generation.filters import Check, first_failure
from comvint_hf.generation.llm import LLM, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.types import NOTHING_LEFT, Sample

ATTEMPTS = 3
_TAG = re.compile(r"\b[or]\d+\b")
NO_REPLY = "no usable reply"
"""How the reason of a sample begins whose prompt no model could answer."""


def unanswered(error: ReplyError) -> str:
    """The reason of a sample whose prompt has no answer: the writer abstained, or gave no usable reply."""
    return f"{NOTHING_LEFT if isinstance(error, NothingLeftError) else NO_REPLY}: {error}"


def asks(*prompts: str) -> Callable[[Callable], Callable]:
    """Note on a stage which prompts it may ask."""

    def note(stage: Callable) -> Callable:
        stage.prompts = prompts
        return stage

    return note


def prompts_of(stage: Callable) -> tuple[str, ...]:
    """The prompts a stage noted; none for a stage that asks nobody."""
    return getattr(stage.func if isinstance(stage, partial) else stage, "prompts", ())


def draw(sample: Sample, *salt: object) -> random.Random:
    """A random source that depends on the scene and the salt only: any order of work gives the same draws."""
    return random.Random("/".join(map(str, (sample.scene.id, *salt))))


def tags(evidence: Iterable[str]) -> tuple[str, ...]:
    """The tags that a writer names as evidence, each once, however they are written; what holds none stays as it is.

    >>> tags(["o3", "[o3]", "[r7] a man waits", "the sky"])
    ('o3', 'r7', 'the sky')
    """
    return tuple(dict.fromkeys(tag for entry in evidence for tag in _TAG.findall(entry) or [entry]))


async def until_clean(
    llm: LLM,
    prompt: str,
    form: type[Reply],
    read: Callable[[Reply], Iterator[Sample]],
    wanted: int,
    checks: tuple[Check, ...],
    /,
    **blanks: Any,
) -> list[Sample]:
    """Ask for `wanted` samples, check each, and ask again for what is missing, at most `ATTEMPTS` times.

    `read` turns a reply into samples. A model that answers the same each time is asked once. The last attempt's bad
    samples are given back rejected, with their reason; where fewer came than were asked for, one empty sample says so.
    Raises `ReplyError` where no attempt gave a usable reply.
    """
    good: list[Sample] = []
    bad: list[Sample] = []
    seen: set[str] = set()
    for attempt in range(1 if llm.deterministic else ATTEMPTS):
        question = Prompt(
            prompt, attempt=attempt, count=wanted - len(good), avoid=[sample.instruction for sample in good], **blanks
        )
        try:
            reply = await llm.ask(question, form)
        except ReplyError as error:
            if not good and not bad:
                raise
            return [*good, *bad, _nothing((good or bad)[0], unanswered(error))]
        bad = []
        for sample in read(reply):
            reason = "duplicate question" if sample.instruction.casefold() in seen else first_failure(sample, checks)
            if reason:
                bad.append(sample.reject(reason))
            elif len(good) < wanted:
                seen.add(sample.instruction.casefold())
                good.append(sample)
        if len(good) >= wanted:
            return good
    if good and len(good) + len(bad) < wanted and not llm.deterministic:
        return [*good, *bad, _nothing(good[0], f"too few: {len(good)} of {wanted} in {ATTEMPTS} attempts")]
    return good + bad


def _nothing(like: Sample, reason: str) -> Sample:
    """A rejected sample without a word, in the place of one that never came."""
    return like.changed(messages=(), evidence=(), topic="", reason=reason)
