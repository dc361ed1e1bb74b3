"""Before and during a build: its plan, the number of scenes to expect, and the state that its shards are written from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import __version__
from comvint_hf.dataset.plan import Plan, ShardSubset
from comvint_hf.dataset.verification import VerificationStatistics, format_pass_rates
from comvint_hf.generation.llm import LLMs
from comvint_hf.generation.prompt import prompt_hash
from comvint_hf.types import NO_REPLY, Scene

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe


def make_plan(
    scenes: Iterable[Scene], recipe: Recipe, llms: LLMs, *, asking: Mapping[str, Any] | None = None, **settings: Any
) -> Plan:
    """Make the plan of a build. `settings` are arguments of `build`: limit, seed, shard_scenes, images, split."""
    name = getattr(scenes, "name", type(scenes).__name__)  # any iterable of scenes is a source
    licence = getattr(scenes, "licence", None)
    return Plan(
        asking=dict(asking or {}),
        **settings,
        version=__version__,
        recipe=recipe.name,
        settings=getattr(recipe, "settings", {}),
        prompts={prompt: prompt_hash(prompt) for prompt in recipe.prompts},
        generator=llms.writer.name,
        judge=llms.judge.name,
        scenes=getattr(scenes, "spec", name),
        source=name,
        licence={
            "name": getattr(licence, "name", "unknown"),
            "text": getattr(licence, "text", ""),
            "share_images": getattr(licence, "images_may_be_shared", True),
        },
    )


def count_expected(scenes: Iterable[Scene], limit: int | None = None) -> int | None:
    """Return how many scenes will come, where that is known before they are read."""
    if limit is not None:
        return limit  # a source may hold fewer: then the progress ends below 100 %, as reading it first would take too long
    if isinstance(scenes, Sized):
        return len(scenes)
    found = re.match(r"shapes:(\d+)", getattr(scenes, "spec", ""))
    counts = [count for count in (getattr(scenes, "limit", None), int(found[1]) if found else None) if count is not None]
    return min(counts, default=None)


@dataclass
class BuildState:
    """A plan, what carries it out, and what is counted while its shards are written.

    Args:
        concurrency: Scenes in progress at once.
        subset: The shards that this process builds.
        on_shard: Called with the number of each shard that this process finishes.
        retry_failed: Whether to ask again for the failed samples of finished shards.
        retried_images: Images of those samples.
        checked: Shards that this command has compared with their files and photos already, or has written itself.
        notes: Counts of what happened to scenes on the way, for the statistics.
        verifications: What the judge passed, one entry a shard.
    """

    plan: Plan
    recipe: Recipe
    llms: LLMs
    out: Path
    concurrency: int
    subset: ShardSubset = field(default_factory=ShardSubset)
    on_shard: Callable[[int], None] | None = None
    retry_failed: bool = False
    retried_images: set[str] = field(default_factory=set)
    checked: set[int] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)
    verifications: list[VerificationStatistics] = field(default_factory=list)

    def count_failed(self, reasons: Counter[str]) -> int:
        """Count the rejections for want of a reply; a writer of fixed answers that has none for a scene has not failed."""
        return 0 if self.llms.writer.deterministic else reasons[NO_REPLY]

    def format_note(self) -> str:
        """Format the judge's pass rates and the cost so far, to show beside the progress; "" where there is neither."""
        usage = getattr(self.llms, "usage", None) or getattr(self.llms.writer, "usage", None)
        cost = usage.format_line() if usage is not None and usage.has_counts else ""
        return "; ".join(filter(None, (format_pass_rates(self.verifications), cost)))
