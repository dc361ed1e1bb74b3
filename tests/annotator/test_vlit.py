"""VLIT's dialogues from the scene alone: yes and no come equally often, and no wording tells which it is."""

import asyncio
import re
from collections import Counter, defaultdict
from itertools import islice

import pytest

from comvint_hf import VLIT
from comvint_hf.annotator import AnnotationLLM
from comvint_hf.annotator.comvint.dialogue import _templates
from comvint_hf.annotator.words import vocabulary
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
    return [(question, answer[:2] == "Ye") for question, answer in dialogue if answer.startswith(("Yes, ", "No, "))]


def test_yes_and_no_come_equally_often(dialogues):
    answers = Counter(answer for dialogue in dialogues for _, answer in yes_or_no(dialogue))
    assert answers[True] == answers[False] > 0.1 * len(dialogues)


def test_neither_the_wording_nor_the_place_of_a_question_tells_yes_from_no(dialogues):
    templates = [text for place in ("first", "then") for text in _templates()["existence"][place]]
    readers = {text: re.compile(re.escape(text).replace(r"\{a\}", ".+"), re.IGNORECASE) for text in templates}
    answers = defaultdict(list)
    for dialogue in dialogues:
        for place, (question, answer) in enumerate(yes_or_no(dialogue)):
            answers[place].append(answer)
            answers[next(text for text, reader in readers.items() if reader.fullmatch(question))].append(answer)
    for asked, found in answers.items():
        if len(found) > 100:
            assert 0.35 < sum(found) / len(found) < 0.65, asked


def test_no_three_words_begin_a_tenth_of_the_dialogues_or_of_their_turns(dialogues):
    for questions in ([turns[0][0] for turns in dialogues], [question for turns in dialogues for question, _ in turns]):
        starts = Counter(" ".join(question.lower().split()[:3]) for question in questions)
        start, most = starts.most_common(1)[0]
        assert most <= 0.1 * len(questions), f"{start!r} begins {most} of {len(questions)}"


def test_dialogues_read_on(dialogues):
    """No first question begins with "and", none is asked twice, and every answer is a sentence."""
    for turns in dialogues:
        questions = [question for question, _ in turns]
        assert not re.match(r"(?:[^.?]+[.?] )?and\b", questions[0].lower())
        assert len(set(questions)) == len(questions)
        assert all(answer[0].isupper() or not answer[0].isalpha() for _, answer in turns)


def test_every_kind_of_knowledge_has_its_turns():
    known = {"use", "made_of", *vocabulary.read_table("comvint_knowledge")}
    assert known <= _templates()["follow"].keys()
    assert all(len(turn["ask"]) > 1 and turn["answer"] for turn in _templates()["follow"].values())
