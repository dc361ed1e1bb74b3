"""ComVint's judge (PAPERS section 2): the verdict on a rewrite, the majority of votes, and the note in the history.

A first version that could not be made harder is judged too, so that no row is kept which no judge has seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median_low
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

from comvint_hf.errors import ReplyError
from comvint_hf.generation.filters import make_note, previous_version
from comvint_hf.generation.group import TOGETHER, Case, ask_each
from comvint_hf.generation.llm import LLM, LLMs, Reply
from comvint_hf.generation.recipes.comvint.replies import verdict_form
from comvint_hf.generation.stage import GroupStage, missing_reply_reason, stage
from comvint_hf.types import NOT_VERIFIED, VERIFIED, VERIFIED_FIRST, Sample

FIRST_CRITERIA = ("about_this_image", "consistent", "nothing_absent", "needs_picture", "answer_right", "answerable")
CRITERIA = (*FIRST_CRITERIA[:4], "truly_harder", *FIRST_CRITERIA[4:])


def _score(value: Any) -> Any:
    """Clamp a number to a score from 1 to 10; pydantic rejects other values."""
    try:
        return min(10, max(1, round(float(value))))
    except (TypeError, ValueError, OverflowError):
        return value


class Verdict(Reply):
    """What the judge found. Three pieces of evidence in words, then the named criteria, then a 1-10 score."""

    match: str
    depth: str
    soundness: str
    about_this_image: bool
    consistent: bool
    nothing_absent: bool
    needs_picture: bool
    truly_harder: bool
    answer_right: bool
    answerable: bool
    complexity: Annotated[int, BeforeValidator(_score)]


class FirstVerdict(Reply):
    """What the judge found about a first version, which there is nothing to compare with."""

    match: str
    soundness: str
    about_this_image: bool
    consistent: bool
    nothing_absent: bool
    needs_picture: bool
    answer_right: bool
    answerable: bool
    complexity: Annotated[int, BeforeValidator(_score)]


Votes: TypeAlias = Sequence[Verdict | FirstVerdict]
"""What several judges found about one sample, in one form."""


def verify_all(votes: int = 1, together: int = TOGETHER) -> GroupStage:
    """Make the stage that lets the judge check rewrites against the scene and the previous version, `together` in a request.

    The majority of `votes` (an odd number) decides on each criterion. A deterministic judge is asked once.
    """

    @stage("comvint/verify", group=True)
    async def judge_rewrites(samples: Sequence[Sample], llms: LLMs) -> list[list[Sample]]:
        cases = [{"sample": sample, "before": previous_version(sample)} for sample in samples]
        made = await _judge(llms.judge, "comvint/verify", Verdict, cases, votes, together)
        return [
            [sample.reject(missing_reply_reason(one)) if isinstance(one, ReplyError) else one]
            for sample, one in zip(samples, made, strict=True)
        ]

    return judge_rewrites


@stage("comvint/verify")
async def verify(sample: Sample, llms: LLMs, votes: int = 1) -> list[Sample]:
    """Judge one rewrite as `verify_all` judges several. Raises `ReplyError` where the judge gives no usable reply."""
    case = {"sample": sample, "before": previous_version(sample)}
    (judged,) = await _judge(llms.judge, "comvint/verify", Verdict, [case], votes, 1)
    if isinstance(judged, ReplyError):
        raise judged
    return [judged]


def verify_first(votes: int = 1, together: int = TOGETHER) -> GroupStage:
    """Make the stage that lets the judge check the samples which no complication was kept of.

    What a deterministic writer wrote is true by construction and passes.
    """

    @stage("comvint/verify_first", group=True)
    async def judge_first_versions(samples: Sequence[Sample], llms: LLMs) -> list[list[Sample]]:
        made = {place: [sample] for place, sample in enumerate(samples)}
        unseen = [] if llms.writer.deterministic else [place for place, sample in enumerate(samples) if not sample.rounds]
        cases = [{"sample": samples[place]} for place in unseen]
        judged = await _judge(llms.judge, "comvint/verify_first", FirstVerdict, cases, votes, together)
        for place, one in zip(unseen, judged, strict=True):
            made[place] = [samples[place].reject(missing_reply_reason(one)) if isinstance(one, ReplyError) else one]
        return list(made.values())

    return judge_first_versions


async def _judge(
    judge: LLM, prompt: str, form: type[Any], cases: Sequence[Case], votes: int, together: int
) -> list[Sample | ReplyError]:
    """The judged samples; the error of one that the judge gave no usable reply about."""
    majority = 1 if judge.deterministic else votes // 2 + 1
    found = await _collect_votes(judge, prompt, form, cases, majority, together)
    return [
        given if isinstance(given, ReplyError) else _note_verdicts(case["sample"], given, majority, judge.name)
        for case, given in zip(cases, found, strict=True)
    ]


def _note_verdicts(sample: Sample, verdicts: Votes, majority: int, judge: str) -> Sample:
    """The sample, whose history gets what was found; rejected where a majority fails a criterion."""
    # Each criterion is voted on by itself: votes that fail different criteria do not add up.
    failures = [name.replace("_", " ") for name in _criteria(verdicts) if _count_failures(name, verdicts) >= majority]
    # The lower median is a score that some judge gave.
    score = f"complexity {median_low(verdict.complexity for verdict in verdicts)}"
    found = f"failed ({', '.join(failures)}; {score})" if failures else f"passed ({score})"
    prefix = VERIFIED if isinstance(verdicts[0], Verdict) else VERIFIED_FIRST
    judged = sample.replace(judge=judge, history=(*sample.history, make_note(prefix + found, sample)))
    return judged.reject(f"{NOT_VERIFIED}: {', '.join(failures)}") if failures else judged


async def _collect_votes(
    judge: LLM, prompt: str, form: type[Any], cases: Sequence[Case], majority: int, together: int
) -> list[Votes | ReplyError]:
    """Ask for the fewest votes that a majority takes, then for one more at a time where it could change the outcome."""
    found: list[list[Any]] = [[] for _ in cases]
    errors: dict[int, ReplyError] = {}

    async def ask(number: int, places: Sequence[int]) -> None:
        # The generation makes each vote a request of its own, which the cache does not answer with an earlier vote.
        replies = await ask_each(
            judge, prompt, form, [cases[place] for place in places], verdict_form, together, generation=number
        )
        for place, reply in zip(places, replies, strict=True):
            if isinstance(reply, ReplyError):
                errors[place] = reply
            else:
                found[place].append(reply)

    if majority == 1:
        await ask(0, range(len(cases)))
    else:
        await asyncio.gather(*(ask(number, range(len(cases))) for number in range(majority)))
    for number in range(majority, 2 * majority - 1):
        unsettled = [place for place, given in enumerate(found) if place not in errors and not _is_settled(given, majority)]
        if not unsettled:
            break
        await ask(number, unsettled)
    return [errors.get(place, given) for place, given in enumerate(found)]


def _is_settled(verdicts: Votes, majority: int) -> bool:
    """Whether some criterion has failed for certain, or all have passed."""
    failures = [_count_failures(name, verdicts) for name in _criteria(verdicts)]
    return max(failures) >= majority or len(verdicts) - max(failures) >= majority


def _criteria(verdicts: Votes) -> tuple[str, ...]:
    return CRITERIA if isinstance(verdicts[0], Verdict) else FIRST_CRITERIA


def _count_failures(criterion: str, verdicts: Votes) -> int:
    return sum(not getattr(verdict, criterion) for verdict in verdicts)
