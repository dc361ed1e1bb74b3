"""What the SVIT answers speak of, and what they leave alone: small scenes made by hand, one habit each."""

from __future__ import annotations

import pytest
from annotator.toys import draws

from comvint_hf.annotator.answers import description, reasoning
from comvint_hf.annotator.answers.conversation import conversation
from comvint_hf.annotator.answers.subjects import view_of
from comvint_hf.annotator.language import captions
from comvint_hf.annotator.language.regions import region_text
from comvint_hf.errors import ReplyError
from comvint_hf.generation.prompt import Prompt
from comvint_hf.types import Box, Object, Region, Relation, Scene

LEFT, MIDDLE, RIGHT = (Box(x1=x, y1=0.3, x2=x + 0.2, y2=0.7) for x in (0.05, 0.4, 0.75))
ALL = Box(x1=0, y1=0, x2=1, y2=1)


def thing(tag: str, name: str, *boxes: Box, kind: str = "other") -> Object:
    return Object(tag=tag, key=tag, name=name, names=(name,), boxes=boxes or (MIDDLE,), kind=kind)


def scene_of(*objects: Object, source: str = "flickr30k", **fields) -> Scene:
    return Scene(id=f"{source}/1", source=source, width=640, height=480, objects=objects, **fields)


def told(scene: Scene, seeds: range = range(20)) -> list[list[str]]:
    """The questions and answers of every conversation, over several seeds."""
    prompt = Prompt("svit/conversation", scene=scene, count=3, turns=5)
    return [
        [text for turn in dialogue.turns for text in (turn.question, turn.answer)]
        for seed in seeds
        for dialogue in conversation(prompt, draws(seed)).dialogues
    ]


def contents(scene: Scene) -> list[tuple[str, list[str]]]:
    """The sentences of a description that list what there is, where no caption told of it."""
    photo = description._Photo(view_of(scene), draws())
    return list(photo._contents(photo._others()))


@pytest.mark.parametrize("name", ("a group of people", "a crowd", "a family"))
def test_a_group_in_one_box_is_no_person(name):
    (subject,) = view_of(scene_of(thing("o1", name, kind="people"))).subjects
    assert subject.group and subject.it == "it"


@pytest.mark.parametrize("name", ("his son", "her mother", "the shade", "an opponent", "no shirt"))
def test_what_no_picture_shows_is_not_spoken_of(name):
    assert view_of(scene_of(thing("o1", name))).subjects == ()


@pytest.mark.parametrize(("name", "noun"), [("vibrant green grass", "grass"), ("very colorful outfits", "colorful outfits"), ("a lone dog", "dog"), ("a hot dog", "hot dog")])  # fmt: skip
def test_names_leave_tastes_out(name, noun):
    assert [found.noun for found in view_of(scene_of(thing("o1", name))).facts.objects] == [noun]


def test_no_dog_is_in_front_of_a_dog():
    dogs = thing("o1", "a dog", LEFT), thing("o2", "a dog", RIGHT), thing("o3", "a ball")
    relations = tuple(Relation(subject="o1", predicate="in front of", object=two) for two in ("o2", "o3"))
    view = view_of(scene_of(*dogs, source="visual_genome", relations=relations))
    assert [(link.subject, link.object) for link in view.links] == [("o1", "o3")]


def test_nothing_is_left_of_a_wall():
    view = view_of(scene_of(thing("o1", "a wall", LEFT), thing("o2", "a chair", MIDDLE), thing("o3", "a lamp", RIGHT)))
    assert {frozenset((one.tag, two.tag)) for one, two, _ in view.position_pairs(draws())} == {frozenset(("o2", "o3"))}


def test_photos_tell_the_clearest_side():
    low = Box(x1=0.75, y1=0.6, x2=0.95, y2=0.8)
    scene = scene_of(thing("o1", "a dog", Box(x1=0.05, y1=0.3, x2=0.25, y2=0.5)), thing("o2", "a chair", low))
    found = {(one.tag, two.tag, side) for seed in range(20) for one, two, side in view_of(scene).position_pairs(draws(seed))}
    assert found == {("o1", "o2", "to the left of"), ("o2", "o1", "to the right of")}


def test_one_of_several_is_not_called_the_only_one():
    tiny = Box(x1=0.1, y1=0.1, x2=0.13, y2=0.13)
    scene = scene_of(thing("o1", "frisbee", MIDDLE), thing("o2", "frisbee", tiny), source="coco")
    (sentence, _), *_ = contents(scene)
    assert "some frisbees" in sentence.lower()


def test_the_weather_is_not_read_off_clothes_inside():
    clothes = thing("o1", "a coat", LEFT, kind="clothing")
    for caption, number in (("A man in a coat stands in a kitchen.", 0), ("A man in a coat waits for a bus.", 1)):
        view = view_of(scene_of(clothes, captions=(caption,)))
        assert len(list(reasoning.weathers(view, draws()))) == number


def test_turns_about_what_happens_see_the_same_colours():
    scene = scene_of(
        thing("o1", "a dog"), captions=("A brown dog is running across a lawn.", "A white dog is running with a ball.")
    )
    assert len(captions.caption_sentences(scene)) == 2
    for texts in told(scene):
        assert not ({"brown", "white"} <= set(" ".join(texts).split()))


def test_plurals_of_visual_genome_are_never_all_of_them():
    books = thing("o1", "books")
    assert view_of(scene_of(books, source="visual_genome")).subjects == ()
    assert len(view_of(scene_of(books, source="flickr30k")).subjects) == 1


def test_a_description_says_nothing_twice():
    bikes = [thing(f"o{number}", "bike", box) for number, box in enumerate((LEFT, MIDDLE), 1)]
    relations = tuple(Relation(subject=bike.tag, predicate="parked on", object="o3") for bike in bikes)
    scene = scene_of(*bikes, thing("o3", "sidewalk", ALL), source="visual_genome", relations=relations)
    told = description._Photo(view_of(scene), draws())._links({"o1", "o2", "o3"})
    assert len(list(told)) <= 1


def test_region_texts_that_are_sentences_are_left_out():
    assert region_text("A man wears grey shoes") is None
    assert region_text("a light lights the room") is None
    assert region_text("a white car parked") is None
    assert region_text("a man in grey shoes") == "a man in grey shoes"


def test_an_overview_asks_for_nothing_that_it_told():
    scene = scene_of(thing("o1", "airplane"), source="coco", captions=("A plane is floating on top of a lake in the sun.",))
    for texts in told(scene):
        if any("floating" in text for text in texts):
            assert not any(text.startswith(("Yes", "No")) for text in texts)


def test_colours_that_two_describers_see_differently_are_not_stated():
    regions = (Region(tag="r1", text="a white brick wall", box=MIDDLE), Region(tag="r2", text="a red car", box=LEFT))
    objects = [
        Object(tag=tag, key=tag, name=name, names=(name,), boxes=(box,), attributes=("grey",))
        for tag, name, box in (("o1", "wall", MIDDLE), ("o2", "car", RIGHT))
    ]
    facts = view_of(scene_of(*objects, source="visual_genome", regions=regions)).facts
    assert [found.colour for found in facts.objects] == [None, "grey"]


def test_a_description_does_not_say_beside_of_what_it_links():
    things = thing("o1", "a dog", LEFT), thing("o2", "a chair", RIGHT)
    linked = (Relation(subject="o1", predicate="next to", object="o2"),)
    for relations, number in ((linked, 0), ((), 1)):
        scene = scene_of(*things, source="visual_genome", relations=relations)
        photo = description._Photo(view_of(scene), draws())
        photo.known = {"o1", "o2"}
        assert sum("dog" in text and "chair" in text for text, _ in photo._sides()) == number


def test_a_description_names_two_things_at_least():
    scene = scene_of(thing("o1", "a man", kind="people"), captions=("A man is working on an old house.",))
    with pytest.raises(ReplyError, match="too little"):
        description.detail_description(Prompt("svit/x", scene=scene, count=1), draws())


@pytest.mark.parametrize(("carrier", "seen"), [("bicycle", 0), ("person", 1)])
def test_a_bag_on_a_bicycle_is_no_backpack(carrier, seen):
    scene = scene_of(thing("o1", "backpack", MIDDLE), thing("o2", carrier, Box(x1=0.3, y1=0.2, x2=0.7, y2=0.9)), source="coco")
    facts = view_of(scene).facts
    assert sum(found.noun == "backpack" for found in facts.objects) == seen
    assert facts.count("backpack") == (seen or None) and not facts.is_absent("backpack")


@pytest.mark.parametrize(("caption", "seen"), [("A cartoon of a meal with posters on the wall.", 0), ("A meal on a table.", 1)])
def test_small_things_of_drawn_scenes_are_left_out(caption, seen):
    cake = Box(x1=0.8, y1=0.1, x2=0.9, y2=0.3)
    assert len(view_of(scene_of(thing("o1", "cake", cake), source="coco", captions=(caption,))).facts.objects) == seen


def test_a_colour_that_is_part_of_a_name_is_no_colour():
    (buoy,) = view_of(scene_of(thing("o1", "a small Red Bull buoy"))).facts.objects
    assert (buoy.noun, buoy.colour) == ("small red bull buoy", None)


def test_a_coat_that_fills_its_wearers_box_is_named_too():
    scene = scene_of(thing("o1", "a woman", kind="people"), thing("o2", "a red coat", kind="clothing"))
    ((sentence, tags),) = contents(scene)
    assert set(tags) == {"o1", "o2"} and "coat" in sentence


def test_what_a_thing_is_made_of_is_asked_once():
    walk = Object(tag="o1", key="1", name="sidewalk", names=("sidewalk",), boxes=(MIDDLE,), attributes=("brick",))
    for texts in told(scene_of(walk, source="visual_genome")):
        assert sum("made of" in question for question in texts[::2]) <= 1
