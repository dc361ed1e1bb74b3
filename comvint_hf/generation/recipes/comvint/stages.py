"""ComVint's writer stages (PAPERS section 2): synthesise, complicate, reformulate. The judge's is in `verification`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import floor
from typing import Literal

from comvint_hf.answers import strip_label
from comvint_hf.generation.filters import CHECKS, REWRITE_CHECKS
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.stage import Stage, ask_until_clean, make_random, parse_tags, stage
from comvint_hf.types import COMPLICATED, REFORMULATED, Sample, Turn

Kind = Literal["cross_modal", "outside_knowledge"]
LETTERS = "ABCD"
YES_NO_TEMPLATES: tuple[str, ...] = ("Answer with yes or no.", "Please answer yes or no.", "Reply with yes or no only.")
LETTER_TEMPLATES: tuple[str, ...] = (
    "Answer with the letter of the right option.",
    "Reply with the option's letter only.",
    "Give only the letter of the correct choice.",
)


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


def synthesize(kind: Kind, count: Callable[[Sample], int] | int) -> Stage:
    """Make the stage that writes `count` first samples of one kind; the number may depend on the scene."""

    @stage("comvint/synthesize")
    async def write_samples(sample: Sample, llms: LLMs) -> list[Sample]:
        wanted = count(sample) if callable(count) else count
        # A scene without annotations gives a writer nothing to rest a question on.
        if not wanted or not (sample.scene.by_tag or sample.scene.captions or sample.scene.texts):
            return []

        def read(reply: Syntheses) -> Iterator[Sample]:
            for made in reply.samples:
                yield sample.write(
                    [Turn(made.question, made.answer)],
                    task=kind,
                    topic=made.topic,
                    reasoning=made.reasoning,
                    evidence=parse_tags(made.evidence),
                    generator=llms.writer.name,
                )

        return await ask_until_clean(
            llms.writer, "comvint/synthesize", Syntheses, read, wanted, CHECKS, scene=sample.scene, kind=kind
        )

    return write_samples


def allocate_samples(weights: Mapping[Kind, float], total: int, kind: Kind) -> Callable[[Sample], int]:
    """Make the function that says how many of an image's `total` samples are of one kind, by the kinds' weights.

    A share that is not a whole number is rounded up or down by a draw per image, so that it is exact on average. The draw is
    the same for all kinds, so that their numbers always add up to `total`.
    """
    names = list(weights)
    ends = [total * sum(weights[name] for name in names[: place + 1]) / sum(weights.values()) for place in range(len(names))]
    place = names.index(kind)
    low, high = (ends[place - 1] if place else 0.0), ends[place]

    def count(sample: Sample) -> int:
        shift = make_random(sample, "kinds").random()
        return floor(high + shift) - floor(low + shift)

    return count


@stage("comvint/complicate")
async def complicate(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for one more hop of reasoning, or one more piece of knowledge."""
    harder = await llms.writer.ask(Prompt("comvint/complicate", sample=sample), Rewrite)
    return [
        sample.rewrite(
            f"{COMPLICATED}one more {harder.change}",
            Turn(harder.question, harder.answer),
            topic=harder.topic or sample.topic,
            reasoning=harder.reasoning,
            evidence=parse_tags(harder.evidence),
        )
    ]


def reformulate(formats: Sequence[str]) -> Stage:
    """Make the stage that rewrites each sample in one of `formats`, all equally likely."""
    makers = {"open": _keep_open, "bool": _to_yes_no, "choice": _to_choice}

    @stage("comvint/boolean", "comvint/choice")
    async def rewrite(sample: Sample, llms: LLMs) -> list[Sample]:
        return await makers[make_random(sample, "format", sample.instruction).choice(formats)](sample, llms)

    return rewrite


async def _keep_open(sample: Sample, llms: LLMs) -> list[Sample]:
    return [sample]


async def _to_yes_no(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for a yes/no question with a given answer; drawing the answer first makes both equally frequent."""
    wanted = make_random(sample, "yes or no", sample.instruction).choice(("yes", "no"))

    def read(reply: Closed) -> Iterator[Sample]:
        yield sample.rewrite(
            f"{REFORMULATED}bool",
            Turn(_add_template(sample, reply.question, YES_NO_TEMPLATES), reply.answer.capitalize()),
            format="bool",
            topic=reply.topic or sample.topic,
            reasoning=reply.reasoning,
            evidence=parse_tags(reply.evidence),
        )

    # Some writers answer the question they find better; asking again is cheaper than a biased dataset.
    def check_answer(made: Sample) -> str | None:
        answer = made.response.lower()
        return None if answer == wanted else f"answer is {answer}, asked for {wanted}"

    checks = (check_answer, *REWRITE_CHECKS)
    return await ask_until_clean(llms.writer, "comvint/boolean", Closed, read, 1, checks, sample=sample, wanted=wanted)


async def _to_choice(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for three wrong options; the letter of the right one is drawn here, uniformly from A-D."""

    def read(reply: Choice) -> Iterator[Sample]:
        listed = [_strip_letter(option) for option in (reply.correct, *reply.wrong[:3])]
        # A fifth option that a writer added is dropped: the letters go to D.
        right = listed[0]
        make_random(sample, "options", sample.instruction).shuffle(listed)
        lines = "".join(f"{letter}. {option}\n" for letter, option in zip(LETTERS, listed, strict=False))
        yield sample.rewrite(
            f"{REFORMULATED}choice",
            Turn(_add_template(sample, f"{reply.question}\n{lines}", LETTER_TEMPLATES), LETTERS[listed.index(right)]),
            format="choice",
            topic=reply.topic or sample.topic,
            reasoning=reply.reasoning,
            evidence=parse_tags(reply.evidence),
        )

    return await ask_until_clean(llms.writer, "comvint/choice", Choice, read, 1, REWRITE_CHECKS, sample=sample)


def _strip_letter(option: str) -> str:
    """Put an option on one line, without the letter that a writer may have put before it.

    >>> _strip_letter("B) a red  cup")
    'a red cup'
    """
    return " ".join(strip_label(option).split())


def _add_template(sample: Sample, question: str, templates: Sequence[str]) -> str:
    template = make_random(sample, "template", question).choice(templates)
    return f"{question}{template}" if question.endswith("\n") else f"{question} {template}"
