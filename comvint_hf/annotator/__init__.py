"""The embedded annotator: answers every prompt of the recipes from the scene alone, true by construction."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from random import Random
from typing import TypeVar

from comvint_hf.errors import InputError, ReplyError
from comvint_hf.generation.llm import Reply
from comvint_hf.generation.prompt import Prompt

Answer = Callable[[Prompt, Random], Reply]
R = TypeVar("R", bound=Reply)

ANSWERS: dict[str, Answer | str] = {
    "svit/conversation": "svit.conversation.conversation",
    "svit/complex_reasoning": "svit.reasoning.complex_reasoning",
    "svit/referring_qa": "svit.referring_questions.referring_qa",
    "svit/detail_description": "svit.description.detail_description",
    "comvint/synthesize": "comvint.answers.synthesize",
    "comvint/complicate": "comvint.answers.complicate",
    "comvint/verify": "comvint.answers.verify",
    "comvint/boolean": "comvint.answers.boolean",
    "comvint/choice": "comvint.answers.choice",
    "vlit/dialogue": "comvint.dialogue.dialogue",
}
"""Prompt -> the function that answers it, or where in this package it stands ("room.file.function"; loaded when first asked)."""


CERTAIN = frozenset(("comvint/verify",))
"""Prompts whose answers draw nothing, so that no random source need be seeded for them."""
_UNUSED = Random(0)


def register(prompt: str, answer: Answer) -> None:
    """Answer a prompt of your own recipe: `answer(prompt, random)` gives a filled form for `prompt.scene`."""
    ANSWERS[prompt] = answer


class AnnotationLLM:
    """Answer prompts from `prompt.scene` and the other blanks, without any language model.

    Draws depend on `seed`, the scene, the prompt and its salt only, so the order of work does not matter. Raises
    `NothingLeftError` where a scene offers nothing to say, `InputError` for a prompt that nobody registered.
    """

    name = "annotations"
    deterministic = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Fill in the form for the prompt's scene."""
        reply = _answer(prompt.name)(prompt, _UNUSED if prompt.name in CERTAIN else self._random(prompt))
        if not isinstance(reply, reply_type):
            raise ReplyError(
                f"The annotator's answer to {prompt.name} is a {type(reply).__name__}; expected a {reply_type.__name__}: "
                "register a function that gives one with comvint_hf.annotator.register."
            )
        return reply

    def _random(self, prompt: Prompt) -> Random:
        sample = prompt.blanks.get("sample")
        about = sample.instruction if sample is not None else prompt.blanks.get("kind", "")
        return Random(f"{self.seed}/{prompt.scene.id}/{prompt.name}/{prompt.salt}/{about}")


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
        found = ANSWERS[name] = getattr(import_module(f"{__name__}.{file}"), function)
    return found


__all__ = ["ANSWERS", "AnnotationLLM", "Answer", "register"]
