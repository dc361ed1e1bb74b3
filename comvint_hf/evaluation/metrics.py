"""Metrics of answers: pure functions over text, boxes and booleans."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from comvint_hf.grounding import iou, strip_grounding
from comvint_hf.text import ENGLISH, PLURAL_ONLY, singular
from comvint_hf.types import Box

T = TypeVar("T")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "pink", "brown", "black", "white", "grey", "gray")
SIZES = ("large", "small", "big", "tiny", "huge")
ATTRIBUTES = frozenset((*COLOURS, *SIZES))
"""Words before a name that distinguish objects of the same name."""
_NAME_RULES = replace(ENGLISH, unchanged=ENGLISH.unchanged - PLURAL_ONLY)
"""Names and texts also lose the plural of words such as "glasses", which may be several of an object."""


class Rate(NamedTuple):
    """A fraction of `n` answers with its 95 % interval; value, low and high are `None` for n = 0."""

    n: int
    value: float | None
    low: float | None
    high: float | None


class DescribedObject(NamedTuple):
    """An object that a description names, with the attributes right before the name."""

    name: str
    attributes: frozenset[str]


def compute_rate(verdicts: Iterable[bool]) -> Rate:
    """Compute the fraction of true values with its Wilson 95 % interval.

    >>> [round(number, 3) for number in compute_rate([True] * 9 + [False])]
    [10, 0.9, 0.596, 0.982]
    """
    values = list(verdicts)
    if not values:
        return Rate(0, None, None, None)
    low, high = score_interval(sum(values), len(values))
    return Rate(len(values), sum(values) / len(values), low, high)


def score_interval(correct: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Compute the Wilson score interval of `correct` out of `n` (Wilson 1927); `z` is the normal quantile, 95 % by default."""
    rate, centre = correct / n, correct / n + z * z / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    # Rounding errors may put the rate itself just outside its interval, at 0 and at 1.
    return max(0.0, min(rate, low)), min(1.0, max(rate, high))


def mean(numbers: Sequence[float]) -> float | None:
    """Return the mean, or `None` for an empty sequence."""
    return sum(numbers) / len(numbers) if numbers else None


def group_by(items: Iterable[T], field: str) -> dict[str, list[T]]:
    """Group items by the value of a text field, in the order of its values."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(getattr(item, field), []).append(item)
    return dict(sorted(groups.items()))


def match_boxes(found: Sequence[Box], truth: Sequence[Box]) -> list[float]:
    """Match predicted boxes to the true ones, greedily by IoU, each box once.

    Returns:
        The IoU of each true box with its match, `len(truth)` numbers, 0 without a match.
    """
    # Only as many predictions as there are true boxes count: otherwise predicting boxes everywhere would score well.
    candidates = found[: len(truth)]
    pairs = sorted(((iou(a, b), i, j) for i, a in enumerate(candidates) for j, b in enumerate(truth)), reverse=True)
    matched: dict[int, float] = {}
    used: set[int] = set()
    for overlap, i, j in pairs:
        if i not in used and j not in matched:
            used.add(i)
            matched[j] = overlap
    return [matched.get(j, 0.0) for j in range(len(truth))]


def exclude_boxes(boxes: Iterable[Box], given: Iterable[Box]) -> list[Box]:
    """Drop the boxes that the question already gives: repeating them shows no grounding."""
    known = {_round_box(box) for box in given}
    return [box for box in boxes if _round_box(box) not in known]


def _round_box(box: Box) -> tuple[float, ...]:
    """Round to the three decimals that texts hold."""
    return tuple(round(number, 3) for number in box.xyxy)


def find_objects(text: str, names: Iterable[str]) -> set[DescribedObject]:
    """Find the objects of `names` that a text names, each with the attributes (colours, sizes) right before the name.

    The longest name wins, plurals count as their singular, and repetitions count once.

    >>> sorted((found.name, *sorted(found.attributes)) for found in find_objects("Two large red circles and a star.", ["circle", "star"]))
    [('circle', 'large', 'red'), ('star',)]
    """
    known = {tuple(singular(word, _NAME_RULES) for word in name.lower().split()) for name in names if name.strip()}
    longest = max(map(len, known), default=0)
    # Punctuation is kept as words, so that an attribute before a comma does not belong to the name after it.
    words = [
        singular(word, _NAME_RULES) for word in re.findall(r"[^\W\d_]+(?:[-'][^\W\d_]+)*|[.,;:!?]", strip_grounding(text).lower())
    ]
    found, position = set(), 0
    while position < len(words):
        length = next((n for n in range(longest, 0, -1) if tuple(words[position : position + n]) in known), 0)
        if length:
            found.add(_described_object(words, position, length))
        position += max(length, 1)
    return found


def _described_object(words: Sequence[str], position: int, length: int) -> DescribedObject:
    name = words[position : position + length]
    before = position
    while before and words[before - 1] in ATTRIBUTES:
        before -= 1
    inside = {word for word in name[:-1] if word in ATTRIBUTES}
    return DescribedObject(" ".join(word for word in name if word not in inside), frozenset(words[before:position]) | inside)


class PrecisionRecall(NamedTuple):
    """How far two sets of objects agree."""

    precision: float
    recall: float
    f1: float


def compare_objects(found: Iterable[DescribedObject], truth: Iterable[DescribedObject]) -> PrecisionRecall:
    """Compare the objects of a description with the true ones, each used once.

    A found object matches a true one of the same name if it has all attributes of the true one. A missing colour or size is
    therefore a miss; one that the truth does not mention is not.
    """
    remaining, expected = sorted(found, key=_sort_key), sorted(truth, key=_sort_key)
    total, matched = len(remaining), 0
    for target in expected:
        match = next((item for item in remaining if item.name == target.name and target.attributes <= item.attributes), None)
        if match is not None:
            remaining.remove(match)
            matched += 1
    precision, recall = matched / total if total else 0.0, matched / len(expected) if expected else 0.0
    return PrecisionRecall(precision, recall, 2 * precision * recall / (precision + recall) if matched else 0.0)


def _sort_key(described: DescribedObject) -> tuple[int, str, tuple[str, ...]]:
    """Sort the most specific first: a plain "circle" must not take the match of the "red circle"."""
    return -len(described.attributes), described.name, tuple(sorted(described.attributes))
