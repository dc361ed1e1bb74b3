"""What readers of ComVint rows stumbled over: each rule that keeps a question readable and its answer fitting, on a toy."""

from __future__ import annotations

from random import Random

import pytest

from comvint_hf.annotator.answers.closed import may_both_be_right
from comvint_hf.annotator.facts.scene import Facts, facts_of
from comvint_hf.annotator.language import templates
from comvint_hf.annotator.programs.complicate import is_readable
from comvint_hf.annotator.programs.execute import evaluate
from comvint_hf.annotator.programs.knowledge import overlap
from comvint_hf.annotator.programs.program import parse_program
from comvint_hf.types import Box, Object, Relation, Scene

TOP, UNDER = (0.1, 0.1, 0.3, 0.3), (0.1, 0.6, 0.3, 0.8)
FAR, WIDE = (0.7, 0.1, 0.9, 0.3), (0.05, 0.5, 0.95, 0.95)


def thing(tag: str, name: str, box: tuple[float, ...], *attributes: str, names: tuple[str, ...] = ()) -> Object:
    x1, y1, x2, y2 = box
    box = Box(x1=x1, y1=y1, x2=x2, y2=y2)
    return Object(tag=tag, key=tag, name=name, names=names or (name,), attributes=attributes, boxes=(box,))


def scene(*objects: Object, source: str = "coco", **fields) -> Facts:
    return facts_of(Scene(id=f"{source}/toy", source=source, width=640, height=480, objects=objects, **fields))


def asked(text: str, facts: Facts) -> set[str]:
    return {templates.ask(parse_program(text), facts, Random(seed)) for seed in range(60)}


def answered(text: str, facts: Facts) -> set[str]:
    return {templates.answer(parse_program(text), facts, Random(seed)) for seed in range(20)}


@pytest.fixture
def circles() -> Facts:
    return scene(thing("o1", "circle", TOP, "small", "red"), thing("o2", "circle", UNDER, "small", "blue"), source="shapes")


def test_what_lies_beside_one_of_its_kind_is_another(circles):
    assert all("another circle" in text for text in asked("exists(any(circle; below the(circle; red)))", circles))
    assert answered("exists(any(circle; above the(circle; red)))", circles) == {
        "No, there is no other circle above the red circle."
    }
    assert all("a star" in text for text in asked("exists(any(star; below the(circle; red)))", circles))


def test_nobody_asks_for_a_circle_beside_the_only_circle(circles):
    assert evaluate(parse_program("exists(any(circle; red; above the(circle; red)))"), circles) is None
    assert evaluate(parse_program("exists(any(circle; blue; below the(circle; red)))"), circles).value == "yes"


@pytest.mark.parametrize(("head", "sides"), [("across", ("left", "right")), ("vertical", ("above", "below"))])
def test_an_alternative_is_asked_in_the_words_of_its_answer(head, sides):
    facts = scene(thing("o1", "dog", TOP), thing("o2", "cup", (0.7, 0.7, 0.9, 0.9)))
    for text in asked(f"{head}(the(dog), the(cup))", facts):
        assert all(side in text.lower() for side in sides), text
        assert not {"move", "higher", "lower", "direction"} & set(text.lower().split()), text


def test_a_person_is_no_it():
    facts = scene(thing("o1", "man", TOP), thing("o2", "woman", (0.7, 0.7, 0.9, 0.9)), source="visual_genome")
    assert not {text for text in answered("across(the(man), the(woman))", facts) if text.startswith("It ")}
    option = templates.brief(parse_program("relative(the(man), the(woman))"), facts, "above and left of", Random(0))
    assert option == "Above and to the left of the woman"


def test_no_question_gives_its_colour_away():
    facts = scene(thing("o1", "sweater", TOP, "grey"), thing("o2", "water", WIDE, "blue"), source="visual_genome")
    assert evaluate(parse_program("colour(the(sweater))"), facts).value == "grey"
    assert evaluate(parse_program("colour(the(sweater; grey))"), facts) is None
    assert evaluate(parse_program("colour(the(water))"), facts) is None


@pytest.mark.parametrize(
    "text",
    [
        "use(the(thing; which the(man; holding the(cup)) is carrying))",
        "what(the(man; wearing the(hat)), on)",
        "across(the(dog; left of the(man; holding the(cup; left of the(bed)))), the(bed))",
    ],
)
def test_nobody_has_to_untangle_a_question(text):
    assert not is_readable(parse_program(text), scene())


@pytest.mark.parametrize(
    "text", ["use(the(thing; which the(man) is carrying))", "what(the(man), on)", "colour(the(cup; left of the(dog)))"]
)
def test_one_clause_can_be_read(text):
    assert is_readable(parse_program(text), scene())


def test_wrong_options_differ_from_one_another_and_are_not_narrower():
    assert may_both_be_right("made_of/thing", "metal", "steel") and not may_both_be_right("made_of/thing", "glass", "cotton")
    assert overlap("the upper body", "the neck") and overlap("the legs", "the lower body")
    assert overlap("metal", "stainless steel") and not overlap("the neck", "the legs")


def test_things_of_photos_lie_on_the_side_on_which_they_are_furthest():
    facts = scene(thing("o1", "dog", (0.05, 0.5, 0.15, 0.6)), thing("o2", "cup", (0.8, 0.3, 0.9, 0.4)))
    assert facts.relative_positions(*facts.objects) == ("left of",)


def test_one_boat_has_two_names_unless_one_caption_has_both():
    objects = thing("o1", "canoe", TOP), thing("o2", "boat", FAR)
    one, two = ("A man in a <st>canoe<ed>[o1].", "A man in a <st>boat<ed>[o2]."), ("A <st>canoe<ed>[o1] by a <st>boat<ed>[o2].",)
    assert not (renamed := scene(*objects, source="flickr30k", meta={"grounded_captions": one})).are_distinct(*renamed.objects)
    assert (both := scene(*objects, source="flickr30k", meta={"grounded_captions": two})).are_distinct(*both.objects)


def test_the_car_on_the_street_may_be_one_of_several():
    """Visual Genome's describers note a place of some things of a kind and not of the next."""
    objects = thing("o1", "car", UNDER), thing("o2", "street", WIDE), thing("o3", "cars", FAR)
    relations = (Relation(subject="o1", predicate="parked on", object="o2"),)
    facts = scene(*objects, source="visual_genome", relations=relations)
    assert evaluate(parse_program("power(the(car; parked on the(street)))"), facts) is None


def test_books_are_on_no_wall():
    relations = tuple(Relation(subject=tag, predicate="on", object="o3") for tag in ("o1", "o2"))
    objects = thing("o1", "book", TOP), thing("o2", "clock", FAR), thing("o3", "wall", (0, 0, 1, 1))
    facts = scene(*objects, source="visual_genome", relations=relations)
    assert [link.subject for link in facts.links] == ["o2"]


def test_a_scoreboard_is_no_television():
    facts = scene(thing("o1", "tv", TOP), thing("o2", "baseball glove", UNDER))
    assert [found.noun for found in facts.objects] == ["baseball glove"]
    assert not facts.is_absent("tv")


def test_legs_are_added_up_of_several_only():
    facts = scene(thing("o1", "dog", TOP), thing("o2", "horse", FAR), thing("o3", "horse", UNDER))
    assert evaluate(parse_program("all_legs(any(dog))"), facts) is None
    assert evaluate(parse_program("all_legs(any(horse))"), facts).value == "8"
