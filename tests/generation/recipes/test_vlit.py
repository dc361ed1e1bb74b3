"""The VLIT review's pipeline: every kind of annotation in words of its own, two examples, constraints that can be switched."""

import asyncio
from collections import Counter

import pytest

from comvint_hf.errors import ReplyError
from comvint_hf.generation.llm import LLMs, ScriptedLLM
from comvint_hf.generation.recipes.vlit import vlit
from comvint_hf.generation.recipes.vlit.stages import CONSTRAINTS, Conversation, load_examples
from comvint_hf.sources import load_scenes
from comvint_hf.types import Box, Object, Question, Region, Relation, Scene, Text

BOX = Box(x1=0.1, y1=0.2, x2=0.3, y2=0.4)
SCENE = Scene(
    id="toy/1",
    source="toy",
    width=10,
    height=10,
    captions=("A man waits.",),
    objects=(
        Object(tag="o1", key="1", name="man", boxes=(BOX,), attributes=("tall", "old")),
        Object(tag="o2", key="2", name="person", kind="crowd"),
    ),
    regions=(Region(tag="r1", text="a bus stop", box=BOX),),
    relations=(Relation(subject="o1", predicate="in front of", object="o2"),),
    texts=(Text(text="STOP", box=BOX),),
    questions=(Question(question="Is it night?", answer="no"),),
)
TURNS = [
    {"question": "Who is <st>he<ed>[o1]?", "answer": "A man.", "evidence": ["[o1]"]},
    {"question": "Is he tall?", "answer": "Yes, he is.", "evidence": ["o1"]},
]


def run(recipe, reply=None, scene=SCENE):
    """The samples and the prompts that were asked."""
    llm = ScriptedLLM(reply or (lambda prompt, form: Conversation.model_validate({"topic": "t", "turns": TURNS})))
    return asyncio.run(recipe.run(scene, LLMs.one(llm))), llm.asked


def test_five_generations_with_a_constraint_each_and_two_of_ten_examples():
    assert len(load_examples()) == 10
    samples, asked = run(vlit())
    assert len(samples) == len(asked) == 5
    assert {prompt.blanks["constraint"] for prompt in asked} == set(CONSTRAINTS)
    shown = Counter()
    for scene in load_scenes("shapes:60"):
        for prompt in run(vlit(), scene=scene)[1]:
            facts = [example["facts"] for example in prompt.blanks["examples"]]
            assert len(set(facts)) == 2
            assert all(prompt.text.count(fact) == 1 for fact in facts)
            shown.update(facts)
    assert len(shown) == 10
    assert max(shown.values()) < 2 * min(shown.values()), "drawn at random, all alike"


def test_every_kind_of_annotation_is_put_into_words():
    text = run(vlit(1, ("one_region",)))[1][0].text
    for words in (
        "Somebody described the picture so: A man waits.",
        "One sees: man [o1], at [0.100, 0.200, 0.300, 0.400].",
        "One sees a crowd: person [o2].",
        "Of [o1] (man) one can say: tall, old.",
        "One part of the picture [r1] shows this: a bus stop, at [0.100, 0.200, 0.300, 0.400].",
        "[o1] (man) in front of [o2] (person).",
        'In the picture one can read "STOP", at [0.100, 0.200, 0.300, 0.400].',
        'Asked "Is it night?", people who saw it answered "no".',
    ):
        assert words in text


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_constraint_is_said_and_said_again(constraint):
    (prompt,) = run(vlit(1, (constraint,)))[1]
    assert prompt.text.count(CONSTRAINTS[constraint]) == 2
    assert ("<st>man<ed>[o1]" in prompt.text) == ("0.100" in prompt.text) == (constraint == "one_region")
    assert ("absent is the exception" in prompt.text) == (constraint == "negatives")


def test_generations_are_asked_apart():
    _, asked = run(vlit(4, ("reasoned",)))
    assert [prompt.blanks["generation"] for prompt in asked] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("constraint", "turns", "reason"),
    [
        ("one_region", TURNS, None),
        ("one_region", TURNS[1:], "one_region: the first question points at nothing"),
        ("multi_turn", TURNS[:1], "multi_turn: only one question"),
        ("reasoned", [], "empty turn"),
    ],
)
def test_a_dialogue_that_cannot_keep_its_constraint_is_rejected(constraint, turns, reason):
    (sample,), _ = run(vlit(1, (constraint,)), lambda prompt, form: Conversation.model_validate({"topic": "t", "turns": turns}))
    assert sample.reason == reason
    assert reason or sample.evidence == ("o1",)


def test_one_reply_that_cannot_be_had_costs_one_dialogue():
    replies = [ReplyError("no JSON"), *[Conversation.model_validate({"topic": "t", "turns": TURNS})] * 4]
    samples, _ = run(vlit(), replies)
    assert [sample.reason for sample in samples] == ["no usable reply: no JSON", *[None] * 4]
