"""The replies that ComVint's prompts ask for, and the form of each: which tags, how many items, how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from comvint_hf.generation import forms
from comvint_hf.generation.forms import Form
from comvint_hf.generation.group import Case
from comvint_hf.generation.llm import Reply, TagList
from comvint_hf.types import Sample

LONGEST_QUESTION, LONGEST_ANSWER, LONGEST_REASONING, LONGEST_OPTION = 400, 480, 600, 120
"""Characters."""


class Synthesis(Reply):
    """A first question of one kind. The chain of thought and the evidence (tags) come before the text."""

    reasoning: str
    evidence: TagList
    topic: str = ""
    question: str
    answer: str


class Syntheses(Reply):
    partial = True
    samples: list[Synthesis]


class Rewrite(Reply):
    """A harder version: `change` says whether it took one more hop or one more piece of knowledge."""

    # The topic is as before where a form other than `Synthesis` leaves it empty; only the annotator names another.
    change: Literal["hop", "knowledge"]
    reasoning: str
    topic: str = ""
    evidence: TagList
    question: str
    answer: str


class Closed(Reply):
    """A yes/no form of a question."""

    reasoning: str
    topic: str = ""
    evidence: TagList
    question: str
    answer: Literal["yes", "no"]


class Choice(Reply):
    """A multiple-choice form: the right option and three wrong ones, in any order of their own."""

    reasoning: str
    topic: str = ""
    evidence: TagList
    question: str
    correct: str
    wrong: TagList


def synthesis_form(sample: Sample, count: int) -> Form:
    """The form of first samples of the scene of a blank one."""
    return {"samples": forms.exactly(count), "topic": forms.plain(most=40), **_pair_fields(sample)}


def rewrite_form(cases: Sequence[Case]) -> Form:
    """The form of harder versions."""
    return {"topic": forms.one_of([""]), **_pair_fields(cases[0]["sample"])}


def closed_form(cases: Sequence[Case]) -> Form:
    """The form of yes/no questions, each with the wanted answer."""
    sample = cases[0]["sample"]
    fields = {**rewrite_form(cases), "evidence": forms.tags(sample.scene, seen=sample.seen)}
    numbers: dict[str, list[int]] = {}
    for number, case in enumerate(cases, start=1):
        numbers.setdefault(case["wanted"], []).append(number)
    if len(cases) == 1:
        return {**fields, "answer": forms.one_of(numbers)}
    variants = [{"number": {"enum": of}, "answer": forms.one_of([wanted])} for wanted, of in numbers.items()]
    return {**fields, "answer": {}, "items": {**forms.exactly(len(cases)), "variants": variants}}


def choice_form(cases: Sequence[Case]) -> Form:
    """The form of multiple choices: options of one line."""
    option = forms.plain(most=LONGEST_OPTION)
    return {**rewrite_form(cases), "correct": option, "wrong": {"items": option, **forms.exactly(3)}}


def verdict_form(cases: Sequence[Case]) -> Form:
    """The form of verdicts: short reasons."""
    return dict.fromkeys(("match", "depth", "soundness"), forms.plain(most=240))


def _pair_fields(sample: Sample) -> Form:
    return {
        "reasoning": forms.plain(most=LONGEST_REASONING),
        "evidence": forms.tags(sample.scene, least=1, seen=sample.seen),
        "question": forms.question(LONGEST_QUESTION),
        "answer": forms.plain(most=LONGEST_ANSWER),
    }
