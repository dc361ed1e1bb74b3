"""Annotation files that somebody else may send: broken, huge when unpacked, nested, lying, and pointing at other people's files.

`FILES` maps a name to a source and the files of its folder (bytes, or `Link` for a symbolic link). `write(name, folder)` writes one and
returns its spec. Read through `load_scenes`, each gives scenes or a `ComvintError` within seconds, and never a file outside its folder.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SECRET = "the-words-of-a-private-file"


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Pipe:
    """A named pipe, which would wait for a writer for ever."""


Content = bytes | Link | Pipe
CATEGORIES = [{"id": 1, "name": "dog", "supercategory": "animal"}]
IMAGE = {"id": 1, "file_name": "1.jpg", "width": 100, "height": 50}
BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20]}


def instances(images: Iterable = (IMAGE,), annotations: Iterable = (BOX,), categories: Iterable = CATEGORIES) -> bytes:
    """An instance file of these lists."""
    return json.dumps({"images": list(images), "annotations": list(annotations), "categories": list(categories)}).encode()


def raw(annotation: bytes, image: bytes = b"") -> bytes:
    """A good instance file with an annotation, and perhaps an image, written byte by byte."""
    images = json.dumps(IMAGE).encode() + (b", " + image if image else b"")
    boxes = json.dumps(BOX).encode() + (b", " + annotation if annotation else b"")
    return b'{"images": [%s], "annotations": [%s], "categories": %s}' % (images, boxes, json.dumps(CATEGORIES).encode())


def coco(data: bytes, **more: Content) -> tuple[str, dict[str, Content]]:
    """A COCO folder of one instance file."""
    return "coco", {"annotations/instances_val2017.json": data, **more}


def genome(**roles: object) -> tuple[str, dict[str, Content]]:
    """A Visual Genome folder; values that are not bytes are written as JSON."""
    sizes = [{"image_id": 1, "width": 100, "height": 50}]
    given = {"image_data": sizes, "objects": [{"image_id": 1, "objects": []}], **roles}
    return "visual_genome", {f"{k}.json": v if isinstance(v, bytes) else json.dumps(v).encode() for k, v in given.items()}


def flickr(xml: str | bytes = "", sentences: str | bytes = "A dog .\n", name: str = "77") -> tuple[str, dict[str, Content]]:
    """A Flickr30k Entities folder of one image."""
    size = "<size><width>100</width><height>50</height></size>"
    if isinstance(xml, str) and not xml.startswith("<?"):
        xml = f"<annotation>{size}{xml}</annotation>"
    data = [text.encode() if isinstance(text, str) else text for text in (xml, sentences)]
    return "flickr30k", {f"Annotations/{name}.xml": data[0], f"Sentences/{name}.txt": data[1]}


THING = {"object_id": 1, "names": ["dog"], "x": 1, "y": 1, "w": 20, "h": 20}
DEEP = 100_000
NUMBER = b"9" * 5000
BILLION = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l "lol">' + "".join(
    f'<!ENTITY l{n} "{f"&l{n - 1 if n > 1 else str()};" * 10}">' for n in range(1, 9)
)
FILES: dict[str, tuple[str, dict[str, Content]]] = {
    "coco: nested lists": coco(b"[" * DEEP),
    "coco: nested in an annotation": coco(raw(b'{"id": 2, "x": ' + b"[" * DEEP + b"]" * DEEP + b"}")),
    "coco: nested objects in info": coco(b'{"info": ' + b'{"a": ' * DEEP + b"1" + b"}" * DEEP + b", " + instances()[1:]),
    "coco: cut in a string": coco(instances()[:40]),
    "coco: cut after a backslash": coco(b'{"images": [{"id": 1, "file_name": "\\'),
    "coco: empty": coco(b""),
    "coco: null bytes": coco(b"\0" * 1000),
    "coco: a picture": coco(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20),
    "coco: null": coco(b"null"),
    "coco: a text": coco(b'"instances"'),
    "coco: quotes": coco(b'"' * 100_001),
    "coco: blanks": coco(b" " * 5_000_000),
    "coco: lists that are none": coco(b'{"images": 7, "annotations": null, "categories": "x"}'),
    "coco: entries that are none": coco(instances([IMAGE, None, 7, [], "x"], [BOX, None, 7, [], "x"], [*CATEGORIES, None, 7])),
    "coco: NaN and infinity": coco(raw(b'{"id": NaN, "image_id": 1, "category_id": 1, "bbox": [NaN, -Infinity, 1e999, 5]}')),
    "coco: numbers of 5,000 digits": coco(
        raw(b'{"id": %s, "image_id": 1, "category_id": 1, "bbox": [%s, 1, 5, 5]}' % (NUMBER, NUMBER))
    ),
    "coco: numbers of 400 digits": coco(
        raw(b'{"id": 2, "image_id": 1, "category_id": 1, "bbox": [%s, 1, 5, %s]}' % (NUMBER[:400], NUMBER[:400]))
    ),
    "coco: sizes of 400 digits": coco(raw(b"", b'{"id": 2, "file_name": "2.jpg", "width": %s, "height": 5}' % NUMBER[:400])),
    "coco: a lone surrogate": coco(raw(b'{"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "x": "\\ud800"}')),
    "coco: bytes that are no UTF-8": coco(raw(b'{"id": 2, "x": "\xff\xfe"}')),
    "coco: a key twice": coco(b'{"images": [], ' + instances()[1:]),
    "coco: names of escapes": coco(
        instances([IMAGE], [BOX], [{"id": 1, "name": "\x1b]0;owned\x07dog", "supercategory": "\x1b[31m"}])
    ),
    "coco: a bomb of gzip": coco(gzip.compress(b'{"images": [' + b" " * 200_000_000)),
    "coco: a cut gzip": coco(gzip.compress(instances())[:-12]),
    "coco: a file name of a passwd": coco(instances([{**IMAGE, "file_name": "/etc/passwd"}])),
    "coco: a file name of a parent": coco(instances([{**IMAGE, "file_name": "../outside/secret.jpg"}])),
    "coco: a file name of 1 MB": coco(instances([{**IMAGE, "file_name": "a/" * 500_000 + "1.jpg"}])),
    "coco: a file name with a null": coco(instances([{**IMAGE, "file_name": "1\0.jpg"}])),
    "coco: a photo that is a link": coco(instances(), **{"images/1.jpg": Link("../../outside/secret.jpg")}),
    "coco: a photo that is a pipe": coco(instances([{**IMAGE, "width": 0}]), **{"images/1.jpg": Pipe()}),
    "coco: a photo that is a device": coco(instances([{**IMAGE, "width": 0}]), **{"images/1.jpg": Link("/dev/zero")}),
    "coco: a file that is a pipe": ("coco", {"annotations/instances_val2017.json": Pipe()}),
    "coco: captions of other types": coco(
        instances(), **{"captions_a.json": b'{"annotations": [{"image_id": 1, "caption": [1]}, 3]}'}
    ),
    "genome: nested": genome(objects=b"[" * DEEP),
    "genome: nested in an object": genome(objects=b'[{"image_id": 1, "objects": [' + b"[" * DEEP + b"]" * DEEP + b"]}]"),
    "genome: entries of other types": genome(
        objects=[None, 7, {"image_id": 1, "objects": {"a": 1}}, {"image_id": [1], "objects": 3}]
    ),
    "genome: objects of other types": genome(
        objects=[{"image_id": 1, "objects": [7, None, {"object_id": {}, "names": 7}, THING]}]
    ),
    "genome: ids of 5,000 digits": genome(objects=b'[{"image_id": %s, "objects": []}, {"image_id": 1, "objects": []}]' % NUMBER),
    "genome: regions of other types": genome(
        region_descriptions=[{"image_id": 1, "regions": [{"phrase": [1]}, {"phrase": "a", "x": {}}]}]
    ),
    "genome: relations to nowhere": genome(
        objects=[{"image_id": 1, "objects": [THING]}],
        relationships=[{"image_id": 1, "relationships": [{"subject": 1, "object": [], "predicate": {}}, {"subject_id": 1}]}],
    ),
    "genome: merged ids of other types": genome(
        objects=[{"image_id": 1, "objects": [{**THING, "merged_object_ids": [[], {}, "x"]}]}]
    ),
    "genome: sizes of other types": genome(image_data=[{"image_id": 1, "width": "wide", "height": 1e300}]),
    "genome: ids that go back": genome(objects=b'[{"image\\u005fid": 2, "objects": []}, {"image\\u005fid": 1, "objects": []}]'),
    "flickr: a mark again and again": flickr(sentences="[/EN#1/people " * DEEP + "\n"),
    "flickr: a category again and again": flickr(sentences="[/EN#1/" * DEEP + "\n"),
    "flickr: a mark of digits": flickr(sentences="[/EN#" + "1" * 200_000 + "/people a dog] .\n"),
    "flickr: brackets": flickr(sentences="[" * DEEP + "\n"),
    "flickr: no UTF-8": flickr(sentences=b"\xff\xfe A dog .\n"),
    "flickr: billion laughs": flickr(BILLION + "]><annotation>&l8;</annotation>"),
    "flickr: an entity of a file": flickr(
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "../outside/secret.txt">]><annotation><object><name>&x;</name></object></annotation>'
    ),
    "flickr: nested elements": flickr("<a>" * DEEP + "</a>" * DEEP),
    "flickr: elements that do not close": flickr("<object>" * DEEP),
    "flickr: an unknown encoding": flickr('<?xml version="1.0" encoding="utf-99"?><annotation/>'),
    "flickr: numbers of 5,000 digits": flickr(
        f"<object><name>1</name><bndbox><xmin>{'9' * 5000}</xmin><ymin>1</ymin><xmax>2</xmax><ymax>3</ymax></bndbox></object>"
    ),
    "flickr: sizes of 5,000 digits": flickr(
        f'<?xml version="1.0"?><annotation><size><width>{"9" * 4000}</width><height>5</height></size></annotation>'
    ),
    "flickr: a picture": flickr(b"\xff\xd8\xff\xe0" + bytes(range(256)), b"\xff\xd8\xff\xe0" + bytes(range(256))),
    "flickr: lists of other bytes": (
        "flickr30k",
        flickr()[1] | {"val.txt": b"\xff\xfe", "UNRELATED_CAPTIONS": b"77 " + NUMBER + b"\n\xff \xff"},
    ),
    "flickr: an annotation that is a pipe": ("flickr30k", flickr()[1] | {"Annotations/77.xml": Pipe()}),
}


def write(name: str, folder: Path) -> str:
    """Write the files of a case under `folder`/corpus, a private file beside it, and return the spec that reads them."""
    from PIL import Image

    source, files = FILES[name]
    (folder / "outside").mkdir(parents=True)
    (folder / "outside" / "secret.txt").write_text(SECRET)
    Image.new("RGB", (100, 50)).save(folder / "outside" / "secret.jpg")
    for file, content in files.items():
        path = folder / "corpus" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        elif isinstance(content, Pipe):
            os.mkfifo(path)
        else:
            path.write_bytes(content)
    return f"{source}:{folder / 'corpus'}"
