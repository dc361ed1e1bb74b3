"""ComVint's writer (PAPERS section 2): synthesise, complicate, reformulate. The judge has a file of its own, `verification`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import floor
from typing import Literal

from comvint_hf.generation import task_templates
from comvint_hf.generation.filters import CLEAN, CLEAN_REWRITE
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.stage import asks, draw, tags, until_clean
from comvint_hf.types import COMPLICATED, REFORMULATED, Sample, Turn

Kind = Literal["cross_modal", "outside_knowledge"]
LETTERS = "ABCD"
_LETTERED = re.compile(r"\s*\(?[A-D][.):]\s+")


class Synthesis(Reply):
    """A first question of one kind. The chain of thought and the evidence (tags) come before the text."""

    reasoning: str
    evidence: list[str]
    topic: str = ""
    question: str
    answer: str


class Syntheses(Reply):
    samples: list[Synthesis]


class Rewrite(Reply):
    """A harder version: `change` says whether it took one more hop or one more piece of knowledge.

    `topic` is as before where a form other than `Synthesis` leaves it empty.
    """

    change: Literal["hop", "knowledge"]
    reasoning: str
    topic: str = ""
    evidence: list[str]
    question: str
    answer: str


class Closed(Reply):
    """A yes/no form of a question."""

    reasoning: str
    topic: str = ""
    evidence: list[str]
    question: str
    answer: Literal["yes", "no"]


class Choice(Reply):
    """A multiple-choice form: the right option and three wrong ones, in any order of their own."""

    reasoning: str
    topic: str = ""
    evidence: list[str]
    question: str
    correct: str
    wrong: list[str]


def synthesize(kind: Kind, count: Callable[[Sample], int] | int):
    """Make the stage that writes `count` first samples of one kind; the number may depend on the scene."""

    @asks("comvint/synthesize")
    async def stage(sample: Sample, llms: LLMs) -> list[Sample]:
        wanted = count(sample) if callable(count) else count
        if not wanted or not (sample.scene.by_tag or sample.scene.captions or sample.scene.texts):
            return []

        def read(reply: Syntheses) -> Iterator[Sample]:
            for made in reply.samples:
                yield sample.write(
                    [Turn(made.question, made.answer)],
                    task=kind,
                    topic=made.topic,
                    reasoning=made.reasoning,
                    evidence=tags(made.evidence),
                    generator=llms.writer.name,
                )

        return await until_clean(llms.writer, "comvint/synthesize", Syntheses, read, wanted, CLEAN, scene=sample.scene, kind=kind)

    return stage


def quota(shares: Mapping[str, float], total: int, kind: Kind) -> Callable[[Sample], int]:
    """How many of an image's `total` samples are of a kind: where that is no whole number, over many images it comes out.

    A draw moves the kinds' borders along the numbers 0 to `total`; a kind gets the whole numbers between its own.
    """
    names = list(shares)
    ends = [total * sum(shares[name] for name in names[: place + 1]) / sum(shares.values()) for place in range(len(names))]
    place = names.index(kind)
    low, high = (ends[place - 1] if place else 0.0), ends[place]

    def count(sample: Sample) -> int:
        shift = draw(sample, "kinds").random()
        return floor(high + shift) - floor(low + shift)

    return count


@asks("comvint/complicate")
async def complicate(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for one more hop of reasoning, or one more piece of knowledge."""
    harder = await llms.writer.ask(Prompt("comvint/complicate", sample=sample), Rewrite)
    return [
        sample.rewrite(
            f"{COMPLICATED}one more {harder.change}",
            Turn(harder.question, harder.answer),
            topic=harder.topic or sample.topic,
            reasoning=harder.reasoning,
            evidence=tags(harder.evidence),
        )
    ]


def reformulate(formats: Sequence[str]):
    """Make the stage that writes each sample in one of `formats`, each as likely as the others."""
    makers = {"open": _open, "bool": _closed, "choice": _choice}

    @asks("comvint/boolean", "comvint/choice")
    async def stage(sample: Sample, llms: LLMs) -> list[Sample]:
        return await makers[draw(sample, "format", sample.instruction).choice(formats)](sample, llms)

    return stage


async def _open(sample: Sample, llms: LLMs) -> list[Sample]:
    return [sample]


async def _closed(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for a yes/no question whose answer was drawn before: that is what makes them come equally often."""
    wanted = draw(sample, "yes or no", sample.instruction).choice(("yes", "no"))

    def read(reply: Closed) -> Iterator[Sample]:
        yield sample.rewrite(
            f"{REFORMULATED}bool",
            Turn(_with_template(sample, reply.question, task_templates.YES_NO), reply.answer.capitalize()),
            format="bool",
            topic=reply.topic or sample.topic,
            reasoning=reply.reasoning,
            evidence=tags(reply.evidence),
        )

    def as_wanted(made: Sample) -> str | None:
        answer = made.response.lower()
        return None if answer == wanted else f"answer is {answer}, asked for {wanted}"

    checks = (as_wanted, *CLEAN_REWRITE)
    return await until_clean(llms.writer, "comvint/boolean", Closed, read, 1, checks, sample=sample, wanted=wanted)


async def _choice(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for three wrong options; the place of the right one is drawn here, uniform over A-D."""

    def read(reply: Choice) -> Iterator[Sample]:
        listed = [_bare(option) for option in (reply.correct, *reply.wrong[:3])]
        right = listed[0]
        draw(sample, "options", sample.instruction).shuffle(listed)
        lines = "".join(f"{letter}. {option}\n" for letter, option in zip(LETTERS, listed, strict=False))
        yield sample.rewrite(
            f"{REFORMULATED}choice",
            Turn(_with_template(sample, f"{reply.question}\n{lines}", task_templates.LETTER), LETTERS[listed.index(right)]),
            format="choice",
            topic=reply.topic or sample.topic,
            reasoning=reply.reasoning,
            evidence=tags(reply.evidence),
        )

    return await until_clean(llms.writer, "comvint/choice", Choice, read, 1, CLEAN_REWRITE, sample=sample)


def _bare(option: str) -> str:
    """An option on one line, without the letter that a writer may have put before it.

    >>> _bare("B) a red  cup")
    'a red cup'
    """
    return " ".join(_LETTERED.sub("", option).split())


def _with_template(sample: Sample, question: str, templates: Sequence[str]) -> str:
    template = draw(sample, "template", question).choice(templates)
    return f"{question}{template}" if question.endswith("\n") else f"{question} {template}"
