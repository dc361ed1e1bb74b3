"""The row of a dataset: its schema, how a sample becomes one, and how rows of one image are grouped.

The schema is a contract (DESIGN section 3) that plain TRL can train on: `images` and `messages` side by side, contents without
image markers, coordinates written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, cast

from comvint_hf.errors import RowError, UnknownTagError
from comvint_hf.types import Object, Region, Sample, Scene

if TYPE_CHECKING:
    from datasets import Dataset, Features

Row = dict[str, Any]
IMAGE_MARKER = "<image>"
SEEN = "seen"
"""Tag and key of evidence that is no annotation: the writer saw the image, and named it with its box."""
EVIDENT_TASKS = ("cross_modal", "outside_knowledge")
"""Tasks whose texts point at nothing: their rows carry the boxes of their evidence, so that a viewer can draw them."""


@cache
def features(images: bool = True, rejected: bool = False) -> Features:
    """Return the schema of a row, in column order. Boxes are [n, 4] float32, fractions of the image, xyxy.

    Args:
        images: Include the column `images`.
        rejected: Include the column `reason`.
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
    excluded = {name for name, included in (("images", images), ("reason", rejected)) if not included}
    return Features({name: kind for name, kind in columns.items() if name not in excluded})


def to_row(sample: Sample, id: str, image: bytes | None = None) -> Row:
    """Turn a sample into a row.

    Args:
        sample: A sample that was not rejected.
        id: The row's id.
        image: The encoded image for the column `images`; without it the row has no such column.

    Raises:
        UnknownTagError: If the text refers to an object that the scene does not have.
        RowError: If the row could not be trained on: no turns, an empty turn, or a literal image marker.
    """
    from comvint_hf.grounding import render

    if not sample.messages:
        raise RowError("the sample has no messages")
    messages: list[Row] = []
    boxes: list[tuple[float, float, float, float]] = []
    phrases: list[str] = []
    for message in sample.messages:
        rendered = render(message.content, sample.scene)
        if IMAGE_MARKER in rendered.text:
            raise RowError(f"the text holds a literal {IMAGE_MARKER}, which processors take for an image")
        if not rendered.text.strip():
            raise RowError(f"an empty {message.role} turn")
        messages.append({"role": message.role, "content": rendered.text})
        boxes.extend(box.xyxy for box in rendered.boxes)
        phrases.extend(rendered.phrases)
    if not boxes and sample.task in EVIDENT_TASKS:
        boxes, phrases = _evidence_boxes(sample)
    row = _row(sample, id, messages, boxes, phrases)
    # A row without its image has no column `images`, so that trainers notice.
    if image is not None:
        row["images"] = [{"bytes": image, "path": None}]
    return row


def _evidence_boxes(sample: Sample) -> tuple[list[tuple[float, float, float, float]], list[str]]:
    """The boxes of the objects that an answer rests on, and their names; the text stays without coordinates."""
    found = [sample.scene.by_tag[tag] for tag in sample.evidence if tag in sample.scene.by_tag]
    named = [(box.xyxy, item.name) for item in found if isinstance(item, Object) for box in item.boxes]
    return [box for box, _ in named], [name for _, name in named]


def to_rejected_row(sample: Sample, id: str, reason: str) -> Row:
    """Turn a rejected sample into a row of the config `rejected`. Text that cannot be rendered keeps its tags."""
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
        "evidence": [row for tag in sample.evidence if (row := _evidence_row(scene, tag))],
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
    from comvint_hf.grounding import render

    try:
        return render(text, scene).text
    except UnknownTagError:  # an earlier or rejected version is published as it was written
        return text


def _evidence_row(scene: Scene, tag: str) -> Row | None:
    found: Object | Region | None = scene.by_tag.get(tag)
    if found is None:
        return _seen_row(tag)
    if isinstance(found, Region):
        return {"tag": tag, "key": "", "name": found.text, "boxes": [found.box.xyxy]}
    return {"tag": tag, "key": found.key, "name": found.name, "boxes": [box.xyxy for box in found.boxes]}


def _seen_row(entry: str) -> Row | None:
    """The evidence that a seeing writer pointed at itself; `None` for an entry that is none."""
    from comvint_hf.grounding import parse

    seen = parse(entry)
    boxes = [box.xyxy for phrase in seen for box in phrase.boxes]
    return {"tag": SEEN, "key": SEEN, "name": seen[0].phrase, "boxes": boxes} if seen else None


def by_image(dataset: Dataset | Iterable[Row]) -> Iterator[list[Row]]:
    """Group rows by image: one list of rows an image, images in the order of their first row.

    A `datasets.Dataset` gives all rows of an image, wherever they are. Of any other iterable (a streaming dataset, a
    generator) only adjacent rows are grouped, so that nothing has to be held back; `build` writes rows in that order.
    """
    if hasattr(dataset, "select") and hasattr(dataset, "__getitem__"):
        table = cast("Dataset", dataset)
        numbers: dict[str, list[int]] = {}
        for number, image_id in enumerate(table.select_columns("image_id")["image_id"]):
            numbers.setdefault(image_id, []).append(number)
        return (list(table.select(group)) for group in numbers.values())
    return (list(rows) for _, rows in groupby(dataset, key=lambda row: row["image_id"]))


def first_question(row: Row) -> str:
    """Return the first user turn."""
    return next((message["content"] for message in row["messages"] if message["role"] == "user"), "")


def turns(row: Row) -> list[tuple[str, str]]:
    """Return the row's (question, answer) pairs; a system turn and an answer without a question before it belong to none."""
    messages = [message for message in row["messages"] if message["role"] in ("user", "assistant")]
    return [
        (asked["content"], answered["content"])
        for asked, answered in pairwise(messages)
        if (asked["role"], answered["role"]) == ("user", "assistant")
    ]
