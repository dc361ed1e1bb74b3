"""ComVint's writer stages (PAPERS section 2): synthesise, complicate, reformulate. The judge's is in `verification`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor
from typing import Any, Literal

from comvint_hf.answers import strip_label
from comvint_hf.errors import ReplyError
from comvint_hf.generation.filters import CHECKS, REWRITE_CHECKS, Check, find_failure
from comvint_hf.generation.forms import Form
from comvint_hf.generation.group import TOGETHER, Case, ask_each, profits_from_groups, run_all
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.comvint.replies import (
    Choice,
    Closed,
    Rewrite,
    Syntheses,
    Synthesis,
    choice_form,
    closed_form,
    rewrite_form,
    synthesis_form,
)
from comvint_hf.generation.references import tidy_references
from comvint_hf.generation.stage import (
    GroupStage,
    Stage,
    ask_until_clean,
    make_random,
    missing_reply_reason,
    read_evidence,
    reject_empty,
    stage,
)
from comvint_hf.types import COMPLICATED, REFORMULATED, Sample, Turn

Kind = Literal["cross_modal", "outside_knowledge"]
LETTERS = "ABCD"
YES_NO_TEMPLATES: tuple[str, ...] = ("Answer with yes or no.", "Please answer yes or no.", "Reply with yes or no only.")
LETTER_TEMPLATES: tuple[str, ...] = (
    "Answer with the letter of the right option.",
    "Reply with the option's letter only.",
    "Give only the letter of the correct choice.",
)


def synthesize(kind: Kind, count: Callable[[Sample], int] | int, shots: int = 1) -> Stage:
    """Make the stage that writes `count` first samples of one kind; the number may depend on the scene."""

    @stage("comvint/synthesize")
    async def write_samples(sample: Sample, llms: LLMs) -> list[Sample]:
        wanted = count(sample) if callable(count) else count
        if not wanted:
            return []

        def read(reply: Syntheses) -> Iterator[Sample]:
            return (_write_first(sample, made, kind, llms.writer.name) for made in reply.samples)

        try:
            form = partial(synthesis_form, sample)
            blanks = {"scene": sample.scene, "kind": kind, "shots": shots}
            return await ask_until_clean(llms.writer, "comvint/synthesize", Syntheses, read, wanted, CHECKS, form, **blanks)
        except ReplyError as error:
            return [reject_empty(sample, missing_reply_reason(error), kind)]

    return write_samples


def _write_first(sample: Sample, made: Synthesis, kind: Kind, writer: str) -> Sample:
    return sample.write(
        [_read_turn(sample, made.question, made.answer)],
        task=kind,
        topic=made.topic,
        reasoning=made.reasoning,
        evidence=read_evidence(made.evidence, sample),
        generator=writer,
    )


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


def complicate_all(together: int = TOGETHER, shots: int = 1) -> GroupStage:
    """Make the stage that asks for one more hop of reasoning, or one more piece of knowledge, of `together` samples a request."""

    @stage("comvint/complicate", group=True)
    async def rewrite(samples: Sequence[Sample], llms: LLMs) -> list[list[Sample]]:
        cases = [{"sample": sample} for sample in samples]
        replies = await ask_each(llms.writer, "comvint/complicate", Rewrite, cases, rewrite_form, together, shots=shots)
        return [
            [sample.reject(missing_reply_reason(reply)) if isinstance(reply, ReplyError) else _make_harder(sample, reply)]
            for sample, reply in zip(samples, replies, strict=True)
        ]

    return rewrite


@stage("comvint/complicate")
async def complicate(sample: Sample, llms: LLMs) -> list[Sample]:
    """Ask about one sample what `complicate_all` asks about several."""
    return [_make_harder(sample, await llms.writer.ask(Prompt("comvint/complicate", sample=sample), Rewrite))]


def _make_harder(sample: Sample, harder: Rewrite) -> Sample:
    return sample.rewrite(
        f"{COMPLICATED}one more {harder.change}",
        _read_turn(sample, harder.question, harder.answer),
        topic=harder.topic or sample.topic,
        reasoning=harder.reasoning,
        evidence=read_evidence(harder.evidence, sample),
    )


def reformulate(formats: Sequence[str], together: int = TOGETHER) -> GroupStage:
    """Make the stage that rewrites each sample in one of `formats`, all equally likely; `together` samples of a format a request."""

    @stage("comvint/boolean", "comvint/choice", group=True)
    async def rewrite(samples: Sequence[Sample], llms: LLMs) -> list[list[Sample]]:
        drawn = [make_random(sample, "format", sample.instruction).choice(formats) for sample in samples]

        async def rewrite_in(format: str) -> dict[int, list[Sample]]:
            places = [place for place, name in enumerate(drawn) if name == format]
            made = await _rewrite_each(_FORMATS[format], [samples[place] for place in places], llms, together)
            return dict(zip(places, made, strict=True))

        made = {place: [sample] for place, sample in enumerate(samples)}
        for group in await run_all(rewrite_in, [name for name in _FORMATS if name in drawn], llms):
            made |= group
        return [made[place] for place in range(len(samples))]

    return rewrite


@dataclass(frozen=True)
class _Format:
    """How samples are put into a format: the prompt, the form of its reply, and how that is read and checked.

    Attributes:
        blanks: The blanks of a sample in the prompt.
        checks: The checks of a sample's rewrite.
    """

    prompt: str
    reply_type: type[Reply]
    make_form: Callable[[Sequence[Case]], Form]
    blanks: Callable[[Sample], dict[str, Any]]
    read: Callable[[Sample, Any], Sample]
    checks: Callable[[Sample], tuple[Check, ...]]


async def _rewrite_each(format: _Format, samples: Sequence[Sample], llms: LLMs, together: int) -> list[list[Sample]]:
    """Ask about several samples in one request, then about each alone that got no clean rewrite."""
    cases = [format.blanks(sample) for sample in samples]
    grouped = min(together, len(samples)) > 1 and profits_from_groups(llms.writer)
    replies = (
        await ask_each(llms.writer, format.prompt, format.reply_type, cases, format.make_form, together)
        if grouped
        else [None] * len(samples)
    )

    async def finish(number: int) -> list[Sample]:
        sample, reply = samples[number], replies[number]
        if reply is not None and not isinstance(reply, ReplyError):
            made = format.read(sample, reply)
            if find_failure(made, format.checks(sample)) is None:
                return [made]
        return await _rewrite_alone(format, sample, llms)

    return await run_all(finish, range(len(samples)), llms)


async def _rewrite_alone(format: _Format, sample: Sample, llms: LLMs) -> list[Sample]:
    def read(reply: Reply) -> Iterator[Sample]:
        yield format.read(sample, reply)

    case, checks = format.blanks(sample), format.checks(sample)
    form = lambda count: format.make_form([case])
    try:
        return await ask_until_clean(llms.writer, format.prompt, format.reply_type, read, 1, checks, form, **case)
    except ReplyError as error:
        return [sample.reject(missing_reply_reason(error))]


def _read_turn(sample: Sample, question: str, answer: str) -> Turn:
    """Read a question and its answer, with plain names in the place of references."""
    return Turn(*(tidy_references(text, sample.scene, pointing=False).strip() for text in (question, answer)))


def _draw_answer(sample: Sample) -> str:
    """The answer that the yes/no form of a sample must have; drawn first, both are equally frequent."""
    return make_random(sample, "yes or no", sample.instruction).choice(("yes", "no"))


def _read_yes_no(sample: Sample, reply: Closed) -> Sample:
    return sample.rewrite(
        f"{REFORMULATED}bool",
        Turn(_add_template(sample, reply.question, YES_NO_TEMPLATES), reply.answer.capitalize()),
        format="bool",
        topic=reply.topic or sample.topic,
        reasoning=reply.reasoning,
        evidence=read_evidence(reply.evidence, sample),
    )


def _check_yes_no(sample: Sample) -> tuple[Check, ...]:
    wanted = _draw_answer(sample)

    # Some writers answer the question they find better; asking again is cheaper than a biased dataset.
    def check_answer(made: Sample) -> str | None:
        answer = made.response.lower()
        return None if answer == wanted else f"answer is {answer}, asked for {wanted}"

    return (check_answer, *REWRITE_CHECKS)


def _read_choice(sample: Sample, reply: Choice) -> Sample:
    """Put the options in an order that is drawn here, so that each letter is right equally often."""
    # A fifth option that a writer added is dropped: the letters go to D.
    listed = [_strip_letter(option) for option in (reply.correct, *reply.wrong[:3])]
    right = listed[0]
    make_random(sample, "options", sample.instruction).shuffle(listed)
    lines = "".join(f"{letter}. {option}\n" for letter, option in zip(LETTERS, listed, strict=False))
    return sample.rewrite(
        f"{REFORMULATED}choice",
        Turn(_add_template(sample, f"{reply.question}\n{lines}", LETTER_TEMPLATES), LETTERS[listed.index(right)]),
        format="choice",
        topic=reply.topic or sample.topic,
        reasoning=reply.reasoning,
        evidence=read_evidence(reply.evidence, sample),
    )


_FORMATS: dict[str, _Format] = {
    "bool": _Format(
        "comvint/boolean",
        Closed,
        closed_form,
        lambda sample: {"sample": sample, "wanted": _draw_answer(sample)},
        _read_yes_no,
        _check_yes_no,
    ),
    "choice": _Format(
        "comvint/choice", Choice, choice_form, lambda sample: {"sample": sample}, _read_choice, lambda sample: REWRITE_CHECKS
    ),
}
"""The formats that a writer is asked for; "open" keeps the sample as it is."""


def _strip_letter(option: str) -> str:
    """Put an option on one line, without the letter that a writer may have put before it.

    >>> _strip_letter("B) a red  cup")
    'a red cup'
    """
    return " ".join(strip_label(option).split())


def _add_template(sample: Sample, question: str, templates: Sequence[str]) -> str:
    template = make_random(sample, "template", question).choice(templates)
    return f"{question}{template}" if question.endswith("\n") else f"{question} {template}"
