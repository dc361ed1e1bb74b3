"""A chat behind an OpenAI-compatible endpoint: the real client against a small server of our own."""

import base64
import io
import json
import threading
import time
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

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers, None))
        self.respond(200, b"{}", "application/json")

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


class Hostile(BaseHTTPRequestHandler):
    """Answers as `server.mode` says."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        getattr(self, self.server.mode)()

    def start(self, *headers: tuple[str, str], status: int = 200) -> None:
        self.send_response(status)
        for header in (("Content-Type", "text/event-stream"), ("Connection", "close"), *headers):
            self.send_header(*header)
        self.end_headers()

    def write(self, content: str | None, end: str = "", **choice: object) -> None:
        event = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        event["choices"] = [{"index": 0, "delta": {"content": content}, **choice}]
        self.wfile.write(f"data: {json.dumps(event)}\n\n{end}".encode())

    def cut(self) -> None:
        self.start()
        self.write("There is a c")

    def cut_in_a_line(self) -> None:
        self.start()
        self.write("There is a c")
        self.wfile.write(b'data: {"choices": [{"ind')

    def says_done(self) -> None:
        self.start()
        self.write("the text says data: [DONE] and \ndata: [DONE]")

    def done(self) -> None:
        self.start()
        self.write("There is a cup.", "data: [DONE]\n\n")

    def finished(self) -> None:
        self.start()
        self.write("There is a cup.", finish_reason="stop")

    def redirects(self) -> None:
        self.start(("Location", f"http://127.0.0.1:{self.server.other.server_port}/v1/chat/completions"), status=307)

    def echoes_the_key(self) -> None:
        self.start(status=401)
        key = self.headers["Authorization"]
        self.wfile.write(json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}).encode())

    def trickles(self) -> None:
        self.start()
        for _ in range(60):
            self.wfile.write(b":")
            self.wfile.flush()
            time.sleep(0.1)

    def floods(self) -> None:
        self.start()
        for _ in range(40):
            self.write("x" * 1_000_000)

    def floods_a_line(self) -> None:
        self.start()
        for _ in range(40):
            self.wfile.write(b"x" * 1_000_000)

    def is_a_bomb(self) -> None:
        import gzip

        self.start(("Content-Encoding", "gzip"))
        self.wfile.write(gzip.compress(bytes(30_000_000)))

    def sends_rubbish(self) -> None:
        self.start()
        self.wfile.write(b"data: [1, 2]\n\ndata: nothing\n\n")

    def sends_odd_choices(self) -> None:
        self.start()
        self.wfile.write(b'data: {"choices": [{"delta": null}]}\n\n')

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep the test's output quiet."""


@pytest.fixture
def hostile(endpoint: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.other = endpoint
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def remote(server: ThreadingHTTPServer, mode: str, **options: object) -> RemoteChat:
    server.mode = mode
    chat = RemoteChat(f"http://me:pa55word@127.0.0.1:{server.server_port}/v1", "m", api_key="key-of-the-house-123", **options)
    chat.client = chat.client.with_options(max_retries=0)
    return chat


@pytest.mark.parametrize("mode", ["cut", "cut_in_a_line", "says_done"])
def test_a_cut_stream_is_not_taken_for_whole(hostile: ThreadingHTTPServer, mode: str) -> None:
    stream = remote(hostile, mode).stream(ask("Is it?"), None)
    assert next(stream)
    with pytest.raises(EndpointError):
        list(stream)


@pytest.mark.parametrize("mode", ["done", "finished"])
def test_either_end_of_a_stream_will_do(hostile: ThreadingHTTPServer, mode: str) -> None:
    assert remote(hostile, mode).answer(ask("Is it?"), None) == "There is a cup."


def test_a_redirect_is_not_followed(hostile: ThreadingHTTPServer) -> None:
    with pytest.raises(EndpointError):
        remote(hostile, "redirects").answer(ask("Is it?"), Image.new("RGB", (8, 8)))
    assert hostile.other.requests == []


@pytest.mark.parametrize("mode", ["echoes_the_key", "cut", "redirects", "sends_rubbish", "sends_odd_choices"])
def test_an_error_holds_no_key_and_no_password(hostile: ThreadingHTTPServer, mode: str) -> None:
    import traceback

    with pytest.raises(EndpointError) as raised:
        remote(hostile, mode).answer(ask("Is it?"), None)
    text = "".join(traceback.format_exception(raised.value))
    assert "pa55word" not in text and "key-of-the-house-123" not in text
    assert "127.0.0.1" in str(raised.value)


@pytest.mark.parametrize("mode", ["trickles", "floods", "floods_a_line", "is_a_bomb"])
def test_an_answer_is_bounded_in_time_and_size(hostile: ThreadingHTTPServer, mode: str) -> None:
    start = time.monotonic()
    with pytest.raises(EndpointError):
        remote(hostile, mode, timeout=2.0).answer(ask("Is it?"), None)
    assert time.monotonic() - start < 5


def test_the_key_is_that_of_the_provider_and_a_server_without_one_is_asked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert RemoteChat("http://203.0.113.5:8000/v1", "m").client.api_key == "none"
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_provider")
    assert RemoteChat("https://router.huggingface.co/v1", "m").client.api_key == "hf_of_the_provider"
