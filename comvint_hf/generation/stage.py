"""Helpers of stages: note a stage's prompts, draw per sample, and ask again until the samples are clean."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

from comvint_hf.errors import NothingLeftError, ReplyError
from comvint_hf.generation.filters import Check, find_failure
from comvint_hf.generation.llm import LLM, LLMs, R
from comvint_hf.generation.prompt import Prompt
from comvint_hf.strict_reader import redact
from comvint_hf.types import NOTHING_LEFT, Sample

Stage = Callable[[Sample, LLMs], Awaitable[list[Sample]]]
ATTEMPTS = 3
NO_REPLY = "no usable reply"
"""Beginning of the rejection reason of a sample whose prompt no model could answer."""
_TAG = re.compile(r"\b[or]\d+\b")
F = TypeVar("F", bound=Callable[..., Any])


@runtime_checkable
class _HasPrompts(Protocol):
    """A stage marked with the names of the prompts that it may ask."""

    prompts: tuple[str, ...]


def stage(*prompts: str) -> Callable[[F], F]:
    """Mark a function as a stage that may ask these prompts.

    `comvint.json` stores their versions, and a dry run counts their requests.
    """

    # An attribute and no class: a stage stays a plain function, which can be awaited and tested as it is.
    def mark(function: F) -> F:
        vars(function)["prompts"] = prompts
        return function

    return mark


def prompts_of(stage: Callable[..., Any]) -> tuple[str, ...]:
    """Return the prompts that a stage may ask; none for an unmarked function."""
    function = stage.func if isinstance(stage, partial) else stage
    return function.prompts if isinstance(function, _HasPrompts) else ()


def make_random(sample: Sample, *key: object) -> random.Random:
    """Make a random generator seeded by the scene and the key alone, so that the order of work does not matter."""
    return random.Random("/".join(map(str, (sample.scene.id, *key))))


def parse_tags(evidence: Iterable[str]) -> tuple[str, ...]:
    """Collect the tags in a writer's evidence, each once. An entry without a tag is kept for the checks to reject.

    >>> parse_tags(["o3", "[o3]", "[r7] a man waits", "the sky"])
    ('o3', 'r7', 'the sky')
    """
    return tuple(dict.fromkeys(tag for entry in evidence for tag in _TAG.findall(entry) or [entry]))


def missing_reply_reason(error: ReplyError) -> str:
    """Return the rejection reason of a sample without a reply: the writer abstained, or gave no usable one.

    The error may repeat what an endpoint said, so keys, passwords and control sequences are taken out.
    """
    return redact(f"{NOTHING_LEFT if isinstance(error, NothingLeftError) else NO_REPLY}: {error}")


async def ask_until_clean(
    llm: LLM,
    prompt: str,
    reply_type: type[R],
    read: Callable[[R], Iterator[Sample]],
    wanted: int,
    checks: Sequence[Check],
    /,
    **blanks: Any,
) -> list[Sample]:
    """Ask for `wanted` samples, check each, and ask again for the missing ones, at most `ATTEMPTS` times.

    Args:
        read: Turns a reply into samples.
        blanks: The prompt's own blanks. `attempt`, `count` and `avoid` (questions that are already there) are added.

    Returns:
        The clean samples, then the last attempt's bad ones, rejected with their reason. If fewer came than were wanted, one
        empty rejected sample says so.

    Raises:
        ReplyError: If no attempt gave a usable reply.
    """
    good: list[Sample] = []
    bad: list[Sample] = []
    seen: set[str] = set()
    # Asking a deterministic model again would give the same reply.
    for attempt in range(1 if llm.deterministic else ATTEMPTS):
        avoid = [sample.instruction for sample in good]
        try:
            reply = await llm.ask(Prompt(prompt, attempt=attempt, count=wanted - len(good), avoid=avoid, **blanks), reply_type)
        except ReplyError as error:
            # Samples of earlier attempts were paid for: they are kept, and the error becomes one more rejection.
            if not good and not bad:
                raise
            return [*good, *bad, _empty_rejection((good or bad)[0], missing_reply_reason(error))]
        bad = []
        for sample in read(reply):
            reason = "duplicate question" if sample.instruction.casefold() in seen else find_failure(sample, checks)
            if reason:
                bad.append(sample.reject(reason))
            elif len(good) < wanted:
                seen.add(sample.instruction.casefold())
                good.append(sample)
        if len(good) >= wanted:
            return good
    if good and len(good) + len(bad) < wanted and not llm.deterministic:
        return [*good, *bad, _empty_rejection(good[0], f"too few: {len(good)} of {wanted} in {ATTEMPTS} attempts")]
    return good + bad


def _empty_rejection(like: Sample, reason: str) -> Sample:
    """A rejected sample without text, in place of one that never came."""
    return like.replace(messages=(), evidence=(), topic="", reason=reason)
