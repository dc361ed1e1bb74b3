"""A server that is slow is not dead: a queue is waited for, a stream counts by its parts, and no prompt is lost to a time-out."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from endpoint.asking import QA, ask_all, opened, toy_prompt
from endpoint.situations import GOOD

from comvint_hf.generation.client.rate_limit import RateLimiter


class SlotServer:
    """A server of so many slots, each busy for `seconds` a reply, as llama.cpp is: it streams where that is asked for.

    `served` counts replies begun, those included that nobody waits for any more.
    """

    def __init__(self, slots: int, seconds: float, *, streams: bool = True) -> None:
        self.slots, self.seconds, self.streams, self.served = threading.Semaphore(slots), seconds, streams, 0
        self.bodies: list[dict[str, Any]] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.bodies.append(body)
        with self.slots:
            self.served += 1
            if body.get("stream") and self.streams:
                self.stream(handler)
                return
            time.sleep(self.seconds)
        answer = {
            "choices": [{"message": {"content": GOOD}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 9},
        }
        data = json.dumps(answer).encode()
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def stream(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()
        parts = [GOOD[at : at + 4] for at in range(0, len(GOOD), 4)]
        for part in parts:
            time.sleep(self.seconds / len(parts))
            handler.wfile.write(f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': part}}]})}\n\n".encode())
            handler.wfile.flush()
        handler.wfile.write(b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n')


@contextmanager
def serving(slots: SlotServer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                slots.answer(self)
            except OSError:
                self.close_connection = True
            self.close_connection = self.close_connection or slots.streams

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def run(slots: SlotServer, cache: Path, prompts: int, **options: Any) -> tuple[list[Any], float, Any]:
    async def go() -> tuple[list[Any], float, Any]:
        with serving(slots) as url:
            async with opened(url, cache, **options) as llm:
                started = time.monotonic()
                replies = await ask_all(llm, (toy_prompt(number) for number in range(prompts)))
                return replies, time.monotonic() - started, llm.usage.total

    return asyncio.run(go())


def test_sixty_four_requests_at_four_slots_cost_no_more_than_four(tmp_path: Path) -> None:
    slots = SlotServer(4, 0.2)
    replies, seconds, usage = run(slots, tmp_path / "c.sqlite", 64, concurrency=64, timeout=1.0)
    assert all(isinstance(reply, QA) for reply in replies)
    assert slots.served <= 70 and usage.retries <= 6
    _, four, _ = run(SlotServer(4, 0.2), tmp_path / "four.sqlite", 64, concurrency=4, timeout=1.0)
    assert seconds < 2.5 * four


@pytest.mark.parametrize("at_once", [2, 12])
def test_a_reply_slower_than_the_time_out_comes_in_a_stream(tmp_path: Path, at_once: int) -> None:
    slots = SlotServer(2, 1.2)
    replies, _, _ = run(slots, tmp_path / "c.sqlite", 6, concurrency=at_once, timeout=0.5)
    assert all(isinstance(reply, QA) for reply in replies)
    assert slots.bodies[-1].get("stream") is True


def test_that_an_endpoint_is_slow_is_learnt_once(tmp_path: Path) -> None:
    slots = SlotServer(1, 0.8)

    async def go() -> tuple[Any, int]:
        with serving(slots) as url:
            async with opened(url, tmp_path / "c.sqlite", concurrency=1, timeout=0.3) as llm:
                await llm.ask(toy_prompt(1), QA)
                sent = len(slots.bodies)
                return await llm.ask(toy_prompt(2), QA), len(slots.bodies) - sent

    second, requests = asyncio.run(go())
    assert isinstance(second, QA) and requests == 1


def test_time_outs_shrink_the_concurrency_and_it_recovers() -> None:
    async def go() -> tuple[float, float]:
        limiter = RateLimiter(64)
        windows = [await limiter.acquire(0) for _ in range(64)]
        for number, window in enumerate(windows):
            limiter.release(window, timed_out=number >= 16)
        shrunk = limiter.limit
        for _ in range(800):
            limiter.release(await limiter.acquire(0))
        return shrunk, limiter.limit

    shrunk, recovered = asyncio.run(go())
    assert shrunk <= 24 and recovered == 64
