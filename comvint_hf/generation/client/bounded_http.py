"""The HTTP client under the openai client: an answer has bounds on time and size, and a redirect is never followed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2

from comvint_hf.strict_reader import LIMITS

_ENCODINGS = ("", "identity", "gzip", "deflate", "br")


class OversizedAnswer(httpx2.DecodingError):
    """An answer that is larger than the limit, or packed in a way that is not read."""


class BoundedClient(httpx2.AsyncClient):
    """An HTTP client that reads at most `max_bytes` of an answer, after decompression, and waits at most `seconds` for all of it.

    An upload gets time for its size in addition. The body of a streamed good answer is left to the caller, who reads it with
    `iter_bounded`.
    """

    def __init__(self, *, seconds: float, max_bytes: int, **options: Any) -> None:
        # An endpoint's cookies would be kept and sent back without a bound.
        cookies = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        super().__init__(follow_redirects=False, cookies=cookies, **options)
        self._seconds, self._max_bytes = seconds, max_bytes

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request; without `stream`, and for every error, the answer's body is read."""
        options["follow_redirects"] = False  # prompts and keys would go along
        seconds = self._seconds + int(request.headers.get("content-length", 0)) / LIMITS.bytes_per_second
        try:
            async with asyncio.timeout(seconds):
                response = await super().send(request, stream=True, **options)
                if stream and response.is_success:
                    return response
                return await self._read(response)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no whole answer in {seconds:.0f} s", request=request) from error
        except (ValueError, LookupError, RecursionError) as error:  # headers that the library cannot read
            raise httpx2.DecodingError(f"an answer that cannot be read ({error})", request=request) from error

    async def _read(self, response: httpx2.Response) -> httpx2.Response:
        """The same answer with its body read."""
        body = bytearray()
        async for chunk in iter_bounded(response, self._max_bytes):
            body += chunk
        # The body is decoded, so the headers that described its encoding must not be applied again.
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _BODY_HEADERS]
        return httpx2.Response(
            response.status_code, headers=headers, content=bytes(body), request=response.request, extensions=response.extensions
        )


_BODY_HEADERS = frozenset({"content-encoding", "content-length", "transfer-encoding"})


async def iter_bounded(response: httpx2.Response, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the decompressed body of an answer and close it. Raises `OversizedAnswer` beyond `max_bytes`."""
    request = response.request
    try:
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise OversizedAnswer(f"an answer in the encoding {encoding[:40]!r}", request=request)
        size = 0
        async with contextlib.aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                # What is downloaded counts too: packed data may unpack to nothing.
                if max(size, response.num_bytes_downloaded) > max_bytes:
                    raise OversizedAnswer(f"an answer of more than {max_bytes:,} bytes", request=request)
                yield chunk
    finally:
        await response.aclose()
