"""Programs that compare objects by where they are and how much of the image they take up."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from comvint_hf.annotator.facts.geometry import overlap
from comvint_hf.annotator.programs.program import THEN, Outcome, Program
from comvint_hf.annotator.programs.search import all_of

if TYPE_CHECKING:
    from comvint_hf.annotator.facts.objects import SceneObject
    from comvint_hf.annotator.facts.scene import Facts


def side(program: Program, facts: Facts) -> Outcome | None:
    """On which side of the second object the first one is, along one axis: across (left or right) or up and down."""
    found = all_of(program, facts)
    if found is None:
        return None
    (a, b), tags = found
    side = _clear_side(a, b, ("left of", "right of") if program.head == "across" else ("above", "below"), facts)
    return Outcome(side, tags) if side else None


def _clear_side(a: SceneObject, b: SceneObject, pair: tuple[str, str], facts: Facts) -> str | None:
    """The one of two opposite sides of `b` on which `a` clearly is."""
    return next((side for side in pair if facts.side(a, b, side)), None)


def furthest(program: Program, facts: Facts) -> Outcome | None:
    found = all_of(program, facts)
    outermost = facts.find_extreme(found[0], program.words[0], margin=1e-6 if facts.rendered else None) if found else None
    if found is None or outermost is None:
        return None
    others = [obj for obj in found[0] if obj is not outermost]
    side = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}[program.words[0]]
    if not all(facts.side(outermost, other, side) for other in others):
        return None
    return Outcome(str(program.refs[found[0].index(outermost)]), found[1])


NEARER = 1.6
"""One object is clearly nearer than another from this ratio of centre distances on."""


def nearest(program: Program, facts: Facts) -> Outcome | None:
    """Which of the other objects is clearly nearest to the first, by centre distance in pixels; on photos none of the rest touches it."""
    found = all_of(program, facts)
    if found is None:
        return None
    (anchor, *others), tags = found
    touching = [] if facts.rendered else [place for place, other in enumerate(others) if overlap(anchor.box, other.box)]
    ranked = sorted((_distance(anchor, other, facts), place) for place, other in enumerate(others))
    (nearest, place), (second, _) = ranked[:2]
    clear = second >= NEARER * nearest and second - nearest >= 0.1 and not (touching and touching != [place])
    return Outcome(str(program.refs[place + 1]), tags) if clear else None


def _distance(a: SceneObject, b: SceneObject, facts: Facts) -> float:
    """Between centres, in units of the image's longer side."""
    wide, high = facts.scene.width, facts.scene.height
    (ax, ay), (bx, by) = a.box.centre, b.box.centre
    return (((ax - bx) * wide) ** 2 + ((ay - by) * high) ** 2) ** 0.5 / max(wide, high)


def largest(program: Program, facts: Facts) -> Outcome | None:
    found = all_of(program, facts)
    if found is None:
        return None
    objects, tags = found
    largest = max(objects, key=lambda obj: obj.box.area)
    if not all(facts.larger(largest, other) for other in objects if other is not largest):
        return None
    return Outcome(str(program.refs[objects.index(largest)]), tags)


def order(program: Program, facts: Facts) -> Outcome | None:
    """The objects from left to right, each clearly right of the one before."""
    found = all_of(program, facts)
    if found is None:
        return None
    objects, tags = found
    ranked = sorted(objects, key=lambda obj: obj.box.centre[0])
    if not all(facts.side(a, b, "left of") for a, b in pairwise(ranked)):
        return None
    return Outcome(THEN.join(str(program.refs[objects.index(obj)]) for obj in ranked), tags)


def relative(program: Program, facts: Facts) -> Outcome | None:
    """Where the first object is as seen from the second: one of the four sides, or of the four corners between them."""
    found = all_of(program, facts)
    if found is None:
        return None
    (a, b), tags = found
    sideways = _clear_side(a, b, ("left of", "right of"), facts)
    upright = _clear_side(a, b, ("above", "below"), facts)
    if sideways and upright:
        return Outcome(f"{upright} and {sideways}", tags)
    if sideways and _level(a.box.y1, a.box.y2, b.box.y1, b.box.y2):
        return Outcome(sideways, tags)
    if upright and _level(a.box.x1, a.box.x2, b.box.x1, b.box.x2):
        return Outcome(upright, tags)
    return None


CORNERS = tuple(f"{upright} and {sideways}" for upright in ("above", "below") for sideways in ("left of", "right of"))


def _level(first: float, last: float, start: float, end: float) -> bool:
    """Whether two spans share most of the shorter one, so that neither comes before the other."""
    return min(last, end) - max(first, start) >= 0.7 * min(last - first, end - start)
