"""The HTTP clients under the openai clients: an answer has bounds on time and size, and a redirect is never followed.

Time is bounded by silence. A request has failed when nothing came for `seconds`: neither a part of its own streamed answer, nor
an answer to others that the endpoint is working through first.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2

from comvint_hf.strict_reader import LIMITS

_ENCODINGS = ("", "identity", "gzip", "deflate", "br")
_BODY_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_STREAMED = "text/event-stream"


class OversizedAnswer(httpx2.DecodingError):
    """An answer that is larger than the limit, or packed in a way that is not read."""


class SilenceError(httpx2.ReadTimeout):
    """Nothing came for too long.

    Attributes:
        is_alive: Whether the endpoint gave signs of life to other requests meanwhile, and may be working through a queue.
    """

    def __init__(self, message: str, *, request: httpx2.Request, is_alive: bool) -> None:
        super().__init__(message, request=request)
        self.is_alive = is_alive


@dataclass
class Activity:
    """Signs of life of an endpoint, shared by all requests to it.

    Attributes:
        in_flight: Requests without their whole answer.
        answers: Whole answers so far.
        last_answer: Time of the last one.
        last_sign: Time of the last answer or part of a streamed one.
        factor: How many times longer than usual a silence is borne, because the endpoint has not answered at all yet.
    """

    in_flight: int = 0
    answers: int = 0
    last_answer: float = 0.0
    last_sign: float = 0.0
    factor: float = 1.0
    _changed: float = 0.0

    def record_answer(self) -> None:
        self.answers += 1
        self.factor = 1.0
        self.last_answer = self.last_sign = time.monotonic()

    def bear_more(self, seconds: float, most: float) -> None:
        """Bear silences twice as long from now on, up to `most` seconds; requests that fail together count once."""
        now = time.monotonic()
        if not self.answers and now - self._changed > seconds * self.factor / 2:
            self.factor, self._changed = max(1.0, min(2 * self.factor, most / seconds)), now


class _Silence:
    """The time limit of one request: it begins anew with each sign of life, and ends all the same at some time.

    Answers to others count as signs of life, but only as many as a fair queue could hold: a request that is overtaken by more is
    lost in the endpoint.
    """

    def __init__(self, seconds: float, activity: Activity) -> None:
        self._seconds, self._activity = seconds, activity
        self._loop = asyncio.get_running_loop()
        self._started = self._begun = time.monotonic()
        self._answers = activity.answers
        self._fair = 2 * (activity.in_flight + 1)
        self.scope = asyncio.timeout(None)
        self._timer = self._loop.call_later(seconds, self._check)

    def put_off(self) -> None:
        """Begin anew: a part of this request's own answer came."""
        self._begun = self._activity.last_sign = time.monotonic()

    def is_alive(self) -> bool:
        """Whether others got something while this request got nothing, which is no sign that it is lost."""
        return self._activity.last_sign > self._started and self._is_fair()

    def stop(self) -> None:
        self._timer.cancel()

    def _is_fair(self) -> bool:
        return self._activity.answers - self._answers <= self._fair

    def _check(self) -> None:
        now = time.monotonic()
        begun = max(self._begun, self._activity.last_answer) if self._is_fair() else self._begun
        left = begun + self._seconds - now
        if left <= 0.001 or now - self._started > LIMITS.answer_seconds:
            self.scope.reschedule(self._loop.time())
        else:
            self._timer = self._loop.call_later(left, self._check)


class BoundedClient(httpx2.AsyncClient):
    """An HTTP client that reads at most `max_bytes` of an answer, after decompression, and bears `seconds` of silence.

    An upload gets time for its size in addition. The body of a streamed good answer is left to the caller, who reads it with
    `iter_bounded`; answers in server-sent events are collected.
    """

    def __init__(self, *, seconds: float, max_bytes: int, activity: Activity | None = None, **options: Any) -> None:
        super().__init__(follow_redirects=False, cookies=_no_cookies(), **options)
        self._seconds, self._max_bytes, self._activity = seconds, max_bytes, activity or Activity()

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request; without `stream`, and for every error, the answer's body is read."""
        options["follow_redirects"] = False  # prompts and keys would go along
        seconds = self._seconds * self._activity.factor + _upload_seconds(request)
        silence = _Silence(seconds, self._activity)
        self._activity.in_flight += 1
        try:
            async with silence.scope:
                response = await super().send(request, stream=True, **options)
                if stream and response.is_success:
                    return response
                response = await self._read(response, silence)
                self._activity.record_answer()
                return response
        except TimeoutError as error:
            raise SilenceError(f"nothing came for {seconds:.0f} s", request=request, is_alive=silence.is_alive()) from error
        except (ValueError, LookupError, RecursionError) as error:  # headers that the library cannot read
            raise httpx2.DecodingError(f"an answer that cannot be read ({error})", request=request) from error
        finally:
            self._activity.in_flight -= 1
            silence.stop()

    async def _read(self, response: httpx2.Response, silence: _Silence) -> httpx2.Response:
        """The same answer with its body read."""
        body = bytearray()
        # Only events are signs of life: a whole answer that trickles has its time as a whole.
        is_streamed = _STREAMED in response.headers.get("content-type", "")
        async for chunk in iter_bounded(response, self._max_bytes):
            body += chunk
            if is_streamed and b"data:" in chunk:
                silence.put_off()
        # The body is decoded, so the headers that described its encoding must not be applied again.
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _BODY_HEADERS]
        return httpx2.Response(
            response.status_code, headers=headers, content=bytes(body), request=response.request, extensions=response.extensions
        )


async def iter_bounded(response: httpx2.Response, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the decompressed body of an answer and close it. Raises `OversizedAnswer` beyond `max_bytes`."""
    try:
        count = _make_counter(response, max_bytes)
        async with contextlib.aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                count(chunk)
                yield chunk
    finally:
        await response.aclose()


def _make_counter(response: httpx2.Response, max_bytes: int) -> Callable[[bytes], None]:
    """Make a function that counts the chunks of a body and raises `OversizedAnswer` where they are too many."""
    request = response.request
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise OversizedAnswer(f"an answer in the encoding {encoding[:40]!r}", request=request)
    size = 0

    def count(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)
        # What is downloaded counts too: packed data may unpack to nothing.
        if max(size, response.num_bytes_downloaded) > max_bytes:
            raise OversizedAnswer(f"an answer of more than {max_bytes:,} bytes", request=request)

    return count


class _BoundedStream(httpx2.SyncByteStream):
    """The body of an answer to a blocking client: at most `seconds` of silence between two events, ten times as many in all."""

    def __init__(self, response: httpx2.Response, seconds: float, max_bytes: int) -> None:
        self._stream: Any = response.stream
        self._response, self._seconds, self._max_bytes = response, seconds, max_bytes
        self._is_streamed = _STREAMED in response.headers.get("content-type", "")

    def __iter__(self) -> Iterator[bytes]:
        count = _make_counter(self._response, self._max_bytes)
        started = begun = time.monotonic()
        for chunk in self._stream:
            now = time.monotonic()
            if now - begun > self._seconds or now - started > 10 * self._seconds:
                raise httpx2.ReadTimeout(f"no whole answer in {self._seconds:.0f} s", request=self._response.request)
            count(chunk)
            if self._is_streamed and b"data:" in chunk:
                begun = now
            yield chunk

    def close(self) -> None:
        self._stream.close()


class BlockingBoundedClient(httpx2.Client):
    """The same for a caller that waits: `seconds` bound the silence, `max_bytes` the size of an answer."""

    def __init__(self, *, seconds: float, max_bytes: int, **options: Any) -> None:
        super().__init__(follow_redirects=False, cookies=_no_cookies(), **options)
        self._seconds, self._max_bytes = seconds, max_bytes

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        # Chunks are counted as they come, and a few bytes can be compressed gigabytes.
        request.headers["accept-encoding"] = "identity"
        response = super().send(request, stream=True, **options | {"follow_redirects": False})
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            response.close()
            raise httpx2.DecodingError("an answer that is packed, though no packing was asked for", request=request)
        response.stream = _BoundedStream(response, self._seconds + _upload_seconds(request), self._max_bytes)
        if not stream:
            response.read()
        return response


def _upload_seconds(request: httpx2.Request) -> float:
    return int(request.headers.get("content-length", 0)) / LIMITS.bytes_per_second


def _no_cookies() -> CookieJar:
    """A jar that keeps nothing: an endpoint's cookies would be kept and sent back without a bound."""
    return CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
