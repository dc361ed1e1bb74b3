"""The stage of the VLIT review's example pipeline (PAPERS section 4): several dialogues an image, under constraints."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from comvint_hf.errors import ReplyError
from comvint_hf.generation import forms
from comvint_hf.generation.filters import CHECKS, points_at_something
from comvint_hf.generation.forms import Form
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.recipes.svit.stages import Pair, pair_fields, read_turn
from comvint_hf.generation.stage import (
    Stage,
    ask_until_clean,
    make_random,
    missing_reply_reason,
    read_evidence,
    reject_empty,
    stage,
)
from comvint_hf.types import Sample

CONSTRAINTS: dict[str, str] = {
    "outside_knowledge": "at least one question needs knowledge of the world that the picture does not show",
    "negatives": "at least one question asks about something that is plausible here but absent, and the answer says so",
    "multi_turn": "the questions build on one another, so that later ones only make sense after earlier ones",
    "one_region": "all questions are about one region of the picture, which the first question points at by its reference",
    "reasoned": "answers give their reasons step by step before they conclude",
}


SHOTS = 2
"""Examples that a prompt shows."""
MOST_TURNS = 4
"""Most questions of one dialogue that is asked for."""


class Conversation(Reply):
    """User and assistant turns under the constraints that the prompt named."""

    partial = True
    topic: str = ""
    turns: list[Pair]


@cache
def load_examples() -> list[dict]:
    """Load the hand-written in-context examples; each prompt shows two of them."""
    return tomllib.loads((Path(__file__).parent / "examples.toml").read_text())["example"]


def write_dialogues(generations: int, constraints: Sequence[str], shots: int = SHOTS) -> Stage:
    """Make the stage that asks for `generations` dialogues, taking turns through the constraints, with `shots` examples each."""

    @stage("vlit/dialogue")
    async def write_all(sample: Sample, llms: LLMs) -> list[Sample]:
        written = await asyncio.gather(*(write_one(sample, llms, number) for number in range(generations)))
        return [made for group in written for made in group]

    async def write_one(sample: Sample, llms: LLMs, number: int) -> list[Sample]:
        random = make_random(sample, "vlit", number)
        # A start per scene, so that few generations still use all constraints over many scenes.
        constraint = constraints[(number + make_random(sample, "constraint").randrange(len(constraints))) % len(constraints)]

        def read(reply: Conversation) -> Iterator[Sample]:
            yield sample.write(
                [read_turn(turn, sample.scene, pointing=constraint == "one_region") for turn in reply.turns],
                task="vlit",
                topic=reply.topic or constraint,
                evidence=read_evidence((tag for turn in reply.turns for tag in turn.evidence), sample),
                generator=llms.writer.name,
            )

        try:
            return await ask_until_clean(
                llms.writer,
                "vlit/dialogue",
                Conversation,
                read,
                1,
                (*CHECKS, partial(_check_constraint, constraint)),
                lambda count: _make_form(sample, constraint),
                scene=sample.scene,
                generation=number,
                constraint=constraint,
                rule=CONSTRAINTS[constraint],
                examples=random.sample(load_examples(), shots),
            )
        # One failed dialogue must not lose the others of the image.
        except ReplyError as error:
            return [reject_empty(sample, missing_reply_reason(error), "vlit")]

    return write_all


def _make_form(sample: Sample, constraint: str) -> Form:
    """The form of a dialogue: the fewest turns that its constraint needs, and references where it asks for them."""
    least = 2 if constraint == "multi_turn" else 1
    turns = {"items": {"drop": ["topic"]}, **forms.between(least, MOST_TURNS)}
    return {"topic": forms.plain(most=60), "turns": turns, **pair_fields(sample, pointing=constraint == "one_region")}


def _check_constraint(constraint: str, sample: Sample) -> str | None:
    """The reason to reject a dialogue that breaks its constraint, as far as its form shows."""
    if constraint == "one_region" and not points_at_something(sample.instruction):
        return "one_region: the first question points at nothing"
    if constraint == "multi_turn" and len(sample.messages) < 4:
        return "multi_turn: only one question"
    return None
