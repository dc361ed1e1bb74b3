"""Answers of an endpoint that is broken or hostile, by name; each is made from the completion that a good one would give."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from endpoint.server import Endpoint, first_text
from endpoint.wire import Request, Response

Outcome = Literal["reply", "rejected", "stop"]
Spoil = Callable[[dict[str, Any]], Response]
SECRET = "s3cr3t-Passw0rd"
"""Stands in answers that repeat what the client sent."""
JSON_HEAD = "content-type: application/json\r\n"


@dataclass
class HostileEndpoint(Endpoint):
    """An endpoint that spoils every answer to the prompts with `victim` in their text and answers the others well."""

    spoil: Spoil | None = None
    victim: str = "number 1 "
    followed: int = 0

    def _chat(self, request: Request) -> Response:
        response = super()._chat(request)
        if self.spoil is None or self.victim not in first_text(request.json()):
            return response
        return self.spoil(json.loads(response.body))

    def __call__(self, request: Request) -> Response:
        if "elsewhere" in request.path:
            self.followed += 1
        return super().__call__(request)


def content(text: Any) -> Spoil:
    """An ordinary completion with this content."""

    def spoil(good: dict[str, Any]) -> Response:
        good["choices"][0]["message"]["content"] = text
        return Response.of(good)

    return spoil


def form(filled: str) -> Spoil:
    """A form whose answer is this JSON."""
    return content(f'{{"question": "What?", "answer": {filled}}}')


def usage(value: Any) -> Spoil:
    return fields(usage=value)


def counts(**values: Any) -> Spoil:
    """Token counts that lie."""

    def spoil(good: dict[str, Any]) -> Response:
        good["usage"] |= values
        return Response.of(good)

    return spoil


def fields(**values: Any) -> Spoil:
    return lambda good: Response.of(good | values)


def choice(**values: Any) -> Spoil:
    def spoil(good: dict[str, Any]) -> Response:
        good["choices"][0] |= values
        return Response.of(good)

    return spoil


def body(data: bytes, status: int = 200, **headers: str) -> Spoil:
    """These bytes as the body."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda good: Response(data, status, {"content-type": "application/json", **names})


def replaced(old: str, new: str) -> Spoil:
    """The good body with a change in its text that no JSON library would write."""
    return lambda good: Response(json.dumps(good).replace(old, new).encode(), 200, {"content-type": "application/json"})


def raw(*parts: bytes, pause: float = 0.001) -> Spoil:
    """These bytes and nothing else; an empty part closes the connection."""
    return lambda good: Response(raw=parts, pause=pause)


def endless(head: bytes, part: bytes, pause: float = 0.0) -> Spoil:
    """A head, and a part of the answer again and again."""
    return lambda good: Response(raw=itertools.chain([head], itertools.repeat(part)), pause=pause)


def packed(encoding: str, pack: Callable[[bytes], bytes]) -> Spoil:
    return lambda good: Response(pack(json.dumps(good).encode()), 200, {"content-encoding": encoding})


def bomb() -> bytes:
    """3 GB of zeros in 2.9 MB of gzip."""
    packer = zlib.compressobj(9, wbits=31)
    part = packer.compress(b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return part + block * 2900


def error(status: int, text: Any, **headers: str) -> Spoil:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda good: Response.of({"error": {"message": text}}, status) if not headers else _with(text, status, names)


def _with(text: Any, status: int, headers: dict[str, str]) -> Response:
    response = Response.of({"error": {"message": text}}, status)
    response.headers |= headers
    return response


def _drip(good: dict[str, Any]) -> Iterator[bytes]:
    data = json.dumps(good).encode()
    yield f"HTTP/1.1 200 OK\r\n{JSON_HEAD}content-length: {len(data)}\r\n\r\n".encode()
    yield from (data[at : at + 1] for at in range(len(data)))


OK = f"HTTP/1.1 200 OK\r\n{JSON_HEAD}".encode()
DIGITS = "1" * 5000
REPLIES: dict[str, tuple[Spoil, Outcome]] = {
    "form: lone surrogate": (form(r'"\ud800"'), "rejected"),
    "form: 5,000 digits": (form(DIGITS), "rejected"),
    "form: Infinity": (form("Infinity"), "rejected"),
    "form: 1e999": (form("1e999"), "rejected"),
    "form: 200 KB of [": (content("[" * 200_000), "rejected"),
    "form: 200 KB of {": (content("{" * 200_000), "rejected"),
    "form: deep objects": (content('{"a":' * 60_000), "rejected"),
    "form: deep answer": (form("[" * 30_000 + "]" * 30_000), "rejected"),
    "form: 100,000 broken lists": (content("[x " * 100_000), "rejected"),
    "form: 100,000 open texts": (content('["' * 100_000), "rejected"),
    "form: 300 KB of line breaks in a fence": (content("```" + "\n" * 300_000), "rejected"),
    "form: 300 KB of stars": (content("*" * 300_000), "rejected"),
    "form: a label and 300 KB of blanks": (content("Question" + " " * 300_000), "rejected"),
    "form: 60,000 labels": (content("Q: a\n" * 60_000), "rejected"),
    "form: 2 MB of text": (form(json.dumps("a" * 2_000_000)), "rejected"),
    "form: a name of 100 KB": (content(json.dumps({"x" * 100_000: 1})), "rejected"),
    "form: terminal escapes": (form(r'"\u001b[2J"'), "reply"),
    "form: null bytes": (form(r'"\u0000"'), "reply"),
    "usage: 10**30 tokens": (counts(prompt_tokens=10**30, completion_tokens=10**30), "reply"),
    "usage: negative": (counts(prompt_tokens=-1_000_000, completion_tokens=-1_000_000), "reply"),
    "usage: text": (counts(prompt_tokens="many", completion_tokens="12"), "reply"),
    "usage: objects": (counts(prompt_tokens={"a": 1}, completion_tokens=[1]), "reply"),
    "usage: fractions": (counts(prompt_tokens=1.5, completion_tokens=True), "reply"),
    "usage: Infinity": (counts(prompt_tokens=float("inf"), completion_tokens=float("nan")), "reply"),
    "usage: 5,000 digits": (replaced('"prompt_tokens": ', f'"prompt_tokens": {DIGITS}'), "rejected"),
    "usage: a list": (usage([1, 2]), "reply"),
    "usage: a text": (usage("free"), "reply"),
    "usage: cached more than sent": (counts(prompt_tokens_details={"cached_tokens": 10**9}), "reply"),
    "usage: cached negative": (counts(prompt_tokens_details={"cached_tokens": -(10**9)}), "reply"),
    "usage: details are a text": (counts(prompt_tokens_details="none"), "reply"),
    "completion: lone surrogate": (replaced('"content": "', r'"content": "\ud800'), "rejected"),
    "completion: NaN beside the message": (fields(logprobs=float("nan")), "reply"),
    "completion: content is a number": (content(12), "rejected"),
    "completion: content is an object": (content({"question": "a"}), "rejected"),
    "completion: content of odd parts": (content([{"text": None}, 3, {"text": 5}]), "rejected"),
    "completion: refusal is an object": (choice(message={"content": None, "refusal": {"a": 1}}), "rejected"),
    "completion: message is null": (choice(message=None), "rejected"),
    "completion: finish reason is an object": (choice(finish_reason={"a": 1}), "reply"),
    "completion: choices are an object": (fields(choices={"0": 1}), "rejected"),
    "completion: no choices": (fields(choices=[]), "rejected"),
    "completion: choices are null": (fields(choices=None), "rejected"),
    "body: 200 KB of [": (body(b"[" * 200_000), "rejected"),
    "body: null": (body(b"null"), "rejected"),
    "body: a text": (body(b'"hello"'), "rejected"),
    "body: empty": (body(b""), "rejected"),
    "body: HTML": (body(b"<html>Log in</html>", content_type="text/html"), "rejected"),
    "body: not UTF-8": (body(b'{"choices": "\xff\xfe"}'), "rejected"),
    "body: UTF-16": (lambda good: Response(json.dumps(good).encode("utf-16")), "rejected"),
    "body: cut JSON": (body(b'{"choices": [{"message": {"content"'), "rejected"),
    "body: no content": (body(b"", status=204), "rejected"),
    "size: endless body": (
        endless(OK + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"),
        "rejected",
    ),
    "size: 2.5 GB announced": (endless(OK + b"content-length: 2500000000\r\n\r\n", b" " * 65536), "rejected"),
    "size: gzip bomb": (body(bomb(), content_encoding="gzip"), "rejected"),
    "size: gzip in gzip": (packed("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))), "rejected"),
    "size: an error of 100 MB": (endless(b"HTTP/1.1 400 No\r\ncontent-length: 100000000\r\n\r\n", b"x" * 65536), "rejected"),
    "encoding: gzip": (packed("gzip", gzip.compress), "reply"),
    "encoding: broken gzip": (body(b"no gzip", content_encoding="gzip"), "rejected"),
    "encoding: unknown": (body(b"{}", content_encoding="zstd"), "rejected"),
    "time: a byte now and then": (lambda good: Response(raw=_drip(good), pause=0.05), "rejected"),
    "time: announced and never sent": (raw(OK + b"content-length: 100\r\n\r\n{"), "rejected"),
    "time: accepted and silent": (raw(), "rejected"),
    "time: provisional answers for ever": (endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n", 0.001), "rejected"),
    "head: 200 KB": (lambda good: Response(raw=[OK + b"x: " + b"y" * 200_000 + b"\r\n\r\n{}", b""]), "rejected"),
    "head: endless": (endless(OK, b"x: " + b"y" * 1000 + b"\r\n"), "rejected"),
    "head: no HTTP": (raw(b"SSH-2.0-OpenSSH_9.9\r\n", b""), "rejected"),
    "head: bad chunk": (raw(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n", b""), "rejected"),
    "head: two lengths": (raw(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", b""), "rejected"),
    "head: closed at once": (raw(b"", b""), "rejected"),
    "head: cookies": (lambda good: _with_cookies(good), "reply"),
    "status: 999": (body(b"{}", status=999), "rejected"),
    "error: 5,000 digits": (body(b'{"error": {"message": ' + DIGITS.encode() + b"}}", status=400), "rejected"),
    "error: deep": (body(b'{"error": {"message": ' + b"[" * 900 + b"]" * 900 + b"}}", status=400), "rejected"),
    "error: escapes and keys": (
        error(400, f"\x1b]0;x\x07\x1b[31mhttp://me:{SECRET}@host refuses Bearer {SECRET} sk-{SECRET}"),
        "rejected",
    ),
    "error: a date that no calendar has": (error(429, "slow", retry_after="Mon, 99 Foo 99999 99:99:99 GMT"), "stop"),
    "error: a wait of 400 digits": (error(429, "slow", retry_after="9" * 400), "stop"),
    "redirect: 302": (error(302, "", location="/v1/elsewhere"), "stop"),
    "redirect: 307": (error(307, "", location="/v1/elsewhere"), "stop"),
    "redirect: 308 to nowhere": (error(308, "", location=f"http://me:{SECRET}@elsewhere:99999/\x1b[2J"), "stop"),
    "redirect: without a target": (error(301, ""), "stop"),
}


def _with_cookies(good: dict[str, Any]) -> Response:
    response = Response.of(good)
    response.headers["set-cookie"] = f"a={'x' * 50_000}; Path=/"
    return response
