"""A question with its answer, as every recipe of questions takes it."""

from __future__ import annotations

from collections.abc import Iterable

from comvint_hf.generation.recipes.svit.stages import Pair


def make_pair(topic: str, tags: Iterable[str], question: str, answer: str) -> Pair:
    """A question with its answer and the tags it rests on, each once."""
    return Pair.model_construct(topic=topic, evidence=list(dict.fromkeys(tags)), question=question, answer=answer)
