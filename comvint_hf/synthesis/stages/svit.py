"""SVIT's four tasks (PAPERS section 1): conversation, complex reasoning, referring QA, detail description."""

from __future__ import annotations

from collections.abc import Iterator

from comvint_hf.records import Sample, Task, Turn
from comvint_hf.synthesis.checks import CLEAN, ungrounded
from comvint_hf.synthesis.llm import LLMs, Reply
from comvint_hf.synthesis.stages.asking import asks, draw, until_clean
from comvint_hf.synthesis.wording import DESCRIBE

CONVERSATIONS, TURNS, REASONING_PAIRS, REFERRING_PAIRS = 3, 5, 15, 10


class Pair(Reply):
    """A question and its answer; `topic` and `evidence` (tags) where the writer gives them."""

    topic: str = ""
    evidence: list[str] = []
    question: str
    answer: str


class Pairs(Reply):
    pairs: list[Pair]


class Dialogue(Reply):
    """Turns about one topic, which is thought of first."""

    topic: str
    turns: list[Pair]


class Dialogues(Reply):
    dialogues: list[Dialogue]


class Description(Reply):
    """A description; `evidence` lists the tags of what it mentions."""

    evidence: list[str] = []
    description: str


@asks("svit/conversation")
async def conversation(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for three conversations of five turns, each on a topic of its own."""

    def read(reply: Dialogues) -> Iterator[Sample]:
        for dialogue in reply.dialogues:
            yield sample.write(
                [Turn(turn.question, turn.answer) for turn in dialogue.turns],
                task="conversation",
                topic=dialogue.topic,
                evidence=_union(turn.evidence for turn in dialogue.turns),
                generator=llms.writer.name,
            )

    return await until_clean(
        llms.writer, "svit/conversation", Dialogues, read, CONVERSATIONS, (*CLEAN, _short), scene=sample.scene, turns=TURNS
    )


def _short(sample: Sample) -> str | None:
    turns = len(sample.messages) // 2
    return f"only {turns} of {TURNS} turns" if turns < TURNS and sample.generator != "annotations" else None


@asks("svit/complex_reasoning")
async def complex_reasoning(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for questions that need both the picture and common sense."""
    return await _pairs(sample, llms, "complex_reasoning", REASONING_PAIRS, CLEAN)


@asks("svit/referring_qa")
async def referring_qa(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for questions and answers that point at objects by reference."""
    return await _pairs(sample, llms, "referring_qa", REFERRING_PAIRS, (*CLEAN, ungrounded))


@asks("svit/detail_description")
async def detail_description(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for one full description; its instruction is drawn from a pool of paraphrases."""
    instruction = draw(sample, "describe").choice(DESCRIBE)

    def read(reply: Description) -> Iterator[Sample]:
        yield sample.write(
            [Turn(instruction, reply.description)],
            task="detail_description",
            evidence=tuple(reply.evidence),
            generator=llms.writer.name,
        )

    return await until_clean(llms.writer, "svit/detail_description", Description, read, 1, CLEAN, scene=sample.scene)


async def _pairs(sample: Sample, llms: LLMs, task: Task, wanted: int, checks: tuple) -> list[Sample]:
    def read(reply: Pairs) -> Iterator[Sample]:
        for pair in reply.pairs:
            yield sample.write(
                [Turn(pair.question, pair.answer)],
                task=task,
                topic=pair.topic,
                evidence=tuple(pair.evidence),
                generator=llms.writer.name,
            )

    return await until_clean(llms.writer, f"svit/{task}", Pairs, read, wanted, checks, scene=sample.scene)


def _union(groups: Iterator[list[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for group in groups for tag in group))
