"""Conversations rendered by a chat template, and whose characters are whose.

The template is not read, it is asked. Each text goes in with two private-use characters around it; if the render without them
equals the plain render, the characters that stood between them are that text, wherever the template put it. If the two differ,
the row is refused: nothing is guessed. This file knows no tokenizer but its special tokens, and no picture.

What belongs to an answer:

- Where the template has `{% generation %}` blocks, their author has said it, and the blocks are taken as they are. So
  `learn="response"` equals TRL's `assistant_only_loss`, the newline after `<|im_end|>` included where the block includes it.
- Elsewhere an answer begins where the prompt for generation ends, not where its text begins (the blank after `ASSISTANT:` has
  to be written by the model), and goes on to the end of the first special token after its text: the model must learn to stop.
  Blanks after that token are the template's. A template that ends answers with plain text (`###`) has that text learnt; one
  that ends them with blanks, or with nothing, has nothing added.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from comvint_hf.errors import ModelError, RowError
from comvint_hf.training.content_markers import Trim, read_markers, refuse_markers, texts, with_markers
from comvint_hf.training.loss_mask import Span
from comvint_hf.training.rows import ROLES, Conversation
from comvint_hf.training.tokenization import tokenizer_of

_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, KeyError, AttributeError)
"""What Jinja raises: its own errors, and Python's where a template adds a list to a string."""
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, pictures as one placeholder each, with the characters of its user texts and of its answers."""

    text: str
    instructions: list[Span]
    responses: list[Span]


@dataclass
class ChatTemplate:
    """A chat template and what was found out about it; facts are probed once and kept.

    `source` is Jinja, `names` the special tokens it may write (`bos_token`, ...), `special` every token of the tokenizer that
    cannot be part of ordinary text. `strings` is true for templates of text models, which take contents as strings and no parts.
    """

    source: str
    names: dict[str, Any] = field(default_factory=dict)
    special: tuple[str, ...] = ()
    strings: bool = False

    @classmethod
    def of(cls, processor: Any) -> ChatTemplate:
        """Take the processor's own template. Raises `ModelError` if it has none."""
        source = getattr(processor, "chat_template", None)
        if isinstance(source, dict):
            source = source.get("default")
        if not source:
            raise ModelError(
                f"{type(processor).__name__} has no chat template: expected Jinja under `chat_template`. "
                "Load an instruction-tuned checkpoint's processor, or set processor.chat_template."
            )
        tokenizer = tokenizer_of(processor)
        special = {token for token in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()) if token.strip()}
        chat = cls(source, dict(tokenizer.special_tokens_map), tuple(sorted(special, key=len, reverse=True)))
        takes_parts = tokenizer is not processor or chat._header is not None
        return chat if takes_parts else replace(chat, strings=True)

    @cached_property
    def has_generation_blocks(self) -> bool:
        return bool(_GENERATION.search(self.source))

    @cached_property
    def _stops(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.special)) or r"(?!)")

    def render(self, conversations: Sequence[Conversation], instructions: bool = True) -> list[Rendered]:
        """Render a batch; without `instructions`, a template that marks its answers itself need not be aligned.

        Raises `RowError` for a row that the template refuses or that cannot be aligned.
        """
        messages = [_without_pictures(conversation.messages) for conversation in conversations]
        plain, blocks = self._write(messages, conversations, self.has_generation_blocks)
        if self.has_generation_blocks and not instructions:
            return [Rendered(text, [], block) for text, block in zip(plain, blocks, strict=True)]
        for conversation in conversations:
            refuse_markers(conversation.name, conversation.messages)
        marked, _ = self._write([with_markers(turns) for turns in messages], conversations)
        return [
            self._read(conversation, turns, text, block, read_markers(followed))
            for conversation, turns, text, block, followed in zip(conversations, messages, plain, blocks, marked, strict=True)
        ]

    def _write(
        self, batch: Sequence[list[dict]], conversations: Sequence[Conversation], blocks: bool = False
    ) -> tuple[list[str], list[list[Span]]]:
        """Render each; with `blocks`, also the characters of each conversation's generation blocks."""
        try:
            return self._jinja(batch, blocks)
        except _TEMPLATE_ERRORS:
            singly = [self._write_one(turns, one, blocks) for turns, one in zip(batch, conversations, strict=True)]
            return [written[0] for written, _ in singly], [spans[0] for _, spans in singly]

    def _write_one(self, turns: list[dict], conversation: Conversation, blocks: bool) -> tuple[list[str], list[list[Span]]]:
        try:
            return self._jinja([turns], blocks)
        except _TEMPLATE_ERRORS as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise RowError(f"{conversation.name} is refused by the chat template: {error}. Its roles: {roles}.") from error

    def _jinja(
        self, batch: Sequence[list[dict]], blocks: bool = False, prompt: bool = False
    ) -> tuple[list[str], list[list[Span]]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        written, spans = render_jinja_template(
            conversations=[_joined(turns) for turns in batch] if self.strings else list(batch),
            chat_template=self.source,
            return_assistant_tokens_mask=blocks,
            add_generation_prompt=prompt,
            **self.names,
        )
        return written, spans if blocks else [[] for _ in written]

    def _read(
        self,
        conversation: Conversation,
        turns: list[dict],
        text: str,
        blocks: list[Span],
        found: tuple[str, dict[int, list[Span]]],
    ) -> Rendered:
        """Say whose characters are whose in `text`, from the render with markers in it."""
        bare, places = found
        if bare != text:
            marked, _ = self._write([with_markers(turns, self._trims)], [conversation])
            bare, places = read_markers(marked[0])
        if bare != text:
            raise _unaligned(conversation, "it writes a text differently when something stands around it")
        spoken = list(texts(turns))
        for index, role, written in spoken:
            if len(places.get(index, ())) != 1 and role != "system" and written.strip():
                raise _unaligned(conversation, f"it writes the {role} text {written[:40]!r} {len(places.get(index, ()))} times")
        instructions = [places[index][0] for index, role, _ in spoken if role == "user" and index in places]
        if not self.has_generation_blocks:
            blocks = list(self._answers(conversation, turns, text, places))
        return Rendered(text, instructions, blocks)

    def _answers(self, conversation: Conversation, turns: list[dict], text: str, places: dict[int, list[Span]]) -> Iterator[Span]:
        """Each answer's characters, from the end of its generation prompt to the end of its turn."""
        own = [[places[index][0] for index in indices if index in places] for indices in _by_turn(turns)]
        close = self._end_of_turn(text[max(end for _, end in own[-1]) :])
        for place, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            before = own[place - 1][-1][1] if place and turns[place - 1]["role"] == "user" and own[place - 1] else None
            first, last = own[place][0][0], own[place][-1][1]
            if before is not None and self._header is not None and text[before:first].startswith(self._header):
                start = before + len(self._header)
            else:
                start = self._prompt_end(conversation, turns[:place], text[:first])
            yield start, last + len(close) if text.startswith(close, last) else last

    def _prompt_end(self, conversation: Conversation, turns: list[dict], written: str) -> int:
        """Where generation would have begun after `turns`, for rows whose headers are not the usual one."""
        try:
            prompt = self._jinja([turns], prompt=True)[0][0] if turns else ""
        except _TEMPLATE_ERRORS as error:
            raise _unaligned(conversation, f"it cannot render the prompt before an answer ({error})") from error
        if not written.startswith(prompt):
            raise _unaligned(conversation, f"its generation prompt {prompt[-30:]!r} is not what stands before the answer")
        return len(prompt)

    @cached_property
    def _header(self) -> str | None:
        """What stands between the end of a user's text and the place where generation begins."""
        turns = with_markers([{"role": "user", "content": [{"type": "text", "text": "x"}]}])
        try:
            text = self._jinja([turns], prompt=True)[0][0]
        except _TEMPLATE_ERRORS:
            return None
        bare, places = read_markers(text)
        return bare[places[0][0][1] :] if len(places.get(0, ())) == 1 else None

    def _end_of_turn(self, rest: str) -> str:
        """The part of what follows the last answer that tells the model to stop."""
        stop = self._stops.search(rest)
        return rest[: stop.end()] if stop else rest.rstrip()

    @cached_property
    def _trims(self) -> dict[str, Trim]:
        """For each role, whether the template takes blanks off its texts, found with texts that have some."""
        blank, inside = " \n ", dict.fromkeys(ROLES, (True, True))
        turns = [{"role": role, "content": [{"type": "text", "text": f"{blank}x{blank}"}]} for role in ROLES]
        for some in (turns, turns[1:]):
            try:
                bare, places = read_markers(self._jinja([with_markers(some, inside)])[0][0])
            except _TEMPLATE_ERRORS:
                continue
            return {
                turn["role"]: (bare[start - 3 : start] != blank, bare[end : end + 3] != blank)
                for index, turn in enumerate(some)
                for start, end in places.get(index, ())
            }
        return {}


def _by_turn(turns: list[dict]) -> list[list[int]]:
    """For each turn the indices of its texts."""
    counter = itertools.count()
    return [[next(counter) for part in turn["content"] if part["type"] == "text"] for turn in turns]


def _without_pictures(turns: list[dict]) -> list[dict]:
    return [
        {"role": turn["role"], "content": [part if part["type"] == "text" else {"type": "image"} for part in turn["content"]]}
        for turn in turns
    ]


def _joined(turns: list[dict]) -> list[dict]:
    return [{"role": turn["role"], "content": "".join(part.get("text", "") for part in turn["content"])} for turn in turns]


def _unaligned(conversation: Conversation, why: str) -> RowError:
    return RowError(
        f"{conversation.name} cannot be aligned with the chat template: {why}. Use a template that writes each text once and "
        "unchanged; with {% generation %} blocks around its answers, learn='response' works whatever it does."
    )
