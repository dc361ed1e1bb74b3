"""A small HTTP/1.1 server for tests: one asyncio protocol, no framework, able to misbehave on purpose.

It knows bytes, headers and delays; it knows nothing of language models. A framework's server would cost more CPU a request
than the client under test, and could not reset a connection in the middle of an answer.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Ending = Literal["whole", "cut", "reset", "stall"]
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass
class Request:
    """What a client sent; header names are lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Response:
    """What to send, after how many seconds, and how it ends: `cut` closes half-way, `stall` never answers.

    With `after` it is sent as soon as that is done, however long that takes. With `raw` those bytes are sent in the place of
    the whole answer, a part every `pause` seconds, and the connection stays open unless the last part is empty.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    ending: Ending = "whole"
    after: Future[None] | None = None
    raw: Iterable[bytes] | None = None
    pause: float = 0.001

    @classmethod
    def of(cls, value: Any, status: int = 200, **more: Any) -> Response:
        return cls(json.dumps(value).encode(), status, {"content-type": "application/json"}, **more)

    def encode(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Error')}", f"content-length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


Handler = Callable[[Request], Response]


class Connection(asyncio.Protocol):
    """One client connection: reads requests one after another, answers each when its delay is over."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := self._next_request()) is not None:
            response = self._handler(request)
            if response.after is not None:
                asyncio.wrap_future(response.after).add_done_callback(lambda _, response=response: self._answer(response))
            elif response.ending != "stall":
                asyncio.get_running_loop().call_later(response.delay, self._answer, response)

    def _next_request(self) -> Request | None:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body, left = _chunked(rest) if "chunked" in headers.get("transfer-encoding", "") else _sized(rest, headers)
        if body is None:
            return None
        self._buffer = left
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        return Request(method, path, query, headers, body)

    def _answer(self, response: Response) -> None:
        if self._transport.is_closing():
            return
        if response.raw is not None:
            self._send_part(iter(response.raw), response.pause)
            return
        if response.ending == "reset":
            self._transport.abort()
            return
        encoded = response.encode()
        if response.ending == "cut":
            self._transport.write(encoded[: len(encoded) - len(response.body) // 2])
            self._transport.close()
            return
        self._transport.write(encoded)

    def _send_part(self, parts: Iterator[bytes], pause: float) -> None:
        """Send the next part, unless the client reads slowly or is gone."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() < 1_000_000:
            part = next(parts, None)
            if part is None:
                return
            if not part:
                self._transport.close()
                return
            self._transport.write(part)
        asyncio.get_running_loop().call_later(pause, self._send_part, parts, pause)


def _sized(rest: bytes, headers: dict[str, str]) -> tuple[bytes | None, bytes]:
    length = int(headers.get("content-length", "0"))
    return (None, rest) if len(rest) < length else (rest[:length], rest[length:])


def _chunked(rest: bytes) -> tuple[bytes | None, bytes]:
    body, at = b"", 0
    while True:
        line_end = rest.find(b"\r\n", at)
        if line_end < 0:
            return None, rest
        size = int(rest[at:line_end].split(b";")[0], 16)
        start = line_end + 2
        if len(rest) < start + size + 2:
            return None, rest
        if not size:
            return body, rest[start + 2 :]
        body += rest[start : start + size]
        at = start + size + 2


@contextmanager
def running(handler: Handler) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 in a thread; gives the address, e.g. "http://127.0.0.1:40001"."""
    started: Future[tuple[asyncio.AbstractEventLoop, int]] = Future()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(handler), "127.0.0.1", 0, backlog=512)
        async with server:
            started.set_result((loop, server.sockets[0].getsockname()[1]))
            await over.wait()

    over = asyncio.Event()
    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, port = started.result(100)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
