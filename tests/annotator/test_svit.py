"""The SVIT answers of the embedded annotator: clean, pointed, scene-led, and true of the drawn scenes."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest

from comvint_hf.annotator import AnnotationLLM
from comvint_hf.generation import filters
from comvint_hf.generation.llm import LLMs
from comvint_hf.generation.recipes.svit import SVIT
from comvint_hf.generation.recipes.svit.stages import TOPICS
from comvint_hf.sources import load_scenes, shapes

REAL = {"coco": "coco", "visual_genome": "visual_genome", "flickr30k": "flickr30k_entities"}
SOURCES = ("shapes", *REAL)
MOST_OF_A_START = 0.15


def rows(scenes, seed=0):
    llms = LLMs.one(AnnotationLLM(seed))

    async def run():
        return [sample for scene in scenes for sample in await SVIT.run(scene, llms)]

    return [sample for sample in asyncio.run(run()) if sample.reason is None]


@pytest.fixture(scope="module", params=SOURCES)
def source(request):
    return request.param


@pytest.fixture(scope="module")
def samples(request, source):
    """The rows of one source; the real ones need the annotation files."""
    if source == "shapes":
        return rows([scene for level in ("grid", "crowded", "free") for scene in shapes.scenes(60, seed=3, level=level)])
    return rows(load_scenes(f"{source}:{request.getfixturevalue('shared') / REAL[source]}"))


def of_task(samples, task):
    return [sample for sample in samples if sample.task == task]


def turns(samples):
    for sample in samples:
        said = [message.content for message in sample.messages]
        yield from zip(said[::2], said[1::2], strict=True)


def test_rows_are_clean_and_rest_on_what_the_scene_has(samples):
    for sample in samples:
        assert filters.find_failure(sample, filters.CHECKS) is None
        assert set(sample.evidence) <= sample.scene.by_tag.keys()
        for text in (message.content for message in sample.messages):
            assert (
                "{" not in text and "  " not in text and " ." not in text and not re.search(r"\b(a|an|the) (a|an|the)\b", text)
            ), text


def test_reasoning_rests_on_two_facts_of_a_photo(samples, source):
    found = of_task(samples, "complex_reasoning")
    assert found or source == "visual_genome"
    if found and source != "shapes":
        assert all(len(set(sample.evidence)) >= 2 for sample in found)
        assert len({sample.instruction for sample in found}) > 0.8 * len(found)


def test_most_scenes_are_described(samples, source):
    described = {sample.scene.id for sample in of_task(samples, "detail_description")}
    images = {sample.scene.id for sample in samples}
    assert len(described) >= (0.95 if source == "shapes" else 0.5) * len(images)


def test_yes_and_no_come_about_equally_often(samples):
    answers = Counter(answer.split(",")[0].rstrip(".") for _, answer in turns(samples) if re.match(r"(?:Yes|No)\b", answer))
    if answers.total() > 200:
        assert 0.4 < answers["Yes"] / (answers["Yes"] + answers["No"]) < 0.6


def test_about_half_of_the_referring_rows_ask_for_a_place(samples, source):
    topics = Counter(sample.topic == filters.GROUNDING_TOPIC for sample in of_task(samples, "referring_qa"))
    assert 0.25 < topics[True] / topics.total() < 0.75


def test_topics_are_the_listed_ones(samples):
    assert {sample.topic for sample in samples if sample.task in ("complex_reasoning", "referring_qa")} <= TOPICS.keys()


def test_no_start_rules_a_task(samples, source):
    for task in ("conversation", "complex_reasoning"):
        starts = Counter(" ".join(question.lower().split()[:3]) for question, _ in turns(of_task(samples, task)))
        start, most = max(starts.items(), key=lambda item: item[1], default=("", 0))
        assert most <= MOST_OF_A_START * starts.total() + 4, f"{start!r} begins {most} of {starts.total()} {task} of {source}"


def test_no_long_answer_floods_a_set(samples, source):
    if source == "flickr30k":
        # Where something is pointed at, the row's text holds its box: no two images have the same.
        answers = Counter(answer for _, answer in turns(samples) if len(answer.split()) > 2 and "<st>" not in answer)
        assert answers.most_common(1)[0][1] <= 0.006 * sum(1 for _ in turns(samples))  # so small a set allows a handful


def test_the_same_seed_says_the_same_and_another_does_not():
    scenes = list(shapes.scenes(4, seed=3, level="grid"))
    assert list(map(repr, rows(scenes))) == list(map(repr, rows(scenes))) != list(map(repr, rows(scenes, seed=1)))


def test_descriptions_of_drawn_scenes_name_every_shape():
    for sample in of_task(rows(shapes.scenes(40, seed=5, level="grid")), "detail_description"):
        for item in sample.scene.objects:
            name = " ".join((*item.attributes, item.name))
            assert name in sample.response, f"{name} is missing in {sample.response}"
        shapes_told = re.search(r"(\w+) shapes?", sample.response)[1].lower()
        number = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten").index(shapes_told)
        assert number == len(sample.scene.objects)
