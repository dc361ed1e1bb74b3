"""The wire format of chat completions: text and image that ask for a reply, and the completion that comes back."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic_core import from_json

from comvint_hf import images
from comvint_hf.errors import ImageError, ReplyError
from comvint_hf.generation.client.cache import RawReply
from comvint_hf.generation.client.errors import RetryableError
from comvint_hf.generation.client.reply_parsing import ReplyMismatch, ReplySchema
from comvint_hf.generation.prompt import Prompt
from comvint_hf.types import Scene

_WRITE_LESS = " Your last reply was cut off before its end, so write less."


class ReplyRequest(NamedTuple):
    """A prompt, the schema of its reply, and the key under which its replies are cached."""

    key: bytes
    prompt: Prompt
    schema: ReplySchema


class Completion(NamedTuple):
    """A chat completion; `finish_reason` is "stop" for an ordinary message, else a key of `FINISH_PROBLEMS`."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


def build_messages(
    text: str, schema: ReplySchema, image_url: str | None = None, earlier: RawReply | None = None
) -> list[dict[str, Any]]:
    """Build the messages that ask for a reply; after an `earlier` mismatch they show it and give the reason.

    A refused or empty reply is not shown: repeating a refusal invites another.
    """
    text = f"{text}\n\n{schema.instruction}{_WRITE_LESS if earlier and earlier.finish_reason == 'length' else ''}"
    image = None if image_url is None else {"type": "image_url", "image_url": {"url": image_url}}
    content = text if image is None else [{"type": "text", "text": text}, image]
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if earlier is not None and earlier.finish_reason == "stop":
        problem = find_mismatch(schema, earlier) or "it was not usable"
        messages.append({"role": "assistant", "content": earlier.text})
        messages.append({"role": "user", "content": f"That reply does not fit: {problem}. {schema.instruction}"})
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
        raise ReplyError(f"no picture to see: give the folder of {scene.source}'s with --images, or leave --see out")
    try:
        return images.hash_image(scene.image_bytes())
    except (ImageError, OSError) as error:
        raise ReplyError(f"{scene.id}: the picture cannot be read ({error}); replace the file or leave it out.") from error


def to_data_url(scene: Scene, max_pixels: int) -> str:
    """Encode the image of a scene as a JPEG data URL of at most `max_pixels`. Raises `ReplyError` for a broken file."""
    try:
        return images.to_data_url(images.fit_pixels(scene.open(), max_pixels=max_pixels), quality=90)
    except ImageError as error:
        raise ReplyError(str(error)) from error


def parse_body(body: bytes, prompt_bytes: int) -> Completion:
    """Parse the body of an answer. Raises `RetryableError` for one that is no chat completion."""
    try:
        return parse_completion(from_json(body), prompt_bytes)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise RetryableError(f"an answer that is no chat completion ({body[:120]!r})", billed=True) from error


def parse_completion(answer: Any, prompt_bytes: int) -> Completion:
    """Parse a decoded answer. Raises `LookupError`, `TypeError` or `AttributeError` for one of another shape.

    Tokens that the endpoint did not count are estimated on the high side, as one for three bytes.
    """
    # Some servers send null or leave fields out that OpenAI always sends.
    choice = answer["choices"][0]
    message = choice["message"]
    text, refusal = _join_content(message.get("content")), message.get("refusal")
    finish = choice.get("finish_reason") or "stop"
    finish = finish if finish in ("length", "content_filter") else "refusal" if refusal else "stop" if text.strip() else "empty"
    usage = answer.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    text = text or refusal or ""
    return Completion(
        text=text,
        finish_reason=finish,
        prompt_tokens=usage.get("prompt_tokens") or prompt_bytes // 3,
        completion_tokens=usage.get("completion_tokens") or len(text.encode()) // 3,
        cached_tokens=details.get("cached_tokens") or 0,
    )


def count_prompt_bytes(body: dict[str, Any]) -> int:
    """Count the bytes of a request's text, which are its messages and its response format; images are left out."""
    contents = [message["content"] for message in body["messages"]]
    texts = [content if isinstance(content, str) else content[0]["text"] for content in contents]
    return sum(len(text.encode()) for text in texts) + len(json.dumps(body.get("response_format", "")))


def _join_content(content: Any) -> str:
    """A message's text, whether it came whole or in parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content or ""
