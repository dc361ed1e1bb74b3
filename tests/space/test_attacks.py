"""The page attacked with plain HTTP: no file of the server is read, nothing hangs, nothing ends in a traceback.

`COMVINT_SHOW_ATTACKS=1` prints the table of requests and outcomes.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from space_visitor import API, META, WHITE, Reply, Visitor, encode

from comvint_hf.serving.chat import ScriptedChat

SECRET_COLOUR = (12, 200, 77)


class Place(NamedTuple):
    """The attacked page and its surroundings."""

    address: str
    page: object
    secret: Path
    pipe: Path
    upload_folder: Path
    listener: str
    hits: list[str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    from gradio.utils import get_upload_folder

    from comvint_hf.serving.demo.limits import Limits
    from comvint_hf.serving.demo.page import Example, build_page, launch

    hits: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(encode(Image.new("RGB", (8, 8), SECRET_COLOUR)))

        def log_message(self, *_: object) -> None:
            """Keep the test's output quiet."""

    folder = tmp_path_factory.mktemp("server")
    Image.new("RGB", (64, 48), SECRET_COLOUR).save(folder / "secret.png")
    Image.new("RGB", (64, 48), "white").save(folder / "example.png")
    os.mkfifo(folder / "pipe.png")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chat = ScriptedChat(lambda question: f"You said {question}")
    page = build_page(chat, [Example(folder / "example.png", "What?")], Limits(actions_a_minute=10_000, requests_a_minute=10_000))
    _, address, _ = launch(page, prevent_thread_lock=True, quiet=True, allowed_paths=[str(folder / "example.png")])
    uploads = Path(get_upload_folder())
    (uploads / "linked").mkdir(exist_ok=True)
    (uploads / "linked" / "link.png").symlink_to(folder / "secret.png")
    os.mkfifo(uploads / "linked" / "pipe.png")
    yield Place(
        address, page, folder / "secret.png", folder / "pipe.png", uploads, f"http://127.0.0.1:{server.server_port}", hits
    )
    page.close(verbose=False)
    server.shutdown()
    for name in ("link.png", "pipe.png"):
        (uploads / "linked" / name).unlink()


def name_file(**file: object) -> Callable[[Visitor, Place], Reply]:
    return lambda visitor, place: visitor.join("on_upload", [fill(file, place), None])


def fill(value: object, place: Place) -> object:
    """Replace names of places in an attack by their paths."""
    if isinstance(value, dict):
        return {key: fill(item, place) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    for name, path in (
        ("SECRET", place.secret),
        ("PIPE", place.pipe),
        ("UPLOADS", place.upload_folder),
        ("LISTENER", place.listener),
    ):
        value = value.replace(name, str(path))
    return value


def name_anothers_upload(visitor: Visitor, place: Place) -> Reply:
    other = Visitor(place.address, place.page)
    upload = other.upload(encode(Image.new("RGB", (64, 48), SECRET_COLOUR)))
    assert other.join("on_upload", [upload, None]).output
    return visitor.join("on_upload", [upload, None])


def name_anothers_upload_in_an_event(visitor: Visitor, place: Place) -> Reply:
    other = Visitor(place.address, place.page)
    upload = other.upload(encode(Image.new("RGB", (64, 48), SECRET_COLOUR)))
    assert other.join("on_upload", [upload, None]).output
    reply = visitor.join("on_example", [None], event_data={"index": 0, "value": {"image": upload}})
    assert reply.status == 400
    return reply


def name_anothers_drawing(visitor: Visitor, place: Place) -> Reply:
    other = Visitor(place.address, place.page)
    drawn = other.give(encode(Image.new("RGB", (64, 48), SECRET_COLOUR))).output[1]
    return visitor.join("on_upload", [drawn, None])


def click(**data: object) -> Callable[[Visitor, Place], Reply]:
    def attack(visitor: Visitor, place: Place) -> Reply:
        visitor.give(WHITE)
        return visitor.join("on_image_click", [None], event_data=data.get("event"))

    return attack


def click_raw(number: str) -> Callable[[Visitor, Place], Reply]:
    def attack(visitor: Visitor, place: Place) -> Reply:
        visitor.give(WHITE)
        body = {"data": [None], "session_hash": visitor.session, "fn_index": visitor.functions["on_image_click"]}
        raw = json.dumps(body | {"event_data": {"index": ["NUMBER", 1], "value": None}}).replace('"NUMBER"', number)
        return visitor.join_raw(raw)

    return attack


def select(index: object) -> Callable[[Visitor, Place], Reply]:
    return lambda visitor, place: visitor.join("on_example", [None], event_data={"index": index, "value": None})


def join(name: str | None, data: object, **body: object) -> Callable[[Visitor, Place], Reply]:
    return lambda visitor, place: visitor.join(name, data, **body)


def raw(text: str | bytes) -> Callable[[Visitor, Place], Reply]:
    return lambda visitor, place: visitor.join_raw(text)


def http(method: str, path: str, **options: object) -> Callable[[Visitor, Place], Reply]:
    return lambda visitor, place: visitor.send(method, str(fill(path, place)), **options)


SECRET_FILE = {"path": "SECRET", "meta": META}
UPLOAD = f"{API}upload"
ATTACKS: dict[str, Callable[[Visitor, Place], Reply]] = {
    "a path without meta": name_file(path="SECRET"),
    "a path with meta": name_file(path="SECRET", meta=META),
    "a path with an upload's url": name_file(path="SECRET", meta=META, url=f"{API}file=/x.png", orig_name="x.png"),
    "url file://": name_file(path=None, url="file://SECRET"),
    "path file://": name_file(path="file://SECRET", meta=META),
    "url of a server inside": name_file(path=None, url="LISTENER/leak.png"),
    "path is a url inside, no meta": name_file(path="LISTENER/leak.png"),
    "path is a url inside, meta": name_file(path="LISTENER/leak.png", meta=META),
    "a data: url": name_file(path=None, url="data:image/png;base64," + base64.b64encode(WHITE).decode()),
    "a link in the upload folder": name_file(path="UPLOADS/linked/link.png", meta=META),
    "a pipe": name_file(path="PIPE"),
    "a pipe in the upload folder": name_file(path="UPLOADS/linked/pipe.png", meta=META),
    "/proc/self/fd/1": name_file(path="/proc/self/fd/1"),
    "/proc/self/environ": name_file(path="/proc/self/environ", meta=META),
    "/dev/zero": name_file(path="/dev/zero"),
    "a relative path": name_file(path="../../../../../..SECRET"),
    "a name in the working directory": name_file(path="README.md"),
    "out of the upload folder": name_file(path="UPLOADS/../../..SECRET", meta=META),
    "the upload folder itself": name_file(path="UPLOADS", meta=META),
    "the example's file": name_file(path=str(Path(__file__)), meta=META),
    "another session's upload": name_anothers_upload,
    "another session's upload in an event": name_anothers_upload_in_an_event,
    "another session's drawing": name_anothers_drawing,
    "a file inside a file": name_file(path={"path": "SECRET", "meta": META}),
    "a file in a stream": name_file(path="SECRET", meta=META, is_stream=True),
    "a zero in the path": name_file(path="SECRET\0.png", meta=META),
    "a lone surrogate": raw('{"fn_index": 9, "session_hash": "a", "data": [{"path": "\\ud800"}, null]}'),
    "a text for an image": join("on_upload", ["/etc/passwd", None]),
    "a list for an image": join("on_upload", [[{"path": "/etc/passwd"}], None]),
    "a number for an image": join("on_upload", [7, None]),
    "a file as question": lambda visitor, place: visitor.join("on_ask", [fill(SECRET_FILE, place), None]),
    "a file as state": lambda visitor, place: visitor.join("on_ask", ["Hi", fill(SECRET_FILE, place)]),
    "a state of one's own": join("on_ask", ["Hi", {"image": "x", "busy": False, "messages": []}]),
    "a click without event": click(event=None),
    "a click without index": click(event={}),
    "a click on text": click(event={"index": "ab", "value": None}),
    "a click on lists": click(event={"index": [[1], [2]], "value": None}),
    "a click on truth": click(event={"index": [True, None], "value": None}),
    "a click far outside": click(event={"index": [-1e9, 1e14], "value": None}),
    "a click at NaN": click_raw("NaN"),
    "a click at Infinity": click_raw("-Infinity"),
    "a click at 1e999": click_raw("1e999"),
    "a click at 5,000 digits": click_raw("1" * 5_000),
    "an event that is a list": click(event=[1, 2]),
    "an event with a file": lambda visitor, place: click(event={"index": [1, 2], "value": fill(SECRET_FILE, place)})(
        visitor, place
    ),
    "example 1,000,000": select(1_000_000),
    "example -1": select(-1),
    "example 0.5": select(0.5),
    "example 'a'": select("a"),
    "example [0, 0]": select([0, 0]),
    "example null": select(None),
    "handler 999": join(None, [None], fn_index=999),
    "handler -1": join(None, [None], fn_index=-1),
    "handler '0'": join(None, [None], fn_index="0"),
    "handler true": join(None, ["a", None], fn_index=True),
    "handler null": join(None, [None], fn_index=None),
    "too few values": join("on_ask", []),
    "too many values": join("on_ask", ["a"] * 1_000),
    "no values": raw('{"fn_index": 0, "session_hash": "a"}'),
    "values that are an object": join("on_ask", {"a": 1}),
    "no session": raw('{"fn_index": 0, "data": ["a", null]}'),
    "a session that is an object": raw('{"fn_index": 0, "data": ["a", null], "session_hash": {}}'),
    "a session of 10 KB": join("on_ask", ["a", None], session_hash="s" * 10_000),
    "a batch": join("on_ask", [["a", None]], batched=True),
    "a foreign trigger": join("on_ask", ["a", None], trigger_id=10**9),
    "a trigger that is a list": join("on_ask", ["a", None], trigger_id=[1]),
    "no JSON": raw("data"),
    "nothing": raw(""),
    "a list": raw("[1, 2]"),
    "bytes that are no text": raw(b'{"data": "\xff\xfe"}'),
    "60,000 brackets": raw("[" * 60_000),
    "objects 30 deep": join("on_ask", [json.loads('{"a":' * 30 + "1" + "}" * 30), None]),
    "1 MB of text": join("on_ask", ["a" * 1_000_000, None]),
    "10 KB of text": join("on_ask", ["a" * 10_000, None]),
    "control characters": join("on_ask", ["\x1b]0;title\x07 \u202e hi", None]),
    "/run": http("POST", f"{API}run/on_upload", json={"data": [{"path": "/etc/passwd"}, None]}),
    "/api": http("POST", f"{API}api/on_ask", json={"data": ["a", None]}),
    "/run with fn_index": http("POST", f"{API}run/predict", json={"data": [{"path": "/etc/passwd"}, None], "fn_index": 9}),
    "/call": http("POST", f"{API}call/on_upload", json={"data": [{"path": "/etc/passwd"}, None]}),
    "/call/v2": http("POST", f"{API}call/v2/on_upload", json={"uploaded": {"path": "/etc/passwd"}}),
    "events of nobody": http("GET", f"{API}queue/data?session_hash=nobody"),
    "events of no call": http("GET", f"{API}call/on_ask/nothing"),
    "cancel nothing": http("POST", f"{API}cancel", json={"session_hash": "x", "fn_index": 0, "event_id": "x"}),
    "cancel text": http("POST", f"{API}cancel", content=b"x"),
    "reset nothing": http("POST", f"{API}reset", json={"event_id": "x"}),
    "a component's function": http(
        "POST", f"{API}component_server", json={"session_hash": "a", "component_id": 5, "fn_name": "preprocess", "data": []}
    ),
    "a recording": http("POST", f"{API}process_recording", files={"file": ("a.mp4", b"x")}),
    "an edit of the app": http("POST", f"{API}vibe-edit", json={"prompt": "x"}),
    "a deep link": http("GET", "/gradio_api/deep_link?session_hash=a"),
    "the proxy": http("GET", f"{API}proxy=LISTENER/leak.png"),
    "file=SECRET": http("GET", f"{API}file=SECRET"),
    "file=url inside": http("GET", f"{API}file=LISTENER/leak.png"),
    "file=/proc/self/environ": http("GET", f"{API}file=/proc/self/environ"),
    "file=link": http("GET", f"{API}file=UPLOADS/linked/link.png"),
    "file= out of the folder": http("GET", f"{API}file=UPLOADS/..SECRET"),
    "file=/etc/passwd, encoded": http("GET", f"{API}file=%2Fetc%2Fpasswd"),
    "static out of its folder": http("GET", "/static/..%2f..%2f..%2f..%2fetc/passwd"),
    "assets out of their folder": http("GET", "/assets/..%2f..%2f..%2f..%2f..%2fetc/passwd"),
    "a component's file": http("GET", f"{API}custom_component/x/client/component/..%2f..%2fetc"),
    "monitoring": http("GET", "/monitoring"),
    "a reload": http("GET", f"{API}dev/reload"),
    "PUT": http("PUT", f"{API}queue/join", json={}),
    "an upload without form": http("POST", UPLOAD, content=b"x"),
    "an upload with a broken form": http(
        "POST", UPLOAD, content=b"--x\r\nrubbish", headers={"content-type": "multipart/form-data; boundary=x"}
    ),
    "an upload of a field": http("POST", UPLOAD, files={"files": (None, b"text")}),
    "an upload of unknown size": lambda visitor, place: visitor.send("POST", UPLOAD, content=iter([b"x"] * 3)),
    "an upload of 21 MB": http("POST", UPLOAD, files={"files": ("a.png", bytes(21 * 1024**2))}),
    "an upload to elsewhere": lambda visitor, place: visitor.give(WHITE, "../../../../tmp/evil.png"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_comes_to_nothing(name: str, place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    visitor = Visitor(place.address, place.page)
    reply = ATTACKS[name](visitor, place)
    printed = "".join(capfd.readouterr())
    assert reply.seconds < 20, "it hangs"
    assert "Traceback" not in printed, printed
    assert reply.status < 500
    assert "root:" not in reply.text and "PATH=" not in reply.text and "Traceback" not in reply.text
    assert not place.hits, "the server fetched a URL"
    shown = visitor.image(reply)
    assert shown is None or shown.getpixel((320, 240)) != SECRET_COLOUR
    if os.environ.get("COMVINT_SHOW_ATTACKS"):
        with Path(os.environ["COMVINT_SHOW_ATTACKS"]).open("a") as table:
            outcome = reply.status if reply.status != 200 or not reply.messages else "answered" if reply.output else "refused"
            table.write(f"| {name} | {outcome} | {reply.seconds:.2f} s |\n")


def test_the_page_still_works_afterwards(place: Place) -> None:
    visitor = Visitor(place.address, place.page)
    assert visitor.image(visitor.give(WHITE)).getpixel((320, 240)) == (255, 255, 255)
    assert "You said hello" in visitor.join("on_ask", ["hello", None]).shown
