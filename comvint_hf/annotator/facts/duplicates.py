"""Tags that mislead: one that stands for two things, and two that stand for one thing under two names.

Flickr30k's captions were written by five people who did not see each other's, and their names were tied to tags later. This
file reads those captions; which things there are it is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from comvint_hf.annotator.facts.geometry import overlap
from comvint_hf.annotator.words.english import COLLECTIVES, words
from comvint_hf.annotator.words.vocabulary import could_be, is_a
from comvint_hf.grounding import REFERENCE, tags_in

if TYPE_CHECKING:
    from comvint_hf.annotator.facts.objects import Thing

GARMENTS = words("garments")
COVERED = 0.7
"""Share of the smaller box from which two names may be of one thing."""
_OTHER = re.compile(r"(?:another|the other|other|the one|one|the second|a second)\b", re.IGNORECASE)
_ANY = re.compile(r"(?:an?|one)\s", re.IGNORECASE)


def shared_tags(captions: Iterable[str]) -> frozenset[str]:
    """The tags that some caption gives to two things.

    >>> shared_tags(["<st>A surfer<ed>[o1] rides while <st>another surfer<ed>[o1] sits on <st>a board<ed>[o2]"])
    frozenset({'o1'})
    """
    return frozenset(tag for caption in captions for tag in _given_twice(caption))


def _given_twice(caption: str) -> Iterator[str]:
    """A tag that comes again as "another", "the one", or as any one of the same noun."""
    nouns: dict[str, set[str]] = {}
    for match in REFERENCE.finditer(caption):
        phrase, noun = match["phrase"].strip(), match["phrase"].lower().split()[-1]
        for tag in tags_in(match[0]):
            known = nouns.setdefault(tag, set())
            if known and (_OTHER.match(phrase) or _ANY.match(phrase) and noun in known):
                yield tag
            known.add(noun)


def modifiers(captions: Iterable[str]) -> frozenset[str]:
    """The tags that only ever stand right before another one: the paper of "a paper breathing mask" is no thing of its own.

    >>> modifiers(["<st>a paper<ed>[o1] <st>breathing mask<ed>[o2] and <st>a man<ed>[o3]"])
    frozenset({'o1'})
    """
    leading, alone = set(), set()
    for caption in captions:
        for match in REFERENCE.finditer(caption):
            (leading if caption[match.end() :].startswith(" <st>") else alone).update(tags_in(match[0]))
    return frozenset(leading - alone)


def second_names(things: Sequence[Thing], together: Sequence[frozenset[str]]) -> dict[str, str]:
    """The tags of things that may be an earlier one, called otherwise, with its tag: no caption (`together`: its tags) names both.

    A dress and a long skirt, a canoe and a small boat, where one box nearly covers the other.
    """
    found: dict[str, str] = {}
    for place, thing in enumerate(things):
        for other in things[:place]:
            if other.tag not in found and _one_thing(thing, other) and not _both_named(thing, other, together):
                vague, clear = (other, thing) if _compound(other.phrase.head, thing.phrase.head) else (thing, other)
                found[vague.tag] = clear.tag
                break
    return found


def _one_thing(one: Thing, two: Thing) -> bool:
    heads = one.phrase.head, two.phrase.head
    related = (
        could_be(one.phrase.core, two.phrase.core) or GARMENTS.issuperset(heads) or _compound(*heads) or _compound(*heads[::-1])
    )
    return related and max(overlap(a, b) for a, b in product(one.boxes, two.boxes)) > COVERED


def _compound(one: str, two: str) -> bool:
    """Whether the second word is written together of something and the first: a corkboard is a board."""
    return len(two) > len(one) > 3 and two.endswith(one)


def _both_named(one: Thing, two: Thing, together: Sequence[frozenset[str]]) -> bool:
    return any({one.tag, two.tag} <= tags for tags in together)


NEAR = 0.3
"""Share of the larger one's box from which another one is as near, so that their clothes may be taken for one another."""


def dressed_alike(thing: Thing, things: Iterable[Thing], wearers: frozenset[str]) -> bool:
    """Whether somebody else may wear or have such a thing, too: captions tell what one wears, and not what the others do.

    `wearers` are the tags of those who wear the thing. Who is far behind them does not count.
    """
    if not (thing.category.startswith(("clothing", "bodyparts")) or is_a(thing.phrase.core, "piece of clothing")):
        return False
    people = [other for other in things if other.animate]
    largest = max((box.area for other in people if other.tag in wearers or not wearers for box in other.boxes), default=0.0)
    near = [other for other in people if other.tag in wearers or max(box.area for box in other.boxes) >= NEAR * largest]
    if thing.plural and any(other.tag in wearers and _several(other) for other in near):
        return any(other.tag not in wearers for other in near)
    return sum(1 + _several(other) for other in near) > 1


def _several(thing: Thing) -> bool:
    return thing.plural or len(thing.boxes) > 1 or thing.phrase.head in COLLECTIVES
