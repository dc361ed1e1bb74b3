"""What is certainly true of a scene, typed: objects, links between them, where they are, how many, and what is absent.

Every judgement has three outcomes, yes, no and unsure, and what is unsure is never stated. The file knows the corpora's
promises (`exhaustive`), but no question and no wording.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from comvint_hf.annotator.facts import duplicates, relations
from comvint_hf.annotator.facts.geometry import AREA_RATIO, GAP, SIDES, edge, is_on_side, may_coincide
from comvint_hf.annotator.facts.objects import (
    SceneObject,
    add_region_colours,
    attribute_types,
    is_category_uncertain,
    is_different_colour,
    is_picture,
    read_object,
)
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import COLLECTIVES, COLOURS, NUMBER_OF_WORD, NounPhrase, core, noun_phrase, words
from comvint_hf.annotator.words.vocabulary import all_classes_of, could_be
from comvint_hf.grounding import find_tags
from comvint_hf.registry import find_traits
from comvint_hf.text import plural, singular
from comvint_hf.types import Scene

MOST_COUNTED = 12
"""Above this many, COCO's annotators may have turned to a crowd annotation (they were asked to at 10 to 15)."""
PILED = frozenset(("book", "banana", "apple", "orange", "carrot", "broccoli"))
"""Kinds that lie in rows and bunches, where COCO's annotators often drew one box for several."""
DEPICTED = words("depicted")
DIAGONAL = 1.5
"""Below this ratio of distances along the two axes, one object is diagonally from another, on no one side."""
LEAST_COUNTED = 0.004
"""Share of the image below which an object of a photo is not counted, nor told by being the leftmost: nobody would find it."""
SMALLEST = 0.002
"""Share of the image below which an object is too small to be asked about."""
_WORD = re.compile(r"[a-z][a-z'\-]*")


class Link(NamedTuple):
    """`subject` and `object` are tags: o1 "holding" o2. `verb` is one of `vocabulary.relations()`."""

    subject: str
    verb: str
    object: str


class Description(NamedTuple):
    """A definite description of one object: noun, attributes before it, and how far out it is ("furthest left") or None."""

    tag: str
    noun: str
    attributes: tuple[str, ...] = ()
    furthest: str | None = None

    @property
    def text(self) -> str:
        """In words: "the large red circle", "the leftmost person"."""
        outer = (FURTHEST[self.furthest],) if self.furthest else ()
        return " ".join(("the", *outer, *self.attributes, self.noun))


FURTHEST = {"left": "leftmost", "right": "rightmost"}


class Facts:
    """All facts of one scene; everything is computed when first asked for and kept.

    `memory` is for whoever reads the facts, `values` for what programs come to on the scene, `resolved` for what references mean.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.traits = find_traits(scene.source)
        self.exhaustive = self.traits.exhaustive
        self.rendered = self.traits.rendered
        self.memory: dict[Any, Any] = {}
        self.values: dict[Any, Any] = {}
        self.resolved: dict[Any, Any] = {}

    @cached_property
    def objects(self) -> tuple[SceneObject, ...]:
        """Visible objects with a clean name, in the corpus's order."""
        objects = (obj for item in self.scene.objects if (obj := read_object(item, self.traits)))
        if self.traits.free_text_names:
            regions = self.scene.regions
            sky = "sky" in self._words
            seen = (obj for obj in objects if not is_picture(obj, regions) and (sky or obj.phrase.head != "sun"))
            return tuple(add_region_colours(obj, regions) for obj in seen)
        found = tuple(objects)
        if self.traits.phrase_objects:
            odd = duplicates.shared_tags(self._grounded_captions) | duplicates.find_modifiers(self._grounded_captions)
            return tuple(obj for obj in found if obj.tag not in odd)
        if not self.traits.category_names:
            return found
        depicted = not DEPICTED.isdisjoint(self._words)
        return tuple(obj for obj in found if not is_category_uncertain(obj, found, depicted))

    @cached_property
    def names_without_box(self) -> tuple[NounPhrase, ...]:
        """What is spoken of and is no object here, because it has no box or its names disagree: its place is unknown."""
        named: Iterable[str] = [
            name for item in self.scene.objects if item.tag not in self.by_tag for name in (item.name, *item.names)
        ]
        if self.traits.free_text_names:
            named = map(core, named)  # the floor of "floor is wood" is there
        return tuple(phrase for phrase in map(noun_phrase, dict.fromkeys(named)) if phrase)

    @cached_property
    def by_tag(self) -> dict[str, SceneObject]:
        return {obj.tag: obj for obj in self.objects}

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Relations that the corpus or its captions state, in grammatical verb phrases; of a shirt that two wear one tag is wrong."""
        found = tuple(dict.fromkeys(Link(*found) for found in relations.find_relations(self)))
        worn = [link.object for link in found if link.verb == "wearing"]
        shared = {tag for tag in worn if worn.count(tag) > 1 and not self.by_tag[tag].plural}
        return tuple(link for link in found if link.verb != "wearing" or link.object not in shared)

    @cached_property
    def doubtful_links(self) -> frozenset[tuple[str, str, str]]:
        """What annotators stated and a viewer might not confirm: neither it nor its contrary is said."""
        return relations.uncertain_relations(self)

    @cached_property
    def links_from(self) -> dict[str, list[Link]]:
        return _group_links(self.links, 0)

    @cached_property
    def links_to(self) -> dict[str, list[Link]]:
        return _group_links(self.links, 2)

    @cached_property
    def all_words(self) -> frozenset[str]:
        """Every word and pair of words that anything annotated about the scene uses, in the singular."""
        return frozenset(map(singular, self._words)) | self._words

    @cached_property
    def _words(self) -> frozenset[str]:
        scene, words = self.scene, set()
        names = (name for item in scene.objects for name in (item.name, *item.names, *item.attributes))
        for text in (*scene.captions, *names, *(region.text for region in scene.regions)):
            found = _WORD.findall(text.lower())
            words.update(found)
            words.update(map(" ".join, pairwise(found)))
        return frozenset(words)

    @cached_property
    def mentioned_classes(self) -> frozenset[str]:
        """Every kind, narrow and broad, that may be in the image by any word that was said of it."""
        return frozenset().union(*map(all_classes_of, self.all_words)) if self.all_words else frozenset()

    # How many ------------------------------------------------------------------------------------------------------

    def candidates_for(self, noun: str) -> list[SceneObject]:
        """Objects that may be called `noun`: none of the others is one."""
        return [obj for obj in self.objects if could_be(obj.phrase.core, noun) or noun in obj.possible_names]

    def count(self, noun: str) -> int | None:
        """How many there are, only where the corpus is exhaustive and the number can be trusted; else `None`."""
        if self.rendered:
            return sum(noun in obj.possible_names for obj in self.objects)
        found = self.candidates_for(noun)
        if not self.exhaustive or noun in PILED or not found or len(found) > MOST_COUNTED or self.has_unknown_number(noun):
            return None
        if any(could_be(phrase.core, noun) for phrase in self.names_without_box):
            return None
        sure = all(noun in obj.possible_names and obj.box.area >= LEAST_COUNTED for obj in found)
        return len(found) if sure and self._said_numbers(noun) <= {len(found)} else None

    def _said_numbers(self, noun: str) -> set[int]:
        """How many of a kind the captions speak of, where they say a number: one that differs makes any count doubtful."""
        said = set()
        for caption in self.scene.captions:
            words = _WORD.findall(caption.lower())
            for place, word in enumerate(words):
                number = NUMBER_OF_WORD.get(word, 0)
                if number > 1 and any(could_be(after, noun) for after in words[place + 1 : place + 4]):
                    said.add(number)
        return said

    def has_unknown_number(self, noun: str) -> bool:
        """Whether a crowd of this kind stands for an unknown number."""
        return any("crowd" in item.kind and could_be(item.name, noun) for item in self.scene.objects)

    # Where ---------------------------------------------------------------------------------------------------------

    def side(self, a: SceneObject, b: SceneObject, side: str) -> bool | None:
        """Whether `a` is clearly on that side of `b`: True, False, or `None` where it depends on how one looks."""
        return is_on_side(a.box, b.box, side, self.rendered)

    def relative_positions(self, a: SceneObject, b: SceneObject) -> tuple[str, ...]:
        """All sides of `b` on which `a` clearly is; on photos only those along the axis on which they are clearly further apart."""
        found = tuple(side for side in SIDES if self.side(a, b, side)) if self.are_distinct(a, b) else ()
        if self.rendered or len(found) < 2:
            return found
        (x, y), (other_x, other_y) = a.box.centre, b.box.centre
        across, down = abs(x - other_x), abs(y - other_y)
        if max(across, down) < DIAGONAL * min(across, down):
            return ()
        return found[:1] if across > down else found[-1:]

    def are_distinct(self, a: SceneObject, b: SceneObject) -> bool:
        """Whether two objects are surely different ones: no box of one nearly covers one of the other."""
        key = (a.tag, b.tag)
        if key not in self.memory:
            covering = any(may_coincide(x, y) for x in a.boxes for y in b.boxes)
            self.memory[key] = a.tag != b.tag and not covering and not self._may_be_renamed(a, b)
        return self.memory[key]

    def _may_be_renamed(self, a: SceneObject, b: SceneObject) -> bool:
        """Whether one may be the other: Flickr30k's captions call one boat a boat and a canoe, and none names both."""
        if not self.traits.phrase_objects or a.noun == b.noun or not could_be(a.phrase.core, b.phrase.core):
            return False
        return not any({a.tag, b.tag} <= tags for tags in self._named_together)

    @cached_property
    def _named_together(self) -> tuple[frozenset[str], ...]:
        """The tags that each caption names."""
        return tuple(frozenset(find_tags(caption)) for caption in self._grounded_captions)

    @property
    def _grounded_captions(self) -> tuple[str, ...]:
        return self.scene.meta.get("grounded_captions", ())

    @cached_property
    def second_names(self) -> dict[str, str]:
        """The tags of objects that may be another one under a second name, with that one's tag."""
        return {} if self.traits.distinct_objects else duplicates.second_names(self.objects, self._named_together)

    def larger(self, a: SceneObject, b: SceneObject) -> bool | None:
        """Whether `a` takes up clearly more of the image than `b`; `None` when the areas are alike."""
        ratio = a.box.area / max(b.box.area, 1e-9)
        return True if ratio >= AREA_RATIO else False if ratio <= 1 / AREA_RATIO else None

    def find_extreme(self, objects: Sequence[SceneObject], direction: str, margin: float | None = None) -> SceneObject | None:
        """The object that is clearly furthest to one side ("left", "right", "top", "bottom"), `None` if two compete."""
        sign = 1 if direction in ("left", "top") else -1
        axis = 0 if direction in ("left", "right") else 1
        ranked = sorted(objects, key=lambda obj: sign * obj.box.centre[axis])
        if len(ranked) < 2:
            return ranked[0] if ranked else None
        first, second = ranked[:2]
        gap = sign * (second.box.centre[axis] - first.box.centre[axis])
        outer = edge(first.box, direction) * sign <= min(edge(obj.box, direction) * sign for obj in ranked[1:]) + 1e-9
        return first if gap >= (margin if margin is not None else GAP) and outer else None

    # Which one -----------------------------------------------------------------------------------------------------

    def describe(self, obj: SceneObject) -> Description | None:
        """The shortest definite description that fits nothing else in the image, or `None`."""
        if obj.tag not in self._descriptions:
            self._descriptions[obj.tag] = self._describe(obj)
        return self._descriptions[obj.tag]

    @cached_property
    def _descriptions(self) -> dict[str, Description | None]:
        return {}

    def _describe(self, obj: SceneObject) -> Description | None:
        rivals = self.find_similar(obj, obj.noun)
        if rivals is None or not obj.plural and obj.phrase.head not in COLLECTIVES and len(obj.boxes) > 1:
            return None
        if not rivals:
            return Description(obj.tag, obj.noun)
        for attributes in _attribute_choices(obj):
            if all(self.rules_out(rival, attributes) for rival in rivals):
                return Description(obj.tag, obj.noun, attributes)
        large = all(other.box.area >= LEAST_COUNTED for other in (obj, *rivals))
        if self.exhaustive and not self.rendered and large and not obj.plural and not any(rival.plural for rival in rivals):
            for direction in FURTHEST:
                if self.find_extreme((obj, *rivals), direction) is obj:
                    return Description(obj.tag, obj.noun, (), direction)
        return None

    def find_similar(self, obj: SceneObject, noun: str) -> list[SceneObject] | None:
        """Other objects that may be called `noun`; `None` if there may be more than are annotated."""
        if self.hidden_more(obj, noun):
            return None
        return [other for other in self.candidates_for(noun) if other.tag != obj.tag]

    def hidden_more(self, obj: SceneObject, noun: str) -> bool:
        """Whether objects called `noun` may be there that are not annotated: a crowd, a mentioned plural, a box without a name.

        Visual Genome's annotators drew "the books" around as many of them as they liked.
        """
        if self.rendered:
            return False
        if self.has_unknown_number(noun) or any(could_be(phrase.core, noun) for phrase in self.names_without_box):
            return True
        if self.traits.free_text_names and (obj.plural or f"{noun}s" in self._words):
            return True
        if self.traits.phrase_objects and self._may_be_shared(obj):
            return True
        if not obj.plural and plural(noun) != noun and {plural(noun), plural(obj.phrase.head)} & self._words:
            return not self.exhaustive or len(self.candidates_for(noun)) < 2
        return False

    def _may_be_shared(self, obj: SceneObject) -> bool:
        wearers = frozenset(link.subject for link in self.links_to.get(obj.tag, ()) if link.verb == "wearing")
        return duplicates.may_share_clothing(obj, self.objects, wearers)

    def rules_out(self, obj: SceneObject, attributes: Iterable[str]) -> bool:
        """Whether an object surely lacks one of the attributes: it has a known other colour, size or age."""
        return any(self.has(obj, attribute) is False for attribute in attributes)

    def has(self, obj: SceneObject, attribute: str) -> bool | None:
        """Whether an object has an attribute: `None` where nobody said."""
        kind = attribute_types().get(attribute, "")
        if kind == "colour":
            colour = COLOURS.get(attribute, attribute)
            return (
                True if colour in obj.colours else (False if obj.colours and is_different_colour(colour, obj.colours) else None)
            )
        if attribute in obj.attributes:
            return True
        others = {word for word in obj.attributes if attribute_types().get(word) == kind}
        return False if others and self.rendered else None

    # What is absent ------------------------------------------------------------------------------------------------

    def is_absent(self, noun: str) -> bool:
        """Whether nothing that may be called `noun` is in the image."""
        key = ("absent", noun)
        if key not in self.memory:
            self.memory[key] = self._is_absent(noun)
        return self.memory[key]

    def _is_absent(self, noun: str) -> bool:
        if self.rendered:
            return not any(noun in obj.possible_names for obj in self.objects)
        meant = vocabulary.classes_of(noun)
        return meant.isdisjoint(self.mentioned_classes) and all_classes_of(noun).isdisjoint(self.general_classes)

    @cached_property
    def general_classes(self) -> frozenset[str]:
        """Broad kinds that were said as such ("a vehicle", "some animal"): any narrower kind may be meant."""
        return frozenset().union(*map(vocabulary.classes_of, self.all_words)) if self.all_words else frozenset()


def _attribute_choices(obj: SceneObject) -> Iterator[tuple[str, ...]]:
    """Attributes to tell an object apart by, the simplest first: one word, then size and colour."""
    kinds = attribute_types()
    sizes = [word for word in obj.attributes if kinds[word] in ("size", "height", "age", "material")]
    colour = [obj.colour] if obj.colour and obj.colour not in obj.noun.split(" ") else []
    for word in (*colour, *sizes):
        yield (word,)
    for size in sizes:
        for shade in colour:
            yield (size, shade)


def _group_links(found: Sequence[Link], place: int) -> dict[str, list[Link]]:
    groups: dict[str, list[Link]] = {}
    for link in found:
        groups.setdefault(link[place], []).append(link)
    return groups


_KEPT: OrderedDict[tuple[str, int], Facts] = OrderedDict()
KEPT_SCENES = 256


def facts_of(scene: Scene) -> Facts:
    """The facts of a scene, computed once and kept while it is among the last ones asked for."""
    key = (scene.id, id(scene))
    facts = _KEPT.get(key)
    if facts is None or facts.scene is not scene:
        facts = _KEPT[key] = Facts(scene)
        if len(_KEPT) > KEPT_SCENES:
            _KEPT.popitem(last=False)
    return facts
