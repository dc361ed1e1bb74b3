"""Classifies failures of an endpoint: retry the request, change it, give up the prompt, or stop the run."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comvint_hf.errors import EndpointError, InputError, ReplyError
from comvint_hf.strict_reader import LIMITS, parse_json, redact

if TYPE_CHECKING:
    import openai

_FORMAT = re.compile(r"response_format|json_schema|json_object|json mode|structured output|guided|grammar", re.IGNORECASE)
_MAX_TOKENS = re.compile(r"max_completion_tokens|max_tokens", re.IGNORECASE)
_UNKNOWN = re.compile(r"unsupported|unrecogni[sz]ed|unknown|not (?:supported|permitted)|extra", re.IGNORECASE)
_MODEL = re.compile(
    r"model_not_found|model\b.*(?:does not exist|not found|not supported|unknown)|(?:unknown|invalid) model", re.IGNORECASE
)
_QUOTA = re.compile(r"insufficient_quota|billing|exceeded your (?:current quota|monthly)|credit|payment", re.IGNORECASE)
_NEXT = "Nothing is lost: correct it and run the same command again."


@dataclass(eq=False)
class RetryableError(Exception):
    """A temporary failure.

    Args:
        reason: The failure in a few words.
        throttled: Whether the endpoint wants fewer requests.
        retry_after: Seconds that the endpoint asks to wait.
        billed: Whether the provider may bill the request although no reply came.
        unreached: Whether the request never reached the endpoint.
        answered: Whether the endpoint did answer, in a way that is not read.
    """

    reason: str
    throttled: bool = False
    retry_after: float | None = None
    billed: bool = False
    unreached: bool = False
    answered: bool = False

    def __str__(self) -> str:
        return self.reason


class UnsupportedFormatError(Exception):
    """The endpoint does not support this response format."""


class UnsupportedMaxTokensError(Exception):
    """The endpoint has another name for the bound on a reply's tokens."""


def classify_error(error: openai.APIError, model: str, url: str) -> Exception:
    """Convert an error of the openai client.

    Returns:
        A `RetryableError`, `UnsupportedFormatError` or `UnsupportedMaxTokensError`; a `ReplyError` for a prompt that is
        refused; an `EndpointError` for what stops the run.
    """
    import httpx2
    import openai

    if isinstance(error, openai.APITimeoutError):
        connecting = "Connect" in type(error.__cause__).__name__ or "Pool" in type(error.__cause__).__name__
        return RetryableError(
            f"no {'connection' if connecting else 'answer'} in time", billed=not connecting, unreached=connecting
        )
    if isinstance(error.__cause__, httpx2.DecodingError):
        return RetryableError(redact(str(error.__cause__), LIMITS.message_characters), billed=True, answered=True)
    if isinstance(error, openai.APIConnectionError):
        refused = type(error.__cause__).__name__ in ("ConnectError", "UnsupportedProtocol", "LocalProtocolError", "ProxyError")
        how = "could not be made" if refused else "broke"
        cause = redact(repr(error.__cause__), LIMITS.message_characters)
        return RetryableError(f"the connection {how} ({cause})", billed=not refused, unreached=refused)
    if not isinstance(error, openai.APIStatusError):
        message = redact(str(error), LIMITS.message_characters)
        return RetryableError(f"an answer that cannot be read ({message})", billed=True)
    body = _read_error_body(error.response.content)
    return classify_status(error.status_code, body, error.response.headers, model, url)


def _read_error_body(content: bytes) -> object:
    """The JSON of an error, or the beginning of its text."""
    try:
        return parse_json(content, what="The error", allow_non_finite=True)
    except InputError:
        return content[:1000].decode(errors="replace") or "no message"


def classify_status(status: int, body: object, headers: Mapping[str, str], model: str, url: str) -> Exception:
    """Convert an HTTP status and its error body, as `classify_error` does."""
    message = _extract_message(body)
    if 300 <= status < 400:
        target = redact(headers.get("location", ""), LIMITS.message_characters)
        return EndpointError(
            f"{url} redirects to {target or 'another address'} with status {status}. A redirect is not followed, because "
            f"prompts and the API key would go along: give the final address with --base-url. {_NEXT}"
        )
    if status == 402 or (status in (403, 429) and _QUOTA.search(message)):
        return EndpointError(f"{url} has no quota left for {model} ({message}): add credit there. {_NEXT}")
    if status == 429 or status in (503, 529):
        return RetryableError(f"status {status} ({message})", throttled=True, retry_after=parse_retry_after(headers))
    if status in (408, 409, 425) or (status >= 500 and status != 501):
        return RetryableError(f"status {status} ({message})", retry_after=parse_retry_after(headers))
    if status == 401 or status == 403 and not re.search("moderation|flagged", message):
        return EndpointError(f"{url} refuses the API key ({message}): set the right one in the environment. {_NEXT}")
    if status == 404 or _MODEL.search(message):
        return EndpointError(f"{url} does not serve the model {model!r} ({message}): check the name and --base-url. {_NEXT}")
    if _FORMAT.search(message):
        return UnsupportedFormatError(message)
    if _MAX_TOKENS.search(message) and _UNKNOWN.search(message):
        return UnsupportedMaxTokensError(message)
    return ReplyError(f"{url} refuses the request with status {status} ({message}).")


def _extract_message(body: object) -> str:
    """The endpoint's own message and code, on one short line."""
    fields = body if isinstance(body, dict) else {}
    fields = fields["error"] if isinstance(fields.get("error"), dict) else fields
    message, code = fields.get("message") or fields.get("detail") or body, fields.get("code")
    line = f"{message} [{code[:100]}]" if isinstance(code, str) else str(message)
    # Secrets are removed before the message is cut, or their beginnings would stay.
    return " ".join(redact(line[: 100 * LIMITS.message_characters]).split())[: LIMITS.message_characters]


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse `retry-after-ms`, or `retry-after` in seconds or as a date, into seconds; `None` without either.

    >>> parse_retry_after({"retry-after": "1.5"})
    1.5
    """
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value) * factor
    value = headers.get("retry-after")
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0) if value else None
    except (ValueError, TypeError, OverflowError):  # no date, or one that no calendar has
        return None
