"""Everything that goes wrong with a real endpoint, by name, and a seeded schedule that says when.

A fault either replaces the HTTP answer (`http_fault`), spoils the message (`message_fault`) or spoils the form inside the
message (`form_fault`). This file knows no client.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from endpoint.wire import Response

HTTP = ("429", "429-retry-after", "500", "503", "reset", "cut", "stall")
MESSAGE = ("malformed", "truncated", "empty", "refusal", "fenced", "prose")
FORM = ("wrong_type", "wrong_count", "unknown_reference", "leak", "duplicate")
COMMON = ("429-retry-after", "500", "reset", "malformed", "truncated", "empty", "refusal")
"""The seven of the measured case: one in five first answers is one of these."""


@dataclass(frozen=True)
class Faults:
    """Which answers go wrong: `share` of all prompts get a fault of `kinds` as their first `first` answers.

    The choice depends on the seed and the prompt alone, so it is the same in every order of arrival. `never` names prompts
    that no answer may satisfy, with the fault they always get.
    """

    share: float = 0.2
    kinds: tuple[str, ...] = COMMON
    seed: int = 0
    first: int = 1
    retry_after: str = "1"
    never: Callable[[str], str | None] = field(default=lambda text: None)

    def kind(self, text: str, earlier: int) -> str | None:
        """The fault for a prompt that was asked `earlier` times before; `None` for a good answer."""
        if (always := self.never(text)) is not None:
            return always
        digest = hashlib.sha256(f"{self.seed} {text}".encode()).digest()
        chosen = int.from_bytes(digest[:4], "big") < self.share * 2**32
        return self.kinds[digest[5] % len(self.kinds)] if chosen and earlier < self.first else None


def http_fault(kind: str, retry_after: str) -> Response | None:
    """The broken HTTP answer, or `None` if this fault is one of the message."""
    if kind.startswith("429"):
        response = _error(429, "Rate limit reached for requests.", "rate_limit_exceeded")
        if kind == "429-retry-after":
            response.headers["retry-after"] = retry_after
        return response
    if kind in ("500", "503"):
        return _error(int(kind), "The server had an error while processing your request.", "server_error")
    if kind in ("reset", "stall"):
        return Response(ending=kind)
    return None


def _error(status: int, message: str, code: str) -> Response:
    return Response.of({"error": {"message": message, "type": code, "param": None, "code": code}}, status)


def message_fault(kind: str | None, content: str) -> tuple[dict[str, Any], str]:
    """The assistant's message and its finish reason, spoilt as the fault says."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    match kind:
        case "malformed":
            message["content"] = content[: len(content) * 2 // 3].replace(":", "", 1)
        case "truncated":
            message["content"] = content[: len(content) // 2]
            return message, "length"
        case "empty":
            message["content"] = ""
        case "refusal":
            message |= {"content": None, "refusal": "I'm sorry, but I can't help with that request."}
        case "fenced":
            message["content"] = f"```json\n{content}\n```"
        case "prose":
            message["content"] = f"Certainly! Here is what you asked for:\n\n{content}\n\nLet me know if {{you}} need more."
        case str() if kind in FORM:
            message["content"] = json.dumps(form_fault(kind, json.loads(content)))
    return message, "stop"


def form_fault(kind: str, form: dict[str, Any]) -> dict[str, Any]:
    """The filled form with one thing wrong in it; forms without a place for the fault get a wrong type instead."""
    lists = [name for name, value in form.items() if isinstance(value, list) and value]
    texts = [name for name, value in form.items() if isinstance(value, str)]
    if kind == "wrong_count" and lists:
        return form | {lists[0]: form[lists[0]][:-1]}
    if kind == "duplicate" and lists:
        return form | {lists[0]: [form[lists[0]][0]] * len(form[lists[0]])}
    if kind in ("leak", "unknown_reference"):
        spoilt = "Based on the given captions, " if kind == "leak" else "The <st>thing<ed>[o9999] stands there: "
        if texts:
            return form | {texts[-1]: spoilt + form[texts[-1]]}
        if lists and isinstance(form[lists[0]][0], dict):
            return form | {lists[0]: [form_fault(kind, form[lists[0]][0]), *form[lists[0]][1:]]}
    return {name: {"not": "what was asked"} for name in form}
