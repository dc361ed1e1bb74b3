"""Reads what an endpoint says of a failure: status, code, parameter, message and wait, wherever the server puts them.

Bodies are objects, lists (Gemini), texts (Ollama), HTML pages of proxies, problem details, lists of invalid fields (FastAPI), or
good answers with an error inside (OpenRouter). Nothing here decides what to do; `errors` does.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comvint_hf.errors import InputError
from comvint_hf.strict_reader import LIMITS, parse_json, redact

_MESSAGES = ("message", "msg", "error_message", "status_msg", "detail", "error", "errors", "title", "description", "reason")
_CODES = ("code", "type", "status", "error_code", "error_type", "reason", "status_code", "quotaId")
_NESTED = ("error", "errors", "detail", "details", "metadata", "violations", "base_resp", "ctx", "fault")
_WAITS = {"retryDelay": 1.0, "retry_after": 1.0, "retry_after_seconds": 1.0, "retryAfter": 1.0, "retry_after_ms": 0.001}
_WAIT_WORDS = re.compile(
    r"(?:(?:try|retry)(?: again)?|available|reset\w*|wait)[^.\d]{0,24}?(?:in|after|for|wait|again)?\s*"
    r"((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|m|hours?|h)(?![a-z])\s*)+)",
    re.IGNORECASE,
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli[a-z]*|h[a-z]*|m[a-z]*|s[a-z]*|)", re.IGNORECASE)
_HTML = re.compile(r"\A\s*<(?:!doctype|html)", re.IGNORECASE)
_HTML_TITLE = re.compile(r"<(title|h1)[^>]{0,200}>([^<]{1,300})</", re.IGNORECASE)
_MOST_NODES = 200


@dataclass(frozen=True)
class ErrorReport:
    """What an endpoint says of a failure.

    Attributes:
        status: The HTTP status, or the one that the body names inside an answer of status 200.
        message: Its words on one short line, without secrets.
        codes: Its machine-readable codes and types, in lower case.
        params: The request's fields that it names, outer ones first.
        wait: Seconds that it asks to wait.
        text: The words in full length, for a search.
        generated: A broken reply of the model that the server has refused itself.
    """

    status: int
    message: str
    codes: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    wait: float | None = None
    text: str = ""
    generated: str | None = None

    def has_code(self, *names: str) -> bool:
        """Whether one of the codes is one of these names, apart from case and separators."""
        plain = {re.sub(r"[^a-z0-9]", "", name) for name in names}
        return any(re.sub(r"[^a-z0-9]", "", code) in plain for code in self.codes)


def read_error_body(content: bytes) -> object:
    """The JSON of an error, or the beginning of its text."""
    try:
        return parse_json(content, what="The error", allow_non_finite=True)
    except InputError:
        text = content[:20_000].decode(errors="replace")
        return _read_html(text) if _HTML.match(text) else text[:1000] or "no message"


def _read_html(text: str) -> str:
    titles = dict.fromkeys(" ".join(title.split()) for _, title in _HTML_TITLE.findall(text))
    return f"a web page: {' / '.join(titles) or 'without a title'}"


def report_error(status: int, body: object, headers: Mapping[str, str]) -> ErrorReport:
    """Read the error of an HTTP answer with this status and decoded body."""
    nodes = list(_iter_nodes(body))
    texts = [text for node in nodes for text in _find_messages(node)] if nodes else [str(body)]
    codes = tuple(dict.fromkeys(str(node[name]).lower()[:100] for node in nodes for name in _CODES if _is_code(node.get(name))))
    text = " ".join(dict.fromkeys(texts)) or str(body)
    text = text[: 100 * LIMITS.message_characters]
    wait = parse_retry_after(headers)
    if wait is None:
        wait = next((seconds for node in nodes if (seconds := _find_wait(node)) is not None), None)
    return ErrorReport(
        status=_find_status(status, nodes),
        message=_shorten(texts[0] if texts else text, codes),
        codes=codes,
        params=tuple(_find_params(nodes)),
        wait=parse_wait(text) if wait is None else wait,
        text=text,
        generated=next((node["failed_generation"] for node in nodes if isinstance(node.get("failed_generation"), str)), None),
    )


def find_inner_error(answer: object) -> object | None:
    """The error in an answer of status 200, which may stand beside empty choices or in the first of them; else `None`."""
    if isinstance(answer, list):
        return answer if answer and isinstance(answer[0], dict) and "error" in answer[0] else None
    if not isinstance(answer, dict):
        return None
    choices = answer.get("choices")
    if isinstance(choices, list) and choices:
        first = choices[0]
        return first["error"] if isinstance(first, dict) and first.get("error") and not _has_text(first) else None
    is_error = answer.get("error") or answer.get("errors") or "detail" in answer or answer.get("success") is False
    is_error = is_error or "error" in (answer.get("object"), answer.get("type")) or _failed_status(answer.get("base_resp"))
    return answer if is_error else None


def _has_text(choice: dict[str, Any]) -> bool:
    message = choice.get("message")
    return choice.get("finish_reason") != "error" and isinstance(message, dict) and bool(message.get("content"))


def _failed_status(base: object) -> bool:
    return isinstance(base, dict) and base.get("status_code") not in (0, None)


def _iter_nodes(body: object, left: list[int] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the objects of an error body that may describe the error, outer ones first."""
    left = [_MOST_NODES] if left is None else left
    if isinstance(body, str) and body.lstrip()[:1] in ("{", "[") and len(body) < 20_000:
        try:  # a proxy that passes on the body of another server as text
            body = parse_json(body, what="The error", allow_non_finite=True)
        except InputError:
            return
    if isinstance(body, list):
        for item in body[:20]:
            yield from _iter_nodes(item, left)
    elif isinstance(body, dict) and left[0] > 0:
        left[0] -= 1
        yield body
        for name in (*_NESTED, "message", "raw"):
            if isinstance(body.get(name), dict | list | str):
                yield from _iter_nodes(body[name], left)


def _find_messages(node: dict[str, Any]) -> Iterator[str]:
    for name in _MESSAGES:
        value = node.get(name)
        if isinstance(value, str) and value.strip() and value.lstrip()[:1] not in ("{", "["):
            yield value
    if isinstance(raw := node.get("raw"), str):
        yield raw


def _is_code(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and 0 < len(str(value)[:200]) <= 100


def _find_status(status: int, nodes: list[dict[str, Any]]) -> int:
    """The status of the answer; where that claims success, the one that its body names."""
    if not 200 <= status < 300:
        return status
    for node in nodes:
        for name in ("code", "status_code", "status"):
            value = node.get(name)
            if isinstance(value, int | str) and re.fullmatch(r"[45]\d\d", str(value)[:4]):
                return int(value)
    return status


def _find_params(nodes: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes:
        if isinstance(param := node.get("param"), str):
            yield param.lower()[:200]
        if isinstance(place := node.get("loc"), list):
            yield ".".join(str(part) for part in place[:10] if part != "body").lower()[:200]


def _find_wait(node: dict[str, Any]) -> float | None:
    for name, factor in _WAITS.items():
        value = node.get(name)
        if isinstance(value, str):
            return parse_duration(value, factor)
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return float(value) * factor
        if isinstance(value, dict) and isinstance(value.get("seconds"), int | str):
            return parse_duration(str(value["seconds"]), 1.0)
    loading = node.get("estimated_time")
    return float(loading) if isinstance(loading, int | float) and 0 <= loading < 1e6 else None


def _shorten(message: str, codes: tuple[str, ...]) -> str:
    """The endpoint's own message and first code that is a word, on one short line."""
    code = next((code for code in codes if not code.isdigit() and code not in message.lower() and code != "error"), None)
    line = f"{message[: 100 * LIMITS.message_characters]} [{code}]" if code else message[: 100 * LIMITS.message_characters]
    # Secrets are removed before the message is cut, or their beginnings would stay.
    return " ".join(redact(line).split())[: LIMITS.message_characters]


def parse_wait(text: str) -> float | None:
    """Parse the wait that a message asks for in words, into seconds.

    >>> parse_wait("Limit reached. Please try again in 1m2.5s."), parse_wait("Retry after 20 seconds"), parse_wait("Slow down.")
    (62.5, 20.0, None)
    """
    found = _WAIT_WORDS.search(text[:5000])
    return parse_duration(found[1], 1.0) if found else None


def parse_duration(text: str, factor: float) -> float | None:
    """Parse a time like "1.5s", "6m0s", "120ms" or "20", which is in units of `factor` seconds.

    >>> parse_duration("6m1.5s", 1.0), parse_duration("120 ms", 1.0), parse_duration("2", 0.001), parse_duration("soon", 1.0)
    (361.5, 0.12, 0.002, None)
    """
    units = {"m": 60.0, "h": 3600.0, "s": 1.0, "": factor}
    parts = _DURATION.findall(text[:100])
    if not parts or len(text) > 100:
        return None
    return sum(
        float(number) * (0.001 if unit.lower().startswith(("ms", "milli")) else units[unit[:1].lower()]) for number, unit in parts
    )


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse `retry-after-ms`, or `retry-after` in seconds or as a date, into seconds; `None` without either.

    >>> parse_retry_after({"retry-after": "1.5"})
    1.5
    """
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value and re.fullmatch(r"\s*\d+(\.\d+)?\s*s?\s*", value):
            return float(value.strip().rstrip("s")) * factor
    value = headers.get("retry-after")
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0) if value else None
    except (ValueError, TypeError, OverflowError):  # no date, or one that no calendar has
        return None
