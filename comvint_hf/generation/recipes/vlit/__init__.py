"""The VLIT review's example pipeline (PAPERS section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from comvint_hf.generation import filters
from comvint_hf.generation.recipe import Recipe, require_at_least, require_known
from comvint_hf.generation.recipes.vlit.stages import CONSTRAINTS, dialogues


def vlit(generations: int = 5, constraints: Sequence[str] = tuple(CONSTRAINTS)) -> Recipe:
    """The VLIT review's example pipeline (PAPERS section 4): several dialogues an image under switchable constraints.

    Raises `InputError` for an unknown constraint, and for less than one of the `generations`.
    """
    require_at_least("generations", generations, 1)
    constraints = require_known("constraints", constraints, CONSTRAINTS)
    return Recipe(
        "vlit",
        (dialogues(generations, constraints), filters.check),
        {"generations": generations, "constraints": list(constraints)},
    )


VLIT = vlit()
