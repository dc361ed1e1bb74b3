"""Every reader of foreign input, as a function that may only return or raise the package's own errors.

`READERS` maps a reader's name to the strategy of its input and the function that reads it.
"""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from fuzz.values import JSON, broken, dump, text_of, twisted, twisted_file
from hypothesis import strategies as st
from PIL import Image

from comvint_hf import grounding, images
from comvint_hf.box_formats import BOX_FORMATS, CANONICAL, rewrite_boxes
from comvint_hf.conventions import Conventions
from comvint_hf.errors import ComvintError
from comvint_hf.generation.llm import Reply
from comvint_hf.strict_reader import bounded_int, clean_text, parse_json, redact

SECONDS = 10.0
"""Longest processor time for one input."""


class Reader(NamedTuple):
    """What a reader is given, and the call that reads it."""

    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]


READERS: dict[str, Reader] = {}


def reader(name: str, inputs: st.SearchStrategy[Any]) -> Callable[[Callable[[Any], object]], Callable[[Any], object]]:
    """Add a reader under this name."""

    def add(read: Callable[[Any], object]) -> Callable[[Any], object]:
        READERS[name] = Reader(inputs, read)
        return read

    return add


def check(name: str, value: Any) -> None:
    """Let a reader read a value. Raises what is none of the package's own errors, and `AssertionError` for one that is slow or unclear."""
    before = time.process_time()
    try:
        READERS[name].read(value)
    except ComvintError as error:
        assert str(error).strip(), "an error without a sentence"
        assert "\x1b" not in str(error) or name == "grounding", "an error with terminal escapes"
    assert time.process_time() - before < SECONDS, "it took too long"


def folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-")


@reader("strict JSON", st.one_of(JSON.map(dump), broken(dump({"a": [1, 2.5, "x"]})), st.binary(max_size=300)))
def read_json(data: bytes) -> None:
    json.dumps(parse_json(data, what="It"), allow_nan=False, ensure_ascii=False).encode()


@reader(
    "cleaned text",
    text_of("\x1b[31m", "\x1b]8;;http://a\x07", "\x9b", "\ud800", "sk-abcdefghijk", "://me:secret@host", "a", "\u202e"),
)
def read_text(text: str) -> None:
    cleaned = redact(text)
    cleaned.encode()
    assert "\x1b" not in cleaned and clean_text(cleaned) == cleaned
    assert bounded_int(text, 0, 9) is None


class _Answer(Reply):
    question: str
    answer: str
    options: list[str] = []


REPLY = '{"question": "What is it?", "answer": "A cup.", "options": ["a", "b"]}'
REPLY_PIECES = (
    "[",
    "{",
    "```",
    "```json\n",
    "*",
    " ",
    "\n",
    "Question: ",
    "Q: a\n",
    "Answer:",
    '"',
    "{}",
    REPLY,
    "<think>",
    "</think>",
)


@reader(
    "replies", st.one_of(text_of(*REPLY_PIECES), broken(REPLY.encode()).map(lambda data: data.decode("utf-8", "surrogateescape")))
)
def read_reply(text: str) -> None:
    from comvint_hf.generation.client.reply_parsing import ReplyMismatch, build_schema

    for mode in ("json_schema", "json_object", "text"):
        try:
            build_schema(_Answer).parse(text, mode=mode).model_dump_json().encode()
        except ReplyMismatch as mismatch:
            str(mismatch).encode()


COMPLETION = {
    "id": "1",
    "choices": [{"message": {"role": "assistant", "content": REPLY, "refusal": None}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}},
}


@reader("completions and usage", twisted_file(COMPLETION))
def read_completion(data: bytes) -> None:
    from comvint_hf.endpoint.errors import RetryableError
    from comvint_hf.generation.client.completion import TokenBounds, parse_body

    try:
        parsed = parse_body(data, TokenBounds(*(1000,) * len(TokenBounds._fields)))
    except RetryableError:
        return
    assert all(type(count) is not int or 0 <= count <= 10**12 for count in parsed)


LINE = {"custom_id": "a", "response": {"status_code": 200, "body": COMPLETION}, "error": None}


@reader("batch lines", twisted_file(LINE))
def read_batch_line(data: bytes) -> None:
    from comvint_hf.generation.client.batch_results import BatchResults

    pending: Any = {"a": object()}
    results = BatchResults(requests=pending)
    for line in data.split(b"\n"):
        results.parse_line(line)


RECORD = {
    "id": "1",
    "image": "a.jpg",
    "width": 8,
    "height": 8,
    "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cup at [0.1, 0.2, 0.3, 0.4]."}],
}
RECORDS = [RECORD, {**RECORD, "id": "2", "image": ["a.jpg"]}, {**RECORD, "image": None}]
RECORD_FILES = st.one_of(twisted_file(RECORDS), twisted_file(RECORD), broken(b"\n".join(map(dump, RECORDS))))


@reader("LLaVA records", st.tuples(RECORD_FILES, st.sampled_from(["rows.json", "rows.jsonl"])))
def read_llava(given: tuple[bytes, str]) -> None:
    from comvint_hf.dataset.llava import from_llava

    data, name = given
    with folder() as here:
        (Path(here) / "photos").mkdir()
        (Path(here) / "photos" / "a.jpg").write_bytes(JPEG)
        (Path(here) / name).write_bytes(data)
        list(from_llava(Path(here) / name, Path(here) / "photos"))


BUILD_INFO = {"files": {"data/a-00000.parquet": 3}, "parts": [{"source": "shapes", "licence": {"share_images": True}}], "rows": 3}


@reader("build.json", twisted_file(BUILD_INFO))
def read_build_info(data: bytes) -> None:
    from comvint_hf.dataset import reader as dataset_reader

    with folder() as here:
        (Path(here) / "build.json").write_bytes(data)
        dataset_reader.read_build_info(Path(here))


MARKER = {"scenes": "ab12", "files": {"data/a-00000.parquet": 3}, "statistics": {}, "notes": {}}
PLAN = {"version": "1", "recipe": "svit", "shard_scenes": 4}


def read_state(given: tuple[bytes, bytes]) -> None:
    from comvint_hf.dataset import shards
    from comvint_hf.dataset.markers import read_markers
    from comvint_hf.dataset.plan import lock_folder

    marker, plan = given
    with folder() as here:
        state = Path(here) / shards.STATE
        state.mkdir()
        (state / "00000.json").write_bytes(marker)
        with suppress(ComvintError):
            read_markers(Path(here))
        (state / "plan.json").write_bytes(plan)
        with lock_folder(Path(here), PLAN):
            pass


if find_spec("comvint_hf.dataset.markers"):
    reader("markers and plan", st.tuples(twisted_file(MARKER), twisted_file(PLAN)))(read_state)


@reader(
    "comvint.json",
    twisted_file({"box_dialect": "fraction", "min_pixels": 10, "max_pixels": 10**6, "templates": ["a"], "prompts": {"a": "b"}}),
)
def read_conventions(data: bytes) -> None:
    with folder() as here:
        (Path(here) / "comvint.json").write_bytes(data)
        Conventions.read(here).fit_image(Image.new("RGB", (8, 4)))


BOX_PIECES = (
    "<st>",
    "<ed>",
    "<st>cup<ed>",
    "[o1]",
    "[",
    "]",
    "[0.1, 0.2, 0.3, 0.4]",
    "(1,2),(3,4)",
    "<loc0001>",
    " ",
    ",",
    "1",
    ".",
    "\n",
    "<box>[[",
)


@reader("boxes in text", text_of(*BOX_PIECES))
def read_boxes(text: str) -> None:
    grounding.parse(text)
    grounding.strip_grounding(text)
    grounding.find_tags(text)
    for form in BOX_FORMATS.values():
        assert 0 <= form.complete_length(text) <= len(text)
    rewrite_boxes(text, BOX_FORMATS["thousand"], CANONICAL)


def encoded(form: str, mode: str = "RGB") -> bytes:
    """A small image."""
    buffer = io.BytesIO()
    Image.new(mode, (8, 6)).save(buffer, form)
    return buffer.getvalue()


JPEG = encoded("JPEG")
IMAGES = (
    JPEG,
    encoded("PNG"),
    encoded("PNG", "P"),
    encoded("PNG", "I;16"),
    encoded("GIF", "P"),
    encoded("WEBP"),
    encoded("TIFF"),
    encoded("BMP"),
)


@reader("images", broken(*IMAGES))
def read_image(data: bytes) -> None:
    images.read_size(data)
    assert images.decode_image(data).size


COCO = {
    "images": [
        {"id": 1, "file_name": "1.jpg", "width": 100, "height": 50},
        {"id": 2, "file_name": "2.jpg", "width": 9, "height": 9},
    ],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20], "iscrowd": 0}],
    "categories": [{"id": 1, "name": "dog", "supercategory": "animal"}],
}
CAPTIONS = {"images": COCO["images"], "annotations": [{"id": 5, "image_id": 1, "caption": "A dog."}]}


@reader("COCO", st.tuples(twisted_file(COCO), twisted_file(CAPTIONS)))
def read_coco(given: tuple[bytes, bytes]) -> None:
    read_scenes("coco", {"instances_val.json": given[0], "captions_val.json": given[1]})


OBJECTS = [{"image_id": 1, "objects": [{"object_id": 3, "x": 1, "y": 1, "w": 5, "h": 5, "names": ["dog"], "synsets": []}]}]
REGIONS = [{"id": 1, "regions": [{"region_id": 7, "image_id": 1, "x": 1, "y": 1, "width": 5, "height": 5, "phrase": "a dog"}]}]
SIZES = [{"image_id": 1, "width": 100, "height": 50, "coco_id": None, "url": "http://a/1.jpg"}]


@reader("Visual Genome", st.tuples(twisted_file(OBJECTS), twisted_file(REGIONS), twisted_file(SIZES)))
def read_visual_genome(given: tuple[bytes, bytes, bytes]) -> None:
    read_scenes("visual_genome", dict(zip(("objects.json", "region_descriptions.json", "image_data.json"), given, strict=True)))


XML = (
    b"<annotation><filename>1.jpg</filename><size><width>100</width><height>50</height><depth>3</depth></size>"
    b"<object><name>12</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    b"<object><name>13</name><scene>1</scene><nobndbox>0</nobndbox></object></annotation>"
)
SENTENCES = b"[/EN#12/people A man] runs .\n[/EN#13/scene A park] .\n"


@reader("Flickr30k", st.tuples(broken(XML), broken(SENTENCES)))
def read_flickr30k(given: tuple[bytes, bytes]) -> None:
    read_scenes("flickr30k", {"Annotations/1.xml": given[0], "Sentences/1.txt": given[1]})


def read_scenes(source: str, files: dict[str, bytes]) -> None:
    """Read a corpus of these files to the end."""
    from comvint_hf import load_scenes

    with folder() as here:
        for name, data in files.items():
            path = Path(here) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        list(load_scenes(f"{source}:{here}"))


CALL = {
    "data": ["Where is it?", None],
    "event_data": {"index": 0, "value": {"image": {"path": "/a.png"}}},
    "fn_index": 1,
    "session_hash": "abc",
    "trigger_id": 4,
}


@reader(
    "Space requests",
    st.one_of(twisted_file(CALL), twisted({**CALL, "data": [{"path": "/etc/passwd", "meta": {"_type": "x"}}]}).map(dump)),
)
def read_space_request(data: bytes) -> None:
    """Through the page's gate, down to Gradio, which must not be reached with another session's file."""
    status = asyncio.run(_send_to_gate(data))
    assert 200 <= status < 500


async def _send_to_gate(data: bytes) -> int:
    from comvint_hf.serving.demo.gate import API, find_files

    reached: list[bytes] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    messages = [{"type": "http.request", "body": data, "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{API}queue/join",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 5),
    }
    await _open_gate(inner)(scope, receive, send)
    assert not any(next(find_files(json.loads(body)["data"]), None) for body in reached), "a file that nobody uploaded"
    return statuses[0]


def _open_gate(inner: Any) -> Any:
    from comvint_hf.serving.chat import ScriptedChat
    from comvint_hf.serving.demo.gate import Gate
    from comvint_hf.serving.demo.limits import Limits
    from comvint_hf.serving.demo.page import build_page
    from comvint_hf.serving.demo.uploads import Uploads

    if not _page:
        _page.append(build_page(ScriptedChat(lambda question: "You said it."), []))
    limits = Limits(actions_a_minute=10**9, requests_a_minute=10**9)
    return Gate(inner, _page[0], Uploads(), limits)


_page: list[Any] = []
