"""The row: what a sample becomes in a dataset, and how rows of one image find each other.

The schema is DESIGN's contract, trainable by plain TRL: `images` and `messages` side by side, contents without image
markers, coordinates written out. This file knows records and text; it knows no file, no shard and no Hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import RowError, UnknownTagError
from comvint_hf.grounding import render
from comvint_hf.types import Object, Region, Sample, Scene

if TYPE_CHECKING:
    from datasets import Features

Row = dict[str, Any]
IMAGE_MARKER = "<image>"


@cache
def features(images: bool = True, rejected: bool = False) -> Features:
    """The schema of a row, in column order.

    `images`: with the pictures' column; `rejected`: with the column `reason`. Boxes are `[n, 4]` float32, fractions of
    the image, xyxy.
    """
    from datasets import Features, Image, List, Value

    text, boxes = Value("string"), List(List(Value("float32"), length=4))
    columns = {
        "id": text,
        "image_id": text,
        "images": List(Image()),
        "messages": List({"role": text, "content": text}),
        "task": text,
        "format": text,
        "source": text,
        "boxes": boxes,
        "phrases": List(text),
        "generator": text,
        "judge": text,
        "rounds": Value("int32"),
        "topic": text,
        "width": Value("int32"),
        "height": Value("int32"),
        "evidence": List({"tag": text, "key": text, "name": text, "boxes": boxes}),
        "history": List({"stage": text, "instruction": text, "response": text}),
        "reason": text,
    }
    left_out = {name for name, wanted in (("images", images), ("reason", rejected)) if not wanted}
    return Features({name: kind for name, kind in columns.items() if name not in left_out})


def to_row(sample: Sample, id: str, image: bytes | None = None) -> Row:
    """Turn a good sample into a row; `image` is the encoded photo, which becomes the column `images`.

    Raises `UnknownTagError` where the text points at something that the scene does not have, `RowError` where it cannot
    be trained on: no turns, an empty turn, or a literal image marker.
    """
    if not sample.messages:
        raise RowError("the sample has no messages")
    messages, boxes, phrases = [], [], []
    for message in sample.messages:
        rendered = render(message.content, sample.scene)
        if IMAGE_MARKER in rendered.text:
            raise RowError(f"the text holds a literal {IMAGE_MARKER}, which processors take for a picture")
        if not rendered.text.strip():
            raise RowError(f"an empty {message.role} turn")
        messages.append({"role": message.role, "content": rendered.text})
        boxes.extend(box.xyxy for box in rendered.boxes)
        phrases.extend(rendered.phrases)
    row = _row(sample, id, messages, boxes, phrases)
    if image is not None:
        row["images"] = [{"bytes": image, "path": None}]
    return row


def to_rejected_row(sample: Sample, id: str, reason: str) -> Row:
    """Turn a rejected sample into a row of the config `rejected`; text that cannot be rendered keeps its tags."""
    messages = [{"role": message.role, "content": _rendered_or_raw(message.content, sample.scene)} for message in sample.messages]
    return {**_row(sample, id, messages, [], []), "reason": reason}


def _row(sample: Sample, id: str, messages: list[Row], boxes: list, phrases: list[str]) -> Row:
    scene = sample.scene
    return {
        "id": id,
        "image_id": scene.image_id,
        "messages": messages,
        "task": sample.task,
        "format": sample.format,
        "source": scene.source,
        "boxes": boxes,
        "phrases": phrases,
        "generator": sample.generator,
        "judge": sample.judge,
        "rounds": sample.rounds,
        "topic": sample.topic,
        "width": scene.width,
        "height": scene.height,
        "evidence": [_evidence(scene, tag) for tag in sample.evidence if tag in scene.by_tag],
        "history": [
            {
                "stage": edit.stage,
                "instruction": _rendered_or_raw(edit.instruction, scene),
                "response": _rendered_or_raw(edit.response, scene),
            }
            for edit in sample.history
        ],
    }


def _rendered_or_raw(text: str, scene: Scene) -> str:
    """Earlier and rejected versions may point at nothing: they are kept as they were written."""
    try:
        return render(text, scene).text
    except UnknownTagError:
        return text


def _evidence(scene: Scene, tag: str) -> Row:
    thing: Object | Region = scene.by_tag[tag]
    if isinstance(thing, Region):
        return {"tag": tag, "key": "", "name": thing.text, "boxes": [thing.box.xyxy]}
    return {"tag": tag, "key": thing.key, "name": thing.name, "boxes": [box.xyxy for box in thing.boxes]}


def by_image(dataset: Iterable[Row]) -> Iterator[list[Row]]:
    """Group rows by image: one list of rows an image, images in the order of their first row.

    A `datasets.Dataset` gives every row of an image, wherever it stands. Of any other iterable (a streaming dataset, a
    generator) only *adjacent* rows are grouped, so nothing is held back; the files that `build` writes are sorted so.
    """
    if hasattr(dataset, "select") and hasattr(dataset, "__getitem__"):
        places: dict[str, list[int]] = {}
        for place, image_id in enumerate(dataset.select_columns("image_id")["image_id"]):
            places.setdefault(image_id, []).append(place)
        return (list(dataset.select(rows)) for rows in places.values())
    return (list(rows) for _, rows in groupby(dataset, key=lambda row: row["image_id"]))


def question(row: Row) -> str:
    """The first user turn."""
    return next((message["content"] for message in row["messages"] if message["role"] == "user"), "")


def turns(row: Row) -> list[tuple[str, str]]:
    """The row's (question, answer) pairs; a system turn belongs to none."""
    spoken = [message for message in row["messages"] if message["role"] in ("user", "assistant")]
    return [(asked["content"], answered["content"]) for asked, answered in zip(spoken[::2], spoken[1::2], strict=False)]
