"""The SVIT answers of the embedded annotator: every statement is derived again from the raw annotations by an oracle."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from comvint_hf.annotator import AnnotationLLM
from comvint_hf.annotator.svit import conversation, description, reasoning, referring_questions, turns
from comvint_hf.annotator.svit.context import Context
from comvint_hf.annotator.svit.templates import prose, tables
from comvint_hf.errors import ReplyError
from comvint_hf.generation import filters
from comvint_hf.generation.llm import LLMs
from comvint_hf.generation.prompt import Prompt
from comvint_hf.generation.recipes.svit import SVIT
from comvint_hf.generation.recipes.svit.stages import TOPICS, Pair
from comvint_hf.sources import load_scenes, shapes
from comvint_hf.types import Box, Object, Sample, Scene

REAL = {"coco": "coco", "visual_genome": "visual_genome", "flickr30k": "flickr30k_entities"}
SOURCES = ("shapes", *REAL)
TASKS = ("conversation", "complex_reasoning", "referring_qa", "detail_description")
MOST_OF_A_START, FEW = 0.10, 4


@pytest.fixture(scope="module")
def oracle():
    """The judge that stands beside this file; tests are no package, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location("svit_oracle", Path(__file__).parent / "svit_oracle.py")
    module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scenes_of(request):
    """Scenes of a source by name; the real ones need the annotation files."""
    kept: dict[str, list[Scene]] = {}

    def load(source: str) -> list[Scene]:
        if source not in kept:
            if source == "shapes":
                kept[source] = [
                    scene for level in ("grid", "crowded", "free") for scene in shapes.scenes(120, seed=3, level=level)
                ]
            else:
                kept[source] = list(load_scenes(f"{source}:{request.getfixturevalue('shared') / REAL[source]}"))
        return kept[source]

    return load


@pytest.fixture(scope="module")
def rows_of(scenes_of):
    """All samples that the whole recipe makes of a source."""
    kept: dict[str, list[Sample]] = {}
    llms = LLMs.one(AnnotationLLM())

    def make(source: str) -> list[Sample]:
        if source not in kept:
            scenes = scenes_of(source)

            async def run() -> list[Sample]:
                return [row for scene in scenes for row in await SVIT.run(scene, llms)]

            kept[source] = asyncio.run(run())
        return kept[source]

    return make


def pairs_of(scene: Scene, seed: int):
    """(wording, pair) of everything that is asked about a scene."""
    random = Random(seed)
    for dialogue in conversation.conversation(Prompt("svit/conversation", scene=scene, count=3, turns=5), random).dialogues:
        yield from (("svit_conversation", turn) for turn in dialogue.turns)
    yield from (
        ("svit_reasoning", pair) for pair in reasoning.complex_reasoning(Prompt("svit/x", scene=scene, count=15), random).pairs
    )
    yield from (
        ("svit_referring", pair)
        for pair in referring_questions.referring_qa(Prompt("svit/x", scene=scene, count=10), random).pairs
    )


@pytest.mark.parametrize("source", SOURCES)
def test_every_answer_is_derived_again(source, scenes_of, oracle):
    wrong, judged = [], Counter()
    for seed, scene in enumerate(scenes_of(source)):
        for wording, pair in pairs_of(scene, seed):
            judged[wording] += 1
            if problem := oracle.judge(scene, wording, pair):
                wrong.append(f"{scene.id}: {problem}")
    assert not wrong, "\n".join(wrong[:10])
    assert min(judged.values()) > 20 and len(judged) == 3


@pytest.mark.parametrize("source", SOURCES)
def test_every_sentence_of_a_description_is_derived_again(source, scenes_of, oracle):
    wrong = []
    for seed, scene in enumerate(scenes_of(source)):
        if not scene.objects or not any(item.boxes for item in scene.objects):
            continue
        try:
            made = description.detail_description(Prompt("svit/x", scene=scene, count=1), Random(seed))
        except ReplyError:
            continue
        wrong += [f"{scene.id}: {problem}" for problem in oracle.judge_description(scene, made.description, made.evidence)]
    assert not wrong, "\n".join(wrong[:10])


def test_the_oracle_finds_lies(scenes_of, oracle):
    """Turn a fact round in many true pairs: none of them may pass."""
    swaps = {"to the left of": "to the right of", "above": "below", "yes,": "no,", " two ": " three ", " red.": " green."}
    passed, tried = [], 0
    for seed, scene in enumerate(scenes_of("shapes")[:120]):
        for wording, pair in pairs_of(scene, seed):
            for true, false in swaps.items():
                if true in pair.answer.lower() and true not in pair.question.lower():
                    lie = pair.model_copy(update={"answer": prose(pair.answer.lower().replace(true, false))})
                    tried += 1
                    passed += [lie] if oracle.judge(scene, wording, lie) is None else []
    assert tried > 200
    assert not passed, [(lie.question, lie.answer) for lie in passed[:5]]


@pytest.mark.parametrize("source", SOURCES)
def test_rows_are_clean_and_pointed(source, rows_of):
    rows = rows_of(source)
    rejected = Counter(row.reason for row in rows if row.reason and "too little that can be described" not in row.reason)
    assert not rejected
    for row in rows:
        if row.reason:
            continue
        assert not re.search(r"\b(?:caption|annotat|bounding box)\w*\b", row.response.lower())
        assert row.evidence or row.task in ("conversation", "detail_description")
        if row.task in ("complex_reasoning", "referring_qa"):
            assert row.topic in TOPICS
        for message in row.messages:
            assert message.content[0].isupper() or message.content.startswith("<st>")
            assert "{" not in message.content and "  " not in message.content
            assert not re.search(r"\b(\w+) \1\b", message.content) or re.search(r"\b(?:had had|that that)\b", message.content), (
                message.content
            )
            assert not re.search(r"\ba (?:<st>)?[aeio]\w", message.content.lower().replace("a one", "").replace("a euro", "")), (
                message.content
            )


@pytest.mark.parametrize("source", ("shapes", "coco", "flickr30k"))
def test_no_start_rules_a_task(source, rows_of):
    rows = rows_of(source)
    for task in TASKS:
        asked = [row.instruction for row in rows if row.task == task and not row.reason]
        starts = Counter(" ".join(re.sub(r"<st>|<ed>\[\w+\]", "", text).lower().split()[:3]) for text in asked)
        start, number = starts.most_common(1)[0]
        assert number <= max(MOST_OF_A_START * len(asked), FEW), f"{source} {task}: {number} of {len(asked)} begin with {start!r}"


@pytest.mark.parametrize("source", ("shapes", "coco", "flickr30k"))
def test_yes_and_no_come_equally_often(source, rows_of):
    rows = rows_of(source)
    answers = [
        message.content.lower() for row in rows if not row.reason for message in row.messages if message.role == "assistant"
    ]
    yes = sum(bool(re.match(r"yes\b", answer)) for answer in answers)
    no = sum(bool(re.match(r"no\b", answer)) for answer in answers)
    assert yes + no > 100
    assert abs(yes - no) < 3 * (yes + no) ** 0.5, f"{yes} yes, {no} no"


@pytest.mark.parametrize("source", ("shapes", "coco", "flickr30k"))
def test_half_of_referring_rows_ask_for_a_place(source, rows_of):
    rows = rows_of(source)
    topics = Counter(row.topic == filters.GROUNDING_TOPIC for row in rows if row.task == "referring_qa" and not row.reason)
    assert 0.3 < topics[True] / topics.total() < 0.6
    grounded = [row for row in rows if row.topic == filters.GROUNDING_TOPIC]
    assert all(not filters.REFERENCE.search(row.instruction) and filters.REFERENCE.search(row.response) for row in grounded)


def test_ungrounded_lets_a_bare_question_pass_for_grounding_alone(scenes_of):
    scene = scenes_of("shapes")[0]
    tag, name = scene.objects[0].tag, scene.objects[0].name
    sample = Sample(scene=scene, task="referring_qa").write([(f"Where is the {name}?", f"The <st>{name}<ed>[{tag}] is here.")])
    assert filters.check_grounding(sample) == "no object referred to by the user"
    assert filters.check_grounding(sample.model_copy(update={"topic": filters.GROUNDING_TOPIC})) is None
    silent = sample.write([(f"Where is the {name}?", "Over there.")], topic=filters.GROUNDING_TOPIC)
    assert filters.check_grounding(silent) == "no object referred to by the assistant"


def test_a_question_may_use_words_that_an_answer_may_not(scenes_of):
    scene = scenes_of("shapes")[0]
    asked = Sample(scene=scene).write([("I cannot see the picture; describe it.", "A red circle.")])
    assert filters.check_refusal(asked) is None
    assert filters.check_refusal(Sample(scene=scene).write([("What is it?", "I cannot see it.")])) is not None


@pytest.mark.parametrize("name", ("svit_conversation", "svit_reasoning", "svit_referring"))
def test_thirty_templates_a_task(name):
    asked = [text for entry in tables(name).values() for form, lists in entry.items() if form.startswith(("ask", "follow"))
             for listed in (lists.values() if isinstance(lists, dict) else [lists]) for text in listed]  # fmt: skip
    assert len(set(asked)) >= 90
    assert len({" ".join(text.split()[:3]) for text in asked}) >= 60


def test_the_same_seed_says_the_same_and_another_does_not(scenes_of):
    scene = scenes_of("shapes")[5]

    def told(seed: int) -> list[str]:
        return [
            message.content for row in asyncio.run(SVIT.run(scene, LLMs.one(AnnotationLLM(seed)))) for message in row.messages
        ]

    assert told(1) == told(1) != told(2)


def scene_of(*objects: Object) -> Scene:
    return Scene(id="coco/1", source="coco", width=640, height=480, objects=objects)


def test_a_thing_that_is_several_parts_of_the_picture_has_no_place():
    wide = Object(tag="o1", key="1", name="bus", boxes=(Box(x1=0.05, y1=0.1, x2=0.95, y2=0.9),))
    context = Context(Prompt("svit/x", scene=scene_of(wide)), Random(0), "svit_conversation")
    assert [subject.place for subject in context.view.subjects] == [None]


def test_crowds_are_not_counted():
    people = [
        Object(tag=f"o{n}", key=str(n), name="person", boxes=(Box(x1=0.1 * n, y1=0.2, x2=0.1 * n + 0.08, y2=0.7),))
        for n in (1, 2, 3)
    ]
    crowd = Object(tag="o4", key="4", name="person", boxes=(Box(x1=0.6, y1=0.2, x2=0.9, y2=0.4),), kind="crowd")
    context = Context(Prompt("svit/x", scene=scene_of(*people)), Random(0), "svit_conversation")
    assert ("person", 3, ["o1", "o2", "o3"]) in turns.counts(context)
    crowded = Context(
        Prompt("svit/x", scene=scene_of(*people, crowd).model_copy(update={"id": "coco/2"})), Random(0), "svit_conversation"
    )
    assert turns.counts(crowded) == []


def test_pair_topics_are_the_listed_ones():
    listed = {entry["topic"] for entry in tables("svit_reasoning").values()}
    assert listed <= TOPICS.keys()
    assert Pair(question="a", answer="b").topic == ""
