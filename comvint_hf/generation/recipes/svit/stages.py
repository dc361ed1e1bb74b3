"""SVIT's four tasks (PAPERS section 1): conversation, complex reasoning, referring QA, detail description."""

from __future__ import annotations

from collections.abc import Iterator

from comvint_hf.generation.filters import CLEAN, GROUNDING, ungrounded
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.stage import asks, draw, until_clean
from comvint_hf.generation.task_templates import DESCRIBE
from comvint_hf.types import Sample, Task, Turn

TOPICS: dict[str, str] = {
    "existence": "whether something is there",
    "count": "how many there are, and sums with numbers",
    "contents": "what things there are",
    "identity": "what something is",
    "colour": "what colour it has",
    "size": "how large it is or looks",
    "attribute": "what else it is like, material included",
    "position": "which part of the picture it is in",
    "relation": "how two things lie to each other or belong together",
    "activity": "what somebody does, what happens",
    "text": "what is written",
    "knowledge": "what one knows about such things in general",
    "reasoning": "why, what for, what next, what if, what it suggests",
    GROUNDING: "where something is, to be answered by pointing at it",
}
"""What a question asks for: the values of a pair's `topic`. A conversation's topic is its theme, in words of its own."""
CONVERSATIONS, TURNS, REASONING_PAIRS, REFERRING_PAIRS = 3, 5, 15, 10


class Pair(Reply):
    """A question and its answer; `topic` (one of `TOPICS`) and `evidence` (tags) where the writer gives them."""

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

    return await until_clean(llms.writer, f"svit/{task}", Pairs, read, wanted, checks, scene=sample.scene, topics=TOPICS)


def _union(groups: Iterator[list[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for group in groups for tag in group))
