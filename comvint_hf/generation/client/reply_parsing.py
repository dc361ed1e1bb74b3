"""Reply schemas: what a `Reply` class asks of an endpoint, and how a message is parsed back into one.

The JSON schema goes to endpoints that take schemas, a one-line instruction to all. A message may hold thoughts, and then JSON,
fenced JSON, JSON inside prose, what is nearly JSON, or "Question: ... Answer: ..." lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Generic, NamedTuple

from pydantic import ValidationError

from comvint_hf.endpoint.messages import MODES, Mode
from comvint_hf.generation.client.json_values import find_json_values, is_json, repair_json
from comvint_hf.generation.client.labelled_text import parse_labelled_text
from comvint_hf.generation.llm import R
from comvint_hf.generation.narrowing import Form, counts_only, narrow
from comvint_hf.generation.refusals import begins_with_refusal
from comvint_hf.generation.salvage import CUT, read_cut, validate_good_items
from comvint_hf.strict_reader import LIMITS, clean_text, is_valid_text
from comvint_hf.thoughts import strip_thoughts

__all__ = ["FINISH_PROBLEMS", "MODES", "Mode", "ParsedReply", "ReplyMismatch", "ReplySchema", "build_schema"]

FINISH_PROBLEMS = {
    "length": CUT,
    "refusal": "the model refused",
    "content_filter": "the provider's content filter stopped the reply",
    "empty": "the reply was empty",
    "unreadable": "the reply could not be read",
    "thinking": "the reply was cut off while the model was still thinking: give a higher --max-tokens",
    "unfit": "the endpoint found the reply to be no valid JSON",
}
"""Finish reasons of messages that are no reply, whatever their text."""

_INSTRUCTION = "Reply with one JSON object and nothing else, of this form: "
# Strict mode refuses these keywords. Pydantic checks them when the reply comes.
_UNSUPPORTED = ("title", "default", "minLength", "maxLength", "pattern", "format", "uniqueItems", "examples")
# Possessive, because thousands of line breaks would be tried in all their splits.
_FENCE = re.compile(r"```[a-zA-Z]*+[^\S\n]*+\n(.*?)```", re.DOTALL)
_MOST_DESCRIBED = 20
"""Values of an enum that are written out for a model; those of the tags stand in the prompt anyway."""
REASONING = "reasoning"
"""Finish reason of a message whose text stood where the thoughts belong."""


class ReplyMismatch(ValueError):
    """A message that does not match its schema; the text is the reason as the model is told it."""


class ParsedReply(NamedTuple):
    """A reply, and whether its JSON had to be repaired."""

    value: Any
    is_repaired: bool = False


@dataclass(frozen=True)
class ReplySchema(Generic[R]):
    """One reply type, ready to be requested.

    Attributes:
        schema: JSON schema in the strict dialect of OpenAI's structured output.
        strict: Whether endpoints can guarantee the schema.
        fingerprint: Part of every cache key.
        instruction: Sentence at the end of every prompt that describes the JSON object.
        make_form: Makes the form that narrows the schema for one prompt.
    """

    reply_type: type[R]
    schema: dict[str, Any]
    strict: bool
    fingerprint: bytes
    instruction: str
    make_form: Callable[[], Form] | None = None

    @cached_property
    def form(self) -> Form:
        """What the scene of the prompt asks of the reply; empty for a prompt without a form."""
        return self.make_form() if self.make_form else {}

    def describe(self, *, in_full: bool = False) -> str:
        """The sentence that describes the JSON object, with its counts; in full also with the values that are allowed."""
        if not self.form:
            return self.instruction
        plain = narrow(self.reply_type.model_json_schema(), self.form if in_full else counts_only(self.form))
        return f"{_INSTRUCTION}{_describe_schema(plain, plain)}"

    def response_format(self, mode: Mode, *, narrowed: bool = True) -> dict[str, Any] | None:
        """Build the `response_format` of a chat completion; `None` for plain text.

        Args:
            mode: The format.
            narrowed: Whether the endpoint takes patterns and lengths.
        """
        if mode == "json_schema":
            schema = narrow(self.schema, self.form) if self.form else self.schema
            schema = schema if narrowed else _to_strict(schema)
            described = {"name": self.reply_type.__name__, "schema": schema, "strict": self.strict}
            return {"type": "json_schema", "json_schema": described}
        return {"type": "json_object"} if mode == "json_object" else None

    def parse(self, text: str, finish_reason: str = "stop", mode: Mode = "json_schema") -> R:
        """Parse a message into the reply. Raises `ReplyMismatch` where it is no reply or does not match."""
        value: R = self.parse_reply(text, finish_reason, mode).value
        return value

    def parse_reply(self, text: str, finish_reason: str = "stop", mode: Mode = "json_schema") -> ParsedReply:
        """Parse a message as `parse` does, and say whether its JSON had to be repaired."""
        if len(text) > LIMITS.reply_text or not is_valid_text(text):
            finish_reason = "unreadable"
        if finish_reason == "length" and self.reply_type.partial and (cut := read_cut(strip_thoughts(text))) is not None:
            return self._salvage(cut, CUT)
        if finish_reason in FINISH_PROBLEMS:
            is_thinking = finish_reason == "length" and text.strip() and not strip_thoughts(text)
            raise ReplyMismatch(FINISH_PROBLEMS["thinking" if is_thinking else finish_reason])
        if text.startswith("{") and is_json(text):
            try:
                return ParsedReply(self.reply_type.model_validate_json(text))
            except ValidationError as error:
                value = json.loads(text)
                if (inner := _unwrap(value)) is not None and not self.reply_type.partial:
                    return ParsedReply(self._validate(inner))
                if self.reply_type.partial:
                    return self._salvage_any(value, inner)
                raise ReplyMismatch(_format_errors(error)) from error
        answer = strip_thoughts(text).strip()
        if finish_reason == REASONING and not is_json(_FENCE.sub(r"\1", answer)):
            raise ReplyMismatch(
                "the reply was empty, and its text stood in reasoning_content: turn the server's reasoning parser off"
            )
        if not answer and text.strip():
            raise ReplyMismatch("the reply holds only the model's thoughts")
        return self._parse_prose(answer, mode)

    def violation(self, text: str) -> str | None:
        """Say why a message is no reply of this type, which a server that enforces schemas would not have let through.

        Counts, enums and patterns of the scene are left out: which reply breaks one of them first would decide how later prompts read.
        """
        if not is_json(text):
            return "it is no JSON"
        try:
            self.reply_type.model_validate_json(text)
        except ValidationError as error:
            return _format_errors(error)
        return None

    def _salvage(self, value: Any, cut: str = "") -> ParsedReply:
        """The reply without its bad items. Raises `ReplyMismatch` where no part is good."""
        try:
            reply, problems = validate_good_items(self.reply_type, value)
        except ValidationError as error:
            raise ReplyMismatch(cut or _format_errors(error)) from error
        problems = (*problems, cut) if cut else problems
        return ParsedReply(reply.without(tuple(clean_text(problem, 300) for problem in problems)))

    def _salvage_any(self, value: Any, inner: Any) -> ParsedReply:
        """What is good in a value, or in the object inside it."""
        try:
            return self._salvage(value)
        except ReplyMismatch:
            if inner is None:
                raise
        return self._salvage(inner)

    def _validate(self, value: Any) -> R:
        try:
            return self.reply_type.model_validate(value)
        except ValidationError as error:
            raise ReplyMismatch(_format_errors(error)) from error

    def _parse_prose(self, text: str, mode: Mode) -> ParsedReply:
        problem, values = None, list(self._find_candidates(text))
        for candidate in values:
            try:
                return ParsedReply(self.reply_type.model_validate(candidate))
            except ValidationError as error:
                problem = problem or _format_errors(error)
        for value in (*values, read_cut(text)) if self.reply_type.partial else ():
            with suppress(ReplyMismatch):
                return self._salvage(value)
        # Only after the candidates, because a good reply may begin with an apology.
        if begins_with_refusal(text):
            raise ReplyMismatch(FINISH_PROBLEMS["refusal"])
        if mode == "text" and problem is None and (field := self._single_text_field()) and "{" not in text:
            return ParsedReply(self.reply_type.model_validate({field: text}))
        for candidate in self._as_candidates(repair_json(text)):
            try:
                return ParsedReply(self.reply_type.model_validate(candidate), is_repaired=True)
            except ValidationError as error:
                problem = problem or _format_errors(error)
        raise ReplyMismatch(problem or "it holds no complete JSON object of this form")

    def _find_candidates(self, text: str) -> Iterator[Any]:
        """Every value in the text that could be the reply: in fenced blocks, as JSON, in labelled lines."""
        for block in (*_FENCE.findall(text), text):
            for value in find_json_values(block):
                yield from self._as_candidates(value)
        if text.startswith('"') and is_json(text):  # JSON that was written into a JSON text once more
            for value in find_json_values(json.loads(text)):
                yield from self._as_candidates(value)
        if labelled := parse_labelled_text(text, self.reply_type):
            yield labelled

    def _as_candidates(self, value: Any) -> Iterator[Any]:
        """What a JSON value could mean: the reply, its only list, or something wrapped around the reply."""
        if isinstance(value, dict):
            yield value
        elif isinstance(value, list) and (field := self._single_list_field()):
            yield {field: value}
        if (inner := _unwrap(value)) is not None:
            yield inner

    def _single_text_field(self) -> str | None:
        required = {name: field for name, field in self.reply_type.model_fields.items() if field.is_required()}
        return next(iter(required)) if [field.annotation for field in required.values()] == [str] else None

    def _single_list_field(self) -> str | None:
        properties = self.schema["properties"]
        return next(iter(properties)) if [part.get("type") for part in properties.values()] == ["array"] else None


def _unwrap(value: Any) -> Any:
    """The object inside a list of one item, or under the only key of another one; `None` for anything else."""
    inner = value[0] if isinstance(value, list) and len(value) == 1 else None
    inner = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else inner
    return inner if isinstance(inner, dict) else None


def build_schema(reply_type: type[R], make_form: Callable[[], Form] | None = None) -> ReplySchema[R]:
    """Build the schema of a reply type, once, and narrow it for one prompt where that makes a form."""
    schema = _build_plain_schema(reply_type)
    return replace(schema, make_form=make_form) if make_form else schema


@cache
def _build_plain_schema(reply_type: type[R]) -> ReplySchema[R]:
    plain = reply_type.model_json_schema()
    return ReplySchema(
        reply_type=reply_type,
        schema=_to_strict(plain),
        strict="additionalProperties" not in json.dumps(plain),  # no endpoint guarantees free keys
        fingerprint=json.dumps(plain, sort_keys=True).encode(),
        instruction=f"{_INSTRUCTION}{_describe_schema(plain, plain)}",
    )


def _to_strict(part: Any) -> Any:
    """Convert a schema to the dialect that endpoints guarantee: every property required, no others, no unsupported keyword."""
    if isinstance(part, list):
        return [_to_strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("properties"), dict):
        properties = {name: _to_strict(inner) for name, inner in part["properties"].items()}
        rest = {name: _to_strict(value) for name, value in part.items() if name not in (*_UNSUPPORTED, "properties", "required")}
        return {**rest, "properties": properties, "required": list(properties), "additionalProperties": False}
    return {name: _to_strict(value) for name, value in part.items() if name not in _UNSUPPORTED}


def _describe_schema(part: dict[str, Any], root: dict[str, Any]) -> str:
    """Describe a schema on one line.

    >>> _describe_schema({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}, {})
    '[string, ...] (exactly 2)'
    """
    if "$ref" in part:
        return _describe_schema(root["$defs"][part["$ref"].rsplit("/", 1)[1]], root)
    if "const" in part or "enum" in part:
        values = [json.dumps(value) for value in part.get("enum", [part.get("const")])]
        return " or ".join(values if len(values) <= _MOST_DESCRIBED else [*values[:3], "...", values[-1]])
    if "anyOf" in part:
        return " or ".join(_describe_schema(option, root) for option in part["anyOf"])
    match part.get("type"):
        case "object" if "properties" in part:
            return "{" + ", ".join(_describe_property(name, inner, root) for name, inner in part["properties"].items()) + "}"
        case "array":
            count = _describe_count(part.get("minItems"), part.get("maxItems"))
            return f"[{_describe_schema(part.get('items', {}), root)}, ...]{count}"
        case kind:
            return str(kind or "anything")


def _describe_count(least: int | None, most: int | None) -> str:
    if least == most and least:
        return f" (exactly {least})"
    limits = (f"at least {least}" if least else "", f"at most {most}" if most else "")
    return f" ({', '.join(filter(None, limits))})" if any(limits) else ""


def _describe_property(name: str, part: dict[str, Any], root: dict[str, Any]) -> str:
    description = f" ({part['description']})" if "description" in part else ""
    return f'"{name}": {_describe_schema(part, root)}{description}'


def _format_errors(error: ValidationError) -> str:
    """Format the first five problems of a validation, each with its place, which may hold names that the model made up."""
    problems = [(".".join(map(str, one["loc"])) or "the reply", one["msg"]) for one in error.errors(include_url=False)[:5]]
    return "; ".join(f"{clean_text(place, 300)}: {clean_text(problem, 2000)}" for place, problem in problems)
