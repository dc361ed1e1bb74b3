"""The gate of the page: every HTTP request passes it before Gradio sees it. It knows nothing of what the page shows.

Private event handlers can be called by anyone, so the gate checks what they are called with; handlers check the meaning.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradio.utils import get_upload_folder
from pydantic import ValidationError

from comvint_hf.serving.demo.limits import Limits
from comvint_hf.serving.demo.uploads import NOT_UPLOADED, Uploads, is_in_upload_folder
from comvint_hf.strict_reader import redact

if TYPE_CHECKING:
    from gradio import Blocks
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger(__name__)
API = "/gradio_api/"
PAGES = re.compile(
    r"/(?:|config/?|theme\.css|robots\.txt|favicon\.ico|manifest\.json|logout|pwa_icon(?:/\d+)?|(?:assets|static|svelte)/.*)"
)
READS = re.compile(
    r"(?:info|app_id|user|login_check|startup-events|theme\.css|upload_progress|queue/(?:data|status)|heartbeat/[^/]+"
    r"|file=/(?!.*://).*|call/(?:v2/)?[^/]+/[^/]+)/?"
)
CALLS = re.compile(r"(?:(?P<queue>queue/join)|(?P<v2>call/v2/)(?P<v2_name>[^/]+)|(?:call|run|api)/(?P<name>[^/]+))/?")
SESSION = re.compile(r"[\w.-]{1,64}")
MAX_DEPTH, MAX_VALUES, MAX_NUMBER = 12, 2_000, 1e15
MALFORMED = "This request cannot be used."


class Refusal(Exception):
    """A request that is not passed on, with the status and the sentence that its sender gets."""

    def __init__(self, status: int, text: str = MALFORMED) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Gate:
    """A pure ASGI middleware that bounds requests, and refuses the ones the page never sends.

    Addresses are counted by socket peer. Behind a proxy, name it in `FORWARDED_ALLOW_IPS`, and uvicorn reads its header.
    """

    def __init__(self, app: ASGIApp, page: Blocks, uploads: Uploads, limits: Limits) -> None:
        self.app, self.page, self.uploads, self.limits = app, page, uploads, limits
        self._minute = 0
        self._counts: Counter[tuple[str, bool]] = Counter()
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        address = read_address(scope)
        started = False

        async def tracked_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self._open[address] += 1
        try:
            self._count(address, scope["method"] == "POST")
            await self._pass_on(scope, receive, tracked_send)
        except Refusal as refusal:
            LOG.info("Refused %s %r: %s", scope["method"], scope["path"][:200], refusal.text)
            if not started:
                await _respond(send, refusal.status, refusal.text)
        except Exception as error:  # noqa: BLE001
            # Gradio raises for many malformed requests; its traceback helps nobody, and a visitor may write it at will.
            LOG.warning("%s %r failed: %s", scope["method"], scope["path"][:200], redact(f"{type(error).__name__}: {error}"))
            if not started:
                await _respond(send, 400, MALFORMED)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def _count(self, address: str, is_action: bool) -> None:
        """Count a request of this minute. Raises `Refusal` above the limits."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        self._counts[address, False] += 1
        self._counts[address, True] += is_action
        if (
            self._counts[address, False] > self.limits.requests_a_minute
            or (is_action and self._counts[address, True] > self.limits.actions_a_minute)
            or self._open[address] > self.limits.open_requests
        ):
            raise Refusal(429, "Too many requests. Wait a minute and try again.")

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request by its route, and pass it on. Raises `Refusal`."""
        method, path = scope["method"], scope["path"]
        root = scope.get("root_path", "")
        path = path.removeprefix(root) if root else path
        route = path.removeprefix(API) if path.startswith(API) else None
        if method in ("GET", "HEAD"):
            if not (PAGES.fullmatch(path) if route is None else READS.fullmatch(route)):
                raise Refusal(404)
            self._check_stream(route or "", scope)
            await self.app(scope, receive, send)
        elif method == "POST" and route is not None and route.strip("/") == "upload":
            await self._pass_upload(scope, receive, send)
        elif method == "POST" and route is not None and (call := CALLS.fullmatch(route)):
            raw = await self._read_body(scope, receive)
            self._check_call(call, parse_body(raw))
            self._check_queue(read_address(scope))
            await self.app(scope, _replay(raw, receive), send)
        elif method == "POST" and (path.rstrip("/") == "/login" or (route or "").rstrip("/") in ("cancel", "reset")):
            raw = await self._read_body(scope, receive)
            if route:
                parse_body(raw)
            await self.app(scope, _replay(raw, receive), send)
        else:
            raise Refusal(404)

    def _check_stream(self, route: str, scope: Scope) -> None:
        """Raise `Refusal` for the events of a session that does not exist, which Gradio answers with a traceback."""
        queue = self.page._queue
        if route.startswith("queue/data"):
            query = dict(pair.partition("=")[::2] for pair in scope["query_string"].decode("latin-1").split("&"))
            if query.get("session_hash") not in queue.pending_messages_per_session:
                raise Refusal(404)
        elif route.startswith("call/"):
            event = route.rstrip("/").rsplit("/", 1)[-1]
            if event not in queue.event_ids_to_events and event not in queue.pending_messages_per_session:
                raise Refusal(404)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        """Read a whole body within the limits of size and time."""
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400)
                    body += message.get("body", b"")
                    if len(body) > self.limits.body_bytes:
                        raise Refusal(413, "This request is too large.")
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise Refusal(408, "This request took too long.") from None

    async def _pass_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on an upload of a known size, and record which files it made."""
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            raise Refusal(411)
        if len(length) > 15 or int(length) > self.limits.upload_bytes + self.limits.body_bytes:
            raise Refusal(413, "This file is too large.")
        if await asyncio.to_thread(self._tidy_folder) + int(length) > self.limits.folder_bytes:
            raise Refusal(503, "The page has no room for more images. Try again later.")
        answer = bytearray()
        status = 0

        async def recording_send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))
            if status == 200 and message["type"] == "http.response.body" and not message.get("more_body"):
                for path in json.loads(bytes(answer)):
                    self.uploads.add(path)
            await send(message)

        try:
            async with asyncio.timeout(self.limits.body_seconds):
                await self.app(scope, receive, recording_send)
        except TimeoutError:
            raise Refusal(408, "This upload took too long.") from None

    def _tidy_folder(self) -> int:
        """Delete what is left of old broken uploads, and return the size of the upload folder in bytes."""
        folder, total, oldest = Path(get_upload_folder()), 0, time.time() - self.limits.session_seconds
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                try:
                    details = path.lstat()
                    if path.parent == folder and name.startswith("tmp") and details.st_mtime < oldest:
                        path.unlink()
                    else:
                        total += details.st_size
                except OSError:
                    continue
        return total

    def _check_call(self, call: re.Match[str], body: dict[str, Any]) -> None:
        """Raise `Refusal` unless the body fits an event handler, and names only uploads of its session."""
        session = body.get("session_hash")
        if not (session is None and not call["queue"]) and not (isinstance(session, str) and SESSION.fullmatch(session)):
            raise Refusal(400)
        data = body.get("data")
        if call["v2_name"] or call["name"]:
            name = call["v2_name"] or call["name"]
            function = next((fn for fn in self.page.fns.values() if fn.api_name == name and fn.api_visibility == "public"), None)
            data = body if call["v2"] else data
        else:
            index = body.get("fn_index")
            function = self.page.fns.get(index) if type(index) is int else None
        if function is None or body.get("batched"):
            raise Refusal(404)
        if not call["v2"]:
            self._check_inputs(function, data)
        if type(body.get("trigger_id")) not in (int, type(None)):
            raise Refusal(400)
        for file in find_files(data):
            if not self.uploads.claim(file.get("path"), session):
                raise Refusal(400, NOT_UPLOADED)
        # An event may name an example, which was not uploaded but lies in the same folder.
        for path in (file.get("path") for file in find_files(body.get("event_data"))):
            if not is_in_upload_folder(path) or (path in self.uploads and not self.uploads.claim(path, session)):
                raise Refusal(400, NOT_UPLOADED)

    def _check_queue(self, address: str) -> None:
        """Raise `Refusal` if an address has its share of the queue already."""
        events = list(self.page._queue.event_ids_to_events.values())
        if sum(read_address(event.request.scope) == address for event in events) >= self.limits.events_at_once:
            raise Refusal(429, "Too many questions at once. Wait for the answers and try again.")

    def _check_inputs(self, function: Any, data: object) -> None:
        """Raise `Refusal` unless there is one value for each input, of the form that its component expects."""
        shown = [block for block in function.inputs if not block.skip_api]
        if not isinstance(data, list) or (len(data) not in (len(function.inputs), len(shown)) and not function.cancels):
            raise Refusal(400)
        blocks = function.inputs if len(data) == len(function.inputs) else shown
        for block, value in zip(blocks, data, strict=False):
            if value is None or not getattr(block, "data_model", None):
                continue
            try:
                block.data_model.model_validate(value, context={"validate_meta": True})
            except ValidationError:
                raise Refusal(400) from None


def read_address(scope: Scope) -> str:
    """Return the address by which requests are counted: an IPv4 address, or the /64 network of an IPv6 address."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


def parse_body(raw: bytes) -> dict[str, Any]:
    """Parse the JSON object of a request: finite numbers, valid Unicode, of limited depth and size. Raises `Refusal`."""
    try:
        body = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400) from None
    if not isinstance(body, dict):
        raise Refusal(400)
    for count, (value, depth) in enumerate(walk(body)):
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise Refusal(400)
        if isinstance(value, int | float) and not abs(value) < MAX_NUMBER:  # NaN is not less, and an integer may be beyond floats
            raise Refusal(400)
        # A lone surrogate cannot be encoded, and no file name holds a zero.
        if isinstance(value, str) and re.search("[\ud800-\udfff\0]", value):
            raise Refusal(400)
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def walk(value: object) -> Iterator[tuple[object, int]]:
    """Yield every value inside a JSON value, names included, with its depth."""
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        yield item, depth
        if isinstance(item, dict):
            waiting += ((inner, depth + 1) for pair in item.items() for inner in pair)
        elif isinstance(item, list):
            waiting += ((inner, depth + 1) for inner in item)


def find_files(value: object) -> Iterator[dict[str, Any]]:
    """Find everything inside a JSON value that Gradio may read as a file."""
    return (item for item, _ in walk(value) if isinstance(item, dict) and not {"path", "url", "meta"}.isdisjoint(item))


def _replay(raw: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body again, and then what comes after it."""
    pending = [raw]

    async def replayed() -> Message:
        return {"type": "http.request", "body": pending.pop(), "more_body": False} if pending else await receive()

    return replayed


async def _respond(send: Send, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
