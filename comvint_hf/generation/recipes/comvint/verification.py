"""ComVint's judge (PAPERS section 2): what it is asked about a rewrite, how its votes are counted, what the history keeps.

A rewrite comes here after the checks that cost nothing. This file asks the judge only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import median_low
from typing import Annotated, Any

from pydantic import BeforeValidator

from comvint_hf.generation.filters import before, note
from comvint_hf.generation.llm import LLM, LLMs, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.stage import asks
from comvint_hf.types import NOT_VERIFIED, VERIFIED, Sample

CRITERIA = ("about_this_image", "consistent", "nothing_absent", "truly_harder", "answer_right", "answerable")


def _score(value: Any) -> Any:
    """A number of any size as a score from 1 to 10; what is no number is for pydantic to refuse."""
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


@asks("comvint/verify")
async def verify(sample: Sample, llms: LLMs, votes: int = 1) -> list[Sample]:
    """Let the judge check a rewrite against the scene and the version before it; of several votes the majority counts.

    `votes` is odd. A judge that answers the same each time is asked once.
    """
    majority = 1 if llms.judge.deterministic else votes // 2 + 1
    verdicts = await _poll(sample, llms.judge, majority)
    failures = [name.replace("_", " ") for name in CRITERIA if _against(name, verdicts) >= majority]
    score = f"complexity {median_low(verdict.complexity for verdict in verdicts)}"
    found = f"failed ({', '.join(failures)}; {score})" if failures else f"passed ({score})"
    judged = sample.changed(judge=llms.judge.name, history=(*sample.history, note(VERIFIED + found, sample)))
    return [judged.reject(f"{NOT_VERIFIED}: {', '.join(failures)}") if failures else judged]


async def _poll(sample: Sample, judge: LLM, majority: int) -> list[Verdict]:
    """Ask as often as any majority takes, then once more at a time while a vote could still change the outcome."""
    earlier = before(sample)

    async def ask(number: int) -> Verdict:
        return await judge.ask(Prompt("comvint/verify", sample=sample, before=earlier, generation=number), Verdict)

    verdicts = [await ask(0)] if majority == 1 else await asyncio.gather(*map(ask, range(majority)))
    while len(verdicts) < 2 * majority - 1 and not _settled(verdicts, majority):
        verdicts.append(await ask(len(verdicts)))
    return verdicts


def _settled(verdicts: Sequence[Verdict], majority: int) -> bool:
    """Whether some criterion has failed for good, or every one has passed."""
    against = [_against(name, verdicts) for name in CRITERIA]
    return max(against) >= majority or len(verdicts) - max(against) >= majority


def _against(criterion: str, verdicts: Sequence[Verdict]) -> int:
    return sum(not getattr(verdict, criterion) for verdict in verdicts)
