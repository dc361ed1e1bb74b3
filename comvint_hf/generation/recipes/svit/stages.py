"""SVIT's four tasks (PAPERS section 1): conversation, complex reasoning, referring QA, detail description."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from comvint_hf.generation import forms
from comvint_hf.generation.filters import CHECKS, GROUNDING_TOPIC, Check, check_grounding
from comvint_hf.generation.forms import Form
from comvint_hf.generation.llm import LLMs, Reply, TagList
from comvint_hf.generation.references import tidy_references
from comvint_hf.generation.stage import ask_until_clean, make_random, parse_tags, stage
from comvint_hf.types import Sample, Scene, Task, Turn

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
REASONING_TOPICS = {
    name: TOPICS[name] for name in ("count", "size", "position", "relation", "activity", "knowledge", "reasoning")
}
"""The topics of complex reasoning: a question that only names a thing or its colour is none."""
# What the paper's prompts ask for, per image.
CONVERSATIONS, TURNS, REASONING_PAIRS, REFERRING_PAIRS = 3, 5, 15, 10
FEWEST_TURNS = 3
"""Turns of a conversation that is still kept where later ones could not be read."""
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
    """A question and its answer."""

    # One of `TOPICS`, and the tags that the answer rests on, where the writer gives them.
    topic: str = ""
    evidence: TagList = []
    question: str
    answer: str


class Pairs(Reply):
    partial = True
    pairs: list[Pair]


class Dialogue(Reply):
    """Turns about one topic, which is thought of first."""

    topic: str
    turns: list[Pair]


class Dialogues(Reply):
    partial = True
    dialogues: list[Dialogue]


class Description(Reply):
    """A description; `evidence` lists the tags of what it mentions."""

    evidence: TagList = []
    description: str


@stage("svit/conversation")
async def conversation(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for three conversations of five turns, each on a topic of its own."""

    def read(reply: Dialogues) -> Iterator[Sample]:
        for dialogue in reply.dialogues:
            yield sample.write(
                [read_turn(turn, sample.scene) for turn in dialogue.turns],
                task="conversation",
                topic=dialogue.topic,
                evidence=parse_tags((tag for turn in dialogue.turns for tag in turn.evidence), sample.scene),
                generator=llms.writer.name,
            )

    def make_form(count: int) -> Form:
        turns = {"items": {"drop": ["topic"]}, **forms.exactly(TURNS)}
        return {"dialogues": forms.exactly(count), "turns": turns, **pair_fields(sample.scene)}

    return await ask_until_clean(
        llms.writer,
        "svit/conversation",
        Dialogues,
        read,
        CONVERSATIONS,
        (*CHECKS, _check_turn_count),
        make_form,
        scene=sample.scene,
        turns=TURNS,
    )


def pair_fields(scene: Scene, *, evidence: int = 4, pointing: bool = False) -> Form:
    """The form of a question and its answer, with up to so many tags as evidence; both may point at things, or neither."""
    texts = (forms.may_point(scene),) * 2 if pointing else (forms.plain(most=240), forms.plain())
    return {"evidence": forms.tags(scene, most=evidence), "question": texts[0], "answer": texts[1]}


def read_turn(pair: Pair, scene: Scene, *, pointing: bool = False) -> Turn:
    """Read a question and its answer, with references in canonical form."""
    return Turn(*(tidy_references(text, scene, pointing=pointing).strip() for text in (pair.question, pair.answer)))


def _check_turn_count(sample: Sample) -> str | None:
    """The annotator writes as many turns as a scene's facts allow; other writers may lose a turn or two, as to a cut."""
    turns = len(sample.messages) // 2
    return f"only {turns} of {TURNS} turns" if turns < FEWEST_TURNS and sample.generator != "annotations" else None


@stage("svit/complex_reasoning")
async def complex_reasoning(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for questions that need both the image and common sense."""
    pair = {"topic": forms.one_of(REASONING_TOPICS), **pair_fields(sample.scene)}

    def make_form(count: int) -> Form:
        return {"pairs": forms.exactly(count), **pair}

    return await _write_pairs(sample, llms, "complex_reasoning", REASONING_PAIRS, CHECKS, REASONING_TOPICS, make_form)


@stage("svit/referring_qa")
async def referring_qa(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for questions and answers that refer to objects."""

    def make_form(count: int) -> Form:
        both = {"evidence": forms.tags(sample.scene, most=4), "answer": forms.pointing(sample.scene)}
        locating = {**both, "topic": forms.one_of([GROUNDING_TOPIC]), "question": forms.plain(most=240)}
        others = [topic for topic in TOPICS if topic != GROUNDING_TOPIC]
        pointing = {**both, "topic": forms.one_of(others), "question": forms.pointing(sample.scene)}
        return {"pairs": {**forms.exactly(count), "variants": [locating, pointing]}}

    checks = (*CHECKS, check_grounding)
    return await _write_pairs(sample, llms, "referring_qa", REFERRING_PAIRS, checks, TOPICS, make_form)


@stage("svit/detail_description")
async def detail_description(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for one full description; its instruction is drawn from `DESCRIPTION_REQUESTS`."""
    instruction = make_random(sample, "describe").choice(DESCRIPTION_REQUESTS)

    def read(reply: Description) -> Iterator[Sample]:
        yield sample.write(
            [Turn(instruction, tidy_references(reply.description, sample.scene, pointing=False))],
            task="detail_description",
            evidence=parse_tags(reply.evidence, sample.scene),
            generator=llms.writer.name,
        )

    def make_form(count: int) -> Form:
        return {"evidence": forms.tags(sample.scene, most=12)}

    return await ask_until_clean(
        llms.writer, "svit/detail_description", Description, read, 1, CHECKS, make_form, scene=sample.scene
    )


async def _write_pairs(
    sample: Sample,
    llms: LLMs,
    task: Task,
    wanted: int,
    checks: Sequence[Check],
    topics: Mapping[str, str],
    make_form: Callable[[int], Form],
) -> list[Sample]:
    def read(reply: Pairs) -> Iterator[Sample]:
        for pair in reply.pairs:
            yield sample.write(
                [read_turn(pair, sample.scene, pointing=task == "referring_qa")],
                task=task,
                topic=pair.topic,
                evidence=parse_tags(pair.evidence, sample.scene),
                generator=llms.writer.name,
            )

    blanks = {"scene": sample.scene, "topics": topics}
    return await ask_until_clean(llms.writer, f"svit/{task}", Pairs, read, wanted, checks, make_form, **blanks)
