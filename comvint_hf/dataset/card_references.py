"""The papers that a dataset cites, and the figures of the published datasets that a card compares it with.

Both are stored in the parts of build.json. Parts of older builds have neither; the registry then knows them by the names of the
recipe and the sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from comvint_hf import registry

Part = Mapping[str, Any]


def collect_citations(parts: Iterable[Part]) -> list[str]:
    """Collect the citations of the recipes and sources of all parts, each once."""
    return list(dict.fromkeys(citation for part in parts for citation in (*part.get("citations", ()), *_registered(part))))


def _registered(part: Part) -> list[str]:
    """Look up the citations of a part's recipe and of every source in its scenes ("visual_genome:DIR,coco:DIR" has two)."""
    sources = dict.fromkeys(part["scenes"].replace(",", ":").split(":"))
    declared = [registry.find_recipe(part["recipe"]), *map(registry.sources.find, sources)]
    return [entry.citation for entry in declared if entry and entry.citation]


def collect_figures(parts: Iterable[Part]) -> list[Mapping[str, Any]]:
    """Collect the figures of the datasets that the parts' recipes rebuild, each once; see `Recipe.figures`."""
    collected: list[Mapping[str, Any]] = []
    for part in parts:
        recipe = None if "figures" in part else registry.find_recipe(part["recipe"])
        figures = recipe.figures if recipe else part.get("figures")
        if figures and figures not in collected:
            collected.append(figures)
    return collected


def find_task_figures(figures: Sequence[Mapping[str, Any]], task: str) -> Mapping[str, float]:
    """Find the published figures of a task; empty if no paper gives any."""
    return next((known["tasks"][task] for known in figures if task in known.get("tasks", {})), {})
