"""What a build will be, before it begins: its plan, and how many scenes will come."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from comvint_hf import __version__
from comvint_hf.dataset.plan import Plan
from comvint_hf.generation.llm import LLMs
from comvint_hf.generation.prompt import prompt_hash
from comvint_hf.types import Scene

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe


def plan_of(
    scenes: Iterable[Scene], recipe: Recipe, llms: LLMs, *, asking: Mapping[str, Any] | None = None, **decided: Any
) -> Plan:
    """The plan of a build with these arguments of `build_async`: limit, seed, shard_scenes, images, split and `asking`."""
    return Plan(asking=dict(asking or {}), **decided, **_described(scenes, recipe, llms))


def _described(scenes: Iterable[Scene], recipe: Recipe, llms: LLMs) -> dict[str, Any]:
    """The part of a plan that the three say about themselves; any iterable of scenes will do for a source."""
    name = getattr(scenes, "name", type(scenes).__name__)
    licence = getattr(scenes, "licence", None)
    return {
        "version": __version__,
        "recipe": recipe.name,
        "settings": getattr(recipe, "settings", {}),
        "prompts": {prompt: prompt_hash(prompt) for prompt in recipe.prompts},
        "generator": llms.writer.name,
        "judge": llms.judge.name,
        "scenes": getattr(scenes, "spec", name),
        "source": name,
        "licence": {
            "name": getattr(licence, "name", "unknown"),
            "text": getattr(licence, "text", ""),
            "share_images": getattr(licence, "images_may_be_shared", True),
        },
    }


def expected(scenes: Iterable[Scene], limit: int | None = None) -> int | None:
    """How many scenes will come, where that is known before they do."""
    if limit is not None:
        return limit
    if hasattr(scenes, "__len__"):
        return len(scenes)
    found = re.match(r"shapes:(\d+)", getattr(scenes, "spec", ""))
    counts = [count for count in (getattr(scenes, "limit", None), int(found[1]) if found else None) if count is not None]
    return min(counts, default=None)
