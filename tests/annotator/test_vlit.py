"""VLIT's dialogues from the scene alone: yes and no come equally often, and no wording tells which it is."""

import asyncio
import re
from collections import Counter
from itertools import islice

import pytest

from comvint_hf import VLIT
from comvint_hf.annotator import AnnotationLLM
from comvint_hf.generation.llm import LLMs
from comvint_hf.sources import load_scenes

SOURCES = [("shapes", 300), ("coco", 80), ("flickr30k", 348)]


@pytest.fixture(scope="module", params=SOURCES, ids=lambda source: source[0])
def dialogues(request):
    """The (question, answer) turns of each dialogue of one source."""
    name, count = request.param
    folder = {"coco": "coco", "flickr30k": "flickr30k_entities"}.get(name)
    spec = f"{name}:{request.getfixturevalue('shared') / folder}" if folder else f"shapes:{count}"
    llms = LLMs.one(AnnotationLLM())

    async def run():
        return [await VLIT.run(scene, llms) for scene in islice(load_scenes(spec), count)]

    samples = [sample for made in asyncio.run(run()) for sample in made if sample.reason is None]
    said = ([message.content for message in sample.messages] for sample in samples)
    return [list(zip(turns[::2], turns[1::2], strict=True)) for turns in said]


def yes_or_no(dialogue):
    return [(question, answer[:2] == "Ye") for question, answer in dialogue if re.match(r"(?:Yes|No)\b", answer)]


def test_yes_and_no_come_equally_often(dialogues):
    answers = Counter(answer for dialogue in dialogues for _, answer in yes_or_no(dialogue))
    if answers.total() > 150:
        assert 0.38 < answers[True] / answers.total() < 0.62


def test_no_three_words_begin_a_tenth_of_the_dialogues_or_of_their_turns(dialogues):
    for questions in ([turns[0][0] for turns in dialogues], [question for turns in dialogues for question, _ in turns]):
        starts = Counter(" ".join(question.lower().split()[:3]) for question in questions)
        start, most = starts.most_common(1)[0]
        assert most <= 0.1 * len(questions) + 4, f"{start!r} begins {most} of {len(questions)}"


def test_dialogues_read_on(dialogues):
    """No first question begins with "and", none is asked twice, and every answer is a sentence."""
    for turns in dialogues:
        questions = [question for question, _ in turns]
        assert not re.match(r"(?:[^.?]+[.?] )?and\b", questions[0].lower())
        assert len(set(questions)) == len(questions)
        assert all(answer[0].isupper() or not answer[0].isalpha() for _, answer in turns)
