"""What is certainly true of a scene, typed: things, links between them, where they are, how many, and what is absent.

Every judgement has three outcomes, yes, no and unsure, and what is unsure is never stated. The file knows the corpora's
promises (`exhaustive`), but no question and no wording.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

from comvint_hf.annotator.facts import duplicates, relations
from comvint_hf.annotator.facts.geometry import AREA_RATIO, GAP, SIDES, beside, edge, same
from comvint_hf.annotator.facts.objects import Thing, attribute_kinds, contested, doubtful, pictured, read_thing, unlike, word_of
from comvint_hf.annotator.words import vocabulary
from comvint_hf.annotator.words.english import COLLECTIVES, COLOURS, NounPhrase, core, noun_phrase, plural, singular, words
from comvint_hf.annotator.words.vocabulary import broad, could_be, is_a
from comvint_hf.grounding import tags_in
from comvint_hf.types import Scene

EXHAUSTIVE = frozenset(("shapes", "coco"))
"""Sources that annotate every instance of their categories."""
MOST_COUNTED = 12
"""Above this many, COCO's annotators may have turned to a crowd annotation (they were asked to at 10 to 15)."""
PILED = frozenset(("book", "banana", "apple", "orange", "carrot", "broccoli"))
"""Kinds that lie in rows and bunches, where COCO's annotators often drew one box for several."""
DEPICTED = words("depicted")
DIAGONAL = 1.5
"""Below this ratio of distances along the two axes, one thing is diagonally from another, on no one side."""
SMALLEST = 0.002
"""Share of the picture below which a thing is too small to be asked about."""
_WORD = re.compile(r"[a-z][a-z'\-]*")


class Link(NamedTuple):
    """`subject` and `object` are tags: o1 "holding" o2. `verb` is one of `lexicon.relations()`."""

    subject: str
    verb: str
    object: str


class Description(NamedTuple):
    """A definite description of one thing: noun, attributes before it, and how far out it is ("furthest left") or None."""

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

    `memory` is for whoever reads the facts, `values` for what programs come to on the scene, `meant` for what references mean.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.exhaustive = scene.source in EXHAUSTIVE
        self.drawn = scene.source == "shapes"
        self.memory: dict[Any, Any] = {}
        self.values: dict[Any, Any] = {}
        self.meant: dict[Any, Any] = {}

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """Visible things with a clean name, in the corpus's order."""
        things = (thing for item in self.scene.objects if (thing := read_thing(item, self.scene.source)))
        if self.scene.source == "visual_genome":
            regions = self.scene.regions
            sky = "sky" in self._words
            seen = (thing for thing in things if not pictured(thing, regions) and (sky or thing.phrase.head != "sun"))
            return tuple(contested(thing, regions) for thing in seen)
        found = tuple(things)
        if self.scene.source == "flickr30k":
            odd = duplicates.shared_tags(self._grounded_captions) | duplicates.modifiers(self._grounded_captions)
            return tuple(thing for thing in found if thing.tag not in odd)
        if self.scene.source != "coco":
            return found
        depicted = not DEPICTED.isdisjoint(self._words)
        return tuple(thing for thing in found if not doubtful(thing, found, depicted))

    @cached_property
    def unseen(self) -> tuple[NounPhrase, ...]:
        """What is spoken of and is no thing here, because it has no box or its names disagree: its place is unknown."""
        named = (name for item in self.scene.objects if item.tag not in self.by_tag for name in (item.name, *item.names))
        if self.scene.source == "visual_genome":
            named = map(core, named)  # the floor of "floor is wood" is there
        return tuple(phrase for phrase in map(noun_phrase, dict.fromkeys(named)) if phrase)

    @cached_property
    def by_tag(self) -> dict[str, Thing]:
        return {thing.tag: thing for thing in self.things}

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """Relations that the corpus or its captions state, in grammatical verb phrases; of a shirt that two wear one tag is wrong."""
        found = tuple(dict.fromkeys(Link(*found) for found in relations.found(self)))
        worn = [link.object for link in found if link.verb == "wearing"]
        shared = {tag for tag in worn if worn.count(tag) > 1 and not self.by_tag[tag].plural}
        return tuple(link for link in found if link.verb != "wearing" or link.object not in shared)

    @cached_property
    def links_from(self) -> dict[str, list[Link]]:
        return _grouped(self.links, 0)

    @cached_property
    def links_to(self) -> dict[str, list[Link]]:
        return _grouped(self.links, 2)

    @cached_property
    def said(self) -> frozenset[str]:
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
    def mentioned(self) -> frozenset[str]:
        """Every kind, narrow and broad, that may be in the picture by any word that was said of it."""
        return frozenset().union(*map(broad, self.said)) if self.said else frozenset()

    # How many ------------------------------------------------------------------------------------------------------

    def called(self, noun: str) -> list[Thing]:
        """Things that may be called `noun`: none of the others is one."""
        return [thing for thing in self.things if could_be(thing.phrase.core, noun) or noun in thing.calls]

    def count(self, noun: str) -> int | None:
        """How many there are, only where the corpus is exhaustive and the number can be trusted; else `None`."""
        if self.drawn:
            return sum(noun in thing.calls for thing in self.things)
        found = self.called(noun)
        if not self.exhaustive or noun in PILED or not found or len(found) > MOST_COUNTED or self.crowded(noun):
            return None
        if any(could_be(phrase.core, noun) for phrase in self.unseen):
            return None
        sure = all(noun in thing.calls and thing.box.area >= SMALLEST for thing in found)
        return len(found) if sure else None

    def crowded(self, noun: str) -> bool:
        """Whether a crowd of this kind stands for an unknown number."""
        return any("crowd" in item.kind and could_be(item.name, noun) for item in self.scene.objects)

    # Where ---------------------------------------------------------------------------------------------------------

    def side(self, a: Thing, b: Thing, side: str) -> bool | None:
        """Whether `a` is clearly on that side of `b`: True, False, or `None` where it depends on how one looks."""
        return beside(a.box, b.box, side, self.drawn)

    def sides(self, a: Thing, b: Thing) -> tuple[str, ...]:
        """All sides of `b` on which `a` clearly is; on photos only those along the axis on which they are clearly further apart."""
        found = tuple(side for side in SIDES if self.side(a, b, side)) if self.apart(a, b) else ()
        if self.drawn or len(found) < 2:
            return found
        (x, y), (other_x, other_y) = a.box.centre, b.box.centre
        across, down = abs(x - other_x), abs(y - other_y)
        if max(across, down) < DIAGONAL * min(across, down):
            return ()
        return found[:1] if across > down else found[-1:]

    def apart(self, a: Thing, b: Thing) -> bool:
        """Whether two things are surely different ones: no box of one nearly covers one of the other."""
        key = (a.tag, b.tag)
        if key not in self.memory:
            covering = any(same(x, y) for x in a.boxes for y in b.boxes)
            self.memory[key] = a.tag != b.tag and not covering and not self._renamed(a, b)
        return self.memory[key]

    def _renamed(self, a: Thing, b: Thing) -> bool:
        """Whether one may be the other: Flickr30k's captions call one boat a boat and a canoe, and none names both."""
        if self.scene.source != "flickr30k" or a.noun == b.noun or not could_be(a.phrase.core, b.phrase.core):
            return False
        return not any({a.tag, b.tag} <= tags for tags in self._named_together)

    @cached_property
    def _named_together(self) -> tuple[frozenset[str], ...]:
        """The tags that each caption names."""
        return tuple(frozenset(tags_in(caption)) for caption in self._grounded_captions)

    @property
    def _grounded_captions(self) -> tuple[str, ...]:
        return self.scene.meta.get("grounded_captions", ())

    @cached_property
    def second_names(self) -> dict[str, str]:
        """The tags of things that may be another one under a second name, with that one's tag."""
        spoken = self.scene.source in ("flickr30k", "visual_genome")
        return duplicates.second_names(self.things, self._named_together) if spoken else {}

    def place(self, thing: Thing) -> str | None:
        """The third of the picture it is clearly in: "left", "right", "top", "bottom" or "middle"; `None` if unsure."""
        x, y = thing.box.centre
        wide, high = thing.box.x2 - thing.box.x1, thing.box.y2 - thing.box.y1
        if wide < 0.35 and (thing.box.x2 <= 0.4 or thing.box.x1 >= 0.6):
            return "left" if x < 0.5 else "right"
        if high < 0.35 and (thing.box.y2 <= 0.4 or thing.box.y1 >= 0.6):
            return "top" if y < 0.5 else "bottom"
        return "middle" if abs(x - 0.5) < 0.08 and abs(y - 0.5) < 0.08 and max(wide, high) < 0.4 else None

    def larger(self, a: Thing, b: Thing) -> bool | None:
        """Whether `a` takes up clearly more of the picture than `b`; `None` when the areas are alike."""
        ratio = a.box.area / max(b.box.area, 1e-9)
        return True if ratio >= AREA_RATIO else False if ratio <= 1 / AREA_RATIO else None

    def outermost(self, things: Sequence[Thing], direction: str, margin: float | None = None) -> Thing | None:
        """The thing that is clearly furthest to one side ("left", "right", "top", "bottom"), `None` if two compete."""
        sign = 1 if direction in ("left", "top") else -1
        axis = 0 if direction in ("left", "right") else 1
        ranked = sorted(things, key=lambda thing: sign * thing.box.centre[axis])
        if len(ranked) < 2:
            return ranked[0] if ranked else None
        first, second = ranked[:2]
        gap = sign * (second.box.centre[axis] - first.box.centre[axis])
        outer = edge(first.box, direction) * sign <= min(edge(thing.box, direction) * sign for thing in ranked[1:]) + 1e-9
        return first if gap >= (margin if margin is not None else GAP) and outer else None

    # Which one -----------------------------------------------------------------------------------------------------

    def the(self, thing: Thing) -> Description | None:
        """The shortest definite description that fits nothing else in the picture, or `None`."""
        if thing.tag not in self._descriptions:
            self._descriptions[thing.tag] = self._describe(thing)
        return self._descriptions[thing.tag]

    @cached_property
    def _descriptions(self) -> dict[str, Description | None]:
        return {}

    def _describe(self, thing: Thing) -> Description | None:
        rivals = self.rivals(thing, thing.noun)
        if rivals is None or not thing.plural and thing.phrase.head not in COLLECTIVES and len(thing.boxes) > 1:
            return None
        if not rivals:
            return Description(thing.tag, thing.noun)
        for attributes in _attribute_choices(thing):
            if all(self.lacks(rival, attributes) for rival in rivals):
                return Description(thing.tag, thing.noun, attributes)
        if not thing.plural and not any(rival.plural for rival in rivals):
            for direction in FURTHEST:
                if self.exhaustive and not self.drawn and self.outermost((thing, *rivals), direction) is thing:
                    return Description(thing.tag, thing.noun, (), direction)
        return None

    def rivals(self, thing: Thing, noun: str) -> list[Thing] | None:
        """Other things that may be called `noun`; `None` if there may be more than are annotated."""
        if self.hidden_more(thing, noun):
            return None
        return [other for other in self.called(noun) if other.tag != thing.tag]

    def hidden_more(self, thing: Thing, noun: str) -> bool:
        """Whether things called `noun` may be there that are not annotated: a crowd, a mentioned plural, a box without a name.

        Visual Genome's annotators drew "the books" around as many of them as they liked.
        """
        if self.drawn:
            return False
        if self.crowded(noun) or any(could_be(phrase.core, noun) for phrase in self.unseen):
            return True
        if self.scene.source == "visual_genome" and (thing.plural or f"{noun}s" in self._words):
            return True
        if self.scene.source == "flickr30k" and self._worn_by_others(thing):
            return True
        if not thing.plural and plural(noun) != noun and {plural(noun), plural(thing.phrase.head)} & self._words:
            return not self.exhaustive or len(self.called(noun)) < 2
        return False

    def _worn_by_others(self, thing: Thing) -> bool:
        wearers = frozenset(link.subject for link in self.links_to.get(thing.tag, ()) if link.verb == "wearing")
        return duplicates.dressed_alike(thing, self.things, wearers)

    def lacks(self, thing: Thing, attributes: Iterable[str]) -> bool:
        """Whether a thing surely lacks one of the attributes: it has a known other colour, size or age."""
        return any(self.has(thing, attribute) is False for attribute in attributes)

    def has(self, thing: Thing, attribute: str) -> bool | None:
        """Whether a thing has an attribute: `None` where nobody said."""
        kind = attribute_kinds().get(attribute, "")
        if kind == "colour":
            colour = COLOURS.get(attribute, attribute)
            return True if colour in thing.colours else (False if thing.colours and unlike(colour, thing.colours) else None)
        if attribute in thing.attributes:
            return True
        others = {word for word in thing.attributes if attribute_kinds().get(word) == kind}
        return False if others and self.drawn else None

    # What is absent ------------------------------------------------------------------------------------------------

    def is_absent(self, noun: str) -> bool:
        """Whether nothing that may be called `noun` is in the picture."""
        key = ("absent", noun)
        if key not in self.memory:
            self.memory[key] = self._is_absent(noun)
        return self.memory[key]

    def _is_absent(self, noun: str) -> bool:
        if self.drawn:
            return not any(noun in thing.calls for thing in self.things)
        meant = vocabulary.meanings(noun)
        return meant.isdisjoint(self.mentioned) and broad(noun).isdisjoint(self._bare_broad)

    @cached_property
    def _bare_broad(self) -> frozenset[str]:
        """Broad kinds that were said as such ("a vehicle", "some animal"): any narrower kind may be meant."""
        return frozenset().union(*map(vocabulary.meanings, self.said)) if self.said else frozenset()

    @cached_property
    def absentees(self) -> tuple[str, ...]:
        """Kinds that are certainly absent, the plausible ones (of a setting that the picture shares) first."""
        settings = frozenset().union(*(kind.settings for kind in map(vocabulary.kinds().get, self.mentioned) if kind))
        ranked: list[tuple[int, str]] = []
        for kind in vocabulary.kinds().values():
            if kind.settings and (kind.big or self.exhaustive and kind.coco) and self.is_absent(kind.name):
                ranked.append((-len(kind.settings & settings), kind.name))
        return tuple(name for _, name in sorted(ranked))

    def absent(self, random: Random, count: int, kind: str = "", beside: Iterable[str] = ()) -> list[str]:
        """`count` words for things that are surely not there, plausible ones preferred, of the broader `kind` if given."""
        words = [word_of(name) for name in self.absentees if not kind or is_a(name, kind)]
        words = [word for word in dict.fromkeys(words) if not any(could_be(word, other) for other in beside)]
        pool = words[: max(12, 3 * count)]
        random.shuffle(pool)
        return pool[:count]


def _attribute_choices(thing: Thing) -> Iterator[tuple[str, ...]]:
    """Attributes to tell a thing apart by, the simplest first: one word, then size and colour."""
    kinds = attribute_kinds()
    sizes = [word for word in thing.attributes if kinds[word] in ("size", "height", "age", "material")]
    colour = [thing.colour] if thing.colour and thing.colour not in thing.noun.split(" ") else []
    for word in (*colour, *sizes):
        yield (word,)
    for size in sizes:
        for shade in colour:
            yield (size, shade)


def _grouped(found: Sequence[Link], place: int) -> dict[str, list[Link]]:
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
