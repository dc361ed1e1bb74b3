"""Finds out which field of a request an endpoint refuses, and what it says of the values that it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

FieldName = Literal[
    "response_format", "max_tokens_name", "max_tokens", "temperature", "temperature_range", "stream", "no_stream", "stream_options"
]  # fmt: skip
FEWEST_TOKENS = 64
"""Fewer tokens make no reply: a prompt that leaves fewer is too long for the model."""
MAX_TOKENS_NAMES = ("max_completion_tokens", "max_tokens")
_FORMAT = re.compile(
    r"response_?format|response_?schema|response_?mime_?type|json_?schema|json[ _]object|json mode|json schema|structured[ _]outputs?|guided"
    r"|grammar|generation_config|additionalProperties|constrained|\bschema\b",
    re.IGNORECASE,
)
_CAP = re.compile(
    r"max_completion_tokens|max_tokens|max_new_tokens|max_output_tokens|max_gen_len|max tokens|maximum tokens you requested",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|not (?:supported|permitted|allowed|recogni[sz]ed)|extra (?:inputs?|fields?)|does(?: not|n't) support|unexpected"
    r"|no longer supported|deprecated|use '?max_completion_tokens",
    re.IGNORECASE,
)
_RANGE = re.compile(r"between|less than|greater than|<=|>=|≤|range|must be (?:in|at most|at least)|maximum of", re.IGNORECASE)
_STREAM_ONLY = re.compile(
    r"requires? stream\s*=?\s*true|must (?:have|be|set|use) stream|only supports? stream|(?:enable|set) (?:the )?stream\b|non-?streaming .{0,40}not",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"(?:context[ _]?(?:length|window|size|limit)|max(?:imum)?[ _](?:model[ _]|sequence[ _])?len(?:gth)?|n_ctx|`max_new_tokens` must be|context limit)"
    r"[^\d]{0,40}(\d{3,9})|(\d{3,9})[ -]tokens? context",
    re.IGNORECASE,
)
_PROMPT = (  # a number before its words is the surer reading
    re.compile(
        r"(\d+)\s*(?:`?inputs?`? tokens|prompt tokens|tokens? (?:in|from) (?:the )?(?:your )?(?:input|prompt|messages)|in the (?:messages|prompt|input)"
        r"|of text input|input tokens|tokens in your prompt)",
        re.IGNORECASE,
    ),
    re.compile(r"(?:input|prompt)[^\d.]{0,30}?(?:has|have|contains|of|is|:|=|length|tokens)[^\d.]{0,15}(\d+)", re.IGNORECASE),
)
_TOTAL = re.compile(r"requested (?:about |a total of |up to )?(\d+)", re.IGNORECASE)
_SUM = re.compile(r"(\d+) \+ \d+ > (\d+)")
_COMPLETION = re.compile(r"\d+ (?:tokens )?(?:in|for|from) the (?:completion|output)", re.IGNORECASE)
_NO_STREAM = re.compile(r"stream\w* (?:is )?(?:not supported|unsupported)", re.IGNORECASE)
_NO_TEMPERATURE = re.compile(r"only the default|does(?: not|n't) (?:accept|take)", re.IGNORECASE)


@dataclass(frozen=True)
class RefusedField:
    """A field that the endpoint refuses; of the bound on a reply's tokens also the numbers that it gives.

    Attributes:
        context: Tokens of the model's context, prompt and reply together.
        prompt: Tokens of this request's prompt.
        total: Tokens of the prompt and the bound together.
        numbers: All numbers of the message.
    """

    name: FieldName
    context: int | None = None
    prompt: int | None = None
    total: int | None = None
    numbers: tuple[int, ...] = ()

    def find_limit(self, refused: int) -> int:
        """Most tokens that a reply may have, where `refused` is too many; below 1 where the prompt leaves none."""
        if self.context is not None:
            prompt = self.prompt if self.prompt is not None else (self.total or 0) - refused
            return min(self.context - prompt, refused - 1) if prompt >= 0 else min(self.context, refused) // 2
        lower = [number for number in self.numbers if FEWEST_TOKENS <= number < refused]
        return max(lower, default=refused // 2)


def find_refused_field(message: str, params: Iterable[str] = ()) -> RefusedField | None:
    """Find the field that an endpoint refuses: by the parameter that it names, else by its words; `None` for none of ours."""
    text = re.sub(r"(?<=\d)[,_](?=\d{3}\b)", "", message)
    for param in params:
        if (field := _by_param(param, text)) is not None:
            return field
    if _STREAM_ONLY.search(text):
        return RefusedField("stream")
    if "stream_options" in text and _UNKNOWN.search(text):
        return RefusedField("stream_options")
    if _NO_STREAM.search(text):
        return RefusedField("no_stream")
    if _CAP.search(text) or _COMPLETION.search(text):
        return _read_cap(text)
    if "temperature" in text.lower():
        return _read_temperature(text)
    return RefusedField("response_format") if _FORMAT.search(text) else None


def _by_param(param: str, text: str) -> RefusedField | None:
    if "stream_options" in param:
        return RefusedField("stream_options")
    if param == "stream":
        return RefusedField("stream" if _STREAM_ONLY.search(text) else "no_stream")
    if "max_" in param and "token" in param:
        return _read_cap(text)
    if "temperature" in param:
        return _read_temperature(text)
    return RefusedField("response_format") if "response_format" in param or "schema" in param else None


def _read_temperature(text: str) -> RefusedField:
    is_value = _RANGE.search(text) and not _UNKNOWN.search(text) and not _NO_TEMPERATURE.search(text)
    return RefusedField("temperature_range" if is_value else "temperature")


def _read_cap(text: str) -> RefusedField | None:
    """What a message about the bound on a reply's tokens says; `None` where the prompt alone is too long."""
    if summed := _SUM.search(text):  # "exceed context limit: 700 + 8192 > 4096"
        field = RefusedField("max_tokens", context=int(summed[2]), prompt=int(summed[1]))
    elif context := _first_number(_CONTEXT, text):
        field = RefusedField(
            "max_tokens",
            context=context,
            prompt=_first_number(_PROMPT[0], text) or _first_number(_PROMPT[1], text),
            total=_first_number(_TOTAL, text),
        )
    elif _UNKNOWN.search(text) and not _RANGE.search(text):
        return RefusedField("max_tokens_name")
    else:
        numbers = re.findall(r"(?<![\w.-])\d{2,9}(?!\w)", text)
        return RefusedField("max_tokens", numbers=tuple(map(int, numbers)))
    left = field.context - (field.prompt or 0) if field.context else FEWEST_TOKENS
    return field if left >= FEWEST_TOKENS else None


def _first_number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return next((int(group) for group in found.groups() if group), None) if found else None
