"""LLaVA and ShareGPT files that somebody else may send: broken, huge when unpacked, nested, lying, and naming other people's files.

`FILES` maps a name to the bytes of a file, or to a function that writes it. `write(name, folder)` writes one, photos beside it in
`folder`/photos and a private file outside of them. Read through `from_llava` or mixed, each gives rows or a `ComvintError` within seconds,
never the private file, and never text without the image that it is about.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECRET = "the-words-of-a-private-file"
BLIND = "the image-less question"
ASK, ANSWER = {"from": "human", "value": "<image>\nWhich colour?"}, {"from": "gpt", "value": "Red."}
GOOD = {"id": "good", "image": "a.jpg", "conversations": [ASK, ANSWER]}
DEEP = 100_000
NUMBER = "9" * 5000


def ask(text: Any, **more: Any) -> dict:
    """A record of one question and its answer."""
    return {"id": "bad", "conversations": [{"from": "human", "value": text}, ANSWER], **more}


def listed(*records: Any) -> bytes:
    """A JSON list with a good record before and behind."""
    return json.dumps([GOOD, *records, {**GOOD, "id": "good too"}]).encode()


def raw(record: bytes) -> bytes:
    """The same around a record that is written byte by byte."""
    good = json.dumps(GOOD).encode()
    return b"[%s, %s, %s]" % (good, record, good.replace(b"good", b"good too"))


def lines(*texts: bytes) -> bytes:
    """JSON lines with a good one before and behind."""
    good = json.dumps(GOOD).encode()
    return b"\n".join([good, *texts, good.replace(b"good", b"good too")])


def pipe(path: Path) -> None:
    """Make a pipe, which would wait for a writer for ever."""
    os.mkfifo(path)


def link(path: Path) -> None:
    """Make a link to a device without an end."""
    path.symlink_to("/dev/zero")


BROKEN: dict[str, bytes | Callable[[Path], None]] = {
    "nothing": b"",
    "blanks": b" \n" * 1_000_000,
    "null bytes": b"\0" * 5000,
    "a picture": b"\xff\xd8\xff\xe0" + bytes(range(256)) * 10,
    "a page": b"<!doctype html><title>404</title>",
    "nested lists": b"[" * DEEP,
    "nested objects": b'{"a":' * DEEP,
    "quotes": b'["' + b'\\"' * 1_000_000,
    "cut in a record": json.dumps([GOOD, GOOD]).encode()[:-30],
    "cut after a backslash": json.dumps([GOOD]).encode()[:40] + b"\\",
    "a number": b"7",
    "a text": b'"conversations"',
    "an object of nothing": b"{}",
    "a list of numbers": b"[1, 2, 3]",
    "two lists": b"[] []",
    "a bomb of gzip": gzip.compress(b"[" + b" " * 100_000_000),
    "a cut gzip": gzip.compress(listed())[:-9],
    "a pipe": pipe,
    "a device": link,
}
"""Files of which nothing is read."""
ONE_BAD_RECORD: dict[str, bytes] = {
    "a null record": listed(None),
    "records of other types": listed(7, "x", [], [[]], True),
    "no turns": listed({"id": "bad"}, {"id": "bad", "conversations": None}, {"id": "bad", "conversations": "x"}),
    "turns of other types": listed({"id": "bad", "conversations": [None, 7]}, {"id": "bad", "conversations": {"from": "human"}}),
    "a value that is null": listed(ask(None)),
    "a value that is nested": listed(ask([[["x"]]]), ask({"a": {"b": None}})),
    "a value of blanks": listed(ask(" \n\t")),
    "a role of another type": listed({"id": "bad", "conversations": [{"from": ["human"], "value": "x"}, ANSWER]}),
    "a role that is unknown": listed({"id": "bad", "conversations": [{"from": "chatgpt", "value": "x"}, ANSWER]}),
    "a turn of a tool": listed(
        {"id": "bad", "conversations": [ask("x")["conversations"][0], {"from": "function", "value": "{}"}, ANSWER]}
    ),
    "the assistant first": listed({"id": "bad", "conversations": [ANSWER, ask("x")["conversations"][0], ANSWER]}),
    "no answer": listed({"id": "bad", "conversations": [{"from": "human", "value": "x"}]}),
    "two questions": listed({"id": "bad", "conversations": [{"from": "human", "value": "x"}] * 2 + [ANSWER]}),
    "an image that is null": listed(ask(f"<image>\n{BLIND}", image=None), ask(f"<image>\n{BLIND}", images=[None])),
    "an image that is no text": listed(ask(BLIND, image=7), ask(BLIND, image={"a": 1}), ask(BLIND, image=[["a.jpg"]])),
    "an image that is not there": listed(ask(f"<image>\n{BLIND}", image="gone.jpg")),
    "an image of 1 MB name": listed(ask(f"<image>\n{BLIND}", image="a/" * 500_000)),
    "an image name with a null": listed(ask(f"<image>\n{BLIND}", image="a\0.jpg")),
    "an image outside": listed(ask(f"<image>\n{BLIND}", image="../outside/secret.jpg")),
    "an absolute image": listed(
        ask(f"<image>\n{BLIND}", image="/etc/passwd"), ask(f"<image>\n{BLIND}", image="/proc/self/environ")
    ),
    "an image behind a link": listed(ask(f"<image>\n{BLIND}", image="link.jpg")),
    "an image that is a pipe": listed(ask(f"<image>\n{BLIND}", image="pipe.jpg")),
    "an image that is text": listed(ask(f"<image>\n{BLIND}", image="words.jpg")),
    "an image that is a bomb": listed(ask(f"<image>\n{BLIND}", image="bomb.png")),
    "an image that is a folder": listed(ask(f"<image>\n{BLIND}", image=".")),
    "an address": listed(
        ask(f"<image>\n{BLIND}", image="http://127.0.0.1:9/a.jpg"), ask(f"<image>\n{BLIND}", image="file:///etc/passwd")
    ),
    "data in a name": listed(ask(f"<image>\n{BLIND}", image="data:image/png;base64,AAAA")),
    "more places than images": listed(ask(f"<image><image>\n{BLIND}", image="a.jpg")),
    "more images than places": listed(ask(f"<image>\n{BLIND}", image=["a.jpg", "b.jpg"])),
    "images between words": listed(ask(f"The <image> and the <image> of {BLIND}", image=["a.jpg", "b.jpg"])),
    "a video": listed(ask(f"<video>\n{BLIND}", video="clip.mp4"), ask(f"<video>\n{BLIND}")),
    "columns of other types": listed(
        ask("x", comvint="x"),
        ask("x", comvint={"boxes": [[1]]}),
        ask("x", comvint={"width": 10**30}),
        ask("x", comvint={"task": {}}),
    ),
    "nested in a record": raw(b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "a number of 5,000 digits": raw(b'{"id": %s}' % NUMBER.encode()),
    "a lone surrogate": raw(json.dumps(ask("\ud800")).encode()),
    "bytes that are no UTF-8": raw(b'{"id": "\xff\xfe"}'),
    "a word that is no JSON": raw(b'{"id": undefined}'),
    "a line that is cut": lines(b'{"id": "bad", "conversations": [{"from": "human"'),
    "a line of two records": lines(b'{"id": "bad"} {"id": "bad"}'),
    "a line of nesting": lines(b"[" * DEEP),
}
"""Files of good records, and of one or a few that cannot be rows."""
FILES = {**BROKEN, **ONE_BAD_RECORD}


def write(name: str, folder: Path) -> Path:
    """Write a file, `folder`/photos and `folder`/outside; return the file's path."""
    from PIL import Image

    photos, outside = folder / "photos", folder / "outside"
    photos.mkdir(parents=True)
    outside.mkdir()
    for photo, colour in (("a.jpg", "red"), ("b.jpg", "blue")):
        Image.new("RGB", (40, 20), colour).save(photos / photo)
    (outside / "secret.txt").write_text(SECRET)
    Image.new("RGB", (9, 9), "green").save(outside / "secret.jpg")
    (photos / "link.jpg").symlink_to(outside / "secret.jpg")
    (photos / "words.jpg").write_text(SECRET)
    (photos / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\xff\xff\xff\xff" * 2 + b"\x08\x02\0\0\0" + b"\0" * 40)
    os.mkfifo(photos / "pipe.jpg")
    content = FILES[name]
    path = folder / ("file.jsonl" if "line" in name else "file.json")
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    return path
