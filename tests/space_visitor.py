"""A visitor who talks to the page in plain HTTP, and sends whatever he likes."""

from __future__ import annotations

import io
import json
import secrets
import time
from typing import Any, NamedTuple

import httpx2
from PIL import Image

API = "/gradio_api/"
META = {"_type": "gradio.FileData"}
PATIENCE = 30.0


class Reply(NamedTuple):
    """What a request came to: a status, the text of the reply, and the messages of its event."""

    status: int
    text: str
    messages: list[dict[str, Any]]
    seconds: float

    @property
    def output(self) -> list[Any]:
        """The values of the components after the event; none if it failed."""
        done = [message for message in self.messages if message["msg"] == "process_completed"]
        return (done[-1]["output"] or {}).get("data", []) if done and done[-1]["success"] else []

    @property
    def shown(self) -> str:
        return json.dumps(self.output, ensure_ascii=False) + self.text


class Visitor:
    """A client of one address with one session."""

    def __init__(self, address: str, page) -> None:
        self.client = httpx2.Client(base_url=address, timeout=PATIENCE)
        self.functions = {function.name: number for number, function in reversed(page.fns.items())}
        self.session = secrets.token_hex(6)

    def send(self, method: str, path: str, **options: Any) -> Reply:
        start = time.monotonic()
        reply = self.client.request(method, path, **options)
        return Reply(reply.status_code, reply.text, [], time.monotonic() - start)

    def join(self, name: str | None, data: Any, **body: Any) -> Reply:
        """Call an event handler as the page does, and follow its events to the end."""
        body = {"data": data, "session_hash": self.session, "fn_index": self.functions.get(name, -1), **body}
        return self.join_raw(json.dumps(body), body["session_hash"])

    def join_raw(self, raw: str | bytes, session: Any = None) -> Reply:
        start = time.monotonic()
        reply = self.client.post(f"{API}queue/join", content=raw, headers={"content-type": "application/json"})
        messages = []
        if reply.status_code == 200:
            with self.client.stream("GET", f"{API}queue/data", params={"session_hash": session or self.session}) as events:
                for line in events.iter_lines():
                    if line.startswith("data:"):
                        messages.append(json.loads(line[5:]))
                    assert time.monotonic() - start < PATIENCE * 3, "the event does not end"
        return Reply(reply.status_code, reply.text, messages, time.monotonic() - start)

    def upload(self, content: bytes, name: str = "image.png") -> dict[str, Any]:
        reply = self.client.post(f"{API}upload", files={"files": (name, content, "image/png")})
        assert reply.status_code == 200, reply.text
        return {"path": reply.json()[0], "meta": META, "orig_name": name}

    def give(self, content: bytes, name: str = "image.png") -> Reply:
        return self.join("on_upload", [self.upload(content, name), None])

    def image(self, reply: Reply) -> Image.Image | None:
        """The image that the page shows after an event."""
        found = [value for value in reply.output if isinstance(value, dict) and value.get("path")]
        if not found:
            return None
        return Image.open(io.BytesIO(self.client.get(f"{API}file={found[0]['path']}").content)).convert("RGB")


def encode(image: Image.Image, format: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **settings)
    return buffer.getvalue()


WHITE = encode(Image.new("RGB", (64, 48), "white"))
