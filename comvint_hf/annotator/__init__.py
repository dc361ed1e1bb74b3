"""`AnnotationLLM`: answers the prompts of all recipes from a scene's annotations, without a language model.

Its answers are true by construction: they state only what the annotations make certain. Its closed questions are balanced over a
corpus: `count_corpus` goes through it once, and `AnnotationLLM(balance=...)` asks by what was counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypeVar

from comvint_hf.annotator.draws import Draws
from comvint_hf.errors import InputError, ReplyError
from comvint_hf.generation.llm import LLMs, Reply
from comvint_hf.generation.prompt import Prompt

if TYPE_CHECKING:
    from comvint_hf.annotator.balance.cases import Balance
    from comvint_hf.annotator.balance.tables import Tables
    from comvint_hf.generation.recipe import Recipe
    from comvint_hf.types import Scene

Answer = Callable[[Prompt, Draws], Reply] | Callable[[Prompt, Random], Reply]
R = TypeVar("R", bound=Reply)

ANSWERS: dict[str, Answer | str] = {
    "svit/conversation": "conversation.conversation",
    "svit/complex_reasoning": "reasoning.complex_reasoning",
    "svit/referring_qa": "referring.referring_qa",
    "svit/detail_description": "description.detail_description",
    "comvint/synthesize": "comvint.synthesize",
    "comvint/complicate": "comvint.complicate",
    "comvint/verify": "comvint.verify",
    "comvint/verify_first": "comvint.verify_first",
    "comvint/boolean": "comvint.boolean",
    "comvint/choice": "comvint.choice",
    "vlit/dialogue": "dialogue.dialogue",
}
"""The function that answers each prompt, or its path in `answers` ("module.function"), imported on first use."""

DEFAULT_TABLES = Path(__file__).parent / "balance" / "default.json"


def register(prompt: str, answer: Answer) -> None:
    """Let the annotator answer a prompt of your own recipe.

    Args:
        prompt: The prompt's name.
        answer: Called as `answer(prompt, random)`; returns the filled reply for `prompt.scene`.
    """
    ANSWERS[prompt] = answer


class AnnotationLLM:
    """An LLM that answers prompts from the annotations of their scene.

    Draws depend on `seed`, the scene, the prompt and its salt only, so the order of work does not matter.
    """

    name = "annotations"
    deterministic = True

    def __init__(self, seed: int = 0, balance: Balance | None = None) -> None:
        """Make an annotator.

        Args:
            seed: Of all draws.
            balance: The tables of a corpus, see `count_corpus`; by default those that the package ships, of common kinds only.
        """
        self.seed = seed
        self.balance = balance or load_default_tables()

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Fill in the reply for the prompt's scene.

        Raises:
            NothingLeftError: If the scene offers nothing certain to say.
            InputError: For a prompt that has no registered answer.
        """
        reply = _answer(prompt.name)(prompt, self._draws(prompt))
        if not isinstance(reply, reply_type):
            raise ReplyError(
                f"The annotator's answer to {prompt.name} is a {type(reply).__name__}; expected a {reply_type.__name__}: "
                "register a function that gives one with comvint_hf.annotator.register."
            )
        return reply

    def _draws(self, prompt: Prompt) -> Draws:
        sample = prompt.blanks.get("sample")
        about = sample.instruction if sample is not None else prompt.blanks.get("kind", "")
        # A second attempt draws the same, and leaves out what it is to avoid.
        generation = prompt.blanks.get("generation", 0)
        return Draws(f"{self.seed}/{prompt.scene.id}/{prompt.name}/{generation}/{about}", self.balance, self.seed)


@cache
def load_default_tables() -> Tables:
    """Load the tables for scenes of which no corpus was counted."""
    from comvint_hf.annotator.balance.tables import Tables

    return Tables.read(DEFAULT_TABLES)


async def count_corpus(scenes: Iterable[Scene], recipe: Recipe, seed: int = 0, fewest: int | None = None) -> Tables:
    """Count the answers that a recipe's closed questions would have over a corpus, and fit the tables that balance them.

    The recipe is run once over all scenes, with every closed question noted and left out. Drawn scenes need no balance. Of fewer
    than `fewest` photos (by default `FEWEST_SCENES`) the shipped tables are returned.
    """
    from comvint_hf.annotator.answers.closed import may_both_be_right
    from comvint_hf.annotator.answers.presence import survey
    from comvint_hf.annotator.balance.counting import FEWEST_SCENES, CaseCounter
    from comvint_hf.annotator.facts.scene import facts_of

    counter = CaseCounter()
    llms = LLMs.one(AnnotationLLM(seed, counter))
    for scene in scenes:
        facts = facts_of(scene)
        if not facts.rendered:
            counter.see(*survey(facts))
            await recipe.run(scene, llms)
            await asyncio.sleep(0)  # a stop can come in between
    return (
        counter.fit(may_both_be_right)
        if counter.scenes >= (FEWEST_SCENES if fewest is None else fewest)
        else load_default_tables()
    )


def _answer(name: str) -> Answer:
    """The function for a prompt."""
    found = ANSWERS.get(name)
    if found is None:
        raise InputError(
            f"The annotator has no answer to the prompt {name!r}: it knows {', '.join(ANSWERS)}. Give it one with "
            "comvint_hf.annotator.register(name, function), or ask a language model."
        )
    if isinstance(found, str):
        file, function = found.rsplit(".", 1)
        found = ANSWERS[name] = getattr(import_module(f"{__name__}.answers.{file}"), function)
    return found


__all__ = ["ANSWERS", "AnnotationLLM", "Answer", "count_corpus", "load_default_tables", "register"]
