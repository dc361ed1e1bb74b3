"""SVIT (PAPERS section 1): four tasks an image."""

from __future__ import annotations

from collections.abc import Sequence

from comvint_hf.generation import filters
from comvint_hf.generation.recipe import Recipe, each, require_known
from comvint_hf.generation.recipes.svit.stages import complex_reasoning, conversation, detail_description, referring_qa

SVIT_TASKS = {
    "conversation": conversation,
    "complex_reasoning": complex_reasoning,
    "referring_qa": referring_qa,
    "detail_description": detail_description,
}


def svit(tasks: Sequence[str] = tuple(SVIT_TASKS)) -> Recipe:
    """SVIT (PAPERS section 1): up to four tasks an image, each regenerated until clean.

    Raises `InputError` for an unknown task.
    """
    tasks = require_known("tasks", tasks, SVIT_TASKS)
    return Recipe("svit", (each(*(SVIT_TASKS[task] for task in tasks)), filters.check), {"tasks": list(tasks)})


SVIT = svit()
