"""The VLIT review's example pipeline (PAPERS section 4): dialogues under switchable constraints, several an image."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from comvint_hf.errors import ReplyError
from comvint_hf.generation.filters import CLEAN, first_failure
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.generation.stage import asks, draw, tags, unanswered
from comvint_hf.grounding import REFERENCE
from comvint_hf.types import Sample, Turn

CONSTRAINTS: dict[str, str] = {
    "outside_knowledge": "at least one question needs knowledge of the world that the picture does not show",
    "negatives": "at least one question asks about something that is plausible here but absent, and the answer says so",
    "multi_turn": "the questions build on one another, so that later ones only make sense after earlier ones",
    "one_region": "all questions are about one region of the picture, which the first question points at by its reference",
    "reasoned": "answers give their reasons step by step before they conclude",
}


class Conversation(Reply):
    """User and assistant turns under the constraints that the prompt named."""

    topic: str = ""
    turns: list[Pair]


@cache
def examples() -> list[dict]:
    """The hand-written in-context examples; two of them are shown each time."""
    return tomllib.loads((Path(__file__).parent / "examples.toml").read_text())["example"]


def dialogues(generations: int, constraints: Sequence[str]):
    """Make the stage that asks for `generations` dialogues, each under a constraint of its own and two examples."""

    @asks("vlit/dialogue")
    async def stage(sample: Sample, llms: LLMs) -> list[Sample]:
        return list(await asyncio.gather(*(one(sample, llms, number) for number in range(generations))))

    async def one(sample: Sample, llms: LLMs, number: int) -> Sample:
        random = draw(sample, "vlit", number)
        constraint = constraints[(number + draw(sample, "constraint").randrange(len(constraints))) % len(constraints)]
        prompt = Prompt(
            "vlit/dialogue",
            scene=sample.scene,
            generation=number,
            constraint=constraint,
            rule=CONSTRAINTS[constraint],
            examples=random.sample(examples(), 2),
        )
        try:
            reply = await llms.writer.ask(prompt, Conversation)
        except ReplyError as error:
            return sample.changed(task="vlit").reject(unanswered(error))
        made = sample.write(
            [Turn(turn.question, turn.answer) for turn in reply.turns],
            task="vlit",
            topic=reply.topic or constraint,
            evidence=tags(tag for turn in reply.turns for tag in turn.evidence),
            generator=llms.writer.name,
        )
        reason = first_failure(made, CLEAN) or _broken(made, constraint)
        return made.reject(reason) if reason else made

    return stage


def _broken(sample: Sample, constraint: str) -> str | None:
    """Why a dialogue does not keep to its constraint, as far as that can be seen without reading it."""
    if constraint == "one_region" and not REFERENCE.search(sample.instruction):
        return "one_region: the first question points at nothing"
    if constraint == "multi_turn" and len(sample.messages) < 4:
        return "multi_turn: only one question"
    return None
