"""The limits of a served page, each reached in plain HTTP by a visitor who does not keep them."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from space_visitor import API, WHITE, Visitor, encode

from comvint_hf.errors import EndpointError
from comvint_hf.serving.chat import ScriptedChat
from comvint_hf.serving.demo.limits import Limits

Serve = Callable[..., tuple[str, Any]]
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'


@pytest.fixture
def serve_limited() -> Iterator[Serve]:
    """Serve a page for a chat, with limits."""
    from comvint_hf.serving.demo.page import build_page, launch

    pages = []

    def serve(chat: Any, **limits: Any) -> tuple[str, Any]:
        page = build_page(chat if not callable(chat) else ScriptedChat(chat), (), Limits(**limits))
        _, address, _ = launch(page, prevent_thread_lock=True, quiet=True)
        pages.append(page)
        return address, page

    yield serve
    for page in pages:
        page.close(verbose=False)


def status(reply) -> str:
    """The sentence below the conversation."""
    return next((str(value.get("value")) for value in reply.output if isinstance(value, dict) and "role=" in str(value)), "")


def bomb(width: int, height: int) -> bytes:
    """A PNG of any size in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def many_frames() -> bytes:
    image = Image.new("P", (2, 2))
    buffer = io.BytesIO()
    frames = [Image.new("P", (2, 2), number % 2) for number in range(1, 1200)]
    image.save(buffer, "GIF", save_all=True, append_images=frames, optimize=False)
    return buffer.getvalue()


def test_what_is_no_image_gets_one_calm_sentence(serve_limited: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    address, page = serve_limited(lambda _: "So.")
    jpeg = encode(Image.effect_noise((600, 400), 90).convert("RGB"), "JPEG")
    cases = {
        "text": (b"I am a text.", "not a whole PNG, JPEG, WebP or GIF"),
        "nothing": (b"", "not a whole PNG"),
        "truncated JPEG": (jpeg[: len(jpeg) // 2], "not a whole PNG"),
        "truncated PNG": (WHITE[: len(WHITE) // 2], "not a whole PNG"),
        "SVG": (SVG, "not a whole PNG"),
        "TIFF": (encode(Image.new("RGB", (8, 8)), "TIFF"), "not a whole PNG"),
        "EPS": (encode(Image.new("RGB", (8, 8)), "EPS"), "not a whole PNG"),
        "16 bits": (encode(Image.new("I;16", (8, 8), 40_000)), "more than 8 bits"),
        "400 MP": (bomb(20_000, 20_000), "50 million pixels"),
        "4,000 MP": (bomb(100_000, 40_000), "not a whole PNG|million pixels"),
        "1,200 frames": (many_frames(), "1,000 frames"),
        "2,000 passes": (jpeg[:-2] + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" * 2_000 + b"\xff\xd9", "1,000 frames"),
    }
    import re

    for name, (content, sentence) in cases.items():
        visitor = Visitor(address, page)
        reply = visitor.give(content, "photo.jpg")
        assert re.search(sentence, status(reply)), (name, reply)
        assert reply.seconds < 5 and visitor.image(reply) is None, name
        assert "/" not in re.sub(r"</p>", "", status(reply)), name
    assert "Traceback" not in "".join(capfd.readouterr())


def test_every_format_is_taken_and_turned_upright(serve_limited: Serve) -> None:
    address, page = serve_limited(lambda _: "So.")
    image = Image.new("RGB", (80, 40), "red")
    image.paste("blue", (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    for format, settings in (("PNG", {}), ("JPEG", {}), ("WEBP", {}), ("GIF", {}), ("JPEG", {"exif": exif})):
        visitor = Visitor(address, page)
        shown = visitor.image(visitor.give(encode(image, format, **settings), "no-suffix"))
        assert (shown.width > shown.height) == ("exif" not in settings)
        red, _, blue = shown.getpixel((shown.width // 8, shown.height // 8))
        assert blue > 150 > red, format


def test_a_large_image_is_kept_small(serve_limited: Serve) -> None:
    chat = ScriptedChat(lambda _: "So.")
    address, page = serve_limited(chat)
    visitor = Visitor(address, page)
    visitor.give(encode(Image.new("RGB", (6_000, 4_000)), "JPEG"))
    visitor.join("on_ask", ["What?", None])
    assert chat.requests[0][1].size == (1600, 1067)


def test_long_text_is_refused_in_a_sentence(serve_limited: Serve) -> None:
    chat = ScriptedChat(lambda _: "So.")
    address, page = serve_limited(chat)
    visitor = Visitor(address, page)
    visitor.give(WHITE)
    for handler in ("on_ask", "on_find"):
        reply = visitor.join(handler, ["word " * 500, None])
        assert "2,000 is the most" in status(reply) and reply.seconds < 2
    reply = visitor.join("on_ask", ["a" * 1_000_000, None])
    assert (reply.status, "too large" in reply.text) == (413, True) and reply.seconds < 2
    assert chat.requests == []


def test_a_conversation_ends(serve_limited: Serve) -> None:
    chat = ScriptedChat(lambda _: "So.")
    address, page = serve_limited(chat, turns=3)
    visitor = Visitor(address, page)
    visitor.give(WHITE)
    replies = [visitor.join("on_ask", [f"{number}?", None]) for number in range(4)]
    assert "has 3 questions; clear it" in status(replies[-1]) and len(chat.requests) == 3


def test_a_flood_of_boxes_is_cut_and_said(serve_limited: Serve) -> None:
    boxes = ", ".join(f"[0.{number % 89:02}1, 0.{number % 83:02}1, 0.9, 0.95]" for number in range(3_000))
    address, page = serve_limited(lambda _: f"There: <st>cups<ed>{boxes}.", answer_characters=200_000)
    visitor = Visitor(address, page)
    visitor.give(WHITE)
    for handler in ("on_ask", "on_find"):
        reply = visitor.join(handler, ["cups", None])
        assert "The first 100 of 3,000 boxes are drawn." in reply.shown
        assert reply.seconds < 10, reply.seconds


@pytest.mark.parametrize(
    "text",
    [
        "word " * 200_000,
        " " * 1_000_000 + "x",
        "[" + " " * 100_000 + "x",
        "<st>" + " " * 100_000,
        "<st>" * 50_000,
        "[0.1, " * 50_000,
        "[" + "1" * 100_000,
        "," * 100_000 + "x",
        "\n" * 100_000 + "x",
        "[[" * 50_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_an_endless_answer_ends(serve_limited: Serve, text: str) -> None:
    address, page = serve_limited(lambda _: [text[start : start + 400] for start in range(0, len(text), 400)])
    visitor = Visitor(address, page)
    visitor.give(WHITE)
    reply = visitor.join("on_ask", ["Go on", None])
    assert reply.seconds < 10 and len(reply.shown) < 100_000


def test_slow_visitors_do_not_shut_out_the_ninth(serve_limited: Serve) -> None:
    release = threading.Event()

    def hang(question: str) -> Iterator[str]:
        if question == "slow":
            yield "Well, "
            release.wait(60)
        yield "So."

    address, page = serve_limited(hang, answer_seconds=2.0)
    visitors = [Visitor(address, page) for _ in range(9)]
    for visitor in visitors:
        visitor.give(WHITE)
    try:
        with ThreadPoolExecutor(8) as pool:
            slow = [pool.submit(visitor.join, "on_ask", ["slow", None]) for visitor in visitors[:8]]
            time.sleep(0.5)
            ninth = visitors[8].join("on_ask", ["quick", None])
            assert "So." in ninth.shown and ninth.seconds < 15
            assert all("took too long" in status(reply.result()) for reply in slow)
    finally:
        release.set()


def test_an_endpoint_answers_many_at_once(serve_limited: Serve) -> None:
    chat = ScriptedChat(lambda _: "So.")
    chat.concurrency = 32
    _, page = serve_limited(chat)
    assert {function.concurrency_limit for function in page.fns.values() if function.name in ("on_ask", "on_find")} == {32}


def test_a_full_queue_says_so(serve_limited: Serve) -> None:
    release = threading.Event()

    def hang(question: str) -> Iterator[str]:
        release.wait(60)
        yield "So."

    chat = ScriptedChat(hang)
    chat.concurrency = 1
    address, page = serve_limited(chat, waiting=2)
    visitor = Visitor(address, page)
    visitor.give(WHITE)
    statuses = []
    try:
        for number in range(8):
            body = {"data": ["Hi", None], "fn_index": visitor.functions["on_ask"], "session_hash": f"{visitor.session}{number}"}
            # The sessions have no image; the first keeps the only place.
            body["session_hash"] = visitor.session if number == 0 else body["session_hash"]
            statuses.append(visitor.send("POST", f"{API}queue/join", json=body).status)
            time.sleep(0.3 if number == 0 else 0)
    finally:
        release.set()
    assert 503 in statuses and statuses[0] == 200 and set(statuses) <= {200, 503}


def test_one_address_does_not_fill_the_queue(serve_limited: Serve) -> None:
    release = threading.Event()

    def hang(question: str) -> Iterator[str]:
        release.wait(60)
        yield "So."

    address, page = serve_limited(hang, events_at_once=3)
    visitors = [Visitor(address, page) for _ in range(5)]
    for visitor in visitors:
        visitor.give(WHITE)
    body = {"data": ["Hi", None], "fn_index": visitors[0].functions["on_ask"]}
    try:
        statuses = [
            visitor.send("POST", f"{API}queue/join", json=body | {"session_hash": visitor.session}).status for visitor in visitors
        ]
    finally:
        release.set()
    assert statuses == [200, 200, 200, 429, 429]
    time.sleep(1)
    assert visitors[-1].join("on_ask", ["Hi", None]).output


def test_requests_of_an_address_are_counted(serve_limited: Serve) -> None:
    address, page = serve_limited(lambda _: "So.", actions_a_minute=20)
    visitor = Visitor(address, page)
    seen = set()
    for number in range(60):
        # An address in a header is anyone's word.
        reply = visitor.client.post(
            f"{API}reset",
            json={"event_id": "x"},
            headers={"x-forwarded-for": f"10.0.0.{number}", "forwarded": f"for=10.1.1.{number}"},
        )
        seen.add(reply.status_code)
    assert 429 in seen and "Wait a minute" in reply.text
    assert visitor.send("GET", "/config").status == 200


def test_open_connections_of_an_address_are_counted(serve_limited: Serve) -> None:
    address, page = serve_limited(lambda _: "So.", open_requests=5)
    visitor = Visitor(address, page)
    streams = [visitor.client.stream("GET", f"{API}heartbeat/{number}") for number in range(6)]
    statuses = [stream.__enter__().status_code for stream in streams]
    assert statuses == [200] * 5 + [429]
    for stream in streams:
        stream.__exit__(None, None, None)


def test_a_slow_body_is_not_waited_for(serve_limited: Serve) -> None:
    import socket
    from urllib.parse import urlsplit

    address, _ = serve_limited(lambda _: "So.", body_seconds=1.0)
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port), timeout=20) as connection:
        connection.sendall(f"POST {API}queue/join HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{{".encode())
        assert b"408" in connection.recv(4096)


def test_the_folder_of_uploads_has_a_size(serve_limited: Serve) -> None:
    address, page = serve_limited(lambda _: "So.", folder_bytes=1)
    reply = Visitor(address, page).send("POST", f"{API}upload", files={"files": ("a.png", WHITE, "image/png")})
    assert (reply.status, "no room" in reply.text) == (503, True)


def test_sessions_and_files_expire(serve_limited: Serve) -> None:
    chat = ScriptedChat(lambda _: "So.")
    address, page = serve_limited(chat, session_seconds=2, sessions=3)
    visitor = Visitor(address, page)
    visitor.give(WHITE)
    assert visitor.join("on_ask", ["What?", None]).output and len(chat.requests) == 1
    time.sleep(4)
    assert "Give an image first" in status(visitor.join("on_ask", ["What?", None]))
    for _ in range(6):
        Visitor(address, page).give(WHITE)
    assert len(page.state_holder.session_data) <= 3


@pytest.mark.parametrize("at_once", [True, False])
def test_errors_are_neutral_and_the_log_is_redacted(serve_limited: Serve, at_once: bool, caplog, capfd) -> None:
    def fail(_: str) -> Iterator[str]:
        if not at_once:
            yield "Half an "
        raise EndpointError(
            "http://me:pa55word@10.0.0.7/v1 refuses Incorrect API key provided: sk-abcdefghijklmnop, Bearer abcdefghijkl"
        )

    address, page = serve_limited(fail)
    visitor = Visitor(address, page)
    visitor.give(WHITE)
    reply = visitor.join("on_ask", ["What?", None])
    assert ("could not answer; try again" if at_once else "was cut off") in status(reply)
    everything = str(reply.messages) + reply.text
    assert not any(word in everything for word in ("10.0.0.7", "pa55word", "sk-abc", "EndpointError", "Bearer"))
    log = caplog.text + "".join(capfd.readouterr())
    assert "10.0.0.7" in log and not any(word in log for word in ("pa55word", "sk-abc", "abcdefghijkl"))


def test_one_answer_at_a_time(serve_limited: Serve) -> None:
    release = threading.Event()

    def hang(question: str) -> Iterator[str]:
        yield "Well, "
        release.wait(60)

    address, page = serve_limited(hang)
    visitor = Visitor(address, page)
    visitor.give(WHITE)
    body = {"data": ["Hi", None], "fn_index": visitor.functions["on_ask"], "session_hash": visitor.session}
    assert visitor.send("POST", f"{API}queue/join", json=body).status == 200
    time.sleep(0.5)
    try:
        other = Visitor(address, page)
        other.session = visitor.session
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(other.join, "on_find", ["cup", None])
            time.sleep(1)
            release.set()
            assert "Wait for the answer" in str(second.result().messages)
    finally:
        release.set()


def test_a_public_function_is_reached_by_the_client_of_gradio(tmp_path) -> None:
    """The gate knows no page: a function that a later page offers works, with uploads and no other file."""
    import gradio as gr
    from gradio.data_classes import FileData
    from gradio_client import Client, handle_file

    from comvint_hf.serving.demo.page import Page, launch
    from comvint_hf.serving.demo.uploads import read_upload

    (tmp_path / "a.png").write_bytes(WHITE)

    def measure(words, image):
        path = image["path"] if isinstance(image, dict) else image.path
        return f"{words} {read_upload(path, Limits()).size}"

    measure.__annotations__ = {"words": str, "image": FileData, "return": str}  # the names are not known to the module
    with Page(Limits()) as page:
        gr.api(measure, api_name="measure")
    _, address, _ = launch(page, prevent_thread_lock=True, quiet=True)
    try:
        client = Client(address, verbose=False)
        assert client.predict("size", handle_file(str(tmp_path / "a.png")), api_name="/measure") == "size (64, 48)"
        visitor = Visitor(address, page)
        file = {"path": str(tmp_path / "a.png"), "meta": {"_type": "gradio.FileData"}}
        reply = visitor.send("POST", f"{API}call/measure", json={"data": ["size", file]})
        assert (reply.status, "not uploaded here" in reply.text) == (400, True)
        event = visitor.send("POST", f"{API}call/measure", json={"data": ["size", visitor.upload(WHITE)]})
        event_id = event.text.split('"')[3]
        assert "size (64, 48)" in visitor.send("GET", f"{API}call/measure/{event_id}").text
    finally:
        page.close(verbose=False)
