"""Conversations rendered by a chat template, with the characters of each user text and each answer.

The template is not parsed but probed. Each text goes in between two private-use characters; if the render without these markers
equals the plain render, the characters between them are that text, wherever the template put it. If the two differ, the row is
refused: nothing is guessed. This module knows no tokenizer but its special tokens, and no image.

The characters of an answer:

- A template with `{% generation %}` blocks states them itself, and the blocks are taken as they are. So `learn="response"` equals
  TRL's `assistant_only_loss`, the newline after `<|im_end|>` included where the block includes it.
- Elsewhere an answer begins where the generation prompt ends, not where its text begins (the model has to write the blank after
  `ASSISTANT:`), and extends to the end of the first special token after its text: the model must learn to stop. Blanks after that
  token are the template's. A template that ends answers with plain text (`###`) has that text trained; one that ends them with
  blanks, or with nothing, has nothing added.
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
from comvint_hf.training.loss_mask import Span
from comvint_hf.training.rows import ROLES, Conversation
from comvint_hf.training.tokenization import get_tokenizer

_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, KeyError, AttributeError)
"""Errors of a render: Jinja's own, and Python's where a template adds a list to a string."""
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_OPEN, _CLOSE, _MAX_TEXTS = 0x100000, 0x108000, 0x7FF0
"""Private-use characters of plane 16: text `k` of a conversation stands between `_OPEN + k` and `_CLOSE + k`."""
_MARKER = re.compile(f"[{chr(_OPEN)}-{chr(_CLOSE + _MAX_TEXTS)}]")

Messages = list[dict[str, Any]]
Trim = tuple[bool, bool]
"""Whether a template trims blanks at the beginning and at the end of a text."""
NO_TRIM: Trim = (False, False)


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, an image as one placeholder, with the characters of its user texts and of its answers."""

    text: str
    instructions: list[Span]
    responses: list[Span]


@dataclass
class ChatTemplate:
    """A chat template and facts about it, each probed once.

    `source` is Jinja, `names` the special tokens that it may write (`bos_token`, ...), `special` every token of the tokenizer that
    cannot be part of ordinary text. `strings` is true for templates of text models, which take contents as strings, not parts.
    """

    source: str
    names: dict[str, Any] = field(default_factory=dict)
    special: tuple[str, ...] = ()
    strings: bool = False

    @classmethod
    def from_processor(cls, processor: Any) -> ChatTemplate:
        """Take the processor's own template. Raises `ModelError` if it has none, or one that has no place for an image."""
        source = getattr(processor, "chat_template", None)
        if isinstance(source, dict):
            source = source.get("default")
        if not source:
            raise ModelError(
                f"{type(processor).__name__} has no chat template: expected Jinja under `chat_template`. "
                "Load an instruction-tuned checkpoint's processor, or set processor.chat_template."
            )
        tokenizer = get_tokenizer(processor)
        special = {token for token in (*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()) if token.strip()}
        chat = cls(source, dict(tokenizer.special_tokens_map), tuple(sorted(special, key=len, reverse=True)))
        # A text model's template fails on a list of parts, or writes its repr.
        takes_parts = chat._response_header is not None
        as_text = replace(chat, strings=True)
        if tokenizer is not processor and not takes_parts and as_text._response_header is not None:
            raise ModelError(
                f"The chat template of {type(processor).__name__} is that of a text model: it joins texts, and has no place for an image. "
                "Set processor.chat_template to one that writes a message's parts, with the model's image token for a part of the type "
                "'image', and save the processor again; examples/experiments/real/llava.py has one in ChatML."
            )
        return as_text if tokenizer is processor and not takes_parts else chat

    @cached_property
    def has_generation_blocks(self) -> bool:
        return bool(_GENERATION.search(self.source))

    def render(self, conversations: Sequence[Conversation], instructions: bool = True) -> list[Rendered]:
        """Render a batch.

        Without `instructions`, a template that marks its answers itself need not be aligned. Raises `RowError` for a row that the
        template refuses or that cannot be aligned.
        """
        batch = [conversation.messages for conversation in conversations]
        plain, blocks = self._render_batch(batch, conversations, self.has_generation_blocks)
        if self.has_generation_blocks and not instructions:
            return [Rendered(text, [], block) for text, block in zip(plain, blocks, strict=True)]
        for conversation in conversations:
            check_no_markers(conversation.name, conversation.messages)
        marked, _ = self._render_batch([add_markers(messages) for messages in batch], conversations)
        return [
            self._locate_texts(conversation, messages, text, block, parse_markers(probe))
            for conversation, messages, text, block, probe in zip(conversations, batch, plain, blocks, marked, strict=True)
        ]

    def _render_batch(
        self, batch: Sequence[Messages], conversations: Sequence[Conversation], blocks: bool = False
    ) -> tuple[list[str], list[list[Span]]]:
        """Render each; with `blocks`, also find the characters of each conversation's generation blocks."""
        try:
            return self._render_jinja(batch, blocks)
        except _TEMPLATE_ERRORS:
            # One by one, to name the row that the template refuses.
            rendered = [self._render_one(messages, row, blocks) for messages, row in zip(batch, conversations, strict=True)]
            return [texts[0] for texts, _ in rendered], [spans[0] for _, spans in rendered]

    def _render_one(self, messages: Messages, conversation: Conversation, blocks: bool) -> tuple[list[str], list[list[Span]]]:
        try:
            return self._render_jinja([messages], blocks)
        except _TEMPLATE_ERRORS as error:
            roles = ", ".join(message["role"] for message in messages)
            raise RowError(f"{conversation.name} is refused by the chat template: {error}. Its roles: {roles}.") from error

    def _render_jinja(
        self, batch: Sequence[Messages], blocks: bool = False, prompt: bool = False
    ) -> tuple[list[str], list[list[Span]]]:
        from transformers.utils.chat_template_utils import render_jinja_template

        # transformers annotates a plain string.
        rendered: Any = render_jinja_template(
            conversations=[_join_text_parts(messages) for messages in batch] if self.strings else list(batch),
            chat_template=self.source,
            return_assistant_tokens_mask=blocks,
            add_generation_prompt=prompt,
            **self.names,
        )
        texts, spans = rendered
        return texts, spans if blocks else [[] for _ in texts]

    def _locate_texts(
        self,
        conversation: Conversation,
        messages: Messages,
        text: str,
        blocks: list[Span],
        probe: tuple[str, dict[int, list[Span]]],
    ) -> Rendered:
        """Find the user texts and the answers in `text`, from the render with markers in it."""
        bare, spans = probe
        if bare != text:
            # The template may trim blanks that the markers have kept: put the markers inside them.
            marked, _ = self._render_batch([add_markers(messages, self._trims)], [conversation])
            bare, spans = parse_markers(marked[0])
        if bare != text:
            raise _alignment_error(conversation, "it writes a text differently when something stands around it")
        texts = list(list_texts(messages))
        for index, role, content in texts:
            if len(spans.get(index, ())) != 1 and role != "system" and content.strip():
                raise _alignment_error(
                    conversation, f"it writes the {role} text {content[:40]!r} {len(spans.get(index, ()))} times"
                )
        instructions = [spans[index][0] for index, role, _ in texts if role == "user" and index in spans]
        if not self.has_generation_blocks:
            blocks = list(self._find_answers(conversation, messages, text, spans))
        return Rendered(text, instructions, blocks)

    def _find_answers(
        self, conversation: Conversation, messages: Messages, text: str, spans: dict[int, list[Span]]
    ) -> Iterator[Span]:
        """Find each answer, from the end of its generation prompt to the end of its message."""
        own = [[spans[index][0] for index in indices if index in spans] for indices in _number_texts(messages)]
        # The last answer shows how every answer ends.
        closing = self._find_closing(text[max(end for _, end in own[-1]) :])
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            previous_end = (
                own[number - 1][-1][1] if number and messages[number - 1]["role"] == "user" and own[number - 1] else None
            )
            first, last = own[number][0][0], own[number][-1][1]
            header = self._response_header
            if previous_end is not None and header is not None and text[previous_end:first].startswith(header):
                # The usual case, without another render.
                start = previous_end + len(header)
            else:
                start = self._find_prompt_end(conversation, messages[:number], text[:first])
            yield start, last + len(closing) if text.startswith(closing, last) else last

    def _find_prompt_end(self, conversation: Conversation, messages: Messages, written: str) -> int:
        """Find where generation would begin after `messages`, for rows whose header is not the usual one."""
        try:
            prompt = self._render_jinja([messages], prompt=True)[0][0] if messages else ""
        except _TEMPLATE_ERRORS as error:
            raise _alignment_error(conversation, f"it cannot render the prompt before an answer ({error})") from error
        if not written.startswith(prompt):
            raise _alignment_error(conversation, f"its generation prompt {prompt[-30:]!r} does not stand before the answer")
        return len(prompt)

    @cached_property
    def _response_header(self) -> str | None:
        """The text between the end of a user's text and the place where generation begins."""
        messages = add_markers([{"role": "user", "content": [{"type": "text", "text": "x"}]}])
        try:
            text = self._render_jinja([messages], prompt=True)[0][0]
        except _TEMPLATE_ERRORS:
            return None
        bare, spans = parse_markers(text)
        return bare[spans[0][0][1] :] if len(spans.get(0, ())) == 1 else None

    def _find_closing(self, rest: str) -> str:
        """Cut `rest`, the text behind the last answer, after the part that tells the model to stop."""
        stop = self._special_pattern.search(rest)
        return rest[: stop.end()] if stop else rest.rstrip()

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, self.special)) or r"(?!)")

    @cached_property
    def _trims(self) -> dict[str, Trim]:
        """For each role, whether the template trims its texts; probed with texts that have blanks around them."""
        blank, inside = " \n ", dict.fromkeys(ROLES, (True, True))
        messages: Messages = [{"role": role, "content": [{"type": "text", "text": f"{blank}x{blank}"}]} for role in ROLES]
        for probe in (messages, messages[1:]):
            try:
                bare, spans = parse_markers(self._render_jinja([add_markers(probe, inside)])[0][0])
            except _TEMPLATE_ERRORS:
                continue
            return {
                message["role"]: (bare[start - 3 : start] != blank, bare[end : end + 3] != blank)
                for index, message in enumerate(probe)
                for start, end in spans.get(index, ())
            }
        return {}


def parse_markers(marked: str) -> tuple[str, dict[int, list[Span]]]:
    """Take the markers out of a render.

    Returns:
        The bare text, and for each text's number its spans there, one for each time it was written.

    >>> parse_markers(f"Q: {chr(0x100000)}who?{chr(0x108000)} A:")
    ('Q: who? A:', {0: [(3, 7)]})
    """
    bare: list[str] = []
    spans: dict[int, list[Span]] = {}
    starts: dict[int, int] = {}
    last = length = 0
    for match in _MARKER.finditer(marked):
        bare.append(marked[last : match.start()])
        length += match.start() - last
        last = match.end()
        code = ord(match[0])
        if code < _CLOSE:
            starts[code - _OPEN] = length
        elif code - _CLOSE in starts:
            spans.setdefault(code - _CLOSE, []).append((starts.pop(code - _CLOSE), length))
    bare.append(marked[last:])
    return "".join(bare), spans


def add_markers(messages: Messages, trims: dict[str, Trim] | None = None) -> Messages:
    """Put numbered markers around each text; on a side that the template trims, inside the text's blanks."""
    counter = itertools.count()
    trims = trims or {}
    return [
        {
            "role": message["role"],
            "content": [
                {"type": "text", "text": _mark_text(part["text"], next(counter), trims.get(message["role"], NO_TRIM))}
                if part["type"] == "text"
                else part
                for part in message["content"]
            ],
        }
        for message in messages
    ]


def _mark_text(text: str, index: int, trim: Trim) -> str:
    opening, closing = chr(_OPEN + index), chr(_CLOSE + index)
    core = text.strip()
    # A text of nothing but blanks counts as trailing ones, or as leading ones where only those are trimmed.
    lead = len(text) - len(text.lstrip()) if core or trim[0] else 0
    trail = lead + len(core)
    start, end = (lead if trim[0] else 0), (trail if trim[1] else len(text))
    return f"{text[:start]}{opening}{text[start:end]}{closing}{text[end:]}"


def list_texts(messages: Messages) -> Iterator[tuple[int, str, str]]:
    """Yield every text with its number and its role."""
    texts = ((message["role"], part["text"]) for message in messages for part in message["content"] if part["type"] == "text")
    return ((index, role, text) for index, (role, text) in enumerate(texts))


def check_no_markers(name: str, messages: Messages) -> None:
    """Raise `RowError` if a text holds marker characters, or if there are more texts than markers; `name` is the row's."""
    for index, _, text in list_texts(messages):
        if text and max(text) >= chr(_OPEN):
            raise RowError(
                f"{name} has the private-use character {max(text)!a} in its text: those of plane 16 are used here to "
                "follow texts through the chat template. Remove it."
            )
        if index >= _MAX_TEXTS:
            raise RowError(f"{name} has more than {_MAX_TEXTS} texts: split the conversation.")


def _number_texts(messages: Messages) -> list[list[int]]:
    """Give the numbers of each message's texts."""
    counter = itertools.count()
    return [[next(counter) for part in message["content"] if part["type"] == "text"] for message in messages]


def _join_text_parts(messages: Messages) -> Messages:
    return [
        {"role": message["role"], "content": "".join(part.get("text", "") for part in message["content"])} for message in messages
    ]


def _alignment_error(conversation: Conversation, reason: str) -> RowError:
    return RowError(
        f"{conversation.name} cannot be aligned with the chat template: {reason}. Use a template that writes each text once and "
        "unchanged; with {% generation %} blocks around its answers, learn='response' works with any template."
    )
