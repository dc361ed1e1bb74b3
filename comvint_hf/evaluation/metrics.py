"""How good are answers? Pure functions over text, boxes and verdicts; they know no model, no dataset and no benchmark."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from comvint_hf.grounding import iou, plain
from comvint_hf.types import Box

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "pink", "brown", "black", "white", "grey", "gray")
SIZES = ("large", "small", "big", "tiny", "huge")
ATTRIBUTES = frozenset((*COLOURS, *SIZES))
"""Words before a name that tell one thing from another of the same name."""
_IRREGULAR = {"men": "man", "women": "woman", "children": "child", "people": "person", "mice": "mouse", "knives": "knife"}


class Share(NamedTuple):
    """A share of `n` with its 95 % interval; all three numbers are `None` for n = 0."""

    n: int
    value: float | None
    low: float | None
    high: float | None


class Mention(NamedTuple):
    """A thing that a description names, and the attributes said right before its name."""

    name: str
    attributes: frozenset[str]


def share(verdicts: Iterable[bool]) -> Share:
    """The share of true verdicts with its Wilson 95 % interval.

    >>> [round(number, 3) for number in share([True] * 9 + [False])]
    [10, 0.9, 0.596, 0.982]
    """
    known = list(verdicts)
    if not known:
        return Share(0, None, None, None)
    low, high = wilson(sum(known), len(known))
    return Share(len(known), sum(known) / len(known), low, high)


def wilson(right: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval for `right` of `n`; z is the normal quantile, 95 % unless told (Wilson 1927)."""
    rate, centre = right / n, right / n + z * z / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    # Rounding may put the interval a hair beside the rate itself.
    return max(0.0, min(rate, low)), min(1.0, max(rate, high))


def mean(numbers: Sequence[float]) -> float | None:
    """The mean, `None` of nothing."""
    return sum(numbers) / len(numbers) if numbers else None


def box_overlaps(found: Sequence[Box], truth: Sequence[Box]) -> list[float]:
    """The IoU that each true box is met with, `len(truth)` numbers, 0 for a box that is not met.

    Only the first `len(truth)` found boxes are looked at, so that pointing everywhere does not pay; a single true box is
    judged by the first box alone. Groups are paired greedily, largest IoU first, each box once.
    """
    candidates = found[: len(truth)]
    pairs = sorted(((iou(one, other), i, j) for i, one in enumerate(candidates) for j, other in enumerate(truth)), reverse=True)
    met, used = [0.0] * len(truth), set()
    open_truth = set(range(len(truth)))
    for overlap, i, j in pairs:
        if i not in used and j in open_truth:
            used.add(i)
            open_truth.remove(j)
            met[j] = overlap
    return met


def without_given(boxes: Iterable[Box], given: Iterable[Box]) -> list[Box]:
    """The boxes that the question did not already tell: repeating those is no grounding."""
    told = {_rounded(box) for box in given}
    return [box for box in boxes if _rounded(box) not in told]


def _rounded(box: Box) -> tuple[float, ...]:
    return tuple(round(number, 3) for number in box.xyxy)


def mentions(text: str, names: Iterable[str]) -> set[Mention]:
    """The things of `names` that a text speaks of, each with the attributes (colours, sizes) said right before its name.

    The longest name wins where several fit, plurals count as their singular, and saying a thing twice counts once.

    >>> sorted((mention.name, *sorted(mention.attributes)) for mention in mentions("Two large red circles and a star.", ["circle", "star"]))
    [('circle', 'large', 'red'), ('star',)]
    """
    known = {tuple(map(singular, name.lower().split())) for name in names if name.strip()}
    longest = max(map(len, known), default=0)
    words = [singular(word) for word in re.findall(r"[^\W\d_]+(?:[-'][^\W\d_]+)*|[.,;:!?]", plain(text).lower())]
    found, position = set(), 0
    while position < len(words):
        length = next((n for n in range(longest, 0, -1) if tuple(words[position : position + n]) in known), 0)
        if length:
            found.add(_mention(words, position, length))
        position += max(length, 1)
    return found


def _mention(words: Sequence[str], position: int, length: int) -> Mention:
    name = words[position : position + length]
    before = position
    while before and words[before - 1] in ATTRIBUTES:
        before -= 1
    inside = {word for word in name[:-1] if word in ATTRIBUTES}
    return Mention(" ".join(word for word in name if word not in inside), frozenset(words[before:position]) | inside)


def singular(word: str) -> str:
    """A noun without its plural ending; other words are left alone where the ending tells.

    >>> [singular(word) for word in ("boxes", "glass", "berries", "women", "vases")]
    ['box', 'glass', 'berry', 'woman', 'vase']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith(("ches", "shes", "xes", "sses", "toes")):
        return word[:-2]
    return word[:-3] + "y" if word.endswith("ies") and len(word) > 4 else word[:-1]


class Overlap(NamedTuple):
    """How two sets of mentions agree."""

    precision: float
    recall: float
    f1: float


def mention_overlap(said: Iterable[Mention], truth: Iterable[Mention]) -> Overlap:
    """Compare what a description says with what is there.

    A said thing meets a true one of the same name when it has every attribute that the true one has; each is used once.
    Colours and sizes left out are thus a miss, ones that the truth does not speak of are not.
    """
    open_said, known = sorted(said, key=_order), sorted(truth, key=_order)
    met, total = 0, len(open_said)
    for thing in known:
        match = next((item for item in open_said if item.name == thing.name and thing.attributes <= item.attributes), None)
        if match is not None:
            open_said.remove(match)
            met += 1
    precision, recall = met / total if total else 0.0, met / len(known) if known else 0.0
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall) if met else 0.0)


def _order(mention: Mention) -> tuple:
    """The most particular first: a plain "circle" must not take the place of the "red circle"."""
    return -len(mention.attributes), mention.name, tuple(sorted(mention.attributes))
