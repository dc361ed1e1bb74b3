"""SVIT (PAPERS section 1): up to four tasks an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comvint_hf.generation import filters
from comvint_hf.generation.recipe import Recipe, branch, load_figures, validate_choices
from comvint_hf.generation.recipes.svit.stages import complex_reasoning, conversation, detail_description, referring_qa
from comvint_hf.registry import recipe

SVIT_TASKS = {
    "conversation": conversation,
    "complex_reasoning": complex_reasoning,
    "referring_qa": referring_qa,
    "detail_description": detail_description,
}


@recipe("svit")
def svit(tasks: Sequence[str] = tuple(SVIT_TASKS)) -> Recipe:
    """Make the SVIT recipe (PAPERS section 1): up to four tasks an image, each asked again until clean.

    Raises:
        InputError: For an unknown task.
    """
    tasks = validate_choices("tasks", tasks, SVIT_TASKS)
    return Recipe(
        "svit",
        (branch(*(SVIT_TASKS[task] for task in tasks)), filters.check),
        {"tasks": list(tasks)},
        citation="SVIT: Scaling up Visual Instruction Tuning, 2023, [arXiv:2307.04087](https://arxiv.org/abs/2307.04087)",
        figures=load_figures(Path(__file__).parent),
    )


SVIT = svit()
