"""Reads a streamed completion piece by piece, for a caller that shows it as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from comvint_hf.endpoint.error_report import report_error
from comvint_hf.endpoint.errors import RetryableError, classify_report
from comvint_hf.endpoint.messages import Message, iter_events, parse_answer, read_message
from comvint_hf.errors import InputError, ReplyError
from comvint_hf.strict_reader import LIMITS, parse_json

_DONE = (b"data: [DONE]", b"data:[DONE]")


class EventStream:
    """The answer to a request for a stream. Iterating it yields the text as it comes.

    Servers that do not stream, whole answers and errors among the events are read as well.

    Args:
        chunks: The bytes of the body.
        model: The model's name, for messages.
        url: The endpoint's address, for messages.

    Attributes:
        finish_reason: "stop", "length", "content_filter", or "" as long as the stream has not said how it ended.
        reasoning: The thoughts that the server keeps apart from the text.
        is_finished: Whether the stream came to its end.

    Raises:
        Exception: While iterating: what `classify_report` makes of an error, `RetryableError` for what is no completion.
    """

    def __init__(self, chunks: Iterable[bytes], model: str, url: str) -> None:
        self._chunks, self._model, self._url = chunks, model, url
        self.finish_reason = self.reasoning = ""
        self.is_finished = False

    def __iter__(self) -> Iterator[str]:
        lines, is_stream = self._split_lines(), False
        for line in lines:
            if is_stream or line.startswith((b"data:", b"event:", b"id:", b"retry:", b":")):
                is_stream = is_stream or not line.startswith(b":")
                yield from self._read_line(line)
            elif line.strip():
                # No stream: the whole answer comes at once.
                yield from self._read_whole(line + b"".join(lines))
                return

    def _split_lines(self) -> Iterator[bytes]:
        """Yield the lines of the body, of which none may be too long."""
        pending = bytearray()
        for chunk in self._chunks:
            pending += chunk
            if b"\n" not in chunk:  # a long line would be searched again for each of its chunks
                continue
            *whole, rest = pending.split(b"\n")
            for line in whole:
                yield bytes(line) + b"\n"
            pending = bytearray(rest)
        if pending:
            yield bytes(pending)

    def _read_line(self, line: bytes) -> Iterator[str]:
        if line.strip() in _DONE:
            self.is_finished = True
        for event in iter_events([line]):
            yield from self._read_event(self._parse(event))

    def _parse(self, data: bytes) -> Any:
        try:
            return parse_json(data, what="The answer", max_bytes=LIMITS.reply_bytes, allow_non_finite=True)
        except InputError as error:
            raise RetryableError(f"an answer that is no chat completion ({error})", billed=True) from error

    def _read_event(self, event: Any) -> Iterator[str]:
        if not isinstance(event, dict):
            raise RetryableError("an answer that is no chat completion", billed=True)
        choices = event.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else {}
        if not isinstance(first, dict):
            raise RetryableError("an answer that is no chat completion", billed=True)
        if error := event.get("error") or first.get("error") or (event.get("object") == "error" and event):
            raise classify_report(report_error(200, error if error is event else {"error": error}, {}), self._model, self._url)
        try:
            message = read_message(
                {"message": first.get("delta") or first.get("message") or {}, "finish_reason": first.get("finish_reason")}
            )
        except (LookupError, TypeError, AttributeError) as error:
            raise RetryableError("an answer that is no chat completion", billed=True) from error
        yield from self._take(message)

    def _read_whole(self, body: bytes) -> Iterator[str]:
        try:
            answer = parse_answer(body)
            if not isinstance(answer, dict) or not answer.get("choices"):
                raise classify_report(report_error(200, answer, {}), self._model, self._url)
            message = read_message(answer["choices"][0])
        except (InputError, LookupError, TypeError, AttributeError) as error:
            raise RetryableError(f"an answer that is no chat completion ({body[:80]!r})", billed=True) from error
        yield from self._take(message)
        self.is_finished = True

    def _take(self, message: Message) -> Iterator[str]:
        self.reasoning = (self.reasoning + message.reasoning)[: LIMITS.reply_text]
        if message.finish_reason:
            self.finish_reason, self.is_finished = message.finish_reason, True
        if message.finish_reason == "error":
            raise RetryableError("the endpoint broke the reply off", billed=True, answered=True)
        if text := message.text or message.refusal:
            yield text

    def take_rest(self, has_text: bool) -> str:
        """What the answer is where the stream brought no text: it stood among the thoughts, was filtered, or was not reached."""
        if has_text:
            return ""
        if self.finish_reason == "content_filter":
            raise ReplyError(f"The content filter of {self._url} stopped the reply.")
        return self.reasoning if self.finish_reason in ("", "stop") else ""
