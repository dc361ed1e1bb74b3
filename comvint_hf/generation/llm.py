"""The LLM protocol, and `ScriptedLLM`, its public fake.

`LLM.ask(prompt, reply_type)` is the whole protocol. `OpenAILLM` asks an endpoint, `AnnotationLLM` answers from the scene's
annotations, and `ScriptedLLM` from a list. This module knows no recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from comvint_hf.errors import ReplyError
from comvint_hf.generation.prompt import Prompt


class Reply(BaseModel):
    """A form that an LLM fills in. Reasons come before verdicts, so that the model thinks before it judges.

    A reply type that is of use without some items of its lists sets `partial`: items that cannot be read, or come after a cut,
    are then left out, and `left_out` says why.
    """

    # The class's name, docstring and fields are part of the JSON schema that is sent to an endpoint and hashed into cache
    # keys: renaming one makes a user pay again for every reply.
    model_config = ConfigDict(frozen=True, extra="ignore")
    left_out: ClassVar[tuple[str, ...]] = ()
    partial: ClassVar[bool] = False

    def without(self, problems: tuple[str, ...]) -> Self:
        """Note why items were left out, and return the reply."""
        object.__setattr__(self, "left_out", problems)  # no field: it is not part of the schema
        return self


def _as_list(value: object) -> object:
    """One text or number where a list was asked for, and null for none, as models without a schema write it."""
    items = [] if value in (None, "") else value if isinstance(value, list | tuple) else [value]
    return [str(item) if isinstance(item, int) else item for item in items]


TagList = Annotated[list[str], BeforeValidator(_as_list)]
"""A list of tags as evidence."""
R = TypeVar("R", bound=Reply)


class LLM(Protocol):
    """A language model, or a stand-in, that answers prompts with filled forms.

    `name` is stored in the rows. A `deterministic` model answers the same prompt with the same reply, so it is asked only once.
    """

    name: str
    deterministic: bool

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Fill in the form. Raises `ReplyError` if the prompt gets no usable reply."""
        ...


@dataclass(frozen=True)
class LLMs:
    """ComVint's pair of models: a strong `writer`, and a cheaper `judge` that verifies its rewrites."""

    writer: LLM
    judge: LLM

    @classmethod
    def one(cls, llm: LLM) -> LLMs:
        """Use the same model as writer and judge."""
        return cls(llm, llm)


def sees(llm: LLM) -> bool:
    """Whether a model is shown the image beside each prompt."""
    return getattr(llm, "sees", False)


class ScriptedLLM:
    """A fake LLM for tests and for recipes under development.

    Args:
        replies: Replies in order (an exception is raised), or a function of the prompt and the reply type.
    """

    name = "scripted"
    deterministic = False

    def __init__(self, replies: Iterable[Reply | Exception] | Callable[[Prompt, type[Reply]], Reply]) -> None:
        self.asked: list[Prompt] = []
        self._answer = replies if callable(replies) else None
        self._replies = iter(() if callable(replies) else replies)

    async def ask(self, prompt: Prompt, reply_type: type[R]) -> R:
        """Return the next reply of the script. Raises `ReplyError` for one of another type, and when none is left."""
        self.asked.append(prompt)
        reply = self._answer(prompt, reply_type) if self._answer else next(self._replies, None)
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, reply_type):
            raise ReplyError(f"The script has {reply!r} for {prompt.name}: expected a {reply_type.__name__}.")
        return reply
