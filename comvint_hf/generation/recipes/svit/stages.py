"""SVIT's four tasks (PAPERS section 1): conversation, complex reasoning, referring QA, detail description."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from comvint_hf.errors import ReplyError
from comvint_hf.generation import forms
from comvint_hf.generation.filters import ANNOTATIONS, CHECKS, GROUNDING_TOPIC, Check, check_grounding
from comvint_hf.generation.forms import Form
from comvint_hf.generation.llm import LLMs, Reply, TagList
from comvint_hf.generation.references import tidy_references
from comvint_hf.generation.stage import (
    ask_until_clean,
    make_random,
    missing_reply_reason,
    read_evidence,
    reject_empty,
    stage,
)
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
REASONING_TOPICS = {name: TOPICS[name] for name in ("reasoning", "knowledge", "activity", "relation")}
"""The topics of complex reasoning: a question that only names a thing, a number, a place or a colour is none."""
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
    "Describe the picture in detail for somebody who cannot see it.",
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
async def conversation(sample: Sample, llms: LLMs, shots: int = 0) -> list[Sample]:
    """Ask for three conversations of five turns, each on a topic of its own."""

    def read(reply: Dialogues) -> Iterator[Sample]:
        for dialogue in reply.dialogues:
            yield sample.write(
                [read_turn(turn, sample.scene) for turn in dialogue.turns],
                task="conversation",
                topic=dialogue.topic,
                evidence=read_evidence((tag for turn in dialogue.turns for tag in turn.evidence), sample),
                generator=llms.writer.name,
            )

    def make_form(count: int) -> Form:
        turns = {"items": {"drop": ["topic"]}, **forms.exactly(TURNS)}
        return {"dialogues": forms.exactly(count), "turns": turns, **pair_fields(sample)}

    ask = Request("conversation", Dialogues, CONVERSATIONS, make_form, read, (*CHECKS, _check_turn_count), shots)
    return await _ask(sample, llms, ask, turns=TURNS)


def _check_turn_count(sample: Sample) -> str | None:
    """The annotator writes as many turns as a scene's facts allow; other writers may lose a turn or two, as to a cut."""
    turns = len(sample.messages) // 2
    return f"only {turns} of {TURNS} turns" if turns < FEWEST_TURNS and sample.generator != ANNOTATIONS else None


@stage("svit/complex_reasoning")
async def complex_reasoning(sample: Sample, llms: LLMs, shots: int = 0) -> list[Sample]:
    """Ask for questions that need both the image and common sense."""

    def make_form(count: int) -> Form:
        return {"pairs": forms.exactly(count), "topic": forms.one_of(REASONING_TOPICS), **pair_fields(sample)}

    read = _make_pair_reader(sample, llms, "complex_reasoning")
    ask = Request("complex_reasoning", Pairs, REASONING_PAIRS, make_form, read, CHECKS, shots)
    return await _ask(sample, llms, ask, topics=REASONING_TOPICS)


@stage("svit/referring_qa")
async def referring_qa(sample: Sample, llms: LLMs, shots: int = 0) -> list[Sample]:
    """Ask for questions and answers that refer to objects."""

    def make_form(count: int) -> Form:
        scene, seen = sample.scene, sample.seen
        both = {"evidence": forms.tags(scene, most=4, seen=seen), "answer": forms.pointing(scene, seen=seen)}
        locating = {**both, "topic": forms.one_of([GROUNDING_TOPIC]), "question": forms.question(most=240)}
        others = [topic for topic in TOPICS if topic != GROUNDING_TOPIC]
        pointing = {**both, "topic": forms.one_of(others), "question": forms.pointing(scene, asks=True, seen=seen)}
        return {"pairs": {**forms.exactly(count), "variants": [locating, pointing]}}

    read = _make_pair_reader(sample, llms, "referring_qa")
    ask = Request("referring_qa", Pairs, REFERRING_PAIRS, make_form, read, (*CHECKS, check_grounding), shots)
    return await _ask(sample, llms, ask, topics=TOPICS)


@stage("svit/detail_description")
async def detail_description(sample: Sample, llms: LLMs, shots: int = 0) -> list[Sample]:
    """Ask for one full description; its instruction is drawn from `DESCRIPTION_REQUESTS`."""

    instruction = make_random(sample, "describe").choice(DESCRIPTION_REQUESTS)

    def read(reply: Description) -> Iterator[Sample]:
        yield sample.write(
            [Turn(instruction, tidy_references(reply.description, sample.scene, pointing=False))],
            task="detail_description",
            evidence=read_evidence(reply.evidence, sample),
            generator=llms.writer.name,
        )

    def make_form(count: int) -> Form:
        return {"evidence": forms.tags(sample.scene, most=12, seen=sample.seen)}

    return await _ask(sample, llms, Request("detail_description", Description, 1, make_form, read, CHECKS, shots))


class Request(NamedTuple):
    """What one stage asks a writer for: so many samples of a task, by a form, read and checked, with so many examples."""

    task: Task
    reply_type: type[Any]
    wanted: int
    make_form: Callable[[int], Form]
    read: Callable[[Any], Iterator[Sample]]
    checks: Sequence[Check]
    shots: int


async def _ask(sample: Sample, llms: LLMs, request: Request, **blanks: Any) -> list[Sample]:
    """Ask until the samples are clean; a prompt without a reply is one rejected sample of its task."""
    task, reply_type, wanted, make_form, read, checks, shots = request
    blanks |= {"scene": sample.scene, "examples": load_examples(task)[:shots]}
    try:
        return await ask_until_clean(llms.writer, f"svit/{task}", reply_type, read, wanted, checks, make_form, **blanks)
    except ReplyError as error:
        return [reject_empty(sample, missing_reply_reason(error), task)]


def _make_pair_reader(sample: Sample, llms: LLMs, task: Task) -> Callable[[Pairs], Iterator[Sample]]:
    def read(reply: Pairs) -> Iterator[Sample]:
        for pair in reply.pairs:
            topic = pair.topic.strip().casefold()
            yield sample.write(
                [read_turn(pair, sample.scene, pointing=task == "referring_qa")],
                task=task,
                topic=topic if topic in TOPICS else "",
                evidence=read_evidence(pair.evidence, sample),
                generator=llms.writer.name,
            )

    return read


def pair_fields(sample: Sample, *, evidence: int = 4, pointing: bool = False) -> Form:
    """The form of a question and its answer, with up to so many tags as evidence; both may point at things, or neither."""
    scene, seen = sample.scene, sample.seen
    if pointing:
        texts = forms.may_point(scene, asks=True, seen=seen), forms.may_point(scene, seen=seen)
    else:
        texts = forms.question(most=240), forms.plain()
    return {"evidence": forms.tags(scene, most=evidence, seen=seen), "question": texts[0], "answer": texts[1]}


def read_turn(pair: Pair, scene: Scene, *, pointing: bool = False) -> Turn:
    """Read a question and its answer, with references in canonical form."""
    return Turn(*(tidy_references(text, scene, pointing=pointing).strip() for text in (pair.question, pair.answer)))


@cache
def load_examples(task: Task) -> list[dict[str, str]]:
    """Load the hand-written examples of a task, which prompts show if they are asked to."""
    return tomllib.loads((Path(__file__).parent / "examples.toml").read_text(encoding="utf-8"))[task]
