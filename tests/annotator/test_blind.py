"""Closed questions leave it to the image: on a corpus full of habits a bag of words answers no better than by chance."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest
from annotator.toy_corpus import make_scene

from comvint_hf import VLIT, comvint
from comvint_hf.annotator import AnnotationLLM, count_corpus
from comvint_hf.annotator.balance.tables import Tables
from comvint_hf.annotator.facts.scene import facts_of
from comvint_hf.dataset.schema import to_row
from comvint_hf.generation.llm import LLMs
from comvint_hf.generation.recipes.svit import svit
from comvint_hf.quality.blind_probe import blind_probe

COUNT = 500
RECIPES = {"svit": svit(("conversation", "referring_qa")), "comvint": comvint(formats=("bool", "choice")), "vlit": VLIT}


def write(recipe, scenes, tables):
    llms = LLMs.one(AnnotationLLM(0, tables))

    async def run():
        return [sample for scene in scenes for sample in await recipe.run(scene, llms)]

    return [sample for sample in asyncio.run(run()) if sample.reason is None]


@pytest.fixture(scope="module")
def corpus():
    return [make_scene(number) for number in range(COUNT)]


@pytest.fixture(scope="module", params=sorted(RECIPES))
def made(request, corpus):
    """A recipe, its tables, and its samples on the whole corpus."""
    recipe = RECIPES[request.param]
    tables = asyncio.run(count_corpus(corpus, recipe, fewest=COUNT))
    return recipe, tables, write(recipe, corpus, tables)


def test_a_bag_of_words_does_no_better_than_chance(made):
    _, _, samples = made
    found = blind_probe(to_row(sample, str(number)) for number, sample in enumerate(samples))
    assert found
    for result in found:
        # Both limits are within a few standard errors of chance for so small a set.
        assert result.low <= result.chance + 0.01 and result.accuracy < result.chance + 0.08, str(result)


def test_no_word_stands_on_one_side(made):
    """Each noun that is asked for is there about as often as it is not."""
    _, _, samples = made
    answers = Counter()
    for sample in samples:
        said = [message.content for message in sample.messages]
        for answer in said[1::2]:
            if found := re.match(r"(?:Yes, there is an?|No, there is no) (\w+)", answer):
                answers[found[1], answer.startswith("Yes")] += 1
    for noun in {noun for noun, _ in answers}:
        asked = answers[noun, True] + answers[noun, False]
        assert asked < 20 or 0.35 < answers[noun, True] / asked < 0.65, (noun, answers[noun, True], asked)


def test_an_absent_thing_is_in_no_caption(made):
    _, _, samples = made
    for sample in samples:
        for message in sample.messages[1::2]:
            if found := re.match(r"No, there is no (\w+)", message.content):
                noun = found[1]
                assert noun not in " ".join(sample.scene.captions).lower().split()
                assert facts_of(sample.scene).is_absent(noun)


def test_a_part_of_the_corpus_gives_the_same_rows(made, corpus):
    recipe, tables, samples = made
    part = write(recipe, corpus[:40][::-1], tables)
    ids = {scene.id for scene in corpus[:40]}
    assert Counter(map(repr, part)) == Counter(repr(sample) for sample in samples if sample.scene.id in ids)


def test_tables_come_back_from_their_file(made, tmp_path):
    _, tables, _ = made
    tables.write(tmp_path / "tables.json")
    assert Tables.read(tmp_path / "tables.json") == tables


def test_few_scenes_are_asked_about_by_the_shipped_tables(corpus):
    tables = asyncio.run(count_corpus(corpus[:5], RECIPES["svit"]))
    assert tables.scenes > 5 and "presence" in tables.yes_no


def test_the_corpus_is_full_of_habits(corpus):
    """Asked without a balance, the same questions would be answered blind, or the tests above would say nothing."""

    class Careless(Tables):
        def claim(self, case, truth):
            return (
                case.right if truth else next(word for word in ("piano", "tractor", "purple", "elephant") if case.is_wrong(word))
            )

    samples = write(RECIPES["svit"], corpus[:250], Careless())
    found = blind_probe(to_row(sample, str(number)) for number, sample in enumerate(samples))
    assert max(result.accuracy for result in found) > 0.85
