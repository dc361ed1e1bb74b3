"""A chat whose answers somebody wrote: for tests, and for trying the page without a model. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from comvint_hf.conventions import Conventions
from comvint_hf.serving.chat import Translating, Turn

if TYPE_CHECKING:
    from PIL.Image import Image

Script = Callable[[str], str | Iterable[str]]
"""The answer to a question: a text, or its pieces. What it raises, the model raises."""


class ScriptedChat(Translating):
    """Answer by a script. `asked` remembers every conversation and picture, as the model would have seen them."""

    def __init__(self, script: Script, *, conventions: Conventions | None = None, name: str = "scripted", piece: int = 8) -> None:
        self.script = script
        self.conventions = conventions or Conventions()
        self.name = name
        self.piece = piece
        self.asked: list[tuple[list[Turn], Image | None]] = []

    def _raw(self, messages: Sequence[Turn], image: Image | None) -> Iterator[str]:
        self.asked.append((list(messages), image))
        answer = self.script(messages[-1]["content"])
        yield from _cut(answer, self.piece) if isinstance(answer, str) else answer


def _cut(text: str, length: int) -> Iterator[str]:
    for start in range(0, len(text), length):
        yield text[start : start + length]
