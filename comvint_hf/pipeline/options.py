"""The options of a build in one record: the command line fills it, and each worker of the build receives its part of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import InputError
from comvint_hf.generation.client.rehearsal import PASS_RATE
from comvint_hf.generation.client.settings import LLMSettings

if TYPE_CHECKING:
    from comvint_hf.dataset.plan import Overwrite

ANNOTATIONS = "annotations"
"""The name that `llm` and `judge` have where no language model is asked."""
SCENES_PER_REQUEST = 2
"""Scenes in progress for each concurrent request: enough that one is always ready to be sent, whatever a scene asks."""
IMAGE_STORAGE = {"rows": True, "marked": "marked", "table": "table", "none": False}
"""The values of `store_images`, and what plans call them."""


class OptionsError(InputError):
    """The options of a build name what does not exist, or do not go together. Nothing has been done yet."""


@dataclass(frozen=True)
class BuildOptions:
    """The options of a build, by the flags of the same names."""

    scenes: str
    out: Path
    llm: str = ANNOTATIONS
    judge: str | None = None
    llm_settings: LLMSettings = field(default_factory=LLMSettings)
    serve: str | None = None
    serve_timeout: float = 900.0
    limit: int | None = None
    seed: int = 0
    images: Path | None = None
    store_images: str = "rows"
    split: float | None = None
    shard_scenes: int = 1000
    dry_run: bool = False
    judge_pass_rate: float = PASS_RATE
    pilot: int | None = None
    yes: bool = False
    retry_failed: bool = False
    overwrite: Overwrite = False
    push_to: str | None = None
    private: bool | None = None
    executor: str = "local"
    executor_set: tuple[str, ...] = ()
    num_workers: int = 1

    @property
    def is_distributed(self) -> bool:
        """Whether workers build the shards, and not the process of the command."""
        return self.executor != "local" or self.num_workers > 1

    @property
    def uses_models(self) -> bool:
        """Whether a language model is asked, and not the annotations alone."""
        return {self.llm, self.judge or self.llm} != {ANNOTATIONS}

    @property
    def reply_cache(self) -> Path:
        """The file that keeps paid replies."""
        return Path(self.llm_settings.cache or self.out / ".build" / "replies.sqlite")

    @property
    def concurrent_scenes(self) -> int:
        """Scenes in progress at once."""
        return SCENES_PER_REQUEST * self.llm_settings.concurrency

    @property
    def plan_settings(self) -> dict[str, Any]:
        """The arguments of `make_plan` besides scenes, recipe and language models."""
        settings = self.llm_settings
        asking = {
            "see": settings.see,
            "see_pixels": settings.see_pixels if settings.see else None,
            "temperature": settings.temperature,
            "attempts": None if settings.attempts == LLMSettings.attempts else settings.attempts,
        }
        return {
            "limit": self.limit,
            "seed": self.seed,
            "shard_scenes": self.shard_scenes,
            "images": IMAGE_STORAGE[self.store_images],
            "split": self.split,
            # A value that is left at its default is no part of the plan, so that older folders can be resumed.
            "asking": {name: value for name, value in asking.items() if value not in (None, False)},
        }
