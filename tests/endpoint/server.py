"""A local OpenAI-compatible endpoint: chat completions, files, batches and usage, with faults when asked.

It answers from a function of the prompt's text; `answers.py` has some. A test runs it in a thread (`serve`), a benchmark or
a kill test as a process of its own (`python tests/endpoint/server.py --latency 0.05` prints its address).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from endpoint.answers import fill_form, read_form
from endpoint.faults import Faults, http_fault, message_fault
from endpoint.wire import Request, Response, running

Answer = Callable[[str, dict[str, Any] | None], str]
MODES = ("json_schema", "json_object", "text")
MANY = 1000
"""So many replies may be noted as under way before those that are not any more are forgotten."""


@dataclass
class Endpoint:
    """The endpoint's behaviour and its log.

    `accepts` are the response formats it can do; `models` the names it knows ("" for any); `key` the bearer key it wants; `refused_keywords` those that a schema may not hold, as in strict mode;
    `per_second` the requests it lets through before it says 429; `batch_polls` how often a batch is still in progress. Where
    `held` is set, replies come when it is done: a test that needs requests under way decides itself how long they are.
    The log: `asked` counts requests by prompt, `paid` those that a provider would bill, `under_way` those that wait for `latency`.
    """

    answer: Answer = fill_form
    latency: float = 0.0
    faults: Faults | None = None
    accepts: tuple[str, ...] = MODES
    models: tuple[str, ...] = ()
    key: str = ""
    refused_keywords: tuple[str, ...] = ()
    usage: bool = True
    held: Future[None] | None = None
    per_second: float = 0.0
    retry_after: str = "1"
    batch_polls: int = 1
    batch_most: int = 50_000
    batch_fails: Callable[[str], bool] = lambda text: False
    asked: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    arrivals: list[tuple[float, str]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    keep_requests: bool = True
    count_tokens: Callable[[str], int] = lambda text: len(text) // 4
    _due: deque[float] = field(default_factory=deque)
    _window: list[float] = field(default_factory=list)

    def __call__(self, request: Request) -> Response:
        """Answer one HTTP request."""
        path = request.path.removeprefix("/v1")
        if path == "/log":
            return Response.of(self.log())
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return self._refuse(401, "Incorrect API key provided.", "invalid_api_key")
        if path == "/chat/completions":
            return self._chat(request)
        if path.endswith("/models"):
            names = self.models or ("toy-model",)
            return Response.of({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        if path.startswith("/files"):
            return self._files(request, path)
        if path.startswith("/batches"):
            return self._batches(request, path)
        return self._refuse(404, f"Unknown request URL: {request.method} {request.path}.", "unknown_url")

    def log(self) -> dict[str, Any]:
        """Counts since the start."""
        return {
            "requests": self.asked.total(),
            "paid": self.paid.total(),
            "prompts": len(self.asked),
            "repeated": sum(count - 1 for count in self.paid.values()),
            "under_way": self._under_way(),
            "statuses": self.statuses,
            "tokens": self.tokens,
        }

    def _chat(self, request: Request) -> Response:
        body = request.json()
        text = first_text(body)
        digest = hashlib.sha256(text.encode()).hexdigest()
        earlier = self.asked[digest]
        self.asked[digest] += 1
        if self.keep_requests:
            self.arrivals.append((time.monotonic(), text))
            self.requests.append(body)
        refused = self._refused(body)
        if refused is not None:
            return refused
        kind = self.faults.kind(text, earlier) if self.faults else None
        broken = http_fault(kind, self.faults.retry_after) if kind else None
        if broken is not None:
            self.statuses[kind] += 1
            broken.delay, broken.after = self.latency, self.held
            return broken
        self._due.append(time.monotonic() + self.latency)
        if len(self._due) > MANY:
            self._under_way()
        completion = self.complete(body, text, kind)
        self.paid[digest] += 1
        self.statuses[kind or "good"] += 1
        ending = "cut" if kind == "cut" else "whole"
        return Response.of(completion, delay=self.latency, ending=ending, after=self.held)

    def _under_way(self) -> int:
        """How many replies are not due yet, where all have the same latency."""
        while self._due and self._due[0] <= time.monotonic():
            self._due.popleft()
        return len(self._due)

    def _refused(self, body: dict[str, Any]) -> Response | None:
        if self.models and body["model"] not in self.models:
            return self._refuse(404, f"The model `{body['model']}` does not exist.", "model_not_found")
        wanted = body.get("response_format", {"type": "text"})["type"]
        if wanted not in self.accepts:
            return self._refuse(400, f"Invalid parameter: 'response_format' of type '{wanted}' is not supported.", None)
        schema = json.dumps(body.get("response_format", {}).get("json_schema", {}))
        if named := [keyword for keyword in self.refused_keywords if f'"{keyword}":' in schema]:
            return self._refuse(
                400, f"Invalid schema for response_format 'Reply': In context=(), '{named[0]}' is not permitted.", None
            )
        if self.per_second:
            now = time.monotonic()
            self._window = [moment for moment in self._window if moment > now - 1]
            if len(self._window) >= self.per_second:
                response = self._refuse(429, "Rate limit reached for requests.", "rate_limit_exceeded")
                if self.retry_after:
                    response.headers["retry-after"] = self.retry_after
                return response
            self._window.append(now)
        return None

    def _refuse(self, status: int, message: str, code: str | None) -> Response:
        self.statuses[str(status)] += 1
        return Response.of({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}, status)

    def complete(self, body: dict[str, Any], text: str, kind: str | None = None) -> dict[str, Any]:
        """The body of a chat completion; counts the tokens it bills."""
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema") or read_form(whole_text(body))
        message, finish = message_fault(kind, self.answer(text, schema))
        completion: dict[str, Any] = {
            "id": "chatcmpl-local",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        }
        prompt_tokens = self.count_tokens(json.dumps(body["messages"], ensure_ascii=False))
        completion_tokens = self.count_tokens(message["content"] or message["refusal"] or "") + 1
        self.tokens["prompt"] += prompt_tokens
        self.tokens["completion"] += completion_tokens
        if self.usage:
            total = prompt_tokens + completion_tokens
            completion["usage"] = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
        return completion

    def _files(self, request: Request, path: str) -> Response:
        if request.method == "POST":
            parts = _multipart(request)
            identifier = f"file-{len(self.files) + 1}"
            self.files[identifier] = parts["file"]
            return Response.of(_file(identifier, len(parts["file"])))
        identifier = path.split("/")[2]
        if identifier not in self.files:
            return self._refuse(404, f"No such File object: {identifier}", "not_found")
        if path.endswith("/content"):
            return Response(self.files[identifier], headers={"content-type": "application/octet-stream"})
        if request.method == "DELETE":
            return Response.of({"id": identifier, "object": "file", "deleted": True})
        return Response.of(_file(identifier, len(self.files[identifier])))

    def _batches(self, request: Request, path: str) -> Response:
        if request.method == "POST":
            return self._start_batch(request.json())
        if path == "/batches":
            return Response.of({"object": "list", "data": [self._batch(name) for name in self.batches], "has_more": False})
        identifier = path.split("/")[2]
        if identifier not in self.batches:
            return self._refuse(404, f"No batch found with id '{identifier}'.", "not_found")
        if self.batches[identifier]["status"] == "in_progress":
            self.batches[identifier]["polls"] += 1
            if self.batches[identifier]["polls"] > self.batch_polls:
                self._finish_batch(self.batches[identifier])
        return Response.of(self._batch(identifier))

    def _start_batch(self, wanted: dict[str, Any]) -> Response:
        identifier = f"batch-{len(self.batches) + 1}"
        lines = self.files[wanted["input_file_id"]].splitlines()
        errors, status = None, "in_progress"
        if len(lines) > self.batch_most:
            problem = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached.", "line": None, "param": None}
            errors, status = {"object": "list", "data": [problem]}, "failed"
        self.batches[identifier] = {
            "id": identifier,
            "object": "batch",
            "endpoint": wanted["endpoint"],
            "input_file_id": wanted["input_file_id"],
            "completion_window": wanted["completion_window"],
            "created_at": int(time.time()),
            "metadata": wanted.get("metadata"),
            "status": status,
            "errors": errors,
            "polls": 0,
        }
        return Response.of(self._batch(identifier))

    def _batch(self, identifier: str) -> dict[str, Any]:
        return {name: value for name, value in self.batches[identifier].items() if name != "polls"}

    def _finish_batch(self, batch: dict[str, Any]) -> None:
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            wanted = json.loads(line)
            text = first_text(wanted["body"])
            digest = hashlib.sha256(text.encode()).hexdigest()
            earlier = self.asked[digest]
            self.asked[digest] += 1
            head = {"id": f"batch_req_{len(good) + len(bad)}", "custom_id": wanted["custom_id"]}
            kind = self.faults.kind(text, earlier) if self.faults else None
            if self.batch_fails(text) or (kind and http_fault(kind, "1")):
                error = {"error": {"message": "The server had an error.", "code": "server_error"}}
                bad.append({**head, "response": {"status_code": 500, "request_id": "r", "body": error}, "error": None})
            else:
                self.paid[digest] += 1
                completion = self.complete(wanted["body"], text, kind)
                good.append({**head, "response": {"status_code": 200, "request_id": "r", "body": completion}, "error": None})
        batch["status"] = "completed"
        for name, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                batch[name] = f"file-{len(self.files) + 1}"
                self.files[batch[name]] = "\n".join(map(json.dumps, lines)).encode()


def first_text(body: dict[str, Any]) -> str:
    """The prompt of a request, however often it was asked again: its first user message without the last paragraph.

    The last paragraph is the client's own word on the form of the reply.
    """
    text = whole_text(body)
    return text.rpartition("\n\n")[0] or text


def whole_text(body: dict[str, Any]) -> str:
    """The text of a request's first user message."""
    content = next((message["content"] for message in body["messages"] if message["role"] == "user"), "")
    return content if isinstance(content, str) else next(part["text"] for part in content if part["type"] == "text")


def _file(identifier: str, size: int) -> dict[str, Any]:
    return {
        "id": identifier,
        "object": "file",
        "bytes": size,
        "created_at": 0,
        "filename": "b.jsonl",
        "purpose": "batch",
        "status": "processed",
    }


def _multipart(request: Request) -> dict[str, bytes]:
    whole = message_from_bytes(b"content-type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.body)
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in whole.get_payload()}


@contextmanager
def serve(endpoint: Endpoint) -> Iterator[str]:
    """Run the endpoint in a thread; gives its base URL."""
    with running(endpoint) as address:
        yield f"{address}/v1"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A local OpenAI-compatible endpoint; prints its base URL and serves until stdin closes."
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--faults", type=float, default=0.0, help="share of prompts whose first answer goes wrong")
    parser.add_argument("--never", default="", help="a prompt that contains this is never answered well")
    asked = parser.parse_args()
    never = (lambda text: "malformed" if asked.never in text else None) if asked.never else (lambda text: None)
    faults = Faults(share=asked.faults, never=never) if asked.faults or asked.never else None
    with serve(Endpoint(latency=asked.latency, faults=faults, keep_requests=False)) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
