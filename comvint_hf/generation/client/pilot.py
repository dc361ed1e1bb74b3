"""Projects a build from a pilot: a few scenes that were really asked replace what a dry run assumes.

The pilot's scenes are rehearsed too. How far the rehearsal was off on them corrects the estimate of all scenes, so that dense
and sparse scenes need not be equally frequent among so few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from comvint_hf.formatting import format_cost
from comvint_hf.generation.client.estimate import Estimate, SceneCost, estimate_seconds
from comvint_hf.generation.client.settings import LLMSettings
from comvint_hf.generation.client.usage import Usage, UsageCounts, collect_costs
from comvint_hf.generation.llm import LLMs
from comvint_hf.generation.recipe import Recipe
from comvint_hf.types import VERIFIED, Sample, Scene

_T_QUANTILES = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Two-sided 95 % quantiles of Student's t with 1, 2, ... degrees of freedom."""
_MANY = 2.1


async def measure_scene(scene: Scene, recipe: Recipe, llms: LLMs) -> SceneCost:
    """Run the recipe on a scene and count what its replies cost, those from the cache included."""
    with collect_costs() as record:
        made = await recipe.run(scene, llms)
    cost = SceneCost(rows=sum(sample.reason is None for sample in made))
    for model, counts in record.to_json().items():
        for prompt, found in counts["prompts"].items():
            rejected = found.pop("unusable")
            cost.usage.get_counts(model, prompt).add(UsageCounts(rejected=rejected, **found))
    cost.verdicts = [passed for sample in made for passed in _read_verdicts(sample)]
    return cost


def _read_verdicts(sample: Sample) -> list[bool]:
    """What the judge said of each version of a sample: whether it passed."""
    return [edit.stage.startswith(f"{VERIFIED}passed") for edit in sample.history if edit.stage.startswith(VERIFIED)]


@dataclass(frozen=True)
class Projection:
    """The estimate of all scenes, corrected by a pilot.

    Attributes:
        estimate: The corrected estimate.
        pilot: What the pilot's scenes cost.
        rehearsed: What the rehearsal made of the same scenes.
        margin: The share by which dollars (tokens, without a price) may be off (95 %); `None` after a single scene.
    """

    estimate: Estimate
    pilot: Sequence[SceneCost]
    rehearsed: Sequence[SceneCost]
    margin: float | None

    def format(self, assumed_pass_rate: float) -> str:
        """Format what the pilot measured beside what was assumed, and the projection."""
        lines = [f"The pilot's {len(self.pilot):,} scenes: {_add_usage(self.pilot).format_line()}", *self._format_prompts()]
        if verdicts := [passed for scene in self.pilot for passed in scene.verdicts]:
            rate = fmean(verdicts)
            lines.append(f"  the judge passed {rate:.0%} of {len(verdicts):,} rewrites (assumed {assumed_pass_rate:.0%})")
        return "\n".join([*lines, f"All {self.estimate.format_line()}{self._format_interval()}"])

    def _format_prompts(self) -> list[str]:
        assumed = _add_usage(self.rehearsed).by_prompt
        lines = []
        for prompt, counts in _add_usage(self.pilot).by_prompt.items():
            mean = counts.completion_tokens / max(counts.requests, 1)
            expected = assumed.get(prompt, UsageCounts())
            usual = expected.completion_tokens / max(expected.requests, 1)
            unusable = counts.rejected / max(counts.requests, 1)
            lines.append(
                f"  {prompt}: {counts.requests:,} requests (assumed {expected.requests:,}), {mean:,.0f} reply tokens each "
                f"(assumed {usual:,.0f}), {unusable:.0%} of them unusable"
            )
        return lines

    def _format_interval(self) -> str:
        if self.margin is None:
            return "; one scene tells no interval"
        cost = self.estimate.cost
        if cost is None:
            return f"; tokens within {self.margin:.0%} (95 %)"
        return f"; between {format_cost(max(cost * (1 - self.margin), 0.0))} and {format_cost(cost * (1 + self.margin))} (95 %)"


def project(
    pilot: Sequence[SceneCost], rehearsed: Sequence[SceneCost], estimate: Estimate, settings: LLMSettings | None = None
) -> Projection:
    """Correct an estimate by what a pilot cost and what the rehearsal made of the same scenes."""
    total, expected, all_scenes = _add_usage(pilot).total, _add_usage(rehearsed).total, estimate.total
    factors = {
        name: getattr(total, name) / getattr(expected, name) if getattr(expected, name) else 0.0
        for name in ("requests", "prompt_tokens", "completion_tokens", "cost")
    }
    projected = {name: getattr(all_scenes, name) * factor for name, factor in factors.items()}
    cost = projected.pop("cost")
    counts = UsageCounts(**{name: round(value) for name, value in projected.items()}, cost=cost, unpriced=total.unpriced)
    usage = Usage()
    usage.get_counts("", "").add(counts)
    size: Callable[[UsageCounts], float] = (lambda counts: counts.cost) if total.cost and not total.unpriced else _count_tokens
    margin = _compute_ratio_margin(
        [size(scene.usage.total) for scene in pilot], [size(scene.usage.total) for scene in rehearsed], estimate
    )
    rows = sum(scene.rows for scene in pilot) / max(sum(scene.rows for scene in rehearsed), 1) * estimate.rows
    seconds = None if estimate.seconds is None else estimate_seconds(usage, settings or LLMSettings())
    corrected = replace(estimate, usage=usage, rows=round(rows), margin=0.0, saving=0.0, seconds=seconds)
    return Projection(corrected, pilot, rehearsed, margin)


def _compute_ratio_margin(measured: Sequence[float], expected: Sequence[float], estimate: Estimate) -> float | None:
    """The margin of the ratio of both sums, joined with that of the scenes that were rehearsed (95 %)."""
    count = len(measured)
    if count == estimate.scenes or not any(measured):
        return 0.0
    if count < 2 or not any(expected):
        return None
    ratio = sum(measured) / sum(expected)
    squares = sum((found - ratio * usual) ** 2 for found, usual in zip(measured, expected, strict=True))
    error = math.sqrt(squares / (count - 1) / count) / fmean(measured)
    quantile = _T_QUANTILES[count - 2] if count - 2 < len(_T_QUANTILES) else _MANY
    return math.hypot(quantile * error * math.sqrt(1 - count / estimate.scenes), estimate.margin)


def _count_tokens(counts: UsageCounts) -> float:
    return counts.prompt_tokens + counts.completion_tokens


def _add_usage(scenes: Sequence[SceneCost]) -> Usage:
    total = Usage()
    for scene in scenes:
        total.merge(scene.usage.to_json())
    return total
