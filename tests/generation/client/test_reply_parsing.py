"""Forms: what is asked for, and every dress in which a reply may come back."""

import json
from typing import Literal

import pytest
from endpoint.asking import QA, Pairs
from hypothesis import given
from hypothesis import strategies as st
from openai.lib._pydantic import to_strict_json_schema
from pydantic import Field

from comvint_hf.generation.client.reply_parsing import ReplyMismatch, build_schema
from comvint_hf.generation.llm import Reply
from comvint_hf.generation.recipes.svit.stages import Dialogues

WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=60)
LINES = st.text("abc def,.?!'é中", min_size=1, max_size=40).map(str.strip).filter(bool)


class Verdict(Reply):
    reason: str = Field(description="one sentence")
    good: bool
    grade: Literal["a", "b"]
    marks: list[int] = Field(min_length=2, max_length=2)


class Description(Reply):
    evidence: list[str] = Field(default_factory=list)
    description: str


@given(
    question=WORDS,
    answer=WORDS,
    dress=st.sampled_from(["{}", "```json\n{}\n```", "Here {{you}} go:\n{}\nBye.", "<think>{{x</think>{}"]),
)
def test_json_is_read_in_every_dress(question: str, answer: str, dress: str) -> None:
    filled = QA(question=question, answer=answer)
    assert build_schema(QA).parse(dress.format(filled.model_dump_json(indent=1))) == filled


@given(pairs=st.lists(st.tuples(LINES, LINES), min_size=1, max_size=4), labels=st.sampled_from([
    ("Question: ", "Answer: "), ("**Question {n}:** ", "**Answer {n}:** "), ("Q{n}: ", "A{n}: "), ("{n}. Question: ", "- answer: "),
]))  # fmt: skip
def test_labelled_lines_are_read(pairs: list[tuple[str, str]], labels: tuple[str, str]) -> None:
    lines = [
        label.format(n=number) + text for number, pair in enumerate(pairs, 1) for label, text in zip(labels, pair, strict=True)
    ]
    read = build_schema(Pairs).parse("Of course!\n" + "\n".join(lines), mode="text")
    assert [(pair.question, pair.answer) for pair in read.pairs] == pairs


def test_labels_nest_as_the_form_does() -> None:
    text = "Topic: cups\nQuestion: What is red? Answer: The cup.\nQ2: Where?\nA2: There.\n\nTopic: dogs\nQuestion: How many?\nAnswer: Two."
    read = build_schema(Dialogues).parse(text, mode="text")
    assert [(dialogue.topic, [turn.question for turn in dialogue.turns]) for dialogue in read.dialogues] == [
        ("cups", ["What is red?", "Where?"]),
        ("dogs", ["How many?"]),
    ]


def test_a_bare_list_is_the_only_list_of_a_form() -> None:
    class Only(Reply):
        pairs: list[QA]

    assert build_schema(Only).parse('[{"question": "a", "answer": "b"}]').pairs == [QA(question="a", answer="b")]


def test_prose_is_an_answer_only_in_plain_text_and_for_one_text() -> None:
    assert build_schema(Description).parse("A man sits.", mode="text").description == "A man sits."
    for form, mode in ((Description, "json_schema"), (QA, "text")):
        with pytest.raises(ReplyMismatch, match="no complete JSON"):
            build_schema(form).parse("A man sits.", mode=mode)


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ('{"question": "a", "answer": "b"}', "length", "cut off"),
        ("", "empty", "empty"),
        ("no", "refusal", "refused"),
        ('{"question": "a", "answer": "b"}', "content_filter", "filter"),
        ("I'm sorry, but I can't help with that.", "stop", "refused"),
        ('{"question": "a", "ans', "stop", "no complete JSON"),
        ('{"question": 3, "answer": "b"}', "stop", "question: Input should be a valid string"),
        ('Sure: {"question": "a"}', "stop", "answer: Field required"),
        ("Question: only this?", "stop", "answer: Field required"),
        ("[" * 5000, "stop", "no complete JSON"),
    ],
)
def test_what_is_no_answer_says_why(text: str, finish: str, reason: str) -> None:
    with pytest.raises(ReplyMismatch, match=reason):
        build_schema(QA).parse(text, finish)


@pytest.mark.parametrize("form", [QA, Pairs, Dialogues, Verdict])
def test_the_schema_is_strict_as_the_openai_client_makes_it(form: type[Reply]) -> None:
    ours, theirs = build_schema(form).schema, to_strict_json_schema(form)
    assert _bones(ours) == _bones(theirs)


def _bones(part):
    """A schema without what only people read, or what says the same by a reference."""
    if isinstance(part, list):
        return [_bones(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {name: _bones(value) for name, value in part.items() if name not in ("title", "default", "description")}


def test_the_wording_shows_the_form_to_models_without_schemas() -> None:
    instruction = build_schema(Verdict).instruction
    assert (
        '"reason": string (one sentence), "good": boolean, "grade": "a" or "b", "marks": [integer, ...] (exactly 2)'
        in instruction
    )
    assert "\n" not in instruction


def test_the_formats_from_strict_to_none() -> None:
    form = build_schema(QA)
    assert form.response_format("json_schema")["json_schema"]["strict"] is True
    assert form.response_format("json_object") == {"type": "json_object"}
    assert form.response_format("text") is None


def test_a_changed_form_has_another_fingerprint() -> None:
    class Other(Reply):
        question: str
        answer: str
        why: str

    assert build_schema(Other).fingerprint != build_schema(QA).fingerprint
    assert json.loads(build_schema(QA).fingerprint)["properties"].keys() == {"question", "answer"}
