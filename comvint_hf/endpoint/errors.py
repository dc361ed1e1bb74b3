"""Classifies failures of an endpoint: retry the request, change it, give up the prompt, or stop the run.

A machine-readable code says more than words, so it is looked at first: providers advertise "billing" in an ordinary throttle.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comvint_hf.endpoint.error_report import ErrorReport, parse_retry_after, read_error_body, report_error
from comvint_hf.endpoint.refused_fields import RefusedField, find_refused_field
from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.strict_reader import LIMITS, redact

if TYPE_CHECKING:
    import openai

__all__ = [
    "RefusedFieldError",
    "RetryableError",
    "UnfitReplyError",
    "classify_error",
    "classify_report",
    "classify_status",
    "parse_retry_after",
]

_EMPTY_CODES = (
    "insufficient_quota", "insufficient_balance", "insufficient_credits", "insufficient_funds", "billing_hard_limit_reached",
    "billing_not_active", "billing_error", "account_deactivated", "credit_balance_too_low", "payment_required", "out_of_credits", "arrearage",
    "exceeded_current_quota_error", "quota_exhausted", "insufficient_user_quota", "access_terminated_error",
)  # fmt: skip
_THROTTLE_CODES = (
    "rate_limit_exceeded", "rate_limit_error", "rate_limit", "rate_limited", "ratelimit", "ratelimitexceeded", "ratelimitreached", "throttled",
    "throttling", "throttlingexception", "throttling.ratequota", "throttling.allocationquota", "too_many_requests", "requests", "tokens",
    "resource_exhausted", "overloaded", "overloaded_error", "model_overloaded", "server_overloaded", "engine_overloaded",
    "engine_overloaded_error", "slow_down", "service_tier_capacity_exceeded", "capacity_exceeded", "limit_burst_rate", "queue_full",
)  # fmt: skip
_FILTER_CODES = (
    "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed", "invalid_prompt", "moderation",
    "moderation_blocked", "content_policy", "safety", "prohibited_content", "sensitive", "sensitive_words_detected", "1301", "input_moderation",
)  # fmt: skip
_MODEL_CODES = (
    "model_not_found",
    "model_not_supported",
    "invalid_model",
    "unknown_model",
    "deploymentnotfound",
    "model_not_available",
)
_UNFIT_CODES = (
    "json_validate_failed",
    "output_parse_failed",
    "tool_use_failed",
    "invalid_model_output",
    "json_generation_failed",
)
_TOO_LONG_CODES = (
    "context_length_exceeded",
    "exceed_context_size_error",
    "prompt_too_long",
    "string_above_max_length",
    "request_too_large",
)
_EMPTY_WORDS = re.compile(
    r"insufficient[ _]\w{0,10}\s?(?:funds?|balance|credits?|quota)|(?:no|not enough|out of|run out of|ran out of|more) credits?\b"
    r"|credits?\b.{0,40}(?:exhausted|depleted|used up|too low|expired|have run out|are gone|is gone)|balance.{0,20}(?:too low|not enough|negative|exhausted)"
    r"|account.{0,20}(?:suspended|in arrears|overdue|deactivated)|payment (?:is )?required|exceeded your (?:\w+ )?(?:monthly|included|spend)"
    r"|(?:billing|spend\w*|usage) (?:hard )?(?:limit|cap) (?:has been |was )?(?:reached|exceeded)|free (?:trial|credits?).{0,30}(?:over|ended|expired)",
    re.IGNORECASE,
)
_EMPTY_UNLESS_PACED = re.compile(
    r"exceeded your current quota|quota (?:has been |is )?(?:exceeded|exhausted|used up)|check your plan and billing",
    re.IGNORECASE,
)
_PACED = re.compile(
    r"\bper[ -]?(?:minute|second|hour|day|model)|\b[rt]p[ms]\b|PerMinute|rate.?limit|too many requests|retry|try again",
    re.IGNORECASE,
)
_FILTER_WORDS = re.compile(
    r"content (?:management )?(?:policy|filter)|moderation|flagged|safety (?:system|filter|setting)|usage polic|inappropriate content|content policy",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"model\b.{0,200}(?:does not exist|doesn't exist|not found|not supported|not available|unknown|is not loaded|no longer)"
    r"|(?:unknown|invalid|no such|unsupported) model\b|not a valid model|no endpoints found",
    re.IGNORECASE,
)
_UNFIT = re.compile(
    r"failed to (?:generate|validate|parse) (?:valid )?json|model (?:output|response) (?:is|was) not valid json", re.IGNORECASE
)
_TOO_LONG = re.compile(
    r"max_tokens must be at least 1, got -|(?:maximum|max|available|model'?s?|the) context (?:length|size|window)|context[ _](?:length|window) (?:exceeded|of)|exceeds? (?:the )?context"
    r"|(?:prompt|input|messages?) (?:is|are|was) too (?:long|large)|too many (?:input )?tokens\b|reduce the length|prompt contains .{0,20}tokens"
    r"|longer than the (?:model'?s? )?(?:maximum|context)|max(?:imum)?[ _](?:model[ _])?(?:input|sequence|prompt)[ _]?(?:length|len)"
    r"|input (?:tokens?|length).{0,40}exceed|tokens? .{0,30}must be <=|range of input length",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"overloaded|too many requests|rate limit|at capacity|queue is full|loading model|currently loading|no slots? available",
    re.IGNORECASE,
)
_NO_MEMORY = re.compile(r"requires more (?:system )?memory", re.IGNORECASE)
_NO_IMAGES = re.compile(
    r"(?:does(?: not|n't)|not|cannot|no endpoints found that) (?:support|accept|take|handle|process)\w* (?:\w+ )?(?:images?|vision|multimodal|image_url)"
    r"|image(?:s|_url| input)?.{0,40}(?:not supported|unsupported|only supported by)|unknown variant `?image_url|not a multimodal model|mmproj",
    re.IGNORECASE,
)
_REFUSALS = (200, 400, 404, 415, 422, 500, 501)
"""Statuses with which servers refuse a request for what is in it."""
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
        timed_out: Whether nothing came in time.
    """

    reason: str
    throttled: bool = False
    retry_after: float | None = None
    billed: bool = False
    unreached: bool = False
    answered: bool = False
    timed_out: bool = False

    def __str__(self) -> str:
        return self.reason


class RefusedFieldError(Exception):
    """The endpoint does not take a field of the request as it is. Asked again without it, or with another value, it may reply.

    Attributes:
        limit: Most tokens that this request's reply may have, once `Abilities.learn` has worked it out.
    """

    def __init__(self, field: RefusedField, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.limit: int | None = None


class UnfitReplyError(Exception):
    """The server itself has refused the model's reply, which begins with `text`; another one may be good."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


def classify_error(error: openai.APIError, model: str, url: str) -> Exception:
    """Convert an error of the openai client.

    Returns:
        A `RetryableError`, `RefusedFieldError` or `UnfitReplyError`; a `ReplyError` for a prompt that is refused; an
        `EndpointError` for what stops the run.
    """
    import httpx2
    import openai

    if isinstance(error, openai.APITimeoutError):
        connecting = "Connect" in type(error.__cause__).__name__ or "Pool" in type(error.__cause__).__name__
        return RetryableError(
            "no connection in time" if connecting else f"no answer in time ({error.__cause__ or 'silence'})",
            throttled=getattr(error.__cause__, "is_alive", False),
            billed=not connecting,
            unreached=connecting,
            timed_out=not connecting,
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
    body = read_error_body(error.response.content)
    return classify_status(error.status_code, body, error.response.headers, model, url)


def classify_status(status: int, body: object, headers: Mapping[str, str], model: str, url: str) -> Exception:
    """Convert an HTTP status and its error body, as `classify_error` does."""
    if 300 <= status < 400:
        target = redact(headers.get("location", ""), LIMITS.message_characters)
        return EndpointError(
            f"{url} redirects to {target or 'another address'} with status {status}. A redirect is not followed, because "
            f"prompts and the API key would go along: give the final address with --base-url. {_NEXT}"
        )
    return classify_report(report_error(status, body, headers), model, url)


def classify_report(report: ErrorReport, model: str, url: str) -> Exception:
    """Convert what an endpoint says of a failure, as `classify_error` does."""
    status, message, text = report.status, report.message, report.text
    if report.generated is not None or report.has_code(*_UNFIT_CODES) or _UNFIT.search(text):
        return UnfitReplyError(message, report.generated or "")
    if _is_empty(report):
        return EndpointError(f"{url} has no quota left for {model} ({message}): add credit there. {_NEXT}")
    if report.has_code(*_FILTER_CODES) or (status in (400, 403, 422, 451) and _FILTER_WORDS.search(text)):
        return _of_prompt(f"{url} refuses the prompt's content with status {status} ({message}).")
    if _is_throttled(report):
        return _classify_throttle(report, url)
    if status in _REFUSALS and (field := find_refused_field(text, report.params)):
        return RefusedFieldError(field, message)
    if report.has_code(*_TOO_LONG_CODES) or status == 413 or (status in _REFUSALS and _TOO_LONG.search(text)):
        return _of_prompt(f"{url} finds the prompt too long for {model} ({message}).")
    if status in _REFUSALS and _NO_IMAGES.search(text):
        return EndpointError(f"{model} at {url} takes no images ({message}): leave --see out, or name a model that sees. {_NEXT}")
    if _NO_MEMORY.search(text):
        return EndpointError(f"{url} cannot load {model} ({message}): serve a smaller model. {_NEXT}")
    return _classify_by_status(report, model, url)


def _classify_by_status(report: ErrorReport, model: str, url: str) -> Exception:
    status, message = report.status, report.message
    if status in (408, 409, 425, 499) or (status >= 500 and status not in (501, 505)) or status < 400:
        timed_out = status in (408, 499, 504, 524)
        return RetryableError(f"status {status} ({message})", retry_after=report.wait, throttled=timed_out, timed_out=timed_out)
    if status in (401, 403, 407) and not report.has_code(*_MODEL_CODES):
        return EndpointError(f"{url} refuses the API key ({message}): set the right one in the environment. {_NEXT}")
    if status in (404, 405) or report.has_code(*_MODEL_CODES) or _MODEL.search(report.text):
        unknown = EndpointError(f"{url} does not serve the model {model!r} ({message}): check the name and --base-url.")
        unknown.is_of_model = True
        return unknown
    return ReplyError(f"{url} refuses the request with status {status} ({message}).")


def _of_prompt(message: str) -> ReplyError:
    error = ReplyError(message)
    error.is_of_prompt = True
    return error


def _is_empty(report: ErrorReport) -> bool:
    """Whether the account is empty: by the code, else by the status, else by words that speak of no pace."""
    if report.has_code(*_EMPTY_CODES):
        return True
    if report.status == 402:
        return not report.has_code(*_THROTTLE_CODES)
    if report.status not in (200, 400, 403, 429):
        return False
    # A throttle's code beside "insufficient balance" is rarer than an advertisement for billing beside a throttle.
    if _EMPTY_WORDS.search(report.text) and not report.has_code("rate_limit_exceeded", "requests", "tokens"):
        return True
    is_paced = report.wait is not None or report.has_code(*_THROTTLE_CODES) or _PACED.search(report.text)
    return report.status in (403, 429) and bool(_EMPTY_UNLESS_PACED.search(report.text)) and not is_paced


def _is_throttled(report: ErrorReport) -> bool:
    if report.status in (429, 498, 503, 529):
        return True
    named = report.has_code(*(code for code in _THROTTLE_CODES if code not in ("requests", "tokens")))
    return named or (report.status >= 500 and _BUSY.search(report.text) is not None)


def _classify_throttle(report: ErrorReport, url: str) -> Exception:
    # One request above a limit of tokens a minute is never served, however long it waits.
    if report.status == 413:
        return _of_prompt(f"{url} finds the request too large for its rate limit ({report.message}).")
    return RetryableError(f"status {report.status} ({report.message})", throttled=True, retry_after=report.wait)
