"""The VLIT review's example pipeline (PAPERS section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from comvint_hf.generation import filters
from comvint_hf.generation.recipe import Recipe, validate_choices, validate_minimum, validate_range
from comvint_hf.generation.recipes.vlit.stages import CONSTRAINTS, SHOTS, load_examples, write_dialogues
from comvint_hf.registry import recipe


@recipe("vlit")
def vlit(generations: int = 5, constraints: Sequence[str] = tuple(CONSTRAINTS), shots: int = SHOTS) -> Recipe:
    """Make the recipe of the VLIT review's example pipeline (PAPERS section 4).

    Args:
        generations: Dialogues per image, at least one.
        constraints: Some of `CONSTRAINTS`; the dialogues of an image take turns through them.
        shots: Examples that each prompt shows, drawn from ten.

    Raises:
        InputError: For an unknown constraint, too few generations or too many examples.
    """
    validate_minimum("generations", generations, 1)
    validate_range("shots", shots, 0, len(load_examples()))
    constraints = validate_choices("constraints", constraints, CONSTRAINTS)
    return Recipe(
        "vlit",
        (write_dialogues(generations, constraints, shots), filters.check),
        {"generations": generations, "constraints": list(constraints)} | ({"shots": shots} if shots != SHOTS else {}),
        citation="Vision-Language Instruction Tuning: A Review and Analysis, 2023, "
        "[arXiv:2311.08172](https://arxiv.org/abs/2311.08172)",
    )


VLIT = vlit()
