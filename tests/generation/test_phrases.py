"""Whether a phrase can be a name of what it points at: any name that people would use is one."""

import pytest

from comvint_hf.generation.phrases import is_name_of
from comvint_hf.types import Box, Object, Region, Scene

BOX = Box(x1=0, y1=0, x2=1, y2=1)
THINGS = {
    "dog": Object(tag="o1", key="1", name="dog", boxes=(BOX,)),
    "person": Object(tag="o2", key="2", name="person", boxes=(BOX,)),
    "phrase": Object(
        tag="o3", key="3", name="A young man in a red hat", names=("A young man in a red hat", "The cyclist"), boxes=(BOX,)
    ),
    "table": Object(tag="o4", key="4", name="dining table", boxes=(BOX,)),
    "tv": Object(tag="o5", key="5", name="tv", boxes=(BOX,)),
}
SCENE = Scene(
    id="toy/1", source="toy", width=1, height=1, objects=tuple(THINGS.values()),
    regions=(Region(tag="r1", text="a white truck at the curb", box=BOX, objects=("o1",)),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("phrase", "thing"),
    [
        ("dog", "dog"), ("Dogs", "dog"), ("small brown dog", "dog"), ("puppy", "dog"), ("animal", "dog"), ("pet", "dog"), ("it", "dog"),
        ("person", "person"), ("people", "person"), ("woman", "person"), ("surfer", "person"), ("baseball player", "person"),
        ("waiter", "person"), ("bride", "person"), ("him", "person"), ("man in the middle", "person"), ("crowd", "person"),
        ("man", "phrase"), ("cyclist", "phrase"), ("rider", "phrase"), ("hat", "phrase"),
        ("table", "table"), ("dining table", "table"), ("wooden desk", "table"), ("furniture", "table"),
        ("television", "tv"), ("screen", "tv"),
    ],
)  # fmt: skip
def test_what_people_call_a_thing_is_its_name(phrase, thing):
    assert is_name_of(phrase, THINGS[thing], SCENE)


@pytest.mark.parametrize(
    ("phrase", "thing"),
    [
        ("existence", "dog"), ("colour", "dog"), ("umbrella", "dog"), ("cat", "dog"), ("position", "person"), ("count", "person"),
        ("dog", "person"), ("kitchen table", "person"), ("reasoning", "table"), ("chair", "table"), ("dog", "tv"),
    ],
)  # fmt: skip
def test_a_topic_or_another_thing_is_none(phrase, thing):
    assert not is_name_of(phrase, THINGS[thing], SCENE)


def test_a_region_is_named_by_its_words_and_its_objects():
    region = SCENE.regions[0]
    assert is_name_of("truck", region, SCENE) and is_name_of("vehicle", region, SCENE) and is_name_of("dog", region, SCENE)
    assert not is_name_of("zebra", region, SCENE)
