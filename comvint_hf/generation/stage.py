"""Helpers of stages: note a stage's prompts, draw per sample, and ask again until the samples are clean."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar, runtime_checkable

from comvint_hf.errors import NothingLeftError, ReplyError, UnknownImageError
from comvint_hf.generation.filters import Check, find_failure
from comvint_hf.generation.llm import LLM, LLMs, R, sees
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.references import read_tags
from comvint_hf.generation.seen import read_seen
from comvint_hf.strict_reader import redact
from comvint_hf.types import NO_REPLY, NOTHING_LEFT, Sample, Scene, Task

if TYPE_CHECKING:
    from comvint_hf.generation.narrowing import Form

Stage = Callable[[Sample, LLMs], Awaitable[list[Sample]]]
GroupStage = Callable[[Sequence[Sample], LLMs], Awaitable[list[list[Sample]]]]
"""A stage that takes all samples of an image which are still good, and returns a list for each of them."""
ATTEMPTS = 3
UNKNOWN_IMAGE = "no annotations to write from; --see lets a --llm that accepts images write from the image itself"
"""The reason of a sample about an image of which nothing is known, where its writer does not see it."""
MOST_PROBLEMS = 4
"""Problems of the last attempt that the next one is told."""
F = TypeVar("F", bound=Callable[..., Any])


@runtime_checkable
class _HasPrompts(Protocol):
    """A stage marked with the names of the prompts that it may ask."""

    prompts: tuple[str, ...]


def stage(*prompts: str, group: bool = False) -> Callable[[F], F]:
    """Mark a function as a stage that may ask these prompts.

    `comvint.json` stores their versions, and a dry run counts their requests. A `group` stage is a `GroupStage`.
    """

    # Attributes and no class: a stage stays a plain function, which can be awaited and tested as it is.
    def mark(function: F) -> F:
        vars(function).update(prompts=prompts, group=group)
        return function

    return mark


def prompts_of(stage: Callable[..., Any]) -> tuple[str, ...]:
    """Return the prompts that a stage may ask; none for an unmarked function."""
    function = stage.func if isinstance(stage, partial) else stage
    return function.prompts if isinstance(function, _HasPrompts) else ()


def takes_group(stage: Callable[..., Any]) -> TypeGuard[GroupStage]:
    """Whether a stage takes all samples of an image at once."""
    function = stage.func if isinstance(stage, partial) else stage
    return getattr(function, "group", False)


def make_random(sample: Sample, *key: object) -> random.Random:
    """Make a random generator seeded by the scene and the key alone, so that the order of work does not matter."""
    return random.Random("/".join(map(str, (sample.scene.id, *key))))


def parse_tags(evidence: Iterable[str], scene: Scene | None = None) -> tuple[str, ...]:
    """Collect the tags in a writer's evidence, each once, in any notation.

    Without a scene an entry that holds no tag is kept for the checks to reject. With it, names of objects are read as their
    tags, and what refers to nothing is left out.

    >>> parse_tags(["o3", "[O3]", "[r7] a man waits", "the sky"])
    ('o3', 'r7', 'the sky')
    """
    found = (read_tags(entry, scene) or ([entry] if scene is None else []) for entry in evidence)
    return tuple(dict.fromkeys(tag for tags in found for tag in tags))


def read_evidence(entries: Iterable[str], sample: Sample) -> tuple[str, ...]:
    """Read what a writer says that its text about a sample's scene rests on: tags and, where it sees the image, boxes of its own."""
    if not sample.seen:
        return parse_tags(entries, sample.scene)
    found = (read_seen(entry) or read_tags(entry, sample.scene) for entry in entries)
    return tuple(dict.fromkeys(one for group in found for one in group))


def missing_reply_reason(error: ReplyError) -> str:
    """Return the rejection reason of a sample without a reply: the writer abstained, or gave no usable one.

    The error may repeat what an endpoint said, so keys, passwords and control sequences are taken out.
    """
    if isinstance(error, UnknownImageError):
        return str(error)
    return redact(f"{NOTHING_LEFT if isinstance(error, NothingLeftError) else NO_REPLY}: {error}")


async def ask_until_clean(
    llm: LLM,
    prompt: str,
    reply_type: type[R],
    read: Callable[[R], Iterator[Sample]],
    wanted: int,
    checks: Sequence[Check],
    make_form: Callable[[int], Form] | None = None,
    /,
    **blanks: Any,
) -> list[Sample]:
    """Ask for `wanted` samples, check each, and ask again for the missing ones, at most `ATTEMPTS` times.

    Args:
        read: Turns a reply into samples.
        make_form: The form of a reply with so many samples (see `generation.forms`).
        blanks: The prompt's own blanks. `attempt`, `count`, `avoid` (questions that are already there) and `problems` (what
            was wrong with the last attempt) are added.

    Returns:
        The clean samples, then the last attempt's bad ones, rejected with their reason. If fewer came than were wanted, one
        empty rejected sample says so.

    Raises:
        UnknownImageError: For a scene without annotations, unless the model sees the image.
        ReplyError: If no attempt gave a usable reply.
    """
    if "scene" in blanks and not blanks["scene"].is_annotated and not sees(llm):
        raise UnknownImageError(UNKNOWN_IMAGE)
    good: list[Sample] = []
    bad: list[Sample] = []
    problems: list[str] = []
    seen: set[str] = set()
    # Asking a deterministic model again would give the same reply.
    for attempt in range(1 if llm.deterministic else ATTEMPTS):
        missing = wanted - len(good)
        more = {"attempt": attempt, "count": missing, "avoid": [sample.instruction for sample in good], "problems": problems}
        form = partial(make_form, missing) if make_form else None
        try:
            reply = await llm.ask(Prompt(prompt, form, **more, **blanks), reply_type)
        except ReplyError as error:
            # Samples of earlier attempts were paid for: they are kept, and the error becomes one more rejection.
            if not good and not bad:
                raise
            return [*good, *bad, reject_empty((good or bad)[0], missing_reply_reason(error))]
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
        problems = list_problems(reply.left_out, bad)
    if good and len(good) + len(bad) < wanted and not llm.deterministic:
        return [*good, *bad, reject_empty(good[0], f"too few: {len(good)} of {wanted} in {ATTEMPTS} attempts")]
    return good + bad


def list_problems(left_out: Iterable[str], bad: Iterable[Sample]) -> list[str]:
    """List what was wrong with a reply, as the next request says it: each reason once, with the text that it is about."""
    found: dict[str, str] = {}
    for sample in bad:
        kind = (sample.reason or "").partition(":")[0]
        found.setdefault(kind, f"{sample.reason}, in: {_shorten(sample)}")
    return [*found.values(), *dict.fromkeys(left_out)][:MOST_PROBLEMS]


def _shorten(sample: Sample) -> str:
    text = " / ".join(message.content for message in sample.messages[:2])
    return text if len(text) <= 200 else f"{text[:200]} ..."


def reject_empty(like: Sample, reason: str, task: Task | None = None) -> Sample:
    """Make a rejected sample without text, in place of one that never came."""
    return like.replace(messages=(), evidence=(), topic="", task=task or like.task, reason=reason)
