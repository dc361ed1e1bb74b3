"""SVIT (PAPERS section 1): up to four tasks an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from comvint_hf.generation import filters
from comvint_hf.generation.recipe import Recipe, branch, load_figures, validate_choices, validate_range
from comvint_hf.generation.recipes.svit.stages import complex_reasoning, conversation, detail_description, referring_qa
from comvint_hf.registry import recipe

SVIT_TASKS = {
    "conversation": conversation,
    "complex_reasoning": complex_reasoning,
    "referring_qa": referring_qa,
    "detail_description": detail_description,
}


MOST_SHOTS = 2
"""Examples that are written for each task."""


@recipe("svit")
def svit(tasks: Sequence[str] = tuple(SVIT_TASKS), shots: int = 0) -> Recipe:
    """Make the SVIT recipe (PAPERS section 1): up to four tasks an image, each asked again until clean.

    Args:
        tasks: Some of `SVIT_TASKS`.
        shots: Examples that each prompt shows, at most `MOST_SHOTS`. The paper shows none, to keep the variety; a weak model
            needs one.

    Raises:
        InputError: For an unknown task or another number of examples.
    """
    tasks = validate_choices("tasks", tasks, SVIT_TASKS)
    validate_range("shots", shots, 0, MOST_SHOTS)
    return Recipe(
        "svit",
        (branch(*(partial(SVIT_TASKS[task], shots=shots) for task in tasks)), filters.check),
        # A build of an earlier version knows no examples, and goes on without any.
        {"tasks": list(tasks)} | ({"shots": shots} if shots else {}),
        citation="SVIT: Scaling up Visual Instruction Tuning, 2023, [arXiv:2307.04087](https://arxiv.org/abs/2307.04087)",
        figures=load_figures(Path(__file__).parent),
    )


SVIT = svit()
