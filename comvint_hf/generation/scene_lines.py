"""What of a scene a prompt shows: objects, regions and relations without repetitions, as many as a prompt may hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from comvint_hf.generation.phrases import content_words
from comvint_hf.types import Object, Region, Relation, Scene

T = TypeVar("T")
MOST_OBJECTS, MOST_REGIONS, MOST_RELATIONS = 80, 60, 60
"""Lines of a kind that a prompt shows. Visual Genome has images with hundreds of regions, most of them said before."""
MOST_OTHER_NAMES = 2
UNNAMED = "something"
"""The name of an entity that no caption mentions."""


def shown_objects(scene: Scene) -> list[Object]:
    """Return the objects that a prompt shows: those with a name, of very many the largest, in their order."""
    named = [item for item in scene.objects if item.name != UNNAMED]
    if len(named) <= MOST_OBJECTS:
        return named
    largest = sorted(named, key=lambda item: -max((box.area for box in item.boxes), default=0.0))[:MOST_OBJECTS]
    kept = {item.tag for item in largest}
    return [item for item in named if item.tag in kept]


def shown_regions(scene: Scene) -> list[Region]:
    """Return the regions that a prompt shows: the first of those that say the same."""
    return _first_of_each(scene.regions, lambda region: frozenset(content_words(region.text)))[:MOST_REGIONS]


def shown_tags(scene: Scene) -> list[str]:
    """Return the tags of the objects and regions that a prompt shows."""
    return [item.tag for item in shown_objects(scene)] + [region.tag for region in shown_regions(scene)]


def shown_relations(scene: Scene) -> list[Relation]:
    """Return the relations that a prompt shows, each once."""
    return _first_of_each(scene.relations, lambda one: (one.subject, one.predicate, one.object))[:MOST_RELATIONS]


def _first_of_each(items: Sequence[T], key: Callable[[T], Any]) -> list[T]:
    return list({key(item): item for item in reversed(items)}.values())[::-1]


def details(item: Object) -> str:
    """Return an object's attributes, what it is besides, and other names, for its line.

    >>> details(Object(tag="o1", key="1", name="man", attributes=("tall",), names=("man", "guy"), kind="crowd"))
    'tall; a crowd; also: guy'
    """
    others = [name for name in item.names if name.casefold() != item.name.casefold()][:MOST_OTHER_NAMES]
    parts = (
        ", ".join(dict.fromkeys(item.attributes)),
        "a crowd" if item.kind == "crowd" else "",
        f"also: {', '.join(others)}" if others else "",
    )
    return "; ".join(filter(None, parts))
