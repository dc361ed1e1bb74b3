"""SVIT's four tasks (PAPERS section 1): conversation, complex reasoning, referring QA, detail description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from comvint_hf.generation.filters import CHECKS, GROUNDING_TOPIC, Check, check_grounding
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.stage import ask_until_clean, make_random, stage
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
    GROUNDING_TOPIC: "where something is, to be answered by pointing at it",
}
"""Values of a pair's `topic`, with the meaning that the prompt gives. A conversation's topic is free text."""
# What the paper's prompts ask for, per image.
CONVERSATIONS, TURNS, REASONING_PAIRS, REFERRING_PAIRS = 3, 5, 15, 10
DESCRIPTION_REQUESTS: tuple[str, ...] = (
    "Describe the picture in detail.",
    "Give a thorough account of what can be seen here.",
    "What does this picture show? Go through it carefully.",
    "Walk me through everything that is visible in the image.",
    "Write a full description of this image.",
    "Please tell me all about this picture.",
    "Could you describe the scene as completely as possible?",
    "Paint this image in words.",
    "I cannot see the picture; describe it for me in detail.",
    "Explain at length what is in this photo.",
    "List and describe what the image contains, in whole sentences.",
    "Take a close look and report what you see.",
    "Provide a rich description of the scene.",
    "How would you describe this picture to someone on the phone?",
    "Compose a paragraph that captures this image.",
    "Let me know what is going on here, with all its details.",
    "Summarise every visible element of this image.",
    "Talk about the picture from its foreground to its background.",
    "Offer a careful, complete description of what is shown.",
    "Put the contents of this image into words.",
    "Share a detailed look at this scene.",
    "Which things appear in this picture, and how are they arranged? Describe them.",
    "Characterise the scene with as much detail as you can.",
    "Render an exact verbal portrait of the picture.",
    "Tell me what you notice here, leaving out nothing important.",
    "Set down a detailed report of this image.",
    "Imagine writing the alt text for this image; make it long and precise.",
    "Narrate what the picture presents.",
    "Break the image down for me: who or what is there, and where?",
    "Can you give an in-depth description of the photo?",
    "Study the image and describe its contents.",
    "Inform me about everything shown in this picture.",
    "Draft a comprehensive description of the view.",
    "Speak about this image in detail, as if guiding a visitor.",
)


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


@stage("svit/conversation")
async def conversation(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for three conversations of five turns, each on a topic of its own."""

    def read(reply: Dialogues) -> Iterator[Sample]:
        for dialogue in reply.dialogues:
            yield sample.write(
                [Turn(turn.question, turn.answer) for turn in dialogue.turns],
                task="conversation",
                topic=dialogue.topic,
                evidence=_merge_evidence(turn.evidence for turn in dialogue.turns),
                generator=llms.writer.name,
            )

    return await ask_until_clean(
        llms.writer,
        "svit/conversation",
        Dialogues,
        read,
        CONVERSATIONS,
        (*CHECKS, _check_turn_count),
        scene=sample.scene,
        turns=TURNS,
    )


def _check_turn_count(sample: Sample) -> str | None:
    """The annotator writes as many turns as a scene's facts allow, so only other writers must write them all."""
    turns = len(sample.messages) // 2
    return f"only {turns} of {TURNS} turns" if turns < TURNS and sample.generator != "annotations" else None


@stage("svit/complex_reasoning")
async def complex_reasoning(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for questions that need both the image and common sense."""
    return await _write_pairs(sample, llms, "complex_reasoning", REASONING_PAIRS, CHECKS)


@stage("svit/referring_qa")
async def referring_qa(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for questions and answers that refer to objects."""
    return await _write_pairs(sample, llms, "referring_qa", REFERRING_PAIRS, (*CHECKS, check_grounding))


@stage("svit/detail_description")
async def detail_description(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for one full description; its instruction is drawn from `DESCRIPTION_REQUESTS`."""
    instruction = make_random(sample, "describe").choice(DESCRIPTION_REQUESTS)

    def read(reply: Description) -> Iterator[Sample]:
        yield sample.write(
            [Turn(instruction, reply.description)],
            task="detail_description",
            evidence=tuple(reply.evidence),
            generator=llms.writer.name,
        )

    return await ask_until_clean(llms.writer, "svit/detail_description", Description, read, 1, CHECKS, scene=sample.scene)


async def _write_pairs(sample: Sample, llms: LLMs, task: Task, wanted: int, checks: Sequence[Check]) -> list[Sample]:
    def read(reply: Pairs) -> Iterator[Sample]:
        for pair in reply.pairs:
            yield sample.write(
                [Turn(pair.question, pair.answer)],
                task=task,
                topic=pair.topic,
                evidence=tuple(pair.evidence),
                generator=llms.writer.name,
            )

    return await ask_until_clean(llms.writer, f"svit/{task}", Pairs, read, wanted, checks, scene=sample.scene, topics=TOPICS)


def _merge_evidence(groups: Iterable[list[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for group in groups for tag in group))
