"""Give the embedded annotator the balance of the whole corpus: counted once, and kept beside the shards for the next run.

Every worker, a resumed build and one with a limit ask by the same tables, and so write the same rows. Only corpora are counted that
can be read again: an iterator of scenes is left to the tables that the package ships.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from comvint_hf import __version__
from comvint_hf.dataset import shards
from comvint_hf.generation.llm import LLMs
from comvint_hf.registry import find_traits
from comvint_hf.sources import SceneStream
from comvint_hf.types import Scene

if TYPE_CHECKING:
    from comvint_hf.dataset.plan import Plan
    from comvint_hf.generation.recipe import Recipe

TABLES = f"{shards.STATE}/balance"
"""The folder, in that of a build, for the tables of its corpus, by their key."""


async def balance_answers(
    llms: LLMs, plan: Plan, recipe: Recipe, scenes: Iterable[Scene], out: Path, shown: bool = False
) -> None:
    """Let an annotator that writes ask by the tables of the whole corpus, which are counted where `out` has none yet.

    Args:
        shown: Whether to say on stderr that the corpus is counted, which takes about as long as building it.
    """
    from comvint_hf.annotator import AnnotationLLM, count_corpus
    from comvint_hf.annotator.balance.tables import Tables

    writer, name = llms.writer, getattr(scenes, "name", "")
    if not isinstance(writer, AnnotationLLM) or iter(scenes) is scenes or name and find_traits(name).rendered:
        return
    path = out / TABLES / f"{_key(plan, writer.seed)}.json"
    if not path.exists():
        if shown:
            print(
                f"Counting the answers of {name or 'the scenes'} once, so that no word of a question tells its answer.",
                file=sys.stderr,
            )
        whole = scenes.without_limit() if isinstance(scenes, SceneStream) else scenes
        (await count_corpus(whole, recipe, writer.seed)).write(path)
    writer.balance = Tables.read(path)


def _key(plan: Plan, seed: int) -> str:
    """What the tables depend on: the corpus, the version, the recipe with its settings, and the seed, but no limit."""
    parts = (plan.scenes, __version__, plan.recipe, dict(plan.settings), seed)
    return sha256(dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]
