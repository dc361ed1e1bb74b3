"""Rows to and from LLaVA's "conversations" JSON, and from the "messages" JSON that ShareGPT tools write.

There a picture is the word `<image>` in a text and a file name beside it; here it is the column `images` and no word.
This file knows rows and that format; it knows no corpus.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from comvint_hf.data.rows import IMAGE_MARKER, Row
from comvint_hf.errors import RowError
from comvint_hf.grounding import parse

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_MARKER = re.compile(rf"[ \t]*{re.escape(IMAGE_MARKER)}[ \t]*\n?")


def to_llava(rows: Iterable[Row], folder: Path | str | None = None) -> Iterator[dict[str, Any]]:
    """Give each row as a LLaVA record: id, image, conversations.

    With `folder`, photos that the rows hold are written to `folder/images`, one file an image, and the records name them
    relative to it; without, records name the photo by the row's `image_id`. A text-only row has no `image`.
    """
    photos = _Photos(None if folder is None else Path(folder))
    for row in rows:
        names = photos.of(row)
        spoken = [
            {"from": {"user": "human", "assistant": "gpt"}.get(message["role"], message["role"]), "value": message["content"]}
            for message in row["messages"]
        ]
        record: dict[str, Any] = {"id": row["id"]}
        if names:
            first = next(turn for turn in spoken if turn["from"] == "human")
            first["value"] = f"{IMAGE_MARKER}\n" * len(names) + first["value"]
            record["image"] = names[0] if len(names) == 1 else names
        yield {**record, "conversations": spoken}


class _Photos:
    """Names the photos of rows, and writes each image once if there is a folder for it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._written: dict[str, list[str]] = {}

    def of(self, row: Row) -> list[str]:
        pictures, image_id = row.get("images"), row.get("image_id")
        if self.folder is None or not pictures:
            return [image_id] if image_id and pictures != [] else []
        if image_id not in self._written:
            self._written[image_id] = [self._write(image_id, number, picture) for number, picture in enumerate(pictures)]
        return self._written[image_id]

    def _write(self, image_id: str, number: int, picture: Any) -> str:
        name = quote(image_id, safe="") + (f"-{number}" if number else "")
        target = self.folder / "images"
        target.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, dict):
            data = picture["bytes"] if picture.get("bytes") is not None else Path(picture["path"]).read_bytes()
            name += ".png" if data.startswith(b"\x89PNG") else ".jpg"
            (target / name).write_bytes(data)
        else:
            name += ".png"
            picture.save(target / name)
        return f"images/{name}"


def from_llava(
    records: Path | str | Iterable[dict[str, Any]], images: Path | str | None = None, *, source: str = "llava"
) -> Iterator[Row]:
    """Read LLaVA or ShareGPT records as rows: an iterable of them, or a .json or .jsonl file.

    `images` is the folder of the photos; with it, rows hold their photos' bytes, without it their `image_id` alone. The
    word `<image>` is taken out of the texts wherever it stands, so a picture shown in a later turn is shown first here.
    Text-only records give `images=[]` and an empty `image_id`. Raises `RowError`, naming the record, for a record that cannot be read.
    """
    for number, record in enumerate(_records(Path(records)) if isinstance(records, str | Path) else records):
        yield _row(record, number, None if images is None else Path(images), source)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    try:
        found = [json.loads(line) for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else json.loads(text)
    except json.JSONDecodeError as error:
        raise RowError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); expected a list of records, or one a line in .jsonl."
        ) from error
    if not isinstance(found, list):
        raise RowError(f"{path} holds a {type(found).__name__}; expected a list of records.")
    yield from found


def _row(record: dict[str, Any], number: int, folder: Path | None, source: str) -> Row:
    where = f"Record {record.get('id', number)!r}"
    messages = [_message(turn, where) for turn in record.get("conversations") or record.get("messages") or ()]
    marks = sum(message["content"].count(IMAGE_MARKER) for message in messages)
    names = _names(record)
    if not messages:
        raise RowError(f"{where} has no turns; expected a list under 'conversations' or 'messages'.")
    if marks and marks != len(names):
        raise RowError(
            f"{where} says {IMAGE_MARKER} {marks} times and names {len(names)} images; expected as many of one as of the other."
        )
    for message in messages:
        message["content"] = _MARKER.sub("", message["content"]).strip()
    if any(not message["content"] for message in messages):
        raise RowError(f"{where} has an empty turn; leave the record out or mend it.")
    grounded = [found for message in messages for found in parse(message["content"])]
    row: Row = {
        "id": str(record.get("id", number)),
        "image_id": f"{source}/{names[0]}" if names else "",
        "messages": messages,
        "task": "conversation",
        "format": "open",
        "source": source,
        "boxes": [list(box.xyxy) for found in grounded for box in found.boxes],
        "phrases": [found.phrase for found in grounded for _ in found.boxes],
        "generator": "",
        "judge": "",
        "rounds": 0,
        "topic": "",
        "width": 0,
        "height": 0,
        "evidence": [],
        "history": [],
    }
    if folder is not None or not names:
        row["images"] = [{"bytes": _photo(folder, name, where), "path": None} for name in names]
        row["width"], row["height"] = _size(row["images"][0]["bytes"], where) if names else (0, 0)
    return row


def _size(encoded: bytes, where: str) -> tuple[int, int]:
    """Width and height in pixels, from the photo's header."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RowError(f"{where}: its image cannot be read ({error}); replace the file or leave the record out.") from error


def _message(turn: dict[str, Any], where: str) -> dict[str, str]:
    role, content = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if role not in ROLES or not isinstance(content, str):
        raise RowError(f"{where} has a turn {turn!r}; expected a role ({', '.join(ROLES)}) and a text.")
    return {"role": ROLES[role], "content": content}


def _names(record: dict[str, Any]) -> list[str]:
    named = record.get("image", record.get("images"))
    return [] if not named else [named] if isinstance(named, str) else list(named)


def _photo(folder: Path | None, name: str, where: str) -> bytes:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise RowError(f"{where} names the image {name!r}, which leads out of {folder}.")
    if not path.is_file():
        raise RowError(f"{where}: no image {name!r} under {folder}; add it, or read the records without `images`.")
    return path.read_bytes()
