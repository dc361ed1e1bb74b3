"""`AnnotationLLM`: answers the prompts of all recipes from a scene's annotations, without a language model.

Its answers are true by construction: they state only what the annotations make certain.
"""

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
    "comvint/verify_first": "comvint.answers.verify_first",
    "comvint/boolean": "comvint.answers.boolean",
    "comvint/choice": "comvint.answers.choice",
    "vlit/dialogue": "comvint.dialogue.dialogue",
}
"""The function that answers each prompt, or its path in this package ("package.module.function"), imported on first use."""

CERTAIN = frozenset(("comvint/verify", "comvint/verify_first"))
"""Prompts whose answers need no random generator, which is slow to seed."""
_UNUSED = Random(0)


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

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Fill in the reply for the prompt's scene.

        Raises:
            NothingLeftError: If the scene offers nothing certain to say.
            InputError: For a prompt that has no registered answer.
        """
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
