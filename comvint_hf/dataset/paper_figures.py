"""The figures of the published datasets (`published.toml`), which a card sets beside those of a build."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def published() -> dict[str, dict[str, Any]]:
    """What is known of each published dataset, by the name of its recipe."""
    return tomllib.loads((files("comvint_hf.dataset") / "published.toml").read_text(encoding="utf-8"))


def published_for(recipes: Iterable[str]) -> list[dict[str, Any]]:
    """The published datasets that these recipes rebuild, in the order of the file."""
    wanted = set(recipes)
    return [known for name, known in published().items() if name in wanted]


def published_task(recipes: Iterable[str], task: str) -> dict[str, float]:
    """The published figures of a task; empty where none of the recipes' papers gives any."""
    return next((known["tasks"][task] for known in published_for(recipes) if task in known.get("tasks", {})), {})
