"""What a stage may ask of a language model, and the public fake.

`LLM.ask(prompt, reply_type)` is the whole protocol. `OpenAILLM` asks an endpoint, `AnnotationLLM` the scene itself,
`ScriptedLLM` a list that a test wrote. This file knows none of the recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from comvint_hf.errors import ReplyError
from comvint_hf.generation.prompt import Prompt


class Reply(BaseModel):
    """A form that an LLM fills in. Reasons come before verdicts, so that the model thinks before it judges."""

    model_config = ConfigDict(frozen=True, extra="ignore")


R = TypeVar("R", bound=Reply)


class LLM(Protocol):
    """Anything that answers prompts with filled forms.

    `name` goes into the rows; `deterministic` says that asking the same again gives the same, so nobody needs to.
    """

    name: str
    deterministic: bool

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Fill in the form. Raises `ReplyError` when no usable reply can be had for this prompt."""
        ...


@dataclass(frozen=True)
class LLMs:
    """ComVint's pair: a strong `writer` and a cheaper `judge` that checks it."""

    writer: LLM
    judge: LLM

    @classmethod
    def one(cls, llm: LLM) -> LLMs:
        """The same model in both chairs."""
        return cls(llm, llm)


class ScriptedLLM:
    """Answer from a script: replies in order, or a function of the prompt. For tests, and for recipes being written."""

    name = "scripted"
    deterministic = False

    def __init__(self, replies: Iterable[Reply | Exception] | Callable[[Prompt, type[Reply]], Reply]) -> None:
        self.asked: list[Prompt] = []
        self._answer = replies if callable(replies) else None
        self._replies = iter(() if callable(replies) else replies)

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        self.asked.append(prompt)
        reply = self._answer(prompt, reply_type) if self._answer else next(self._replies, None)
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, reply_type):
            raise ReplyError(f"The script has {reply!r} for {prompt.name}; expected a {reply_type.__name__}.")
        return reply
