"""What is asked of an endpoint as a form, and how its reply is read back into one.

A form is a `Reply` class: its JSON schema goes to endpoints that take schemas, a one-line wording of it goes to all.
Replies may come as JSON, as fenced JSON, as JSON inside prose, or as "Question: ... Answer: ..." lines. This file knows
pydantic and text; it knows no endpoint, no cache and no recipe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal

from pydantic import ValidationError

from comvint_hf.generation.client.labelled_text import read_labelled
from comvint_hf.generation.llm import R

Mode = Literal["json_schema", "json_object", "text"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "text")
"""How a form may be asked for, the strictest first; an endpoint that refuses one is asked by the next."""

FINISHES = {
    "length": "the reply was cut off before its end",
    "refusal": "the model refused",
    "content_filter": "the provider's content filter stopped the reply",
    "empty": "the reply was empty",
}
"""Why a message is no answer, whatever it says."""

_UNSUPPORTED = ("title", "default", "minLength", "maxLength", "pattern", "format", "uniqueItems", "examples")
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)```", re.DOTALL)
_DECLINED = re.compile(
    r"\A\W*(i'm sorry|i am sorry|sorry,|i can't|i cannot|i can not|i'm unable|i am unable|as an ai\b)", re.IGNORECASE
)
_DECODER = json.JSONDecoder(strict=False)


class Misfit(ValueError):
    """A reply that is not the form, with the reason in words that the model can be told."""


@dataclass(frozen=True)
class Form(Generic[R]):
    """One reply type, ready to be asked for: `fingerprint` goes into cache keys, `wording` into messages."""

    reply_type: type[R]
    schema: dict[str, Any]
    strict: bool
    fingerprint: bytes
    wording: str

    def response_format(self, mode: Mode) -> dict[str, Any] | None:
        """The `response_format` of a chat completion; `None` for plain text."""
        if mode == "json_schema":
            described = {"name": self.reply_type.__name__, "schema": self.schema, "strict": self.strict}
            return {"type": "json_schema", "json_schema": described}
        return {"type": "json_object"} if mode == "json_object" else None

    def read(self, text: str, finish: str = "stop", mode: Mode = "json_schema") -> R:
        """The filled form. Raises `Misfit` with the reason where the message is no answer or does not fit."""
        if finish in FINISHES:
            raise Misfit(FINISHES[finish])
        if text.startswith("{"):
            try:
                return self.reply_type.model_validate_json(text)
            except ValidationError as error:
                if error.errors()[0]["type"] != "json_invalid":
                    raise Misfit(_in_words(error)) from error
        return self._read_loosely(_THOUGHT.sub("", text).strip(), mode)

    def _read_loosely(self, text: str, mode: Mode) -> R:
        problem = None
        for candidate in self._candidates(text):
            try:
                return self.reply_type.model_validate(candidate)
            except ValidationError as error:
                problem = problem or _in_words(error)
        if _DECLINED.match(text):
            raise Misfit(FINISHES["refusal"])
        if mode == "text" and problem is None and (only := self._only_text()) and "{" not in text:
            return self.reply_type.model_validate({only: text})
        raise Misfit(problem or "it holds no complete JSON object of this form")

    def _candidates(self, text: str) -> Iterator[Any]:
        """Everything in the text that could be the form: fenced blocks, JSON values, labelled lines."""
        for block in (*_FENCE.findall(text), text):
            for value in _json_values(block):
                if isinstance(value, dict):
                    yield value
                elif only := self._only_list():
                    yield {only: value}
        if labelled := read_labelled(text, self.reply_type):
            yield labelled

    def _only_text(self) -> str | None:
        needed = {name: field for name, field in self.reply_type.model_fields.items() if field.is_required()}
        return next(iter(needed)) if [field.annotation for field in needed.values()] == [str] else None

    def _only_list(self) -> str | None:
        properties = self.schema["properties"]
        return next(iter(properties)) if [part.get("type") for part in properties.values()] == ["array"] else None


@cache
def form_of(reply_type: type[R]) -> Form[R]:
    """The form of a reply type, made once."""
    plain = reply_type.model_json_schema()
    schema, strict = _strict(plain), "additionalProperties" not in json.dumps(plain)
    return Form(
        reply_type=reply_type,
        schema=schema,
        strict=strict,
        fingerprint=json.dumps(plain, sort_keys=True).encode(),
        wording=f"Reply with one JSON object and nothing else, of this form: {_shape(plain, plain)}",
    )


def _strict(part: Any) -> Any:
    """The schema in the dialect that endpoints guarantee: every property required, none beside them, no fine print."""
    if isinstance(part, list):
        return [_strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("properties"), dict):
        properties = {name: _strict(inner) for name, inner in part["properties"].items()}
        rest = {name: _strict(value) for name, value in part.items() if name not in (*_UNSUPPORTED, "properties", "required")}
        return {**rest, "properties": properties, "required": list(properties), "additionalProperties": False}
    return {name: _strict(value) for name, value in part.items() if name not in _UNSUPPORTED}


def _shape(part: dict[str, Any], root: dict[str, Any]) -> str:
    """A schema as a person would sketch it.

    >>> _shape({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}, {})
    '[string, ...] (exactly 2)'
    """
    if "$ref" in part:
        return _shape(root["$defs"][part["$ref"].rsplit("/", 1)[1]], root)
    if "const" in part or "enum" in part:
        return " or ".join(json.dumps(value) for value in part.get("enum", [part.get("const")]))
    if "anyOf" in part:
        return " or ".join(_shape(option, root) for option in part["anyOf"])
    match part.get("type"):
        case "object" if "properties" in part:
            return "{" + ", ".join(_property(name, inner, root) for name, inner in part["properties"].items()) + "}"
        case "array":
            least, most = part.get("minItems"), part.get("maxItems")
            count = f" (exactly {least})" if least == most and least else f" (at least {least})" if least else ""
            return f"[{_shape(part.get('items', {}), root)}, ...]{count}"
        case kind:
            return str(kind or "anything")


def _property(name: str, part: dict[str, Any], root: dict[str, Any]) -> str:
    described = f" ({part['description']})" if "description" in part else ""
    return f'"{name}": {_shape(part, root)}{described}'


def _json_values(text: str) -> Iterator[Any]:
    """Every outermost JSON object or array in the text, in order; broken ones are passed over."""
    at = 0
    while (start := min((found for found in (text.find("{", at), text.find("[", at)) if found >= 0), default=-1)) >= 0:
        try:
            value, at = _DECODER.raw_decode(text, start)
            yield value
        except (json.JSONDecodeError, RecursionError):
            at = start + 1


def _in_words(error: ValidationError) -> str:
    """The first five problems of a validation, each with its place."""
    problems = [(".".join(map(str, one["loc"])) or "the reply", one["msg"]) for one in error.errors(include_url=False)[:5]]
    return "; ".join(f"{place}: {problem}" for place, problem in problems)
