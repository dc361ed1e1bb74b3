"""The VLIT review's example pipeline (PAPERS section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from comvint_hf.generation import filters
from comvint_hf.generation.recipe import Recipe, validate_choices, validate_minimum
from comvint_hf.generation.recipes.vlit.stages import CONSTRAINTS, write_dialogues
from comvint_hf.registry import recipe


@recipe("vlit")
def vlit(generations: int = 5, constraints: Sequence[str] = tuple(CONSTRAINTS)) -> Recipe:
    """Make the recipe of the VLIT review's example pipeline (PAPERS section 4).

    Args:
        generations: Dialogues per image, at least one.
        constraints: Some of `CONSTRAINTS`; the dialogues of an image take turns through them.

    Raises:
        InputError: For an unknown constraint or too few generations.
    """
    validate_minimum("generations", generations, 1)
    constraints = validate_choices("constraints", constraints, CONSTRAINTS)
    return Recipe(
        "vlit",
        (write_dialogues(generations, constraints), filters.check),
        {"generations": generations, "constraints": list(constraints)},
        citation="Vision-Language Instruction Tuning: A Review and Analysis, 2023, "
        "[arXiv:2311.08172](https://arxiv.org/abs/2311.08172)",
    )


VLIT = vlit()
