"""Whole ComVint rows held against the raw scene: boxes, evidence, answers and options, and what the options give away."""

import asyncio
from collections import Counter, defaultdict
from itertools import islice
from random import Random
from statistics import mean

import pytest
from annotator import comvint_oracle as oracle

from comvint_hf import VLIT, comvint
from comvint_hf.annotator import AnnotationLLM
from comvint_hf.annotator.facts.scene import facts_of
from comvint_hf.annotator.language.templates import load_templates
from comvint_hf.annotator.programs.complicate import complicate_program
from comvint_hf.annotator.programs.execute import complexity, evaluate
from comvint_hf.annotator.programs.program import parse_chain, parse_program
from comvint_hf.dataset.schema import to_row
from comvint_hf.generation.llm import LLMs
from comvint_hf.grounding import GROUNDED
from comvint_hf.sources import load_scenes
from comvint_hf.types import Box, Object, Scene

CORPORA = {"coco": "coco", "flickr30k": "flickr30k_entities"}


def made(recipe, scenes):
    """The kept samples of some scenes."""
    llms = LLMs.one(AnnotationLLM())

    async def run():
        return [sample for scene in scenes for sample in await recipe.run(scene, llms) if sample.reason is None]

    return asyncio.run(run())


def photos(shared, name):
    return islice(load_scenes(f"{name}:{shared / CORPORA[name]}"), 348)


def falsehood(sample):
    """What is untrue of a row by its raw scene, `None` if all is so; `Unread` where the oracle cannot read the text."""
    row = to_row(sample, sample.scene.id)
    objects = {thing.tag: thing for thing in sample.scene.objects}
    annotated = {tuple(round(side, 3) for side in box.xyxy) for thing in sample.scene.objects for box in thing.boxes}
    for box in row["boxes"]:
        if tuple(round(side, 3) for side in box) not in annotated:
            return f"box {box} is annotated nowhere"
    for entry in row["evidence"]:
        thing = objects.get(entry["tag"])
        if thing is None or list(map(tuple, entry["boxes"])) != [box.xyxy for box in thing.boxes] or entry["key"] != thing.key:
            return f"evidence {entry} is no object of the scene"
    written = sum(len(GROUNDED.findall(message["content"])) for message in row["messages"])
    evident = [list(box) for entry in row["evidence"] for box in entry["boxes"]]
    if written and not row["boxes"] or not written and list(map(list, row["boxes"])) != evident:
        return f"{written} boxes are written and {len(row['boxes'])} noted"
    return oracle.problem(sample)


def check(samples, most_unread):
    wrong, unread = [], 0
    for sample in samples:
        try:
            found = falsehood(sample)
        except oracle.Unread:
            unread += 1
        else:
            wrong += [f"{sample.scene.id}: {sample.instruction} => {sample.response} ({found})"] if found else []
    assert not wrong, wrong[:5]
    assert unread <= most_unread * len(samples)


def test_boxes_evidence_and_options_are_true_of_the_scene():
    samples = made(comvint(2), load_scenes("shapes:200", seed=5))
    assert len(samples) > 1200
    check(samples, 0.01)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rounds", [1, 2])
def test_boxes_evidence_and_options_are_true_of_5000_scenes(rounds):
    check(made(comvint(rounds), load_scenes("shapes:5000", seed=11)), 0.01)


def test_boxes_of_dialogues_are_annotated_ones():
    samples = made(VLIT, load_scenes("shapes:60", seed=5))
    rows = [to_row(sample, sample.scene.id) for sample in samples]
    assert sum(bool(row["boxes"]) for row in rows) >= 50
    for sample, row in zip(samples, rows, strict=True):
        assert {tuple(box) for box in row["boxes"]} <= {box.xyxy for thing in sample.scene.objects for box in thing.boxes}
        assert {entry["tag"] for entry in row["evidence"]} <= {thing.tag for thing in sample.scene.objects}


# Programs that the annotator made harder ------------------------------------------------------------------------------


def drawn(*shapes):
    """A scene of drawn shapes: (name, size, colour, left, top), each a fifth of the picture wide."""
    objects = tuple(
        Object(
            tag=f"o{place}",
            key=str(place),
            name=name,
            names=(name,),
            attributes=(size, colour),
            boxes=(Box(x1=x, y1=y, x2=x + 0.2, y2=y + 0.2),),
        )
        for place, (name, size, colour, x, y) in enumerate(shapes, start=1)
    )
    return facts_of(Scene(id="shapes/toy", source="shapes", width=96, height=96, objects=objects))


def test_what_may_or_may_not_lie_beside_something_is_neither_there_nor_absent():
    facts = drawn(("star", "small", "red", 0.1, 0.1), ("circle", "small", "blue", 0.2, 0.5))
    assert evaluate(parse_program("exists(any(star; left of the(circle)))"), facts) is None
    assert evaluate(parse_program("exists(any(star; below the(circle)))"), facts).value == "no"
    assert evaluate(parse_program("exists(any(star; above the(circle)))"), facts).value == "yes"


def test_a_likeness_is_read_back_and_means_the_one_shape_that_has_it():
    facts = drawn(("star", "small", "red", 0.1, 0.1), ("circle", "small", "blue", 0.2, 0.5))
    program = parse_program("size(the(object; like a coin))")
    assert str(program) == "size(the(object; like a coin))"
    assert evaluate(program, facts).tags == ("o2",)
    assert evaluate(parse_program("colour(the(object; like ripe lemons))"), facts) is None


def test_of_two_groups_the_second_is_sorted_out_first():
    facts = drawn(("star", "small", "red", 0.1, 0.1), ("circle", "large", "blue", 0.2, 0.5))
    program = parse_program("total(any(star), any(circle))")
    steps = [version for _, version in complicate_program(program, facts, Random(0))]
    assert {str(version) for version in steps} == {"total(any(star), any(circle; large))", "total(any(star), any(circle; blue))"}


# What the form gives away ---------------------------------------------------------------------------------------------


def options(samples):
    """The right option and the wrong ones of each row that has some."""
    for sample in samples:
        if sample.format == "choice":
            listed = oracle.taken_apart(sample)[1]
            yield listed.pop(sample.response), list(listed.values())


@pytest.mark.parametrize(("name", "most"), [("shapes", 0.04), ("flickr30k", 0.2)])
def test_the_right_option_is_as_long_as_the_wrong_ones(request, name, most):
    scenes = load_scenes("shapes:300") if name == "shapes" else photos(request.getfixturevalue("shared"), name)
    found = list(options(made(comvint(1, formats=("choice",)), scenes)))
    right, wrong = mean(len(correct) for correct, _ in found), mean(len(option) for _, others in found for option in others)
    assert abs(right - wrong) <= most * wrong, f"{right:.1f} and {wrong:.1f} letters"
    longest = mean(len(correct) > max(map(len, others)) for correct, others in found)
    shortest = mean(len(correct) < min(map(len, others)) for correct, others in found)
    assert max(longest, shortest) < 0.33


def test_options_have_one_form():
    """None begins with an article where another has none; only skies among lemons do, right or wrong."""
    for correct, wrong in options(made(comvint(1, formats=("choice",)), load_scenes("shapes:200"))):
        first = Counter(option.split(" ")[0] in ("A", "An", "The") for option in (correct, *wrong))
        assert len(first) == 1 or "A clear sky" in (correct, *wrong), (correct, wrong)


def test_a_row_of_any_form_has_the_topic_of_what_it_asks():
    for sample in made(comvint(2), load_scenes("shapes:100")):
        head = sample.reasoning.split(" => ")[-1].removeprefix("is(").split("(")[0]
        assert sample.topic == load_templates()[head].topic, sample.instruction


def test_existence_at_a_place_is_told_by_position_and_kind_alike():
    """Yes and no are given in the same words for what stands somewhere or is like something."""
    answers = defaultdict(Counter)
    for sample in made(comvint(1, formats=("bool",)), load_scenes("shapes:400", seed=2)):
        if sample.topic == "existence":
            looks = next(
                (word for word in ("shaped like", "colour of", "left", "right", "above", "below") if word in sample.instruction),
                "",
            )
            answers[looks][sample.response] += 1
    assert len(answers) > 5
    for looks, found in answers.items():
        assert found.total() < 40 or 0.3 < found["Yes"] / found.total() < 0.7, (looks, found)


def test_a_complicated_question_stays_as_hard_when_it_is_asked_by_yes_or_no():
    for sample in made(comvint(3, ("bool",)), load_scenes("shapes:40")):
        *_, before, last = parse_chain(sample.reasoning)
        assert not sample.rounds or complexity(last) >= complexity(before), sample.reasoning
