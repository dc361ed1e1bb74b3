"""A chat behind an OpenAI-compatible endpoint: the real client against a small server of our own."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from comvint_hf.conventions import Conventions
from comvint_hf.errors import EndpointError
from comvint_hf.serving.chat import ChatMessage
from comvint_hf.serving.remote import RemoteChat

ANSWER = "There is <st>a cup<ed>[100, 200, 300, 400] here."


class Endpoint(BaseHTTPRequestHandler):
    """Streams the answer in pieces of five characters; the model "missing" is not there."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers, request))
        if request["model"] == "missing":
            self.respond(404, b'{"error": {"message": "no such model"}}', "application/json")
            return
        events = [{"choices": [{"index": 0, "delta": {"content": ANSWER[at : at + 5]}}]} for at in range(0, len(ANSWER), 5)]
        events.append({"choices": []})
        common = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}
        body = "".join(f"data: {json.dumps(common | event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self.respond(200, body.encode(), "text/event-stream")

    def respond(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def endpoint() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.requests = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def test_it_streams_sends_the_image_and_keeps_the_conventions(endpoint: ThreadingHTTPServer) -> None:
    conventions = Conventions(box_dialect="thousand", max_pixels=50 * 25)
    chat = RemoteChat(f"http://127.0.0.1:{endpoint.server_port}/v1", "llava", api_key="secret", conventions=conventions)
    pieces = list(chat.stream(ask("Is it near <st>a hat<ed>[0.500, 0.500, 1.000, 1.000]?"), Image.new("RGB", (100, 50), "red")))
    assert len(pieces) > 3 and "".join(pieces) == "There is <st>a cup<ed>[0.100, 0.200, 0.300, 0.400] here."
    path, headers, request = endpoint.requests[0]
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer secret")
    assert request["stream"] is True and request["temperature"] == 0
    image, text = request["messages"][0]["content"]
    assert text["text"] == "Is it near <st>a hat<ed>[500, 500, 1000, 1000]?"
    sent = Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"].split(",")[1])))
    assert (sent.size, sent.getpixel((0, 0))) == ((50, 25), (255, 0, 0))


def test_many_answers_keep_their_order(endpoint: ThreadingHTTPServer) -> None:
    chat = RemoteChat(f"http://127.0.0.1:{endpoint.server_port}/v1", "llava")
    image = Image.new("RGB", (8, 8))
    assert chat.answers([(ask(f"{number}?"), image) for number in range(5)], batch_size=3) == [ANSWER] * 5
    assert len(endpoint.requests) == 5
    assert [grounded.phrase for grounded in chat.ground("the cup", image)] == []


def test_a_refusal_has_the_endpoints_own_message(endpoint: ThreadingHTTPServer) -> None:
    chat = RemoteChat(f"http://127.0.0.1:{endpoint.server_port}/v1", "missing")
    with pytest.raises(EndpointError, match="'missing' .*no such model"):
        chat.answer(ask("Is it?"), None)
