"""Reply schemas: what a `Reply` class asks of an endpoint, and how a message is parsed back into one.

The JSON schema goes to endpoints that take schemas, a one-line instruction to all. A message may hold thoughts, and then JSON,
fenced JSON, JSON inside prose, what is nearly JSON, or "Question: ... Answer: ..." lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, NamedTuple

from pydantic import ValidationError

from comvint_hf.endpoint.messages import MODES, Mode
from comvint_hf.generation.client.json_values import find_json_values, is_json, repair_json
from comvint_hf.generation.client.labelled_text import parse_labelled_text
from comvint_hf.generation.llm import R
from comvint_hf.generation.refusals import begins_with_refusal
from comvint_hf.strict_reader import LIMITS, clean_text, is_valid_text
from comvint_hf.thoughts import strip_thoughts

__all__ = ["FINISH_PROBLEMS", "MODES", "Mode", "ParsedReply", "ReplyMismatch", "ReplySchema", "build_schema"]

FINISH_PROBLEMS = {
    "length": "the reply was cut off before its end",
    "refusal": "the model refused",
    "content_filter": "the provider's content filter stopped the reply",
    "empty": "the reply was empty",
    "unreadable": "the reply could not be read",
    "thinking": "the reply was cut off while the model was still thinking: give a higher --max-tokens",
    "unfit": "the endpoint found the reply to be no valid JSON",
}
"""Finish reasons of messages that are no reply, whatever their text."""

# Strict mode refuses these keywords. Pydantic checks them when the reply comes.
_UNSUPPORTED = ("title", "default", "minLength", "maxLength", "pattern", "format", "uniqueItems", "examples")
# Possessive, because thousands of line breaks would be tried in all their splits.
_FENCE = re.compile(r"```[a-zA-Z]*+[^\S\n]*+\n(.*?)```", re.DOTALL)
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
    """

    reply_type: type[R]
    schema: dict[str, Any]
    strict: bool
    fingerprint: bytes
    instruction: str

    def response_format(self, mode: Mode) -> dict[str, Any] | None:
        """Build the `response_format` of a chat completion; `None` for plain text."""
        if mode == "json_schema":
            described = {"name": self.reply_type.__name__, "schema": self.schema, "strict": self.strict}
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
        if finish_reason in FINISH_PROBLEMS:
            is_thinking = finish_reason == "length" and text.strip() and not strip_thoughts(text)
            raise ReplyMismatch(FINISH_PROBLEMS["thinking" if is_thinking else finish_reason])
        if text.startswith("{") and is_json(text):
            try:
                return ParsedReply(self.reply_type.model_validate_json(text))
            except ValidationError as error:
                if (inner := _unwrap(json.loads(text))) is None:
                    raise ReplyMismatch(_format_errors(error)) from error
                return ParsedReply(self._validate(inner))
        answer = strip_thoughts(text).strip()
        if finish_reason == REASONING and not is_json(_FENCE.sub(r"\1", answer)):
            raise ReplyMismatch(
                "the reply was empty, and its text stood in reasoning_content: turn the server's reasoning parser off"
            )
        if not answer and text.strip():
            raise ReplyMismatch("the reply holds only the model's thoughts")
        return self._parse_prose(answer, mode)

    def _validate(self, value: Any) -> R:
        try:
            return self.reply_type.model_validate(value)
        except ValidationError as error:
            raise ReplyMismatch(_format_errors(error)) from error

    def _parse_prose(self, text: str, mode: Mode) -> ParsedReply:
        problem = None
        for candidate in self._find_candidates(text):
            try:
                return ParsedReply(self.reply_type.model_validate(candidate))
            except ValidationError as error:
                problem = problem or _format_errors(error)
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


@cache
def build_schema(reply_type: type[R]) -> ReplySchema[R]:
    """Build the schema of a reply type, once."""
    plain = reply_type.model_json_schema()
    return ReplySchema(
        reply_type=reply_type,
        schema=_to_strict(plain),
        strict="additionalProperties" not in json.dumps(plain),  # no endpoint guarantees free keys
        fingerprint=json.dumps(plain, sort_keys=True).encode(),
        instruction=f"Reply with one JSON object and nothing else, of this form: {_describe_schema(plain, plain)}",
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
        return " or ".join(json.dumps(value) for value in part.get("enum", [part.get("const")]))
    if "anyOf" in part:
        return " or ".join(_describe_schema(option, root) for option in part["anyOf"])
    match part.get("type"):
        case "object" if "properties" in part:
            return "{" + ", ".join(_describe_property(name, inner, root) for name, inner in part["properties"].items()) + "}"
        case "array":
            least, most = part.get("minItems"), part.get("maxItems")
            count = f" (exactly {least})" if least == most and least else f" (at least {least})" if least else ""
            return f"[{_describe_schema(part.get('items', {}), root)}, ...]{count}"
        case kind:
            return str(kind or "anything")


def _describe_property(name: str, part: dict[str, Any], root: dict[str, Any]) -> str:
    description = f" ({part['description']})" if "description" in part else ""
    return f'"{name}": {_describe_schema(part, root)}{description}'


def _format_errors(error: ValidationError) -> str:
    """Format the first five problems of a validation, each with its place, which may hold names that the model made up."""
    problems = [(".".join(map(str, one["loc"])) or "the reply", one["msg"]) for one in error.errors(include_url=False)[:5]]
    return "; ".join(f"{clean_text(place, 300)}: {clean_text(problem, 2000)}" for place, problem in problems)
