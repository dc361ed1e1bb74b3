"""The wire format of chat completions: text and image that ask for a reply, and the completion that comes back."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from comvint_hf import images
from comvint_hf.endpoint.error_report import find_inner_error, report_error
from comvint_hf.endpoint.errors import RetryableError, classify_report
from comvint_hf.endpoint.messages import Message, parse_answer, read_message
from comvint_hf.errors import ImageError, InputError, ReplyError
from comvint_hf.generation.client.cache import RawReply
from comvint_hf.generation.client.reply_parsing import REASONING, ReplyMismatch, ReplySchema
from comvint_hf.generation.prompt import Prompt
from comvint_hf.strict_reader import LIMITS, bounded_int, redact
from comvint_hf.types import Scene

UNREADABLE = "unreadable"
"""Finish reason of an answer that was paid for and cannot be read."""
_LONGEST_SHOWN = 50_000
"""Characters of the longest reply that is sent back with the next attempt."""
FEWEST_BYTES_PER_TOKEN, MOST_BYTES_PER_TOKEN = 3, 64
"""Bounds on the bytes of a token on average, for counts that the endpoint leaves out or makes too low."""
_WRITE_LESS = " Your last reply was cut off before its end, so write less."


class ReplyRequest(NamedTuple):
    """A prompt, the schema of its reply, and the key under which its replies are cached."""

    key: bytes
    prompt: Prompt
    schema: ReplySchema


class TokenBounds(NamedTuple):
    """The token counts that an answer to a request may claim.

    Attributes:
        estimate: Prompt tokens where the endpoint does not count them.
        low: Fewest prompt tokens.
        prompt: Most prompt tokens: no token is shorter than a byte.
        completion: Most tokens of the reply, unless it is longer.
    """

    estimate: int
    low: int
    prompt: int
    completion: int


class Completion(NamedTuple):
    """A chat completion; `finish_reason` is "stop" for an ordinary message, else a key of `FINISH_PROBLEMS`.

    `corrected` says that the endpoint's token counts cannot be right.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    corrected: bool = False


def build_messages(
    text: str, schema: ReplySchema, image_url: str | None = None, earlier: RawReply | None = None, *, in_full: bool = False
) -> list[dict[str, Any]]:
    """Build the messages that ask for a reply; after an `earlier` mismatch they show it and give the reason.

    A refused, empty or very long reply is not shown: repeating a refusal invites another. `in_full` spells out all that the
    schema allows, for endpoints that do not enforce it.
    """
    instruction = schema.describe(in_full=in_full)
    text = f"{text}\n\n{instruction}{_WRITE_LESS if earlier and earlier.finish_reason == 'length' else ''}"
    image = None if image_url is None else {"type": "image_url", "image_url": {"url": image_url}}
    # The image comes first: providers reuse the beginning that the requests of one image share.
    content = text if image is None else [image, {"type": "text", "text": text}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if earlier is not None and earlier.finish_reason == "stop" and len(earlier.text) <= _LONGEST_SHOWN:
        problem = find_mismatch(schema, earlier) or "it was not usable"
        messages.append({"role": "assistant", "content": earlier.text})
        messages.append({"role": "user", "content": f"That reply does not fit: {problem}. {instruction}"})
    return messages


def find_mismatch(schema: ReplySchema, reply: RawReply) -> str | None:
    """The reason why a reply does not match its schema; `None` if it does."""
    try:
        schema.parse(reply.text, reply.finish_reason, reply.mode)
    except ReplyMismatch as mismatch:
        return str(mismatch)
    return None


def hash_image(scene: Scene) -> bytes:
    """Hash the image file of a scene.

    Raises `ReplyError` for a scene without one and for a broken file: a missing image costs its samples, which are published
    as rejected, and not the build.
    """
    if scene.image is None:
        raise ReplyError(f"no image to see: give the folder of {scene.source}'s with --images, or leave --see out")
    try:
        return images.hash_image(scene.image_bytes())
    except (ImageError, OSError) as error:
        raise ReplyError(f"{scene.id}: the image cannot be read ({error}); replace the file or leave it out.") from error


def to_data_url(scene: Scene, max_pixels: int) -> str:
    """Encode the image of a scene, upright, as a JPEG data URL of at most `max_pixels`. Raises `ReplyError` for a broken file."""
    try:
        return images.to_data_url(images.fit_pixels(scene.open(), max_pixels=max_pixels), quality=90)
    except ImageError as error:
        raise ReplyError(str(error)) from error


def parse_body(body: bytes, bounds: TokenBounds, model: str = "", url: str = "") -> Completion:
    """Parse the body of an answer, whole or streamed. Raises what `parse_completion` raises.

    JSON that breaks the limits is an unreadable completion, and not an error: it was paid for.
    """
    try:
        answer = parse_answer(body)
    except InputError as error:
        if body[:100].lstrip()[:1] in (b"{", b"["):
            return _count_tokens("", UNREADABLE, {}, bounds, size=len(body))
        raise _no_completion(repr(body[:120])) from error
    return parse_completion(answer, bounds, model, url)


def parse_completion(answer: Any, bounds: TokenBounds, model: str = "", url: str = "") -> Completion:
    """Parse a decoded answer, which may be of any shape.

    Tokens that the endpoint did not count are estimated on the high side. Counts that the bytes which were sent and received
    cannot justify are corrected.

    Raises:
        Exception: What `classify_report` makes of an error inside the answer; a `RetryableError` for one without choices.
    """
    if (inner := find_inner_error(answer)) is not None:
        raise classify_report(report_error(200, inner, {}), model, url)
    if not isinstance(answer, dict) or not answer.get("choices"):
        raise _no_completion(repr(answer)[:120])
    try:
        # Some servers send null or leave fields out that OpenAI always sends.
        text, finish = _judge_message(read_message(answer["choices"][0]))
    except (LookupError, TypeError, AttributeError):
        text, finish = "", UNREADABLE
    if finish == "error":
        raise RetryableError("the endpoint broke the reply off", billed=True, answered=True)
    if len(text) > LIMITS.reply_text:
        text, finish = "", UNREADABLE
    usage = answer.get("usage")
    return _count_tokens(text, finish, usage if isinstance(usage, dict) else {}, bounds)


def make_unfit(text: str, bounds: TokenBounds) -> Completion:
    """Make the completion of a reply that the server itself has refused: paid for, and no reply."""
    return _count_tokens(text[: LIMITS.reply_text], "unfit", {}, bounds)


def _judge_message(message: Message) -> tuple[str, str]:
    """The text of a message and how it ended: "stop" for an ordinary one."""
    finish, text = message.finish_reason or "stop", message.text or message.refusal
    if finish == "length" and not text.strip() and message.reasoning:
        return "", "thinking"
    if finish != "stop":
        return text, finish
    if message.refusal:
        return text, "refusal"
    if text.strip():
        return text, "stop"
    return (message.reasoning, REASONING) if message.reasoning.strip() else ("", "empty")


def _count_tokens(
    text: str, finish_reason: str, usage: dict[str, Any], bounds: TokenBounds, size: int | None = None
) -> Completion:
    """Make a completion with the tokens that `usage` counts, within the bounds; `size` is that of what cannot be read."""
    text_size = len(text.encode())
    estimate = (text_size if size is None else size) // FEWEST_BYTES_PER_TOKEN
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else usage.get("prompt_cache_hit_tokens")
    claimed = usage.get("prompt_tokens", usage.get("input_tokens"))
    prompt, prompt_corrected = _bound_count(claimed, bounds.estimate, bounds.low, bounds.prompt)
    completion, completion_corrected = _bound_count(
        usage.get("completion_tokens", usage.get("output_tokens")),
        estimate,
        text_size // MOST_BYTES_PER_TOKEN,
        max(bounds.completion, text_size),
    )
    cached_tokens, cached_corrected = _bound_count(cached, 0, 0, prompt)
    corrected = prompt_corrected or completion_corrected or cached_corrected
    return Completion(text, finish_reason, prompt, completion, cached_tokens, corrected)


def _bound_count(claimed: Any, estimate: int, low: int, high: int) -> tuple[int, bool]:
    """The claimed count moved into its bounds, or the estimate where it is none; and whether the claim was wrong."""
    if claimed is None or (claimed == 0 and not isinstance(claimed, bool)):
        return min(estimate, high), False
    if isinstance(claimed, str) and claimed.isdecimal() and len(claimed) < 10:
        claimed = int(claimed)
    count = bounded_int(claimed, 1, LIMITS.integer)
    bounded = min(max(estimate if count is None else count, low), high)
    return bounded, bounded != count


def _no_completion(found: str) -> RetryableError:
    return RetryableError(f"an answer that is no chat completion ({redact(found)})", billed=True)


def count_prompt_bytes(body: dict[str, Any]) -> int:
    """Count the bytes of a request's text, which are its messages and its response format; images are left out."""
    contents = [message["content"] for message in body["messages"]]
    texts = [content if isinstance(content, str) else content[-1]["text"] for content in contents]
    return sum(len(text.encode()) for text in texts) + len(json.dumps(body.get("response_format", "")))
