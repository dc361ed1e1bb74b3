"""The stage of the VLIT review's example pipeline (PAPERS section 4): several dialogues an image, under constraints."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from comvint_hf.errors import ReplyError
from comvint_hf.generation.filters import CHECKS, find_failure
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit.stages import Pair
from comvint_hf.generation.stage import Stage, make_random, missing_reply_reason, parse_tags, stage
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
def load_examples() -> list[dict]:
    """Load the hand-written in-context examples; each prompt shows two of them."""
    return tomllib.loads((Path(__file__).parent / "examples.toml").read_text())["example"]


def write_dialogues(generations: int, constraints: Sequence[str]) -> Stage:
    """Make the stage that asks for `generations` dialogues, taking turns through the constraints, with two examples each."""

    @stage("vlit/dialogue")
    async def write_all(sample: Sample, llms: LLMs) -> list[Sample]:
        return list(await asyncio.gather(*(write_one(sample, llms, number) for number in range(generations))))

    async def write_one(sample: Sample, llms: LLMs, number: int) -> Sample:
        random = make_random(sample, "vlit", number)
        # A start per scene, so that few generations still use all constraints over many scenes.
        constraint = constraints[(number + make_random(sample, "constraint").randrange(len(constraints))) % len(constraints)]
        prompt = Prompt(
            "vlit/dialogue",
            scene=sample.scene,
            generation=number,
            constraint=constraint,
            rule=CONSTRAINTS[constraint],
            examples=random.sample(load_examples(), 2),
        )
        try:
            reply = await llms.writer.ask(prompt, Conversation)
        # One failed dialogue must not lose the others of the image.
        except ReplyError as error:
            return sample.replace(task="vlit").reject(missing_reply_reason(error))
        made = sample.write(
            [Turn(turn.question, turn.answer) for turn in reply.turns],
            task="vlit",
            topic=reply.topic or constraint,
            evidence=parse_tags(tag for turn in reply.turns for tag in turn.evidence),
            generator=llms.writer.name,
        )
        reason = find_failure(made, CHECKS) or _check_constraint(made, constraint)
        return made.reject(reason) if reason else made

    return write_all


def _check_constraint(sample: Sample, constraint: str) -> str | None:
    """The reason to reject a dialogue that breaks its constraint, as far as its form shows."""
    if constraint == "one_region" and not REFERENCE.search(sample.instruction):
        return "one_region: the first question points at nothing"
    if constraint == "multi_turn" and len(sample.messages) < 4:
        return "multi_turn: only one question"
    return None
