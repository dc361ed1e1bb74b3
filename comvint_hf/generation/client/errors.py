"""What an endpoint's failure means: wait and send again, ask in another way, give up this prompt, or stop the run.

This file knows HTTP statuses and the error bodies of OpenAI-compatible endpoints; it knows no prompt, no pace and no cache.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from comvint_hf.errors import EndpointError, ReplyError

if TYPE_CHECKING:
    import openai

_FORMAT = re.compile(r"response_format|json_schema|json_object|json mode|structured output|guided|grammar", re.IGNORECASE)
_CAP_NAME = re.compile(r"max_completion_tokens|max_tokens", re.IGNORECASE)
_UNKNOWN = re.compile(r"unsupported|unrecogni[sz]ed|unknown|not (?:supported|permitted)|extra", re.IGNORECASE)
_MODEL = re.compile(
    r"model_not_found|model\b.*(?:does not exist|not found|not supported|unknown)|(?:unknown|invalid) model", re.IGNORECASE
)
_QUOTA = re.compile(r"insufficient_quota|billing|exceeded your (?:current quota|monthly)|credit|payment", re.IGNORECASE)
_NEXT = "Nothing is lost: mend it and run the same again."


class Trouble(Exception):
    """A failure that passes: send again after a while.

    `throttled` says that the endpoint wants fewer requests, `retry_after` for how many seconds; `billed` that the provider
    may bill the request although no reply came, `unreached` that the request never came to the endpoint.
    """

    def __init__(
        self,
        reason: str,
        *,
        throttled: bool = False,
        retry_after: float | None = None,
        billed: bool = False,
        unreached: bool = False,
    ) -> None:
        super().__init__(reason)
        self.unreached = unreached
        self.throttled = throttled
        self.retry_after = retry_after
        self.billed = billed


class FormatRefused(Exception):
    """The endpoint cannot do this response format."""


class CapRefused(Exception):
    """The endpoint calls the bound on a reply's tokens by another name."""


def diagnose(error: openai.APIError, model: str, url: str) -> Exception:
    """What to raise for a failed request: `Trouble`, `FormatRefused`, `CapRefused`, `ReplyError` or `EndpointError`."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        connecting = "Connect" in type(error.__cause__).__name__ or "Pool" in type(error.__cause__).__name__
        return Trouble(f"no {'connection' if connecting else 'answer'} in time", billed=not connecting, unreached=connecting)
    if isinstance(error, openai.APIConnectionError):
        refused = type(error.__cause__).__name__ in ("ConnectError", "UnsupportedProtocol", "LocalProtocolError", "ProxyError")
        how = "could not be made" if refused else "broke"
        return Trouble(f"the connection {how} ({error.__cause__!r})", billed=not refused, unreached=refused)
    if not isinstance(error, openai.APIStatusError):
        return Trouble(f"an answer that cannot be read ({error})", billed=True)
    return by_status(error.status_code, error.body or error.message, error.response.headers, model, url)


def by_status(status: int, body: object, headers: Mapping[str, str], model: str, url: str) -> Exception:
    """`diagnose` for a status and the error body that came with it."""
    said = _said(body)
    if status == 402 or (status in (403, 429) and _QUOTA.search(said)):
        return EndpointError(f"{url} says there is no quota left for {model} ({said}): add credit there. {_NEXT}")
    if status == 429 or status in (503, 529):
        return Trouble(f"status {status} ({said})", throttled=True, retry_after=retry_after(headers))
    if status in (408, 409, 425) or (status >= 500 and status != 501):
        return Trouble(f"status {status} ({said})", retry_after=retry_after(headers))
    if status == 401 or status == 403 and not re.search("moderation|flagged", said):
        return EndpointError(f"{url} refuses the key ({said}): set the right one in the environment. {_NEXT}")
    if status == 404 or _MODEL.search(said):
        return EndpointError(f"{url} does not serve the model {model!r} ({said}): check the name and --base-url. {_NEXT}")
    if _FORMAT.search(said):
        return FormatRefused(said)
    if _CAP_NAME.search(said) and _UNKNOWN.search(said):
        return CapRefused(said)
    return ReplyError(f"{url} refuses the request with status {status} ({said}).")


def _said(body: object) -> str:
    """The endpoint's own words and code, on one short line."""
    fields = body if isinstance(body, dict) else {}
    fields = fields["error"] if isinstance(fields.get("error"), dict) else fields
    message, code = fields.get("message") or fields.get("detail") or body, fields.get("code")
    words = f"{message} [{code}]" if isinstance(code, str) else str(message)
    return " ".join(words.split())[:300]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds an endpoint asks to wait: `retry-after-ms`, or `retry-after` as seconds or a date; `None` if it does not.

    >>> retry_after({"retry-after": "1.5"})
    1.5
    """
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value) * factor
    date = email.utils.parsedate_to_datetime(headers["retry-after"]) if _is_date(headers.get("retry-after")) else None
    return max(date.timestamp() - time.time(), 0.0) if date else None


def _is_date(value: str | None) -> bool:
    return bool(value) and email.utils.parsedate_tz(value) is not None
