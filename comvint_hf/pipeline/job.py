"""A build under way: its plan, what carries it out, and what is counted on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from comvint_hf.dataset.plan import Plan, Share
from comvint_hf.dataset.verification import Health, passed_so_far
from comvint_hf.generation.llm import LLMs
from comvint_hf.generation.stage import NO_REPLY

if TYPE_CHECKING:
    from comvint_hf.generation.recipe import Recipe


@dataclass
class Job:
    """A plan and what it takes to carry it out; `closed` hears of each finished shard, `notes` counts what happened on the way.

    With `retry_failed`, `again` gathers the images of finished shards whose failed samples are asked for once more; `healths`
    has one entry a shard.
    """

    plan: Plan
    recipe: Recipe
    llms: LLMs
    out: Path
    concurrency: int
    share: Share = field(default_factory=Share)
    closed: Callable[[int], None] | None = None
    retry_failed: bool = False
    again: set[str] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)
    healths: list[Health] = field(default_factory=list)

    def failed(self, reasons: Counter[str]) -> int:
        """How many of these rejections are failures: a writer of fixed answers that has none for a scene has not failed."""
        return 0 if self.llms.writer.deterministic else reasons[NO_REPLY]

    def beside(self) -> str:
        """What stands beside the progress: how much the judge passes, and what was asked, got and paid; "" for neither."""
        usage = getattr(self.llms, "usage", None) or getattr(self.llms.writer, "usage", None)
        paid = usage.line() if usage is not None and usage.used else ""
        return "; ".join(filter(None, (passed_so_far(self.healths), paid)))
