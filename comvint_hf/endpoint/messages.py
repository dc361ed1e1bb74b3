"""Reads chat completions as servers write them: whole or in events, in parts, in tool calls, or among the thoughts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import LIMITS, parse_json

Mode = Literal["json_schema", "json_object", "text"]
MODES: tuple[Mode, ...] = ("json_schema", "json_object", "text")
"""Response formats, the strictest first; an endpoint that refuses one is asked with the next."""
_FINISHES = {
    "length": ("length", "max_tokens", "model_length", "max_output_tokens", "token_limit", "max_length"),
    "content_filter": (
        "content_filter", "safety", "prohibited_content", "recitation", "sensitive", "blocked", "blocklist", "spii", "guardrail_intervened",
        "image_safety", "moderation",
    ),
    "error": ("error", "network_error", "insufficient_system_resource", "abort", "aborted", "cancelled", "engine_error"),
}  # fmt: skip
_BY_NAME = {name: finish for finish, names in _FINISHES.items() for name in names}
_COMMENTS = re.compile(rb"\A(?:\s*:[^\n]*\n)+")


class Message(NamedTuple):
    """What a model has said: the text, or a refusal, and its thoughts where the server keeps them apart.

    `finish_reason` is "stop" for an ordinary end, "length", "content_filter", "error", or "" where none came.
    """

    text: str
    refusal: str
    reasoning: str
    finish_reason: str


def parse_answer(body: bytes, what: str = "The answer") -> Any:
    """Decode the body of an answer: JSON, JSON with an end of a stream behind it, or a whole stream, whose parts are joined.

    Raises `InputError` for anything else.
    """
    # Some servers write NaN beside the message; the numbers that are used are checked one by one.
    options: dict[str, Any] = {"what": what, "max_bytes": LIMITS.reply_bytes, "allow_non_finite": True}
    try:
        return parse_json(body, **options)
    except InputError:
        if b"data:" not in body and not body.lstrip().startswith(b":"):
            raise
    cut = _COMMENTS.sub(b"", _cut_end(body))
    if cut.lstrip()[:1] in (b"{", b"["):
        return parse_json(cut, **options)
    return join_events(parse_json(event, **options) for event in iter_events(body.splitlines(keepends=True)))


def _cut_end(body: bytes) -> bytes:
    """A body without the end of a stream and comments behind it."""
    body = body.rstrip()
    for _ in range(20):
        head, _, last = body.rpartition(b"\n")
        body = body.removesuffix(b"data: [DONE]").removesuffix(b"data:[DONE]").rstrip()
        if last.startswith(b":"):
            body = head.rstrip()
    return body


def iter_events(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the data of server-sent events, without the last "[DONE]"."""
    for line in lines:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data and data != b"[DONE]":
                yield data


def join_events(events: Iterable[Any]) -> Any:
    """Join the events of a streamed completion into a whole one. An error among them stays beside what came before."""
    joined: dict[str, Any] = {"choices": []}
    message: dict[str, Any] = {}
    finish, count = None, 0
    for event in events:
        if not isinstance(event, dict):
            return event
        count += 1
        if not event.get("choices"):
            joined |= {name: value for name, value in event.items() if name in ("usage", "error", "detail", "message") and value}
            continue
        joined |= {"usage": event["usage"]} if event.get("usage") else {}
        choice = event["choices"][0]
        if isinstance(choice, dict):
            _add_delta(message, choice.get("delta") or choice.get("message") or {"content": choice.get("text")})
            finish = choice.get("finish_reason") or finish
            joined |= {"error": choice["error"]} if choice.get("error") else {}
    if "error" in joined or not count:
        return joined
    # A stream that breaks off without a reason is no whole message.
    joined["choices"] = [{"index": 0, "message": message, "finish_reason": finish}] if message or finish else []
    return joined


def _add_delta(message: dict[str, Any], delta: Any) -> None:
    if not isinstance(delta, dict):
        return
    for name in ("content", "refusal", "reasoning_content", "reasoning"):
        if isinstance(part := delta.get(name), str | list):
            message[name] = (message.get(name) or "") + join_content(part)
    for call in delta.get("tool_calls") or ():
        arguments = call.get("function", {}).get("arguments") if isinstance(call, dict) else None
        if isinstance(arguments, str):
            message["arguments"] = message.get("arguments", "") + arguments


def read_message(choice: dict[str, Any]) -> Message:
    """Read one choice of a completion. Raises `LookupError`, `TypeError` or `AttributeError` for one of another shape."""
    message = choice["message"] if "message" in choice else choice.get("delta") or {"content": choice["text"]}
    message = {"content": message} if isinstance(message, str) else message
    text = join_content(message.get("content")) or _read_arguments(message)
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    return Message(
        text=text,
        refusal=join_content(message.get("refusal")),
        reasoning=reasoning if isinstance(reasoning, str) else "",
        finish_reason=normalise_finish(choice.get("finish_reason") or choice.get("stop_reason")),
    )


def normalise_finish(reason: object) -> str:
    """Reduce a server's finish reason to "stop", "length", "content_filter", "error", or "" where none came.

    >>> normalise_finish("MAX_TOKENS"), normalise_finish("SAFETY"), normalise_finish("eos_token"), normalise_finish(None)
    ('length', 'content_filter', 'stop', '')
    """
    return _BY_NAME.get(reason.lower(), "stop") if isinstance(reason, str) and reason else ""


def join_content(content: Any) -> str:
    """A message's text, whether it came whole, in parts, or as an object; thoughts among the parts are left out.

    Raises `TypeError` for content that is no text.
    """
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") not in ("thinking", "reasoning")]
        return "".join(part.get("text") or "" for part in parts) or "".join(part for part in content if isinstance(part, str))
    if isinstance(content, dict):
        return json.dumps(content, ensure_ascii=False)
    if content is not None and not isinstance(content, str):
        raise TypeError("content that is no text")
    return content or ""


def _read_arguments(message: dict[str, Any]) -> str:
    """The arguments of the first tool call: some servers make structured output of one."""
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls else {"function": message.get("function_call")}
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else message.get("arguments")
    return json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else join_content(arguments)
