"""ComVint's stages (PAPERS section 2): synthesise, complicate, verify, reformulate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from comvint_hf.records import Sample, Turn
from comvint_hf.synthesis import wording
from comvint_hf.synthesis.checks import CLEAN
from comvint_hf.synthesis.llm import LLMs, Reply
from comvint_hf.synthesis.prompt import Prompt
from comvint_hf.synthesis.stages.asking import asks, draw, until_clean

Kind = Literal["cross_modal", "outside_knowledge"]
LETTERS = "ABCD"


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
    """A harder version: `change` says whether it took one more hop or one more piece of knowledge."""

    change: Literal["hop", "knowledge"]
    reasoning: str
    evidence: list[str]
    question: str
    answer: str


class Verdict(Reply):
    """What the judge found. Three pieces of evidence in words, then the named criteria, then a 1-10 score."""

    match: str
    depth: str
    soundness: str
    about_this_image: bool
    consistent: bool
    nothing_absent: bool
    truly_harder: bool
    answer_right: bool
    answerable: bool
    complexity: int

    def failures(self) -> list[str]:
        """The criteria that did not pass, in the order of the form."""
        criteria = ("about_this_image", "consistent", "nothing_absent", "truly_harder", "answer_right", "answerable")
        return [name.replace("_", " ") for name in criteria if not getattr(self, name)]


class Closed(Reply):
    """A yes/no form of a question; `topic` as for the question it came from unless the writer says otherwise."""

    reasoning: str
    topic: str = ""
    evidence: list[str] = []
    question: str
    answer: Literal["yes", "no"]


class Choice(Reply):
    """A multiple-choice form: the right option and three wrong ones, in any order of their own."""

    reasoning: str
    evidence: list[str] = []
    question: str
    correct: str
    wrong: list[str]


def synthesize(kind: Kind, count: int):
    """Make the stage that writes `count` first samples of one kind."""

    @asks("comvint/synthesize")
    async def stage(sample: Sample, llms: LLMs) -> list[Sample]:
        def read(reply: Syntheses) -> Iterator[Sample]:
            for made in reply.samples:
                yield sample.write(
                    [Turn(made.question, made.answer)],
                    task=kind,
                    topic=made.topic,
                    reasoning=made.reasoning,
                    evidence=tuple(made.evidence),
                    generator=llms.writer.name,
                )

        return await until_clean(llms.writer, "comvint/synthesize", Syntheses, read, count, CLEAN, scene=sample.scene, kind=kind)

    return stage


@asks("comvint/complicate")
async def complicate(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask for one more hop of reasoning, or one more piece of knowledge."""
    harder = await llms.writer.ask(Prompt("comvint/complicate", sample=sample), Rewrite)
    return [
        sample.rewrite(
            f"complicate: one more {harder.change}",
            Turn(harder.question, harder.answer),
            reasoning=harder.reasoning,
            evidence=tuple(harder.evidence),
        )
    ]


@asks("comvint/verify")
async def verify(sample: Sample, llms: LLMs) -> list[Sample]:
    """Let the judge check a rewrite against the scene and the version before it."""
    verdict = await llms.judge.ask(Prompt("comvint/verify", sample=sample, before=sample.history[-1]), Verdict)
    judged = sample.model_copy(update={"judge": llms.judge.name})
    failures = verdict.failures()
    return [judged.reject(f"not verified: {', '.join(failures)}") if failures else judged]


def reformulate(formats: Sequence[str]):
    """Make the stage that writes each sample in one of `formats`, each as likely as the others."""
    makers = {"open": _open, "bool": _closed, "choice": _choice}

    @asks("comvint/boolean", "comvint/choice")
    async def stage(sample: Sample, llms: LLMs) -> list[Sample]:
        return [await makers[draw(sample, "format", sample.instruction).choice(formats)](sample, llms)]

    return stage


async def _open(sample: Sample, llms: LLMs) -> Sample:
    return sample


async def _closed(sample: Sample, llms: LLMs) -> Sample:
    """Ask for a yes/no question whose answer was drawn before: that is what makes them come equally often."""
    wanted = draw(sample, "yes or no", sample.instruction).choice(("yes", "no"))
    reply = await llms.writer.ask(Prompt("comvint/boolean", sample=sample, wanted=wanted), Closed)
    made = sample.rewrite(
        "reformulate: bool",
        Turn(_with_template(sample, reply.question, wording.YES_NO), reply.answer.capitalize()),
        format="bool",
        topic=reply.topic or sample.topic,
        reasoning=reply.reasoning,
        evidence=tuple(reply.evidence) or sample.evidence,
    )
    return made if reply.answer == wanted else made.reject(f"answer is {reply.answer}, asked for {wanted}")


async def _choice(sample: Sample, llms: LLMs) -> Sample:
    """Ask for three wrong options; the place of the right one is drawn here, uniform over A-D."""
    reply = await llms.writer.ask(Prompt("comvint/choice", sample=sample), Choice)
    options = [reply.correct, *reply.wrong]
    random = draw(sample, "options", sample.instruction)
    random.shuffle(options)
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    made = sample.rewrite(
        "reformulate: choice",
        Turn(_with_template(sample, f"{reply.question}\n{listed}\n", wording.LETTER), LETTERS[options.index(reply.correct)]),
        format="choice",
        reasoning=reply.reasoning,
        evidence=tuple(reply.evidence) or sample.evidence,
    )
    if len({option.casefold().strip() for option in options}) != 4:
        return made.reject(f"expected four different options, found {options}")
    return made


def _with_template(sample: Sample, question: str, templates: Sequence[str]) -> str:
    template = draw(sample, "template", question).choice(templates)
    return f"{question}{template}" if question.endswith("\n") else f"{question} {template}"
