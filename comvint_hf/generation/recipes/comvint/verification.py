"""ComVint's judge (PAPERS section 2): the verdict on a rewrite, the majority of votes, and the note in the history."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median_low
from typing import Annotated, Any

from pydantic import BeforeValidator

from comvint_hf.generation.filters import make_note, previous_version
from comvint_hf.generation.llm import LLM, LLMs, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.stage import stage
from comvint_hf.types import NOT_VERIFIED, VERIFIED, Sample

CRITERIA = ("about_this_image", "consistent", "nothing_absent", "truly_harder", "answer_right", "answerable")


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
    truly_harder: bool
    answer_right: bool
    answerable: bool
    complexity: Annotated[int, BeforeValidator(_score)]


@stage("comvint/verify")
async def verify(sample: Sample, llms: LLMs, votes: int = 1) -> list[Sample]:
    """Let the judge check a rewrite against the scene and the previous version.

    The majority of `votes` (an odd number) decides on each criterion. A deterministic judge is asked once.
    """
    majority = 1 if llms.judge.deterministic else votes // 2 + 1
    verdicts = await _collect_votes(sample, llms.judge, majority)
    # Each criterion is voted on by itself: votes that fail different criteria do not add up.
    failures = [name.replace("_", " ") for name in CRITERIA if _count_failures(name, verdicts) >= majority]
    # The lower median is a score that some judge gave.
    score = f"complexity {median_low(verdict.complexity for verdict in verdicts)}"
    found = f"failed ({', '.join(failures)}; {score})" if failures else f"passed ({score})"
    judged = sample.replace(judge=llms.judge.name, history=(*sample.history, make_note(VERIFIED + found, sample)))
    return [judged.reject(f"{NOT_VERIFIED}: {', '.join(failures)}") if failures else judged]


async def _collect_votes(sample: Sample, judge: LLM, majority: int) -> list[Verdict]:
    """Ask for the fewest votes that a majority takes, then for one more at a time while it could change the outcome."""
    earlier = previous_version(sample)

    async def ask(number: int) -> Verdict:
        # The generation makes each vote a request of its own, which the cache does not answer with an earlier vote.
        return await judge.ask(Prompt("comvint/verify", sample=sample, before=earlier, generation=number), Verdict)

    verdicts = [await ask(0)] if majority == 1 else await asyncio.gather(*map(ask, range(majority)))
    while len(verdicts) < 2 * majority - 1 and not _is_settled(verdicts, majority):
        verdicts.append(await ask(len(verdicts)))
    return verdicts


def _is_settled(verdicts: Sequence[Verdict], majority: int) -> bool:
    """Whether some criterion has failed for certain, or all have passed."""
    failures = [_count_failures(name, verdicts) for name in CRITERIA]
    return max(failures) >= majority or len(verdicts) - max(failures) >= majority


def _count_failures(criterion: str, verdicts: Sequence[Verdict]) -> int:
    return sum(not getattr(verdict, criterion) for verdict in verdicts)
