"""All that a build can be told, in one record: command lines fill it in, and each task of a build carries its part of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANNOTATIONS = "annotations"
"""What `llm` and `judge` are called where no language model is asked."""
ATTEMPTS = 3
SCENES_A_REQUEST = 2
"""Scenes under way for each request that may be: enough that one always waits to be sent, whatever a scene asks."""
EXECUTORS = ("local", "ray", "slurm", "jobs")
STORE = {"rows": True, "table": "table", "none": False}
"""What `store_images` is called, and what plans call it."""


@dataclass(frozen=True)
class BuildOptions:
    """What every builder's command line says."""

    scenes: str
    llm: str
    out: Path
    judge: str | None
    base_url: str | None
    limit: int | None
    seed: int
    budget: float | None
    prices: Path | None
    see: bool
    see_pixels: int | None
    temperature: float | None
    attempts: int
    requests_per_minute: float | None
    tokens_per_minute: float | None
    concurrency: int
    cache: Path | None
    batch: bool
    poll: float
    dry_run: bool
    images: Path | None
    store_images: str
    split: float | None
    shard_scenes: int
    push_to: str | None
    private: bool | None
    retry_failed: bool
    overwrite: bool
    executor: str = "local"
    executor_set: tuple[str, ...] = ()
    tasks: int = 1

    @property
    def in_one_process(self) -> bool:
        """Whether the command builds by itself, with no executor between."""
        return self.executor == "local" and self.tasks == 1

    @property
    def asks_models(self) -> bool:
        """Whether a language model is asked, and not the annotations alone."""
        return {self.llm, self.judge or self.llm} != {ANNOTATIONS}

    @property
    def replies(self) -> Path:
        """Where paid replies are kept."""
        return self.cache or self.out / ".build" / "replies.sqlite"

    @property
    def scenes_at_once(self) -> int:
        """How many scenes are under way beside each other."""
        return SCENES_A_REQUEST * self.concurrency

    @property
    def decided(self) -> dict[str, Any]:
        """What `planning.plan_of` takes besides scenes, recipe and language models."""
        return {
            "limit": self.limit,
            "seed": self.seed,
            "shard_scenes": self.shard_scenes,
            "images": STORE[self.store_images],
            "split": self.split,
            "asking": self.asking,
        }

    @property
    def asking(self) -> dict[str, Any]:
        """What decides the replies besides the models and the prompts; what was left as it is, is left out."""
        given = {
            "see": self.see,
            "see_pixels": self.see_pixels if self.see else None,
            "temperature": self.temperature,
            "attempts": None if self.attempts == ATTEMPTS else self.attempts,
        }
        return {name: value for name, value in given.items() if value not in (None, False)}
