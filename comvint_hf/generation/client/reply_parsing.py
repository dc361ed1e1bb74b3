"""Reply schemas: what a `Reply` class asks of an endpoint, and how a message is parsed back into one.

The JSON schema goes to endpoints that take schemas, a one-line instruction to all. A message may hold JSON, fenced JSON,
JSON inside prose, or "Question: ... Answer: ..." lines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal

from pydantic import ValidationError

from comvint_hf.errors import InputError
from comvint_hf.generation.client.labelled_text import parse_labelled_text
from comvint_hf.generation.llm import R
from comvint_hf.strict_reader import LIMITS, clean_text, is_valid_text, parse_json

Mode = Literal["json_schema", "json_object", "text"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "text")
"""Response formats, the strictest first; an endpoint that refuses one is asked with the next."""

FINISH_PROBLEMS = {
    "length": "the reply was cut off before its end",
    "refusal": "the model refused",
    "content_filter": "the provider's content filter stopped the reply",
    "empty": "the reply was empty",
    "unreadable": "the reply could not be read",
}
"""Finish reasons of messages that are no reply, whatever their text."""

# Strict mode refuses these keywords. Pydantic checks them when the reply comes.
_UNSUPPORTED = ("title", "default", "minLength", "maxLength", "pattern", "format", "uniqueItems", "examples")
_REASONING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
# Possessive, because thousands of line breaks would be tried in all their splits.
_FENCE = re.compile(r"```[a-zA-Z]*+[^\S\n]*+\n(.*?)```", re.DOTALL)
_REFUSAL = re.compile(
    r"\A\W*(i'm sorry|i am sorry|sorry,|i can't|i cannot|i can not|i'm unable|i am unable|as an ai\b)", re.IGNORECASE
)
_MAX_SCANNED = 4_000_000
"""Characters that are read in search of JSON values, those that are read twice included."""


class ReplyMismatch(ValueError):
    """A message that does not match its schema; the text is the reason as the model is told it."""


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
        if len(text) > LIMITS.reply_text or not is_valid_text(text):
            finish_reason = "unreadable"
        if finish_reason in FINISH_PROBLEMS:
            raise ReplyMismatch(FINISH_PROBLEMS[finish_reason])
        if text.startswith("{") and _is_json(text):
            try:
                return self.reply_type.model_validate_json(text)
            except ValidationError as error:
                raise ReplyMismatch(_format_errors(error)) from error
        return self._parse_prose(_REASONING.sub("", text).strip(), mode)

    def _parse_prose(self, text: str, mode: Mode) -> R:
        problem = None
        for candidate in self._find_candidates(text):
            try:
                return self.reply_type.model_validate(candidate)
            except ValidationError as error:
                problem = problem or _format_errors(error)
        # Only after the candidates, because a good reply may begin with an apology.
        if _REFUSAL.match(text):
            raise ReplyMismatch(FINISH_PROBLEMS["refusal"])
        if mode == "text" and problem is None and (field := self._single_text_field()) and "{" not in text:
            return self.reply_type.model_validate({field: text})
        raise ReplyMismatch(problem or "it holds no complete JSON object of this form")

    def _find_candidates(self, text: str) -> Iterator[Any]:
        """Every value in the text that could be the reply: in fenced blocks, as JSON, in labelled lines."""
        for block in (*_FENCE.findall(text), text):
            for value in _find_json_values(block):
                if isinstance(value, dict):
                    yield value
                elif field := self._single_list_field():
                    yield {field: value}
        if labelled := parse_labelled_text(text, self.reply_type):
            yield labelled

    def _single_text_field(self) -> str | None:
        required = {name: field for name, field in self.reply_type.model_fields.items() if field.is_required()}
        return next(iter(required)) if [field.annotation for field in required.values()] == [str] else None

    def _single_list_field(self) -> str | None:
        properties = self.schema["properties"]
        return next(iter(properties)) if [part.get("type") for part in properties.values()] == ["array"] else None


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


def _is_json(text: str) -> bool:
    """Whether the whole text is JSON within the limits; pydantic's own parser takes infinities."""
    try:
        parse_json(text, what="The reply")
    except InputError:
        return False
    return True


def _find_json_values(text: str) -> Iterator[Any]:
    """Yield every outermost JSON object or array in the text, in order; broken ones are skipped.

    The search ends where broken values would make it long.
    """
    at = scanned = 0
    starts = _OPENING.finditer(text)
    for match in starts:
        start = match.start()
        if start < at:
            continue
        try:
            value, at = _DECODER.raw_decode(text, start)
            scanned += at - start
            if "\\u" not in text[start:at] or is_valid_text(json.dumps(value, ensure_ascii=False)):
                yield value
        except json.JSONDecodeError as error:
            scanned += error.pos - start + error.pos // 50  # the error itself counts lines from the beginning
        except (ValueError, RecursionError):  # a number or a nesting beyond the limits
            scanned += _MAX_SCANNED // 100
        if scanned > _MAX_SCANNED:
            return


def _parse_int(digits: str) -> int:
    if len(digits) > 300:
        raise ValueError("an integer has more than 300 digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


_OPENING = re.compile(r"[{\[]")
# Not strict: models write line breaks into strings.
_DECODER = json.JSONDecoder(strict=False, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_parse_float)


def _format_errors(error: ValidationError) -> str:
    """Format the first five problems of a validation, each with its place, which may hold names that the model made up."""
    problems = [(".".join(map(str, one["loc"])) or "the reply", one["msg"]) for one in error.errors(include_url=False)[:5]]
    return "; ".join(f"{clean_text(place, 300)}: {clean_text(problem, 2000)}" for place, problem in problems)
