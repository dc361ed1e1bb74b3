"""Programs that count: how many, how many together, which are more. A number that cannot be trusted is no answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from comvint_hf.annotator.programs.knowledge import lookup
from comvint_hf.annotator.programs.program import Outcome, Program, Ref
from comvint_hf.annotator.programs.search import find
from comvint_hf.annotator.words.vocabulary import could_be

if TYPE_CHECKING:
    from comvint_hf.annotator.facts.scene import Facts


def count_certain(ref: Ref, facts: Facts) -> tuple[int, tuple[str, ...]] | None:
    """How many objects fit a description, only where that is certain."""
    found = find(ref, facts)
    if found is None or found.unsure or facts.count(ref.noun) is None:
        return None
    return len(found.sure), (*(obj.tag for obj in found.sure), *found.anchors)


def count(program: Program, facts: Facts) -> Outcome | None:
    counted = count_certain(program.refs[0], facts)
    return Outcome(str(counted[0]), counted[1]) if counted else None


def _two_counts(program: Program, facts: Facts) -> tuple[int, int, tuple[str, ...]] | None:
    first, second = program.refs
    a, b = count_certain(first, facts), count_certain(second, facts)
    if (
        a is None
        or b is None
        or could_be(first.noun, second.noun)
        and first.noun not in ("circle", "square", "triangle", "star", "shape")
    ):
        return None
    return a[0], b[0], (*a[1], *b[1])


def total(program: Program, facts: Facts) -> Outcome | None:
    counts = _two_counts(program, facts)
    return Outcome(str(counts[0] + counts[1]), counts[2]) if counts else None


def difference(program: Program, facts: Facts) -> Outcome | None:
    counts = _two_counts(program, facts)
    return Outcome(str(counts[0] - counts[1]), counts[2]) if counts and counts[0] > counts[1] else None


def more(program: Program, facts: Facts) -> Outcome | None:
    counts = _two_counts(program, facts)
    if counts is None or counts[0] == counts[1]:
        return None
    return Outcome(program.refs[counts[1] > counts[0]].noun, counts[2])


def multiply_by(field: str) -> Callable[[Program, Facts], Outcome | None]:
    """Times the number, of several: the legs of all the sheep, the corners of all the squares."""

    def evaluated(program: Program, facts: Facts) -> Outcome | None:
        counted = count_certain(program.refs[0], facts)
        each = lookup(field, program.refs[0].noun)
        return Outcome(str(counted[0] * int(each)), counted[1]) if counted and counted[0] > 1 and each else None

    return evaluated
