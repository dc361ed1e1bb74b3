"""Tags that mislead: one that stands for two objects, and two that stand for one object under two names.

Flickr30k's captions were written by five people who did not see each other's, and their names were tied to tags later. This
file reads those captions; which objects there are it is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from comvint_hf.annotator.facts.geometry import overlap
from comvint_hf.annotator.words.english import COLLECTIVES, words
from comvint_hf.annotator.words.vocabulary import could_be, is_a
from comvint_hf.grounding import REFERENCE, find_tags

if TYPE_CHECKING:
    from comvint_hf.annotator.facts.objects import SceneObject

GARMENTS = words("garments")
COVERED = 0.7
"""Share of the smaller box from which two names may be of one object."""
_OTHER = re.compile(r"(?:another|the other|other|the one|one|the second|a second)\b", re.IGNORECASE)
_ANY = re.compile(r"(?:an?|one)\s", re.IGNORECASE)


def shared_tags(captions: Iterable[str]) -> frozenset[str]:
    """The tags that some caption gives to two objects.

    >>> shared_tags(["<st>A surfer<ed>[o1] rides while <st>another surfer<ed>[o1] sits on <st>a board<ed>[o2]"])
    frozenset({'o1'})
    """
    return frozenset(tag for caption in captions for tag in _repeated_tags(caption))


def _repeated_tags(caption: str) -> Iterator[str]:
    """A tag that comes again as "another", "the one", or as any one of the same noun."""
    nouns: dict[str, set[str]] = {}
    for match in REFERENCE.finditer(caption):
        phrase, noun = match["phrase"].strip(), match["phrase"].lower().split()[-1]
        for tag in find_tags(match[0]):
            known = nouns.setdefault(tag, set())
            if known and (_OTHER.match(phrase) or _ANY.match(phrase) and noun in known):
                yield tag
            known.add(noun)


def find_modifiers(captions: Iterable[str]) -> frozenset[str]:
    """The tags that only ever stand right before another one: the paper of "a paper breathing mask" is no object of its own.

    >>> find_modifiers(["<st>a paper<ed>[o1] <st>breathing mask<ed>[o2] and <st>a man<ed>[o3]"])
    frozenset({'o1'})
    """
    leading: set[str] = set()
    alone: set[str] = set()
    for caption in captions:
        for match in REFERENCE.finditer(caption):
            (leading if caption[match.end() :].startswith(" <st>") else alone).update(find_tags(match[0]))
    return frozenset(leading - alone)


def second_names(objects: Sequence[SceneObject], together: Sequence[frozenset[str]]) -> dict[str, str]:
    """The tags of objects that may be an earlier one, called otherwise, with its tag: no caption (`together`: its tags) names both.

    A dress and a long skirt, a canoe and a small boat, where one box nearly covers the other.
    """
    found: dict[str, str] = {}
    for place, obj in enumerate(objects):
        for other in objects[:place]:
            if other.tag not in found and _may_be_same(obj, other) and not _both_named(obj, other, together):
                vague, clear = (other, obj) if _is_compound(other.phrase.head, obj.phrase.head) else (obj, other)
                found[vague.tag] = clear.tag
                break
    return found


def _may_be_same(one: SceneObject, two: SceneObject) -> bool:
    heads = one.phrase.head, two.phrase.head
    related = (
        could_be(one.phrase.core, two.phrase.core)
        or GARMENTS.issuperset(heads)
        or _is_compound(*heads)
        or _is_compound(*heads[::-1])
    )
    return related and max(overlap(a, b) for a, b in product(one.boxes, two.boxes)) > COVERED


def _is_compound(one: str, two: str) -> bool:
    """Whether the second word is written together of something and the first: a corkboard is a board."""
    return len(two) > len(one) > 3 and two.endswith(one)


def _both_named(one: SceneObject, two: SceneObject, together: Sequence[frozenset[str]]) -> bool:
    return any({one.tag, two.tag} <= tags for tags in together)


NEAR = 0.3
"""Share of the larger one's box from which another one is as near, so that their clothes may be taken for one another."""


def may_share_clothing(obj: SceneObject, objects: Iterable[SceneObject], wearers: frozenset[str]) -> bool:
    """Whether somebody else may wear or have such an object, too: captions tell what one wears, and not what the others do.

    `wearers` are the tags of those who wear the object. Who is far behind them does not count.
    """
    if not (obj.category.startswith(("clothing", "bodyparts")) or is_a(obj.phrase.core, "piece of clothing")):
        return False
    people = [other for other in objects if other.animate]
    largest = max((box.area for other in people if other.tag in wearers or not wearers for box in other.boxes), default=0.0)
    near = [other for other in people if other.tag in wearers or max(box.area for box in other.boxes) >= NEAR * largest]
    if obj.plural and any(other.tag in wearers and _is_several(other) for other in near):
        return any(other.tag not in wearers for other in near)
    return sum(1 + _is_several(other) for other in near) > 1


def _is_several(obj: SceneObject) -> bool:
    return obj.plural or len(obj.boxes) > 1 or obj.phrase.head in COLLECTIVES
