"""The two sides of one chat completion: the messages that ask for a form, and the reply as it came.

This file knows the wire format of chat completions; it sends nothing.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic_core import from_json

from comvint_hf.generation.client.cache import Paid
from comvint_hf.generation.client.errors import Trouble
from comvint_hf.generation.client.reply_parsing import Form, Misfit
from comvint_hf.generation.prompt import Prompt

_BRIEFLY = " Your last reply was cut off before its end, so write less."


class Question(NamedTuple):
    """A prompt for one form, and the key under which its replies are kept."""

    key: bytes
    prompt: Prompt
    form: Form


class Completion(NamedTuple):
    """A message as it came; `finish` is "stop" for an ordinary one, else a key of `forms.FINISHES`."""

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


def messages(text: str, form: Form, picture: str | None = None, earlier: Paid | None = None) -> list[dict[str, Any]]:
    """Ask for the form; after an `earlier` reply that did not fit, show it and say why.

    A refused or empty reply is asked again as before: repeating a refusal only invites another.
    """
    shortened = _BRIEFLY if earlier and earlier.finish == "length" else ""
    asked = f"{text}\n\n{form.wording}{shortened}"
    content = (
        asked if picture is None else [{"type": "text", "text": asked}, {"type": "image_url", "image_url": {"url": picture}}]
    )
    talk: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if earlier is not None and earlier.finish == "stop":
        talk.append({"role": "assistant", "content": earlier.text})
        talk.append({"role": "user", "content": f"That reply does not fit: {_problem(form, earlier)}. {form.wording}"})
    return talk


def _problem(form: Form, earlier: Paid) -> str:
    try:
        form.read(earlier.text, earlier.finish, earlier.mode)
    except Misfit as misfit:
        return str(misfit)
    return "it was not usable"


def read_completion(body: bytes, prompt_bytes: int) -> Completion:
    """Read the endpoint's answer. Raises `Trouble` for one that is no chat completion.

    An endpoint that does not count tokens gets an estimate on the high side, a token for three bytes.
    """
    try:
        return completion_of(from_json(body), prompt_bytes)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Trouble(f"an answer that is no chat completion ({body[:120]!r})", billed=True) from error


def completion_of(answer: Any, prompt_bytes: int) -> Completion:
    """`read_completion` for an answer that is parsed already. Raises what indexing raises for one of another shape."""
    choice = answer["choices"][0]
    message = choice["message"]
    text, refusal = _plain(message.get("content")), message.get("refusal")
    finish = choice.get("finish_reason") or "stop"
    finish = finish if finish in ("length", "content_filter") else "refusal" if refusal else "stop" if text.strip() else "empty"
    usage = answer.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    text = text or refusal or ""
    return Completion(
        text=text,
        finish=finish,
        prompt_tokens=usage.get("prompt_tokens") or prompt_bytes // 3,
        completion_tokens=usage.get("completion_tokens") or len(text.encode()) // 3,
        cached_tokens=details.get("cached_tokens") or 0,
    )


def prompt_bytes(body: dict[str, Any]) -> int:
    """The bytes of a request's text: its messages and the form it asks for, without pictures."""
    contents = [message["content"] for message in body["messages"]]
    texts = [content if isinstance(content, str) else content[0]["text"] for content in contents]
    return sum(len(text.encode()) for text in texts) + len(json.dumps(body.get("response_format", "")))


def _plain(content: Any) -> str:
    """A message's text, whether it came whole or in parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content or ""
