"""Rows to and from LLaVA's "conversations" JSON, and from the "messages" JSON that ShareGPT tools write.

There a picture is the word `<image>` in a text and a file name beside it; here it is the column `images` and no word.
What else a row holds stands in the record under one key of ours, which LLaVA's loaders do not read, so that rows come back
as they left. This file knows rows and that format; it knows no corpus.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from comvint_hf.dataset.image_table import suffix
from comvint_hf.dataset.schema import IMAGE_MARKER, Row, features
from comvint_hf.errors import RowError
from comvint_hf.grounding import parse

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
OURS = "comvint"
"""The key of a record under which the row's other columns stand."""
MEASURED = ("matching", "correctness", "complexity", "label")
"""Columns that a row has once it was measured."""
TEXT = "text"
"""Beside those columns: a hash of the turns, which says whether the text has been changed since."""
_MARKER = re.compile(rf"[ \t]*{re.escape(IMAGE_MARKER)}[ \t]*\n?")
_OUR_MARKER = re.compile(rf"{re.escape(IMAGE_MARKER)}\n?")
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"}


def to_llava(rows: Iterable[Row], folder: Path | str | None = None) -> Iterator[dict[str, Any]]:
    """Give each row as a LLaVA record: id, image, conversations, and its other columns under "comvint".

    With `folder`, photos that the rows hold are written to `folder/images`, one file an image, and the records name them
    relative to it; without, records name the photo by the row's `image_id`. A text-only row has no `image`. `from_llava`
    gives the rows back. Raises `RowError` for a row that LLaVA's form cannot hold.
    """
    photos = _Photos(None if folder is None else Path(folder))
    known = (*features(rejected=True), *MEASURED)
    for row in rows:
        record: dict[str, Any] = {"id": row["id"]}
        names = photos.of(row)
        if names:
            record["image"] = names[0] if len(names) == 1 else names
        kept = {name: row[name] for name in known if name in row and name not in ("id", "images", "messages")}
        yield {**record, "conversations": _spoken(row, len(names)), OURS: {**kept, TEXT: _digest(row["messages"])}}


def _digest(messages: list[dict[str, str]]) -> str:
    spoken = [(message["role"], message["content"]) for message in messages]
    return blake2b(json.dumps(spoken).encode(), digest_size=8).hexdigest()


def _spoken(row: Row, pictures: int) -> list[dict[str, str]]:
    """The turns in LLaVA's words, a marker for each picture before the first question."""
    spoken = [
        {"from": {"user": "human", "assistant": "gpt"}.get(message["role"], message["role"]), "value": message["content"]}
        for message in row["messages"]
    ]
    if any(IMAGE_MARKER in turn["value"] for turn in spoken):
        raise RowError(f"Row {row['id']!r} says {IMAGE_MARKER}, which would count as one more picture; take the word out.")
    first = next((turn for turn in spoken if turn["from"] == "human"), None)
    if pictures and first is None:
        raise RowError(f"Row {row['id']!r} has a picture and no user turn, where LLaVA says it; leave the row out.")
    if pictures:
        first["value"] = f"{IMAGE_MARKER}\n" * pictures + first["value"]
    return spoken


class _Photos:
    """Names the photos of rows, and writes each picture once if there is a folder for it."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._written: dict[tuple[str, bytes], str] = {}
        self._stems: set[str] = set()

    def of(self, row: Row) -> list[str]:
        pictures, image_id = row.get("images"), row.get("image_id")
        if self.folder is None or not pictures:
            if pictures and not image_id:
                raise RowError(f"Row {row['id']!r} has a picture and no `image_id` to name it by; say a folder to write it into.")
            return [image_id] if image_id and pictures != [] else []
        return [self._name(image_id or row["id"], picture) for picture in pictures]

    def _name(self, image_id: str, picture: Any) -> str:
        """The file of a picture; another picture of the same image gets another one."""
        encoded = _bytes_of(picture)
        content = picture.tobytes() if encoded is None else encoded
        key = (image_id, blake2b(content, digest_size=16).digest())
        if key not in self._written:
            self._written[key] = self._write(self._stem(image_id), picture, encoded)
        return self._written[key]

    def _stem(self, image_id: str) -> str:
        """A file name without its ending that no other picture has."""
        stem = name = quote(image_id, safe="")
        number = 0
        while stem in self._stems:
            stem = f"{name}-{(number := number + 1)}"
        self._stems.add(stem)
        return stem

    def _write(self, stem: str, picture: Any, encoded: bytes | None) -> str:
        target = self.folder / "images"
        target.mkdir(parents=True, exist_ok=True)
        name = stem + (".png" if encoded is None else suffix(encoded))
        if encoded is None:
            (picture if picture.mode in _PNG_MODES else picture.convert("RGB")).save(target / name)
        else:
            (target / name).write_bytes(encoded)
        return f"images/{name}"


def _bytes_of(picture: Any) -> bytes | None:
    """The encoded bytes of a picture as datasets stores it; `None` for one that is decoded."""
    if not isinstance(picture, dict):
        return None
    return picture["bytes"] if picture.get("bytes") is not None else Path(picture["path"]).read_bytes()


def from_llava(
    records: Path | str | Iterable[dict[str, Any]], images: Path | str | None = None, *, source: str = "llava"
) -> Iterator[Row]:
    """Read LLaVA or ShareGPT records as rows: an iterable of them, or a .json or .jsonl file.

    `images` is the folder of the photos; with it, rows hold their photos' bytes, without it their `image_id` alone. The
    word `<image>` is taken out of the texts wherever it stands, so a picture shown in a later turn is shown first here.
    Text-only records give `images=[]` and an empty `image_id`. What `to_llava` wrote under "comvint" comes back as it was,
    but boxes whose text has been changed since are read from the text. Raises `RowError`, naming the record, for a record
    that cannot be read.
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
    where, ours = f"Record {record.get('id', number)!r}", record.get(OURS)
    if ours is not None and not isinstance(ours, dict):
        raise RowError(f"{where} has {ours!r} under {OURS!r}; expected the columns that to_llava writes there.")
    messages, names, ours = _messages(record, where, ours is not None), _names(record), dict(ours or {})
    row: Row = {
        "id": str(record.get("id", number)),
        "image_id": f"{source}/{names[0]}" if names else "",
        "messages": messages,
        "task": "conversation",
        "format": "open",
        "source": source,
        "generator": "",
        "judge": "",
        "rounds": 0,
        "topic": "",
        "width": 0,
        "height": 0,
        "evidence": [],
        "history": [],
    }
    if ours.pop(TEXT, None) != _digest(messages):  # not ours, or changed since: the text has the last word
        grounded = [found for message in messages for found in parse(message["content"])]
        ours["boxes"] = [list(box.xyxy) for found in grounded for box in found.boxes]
        ours["phrases"] = [found.phrase for found in grounded for _ in found.boxes]
    row |= ours
    if folder is not None or not names:
        row["images"] = [{"bytes": _photo(folder, name, where), "path": None} for name in names]
    if row.get("images") and not row["width"]:
        row["width"], row["height"] = pixels(row["images"][0]["bytes"], where)
    return row


def _messages(record: dict[str, Any], where: str, ours: bool) -> list[dict[str, str]]:
    """The turns without markers; the text of our own records is left as it is, of others' the edges are trimmed."""
    messages = [_message(turn, where) for turn in record.get("conversations") or record.get("messages") or ()]
    marks, names = sum(message["content"].count(IMAGE_MARKER) for message in messages), _names(record)
    if not messages:
        raise RowError(f"{where} has no turns; expected a list under 'conversations' or 'messages'.")
    if marks and marks != len(names):
        raise RowError(
            f"{where} says {IMAGE_MARKER} {marks} times and names {len(names)} images; expected as many of one as of the other."
        )
    for message in messages:
        said = message["content"]
        message["content"] = _OUR_MARKER.sub("", said) if ours else without_marker(said)
    if any(not message["content"].strip() for message in messages):
        raise RowError(f"{where} has an empty turn; leave the record out or mend it.")
    return messages


def without_marker(text: str) -> str:
    """A text of others without the places of its pictures, its edges trimmed.

    >>> without_marker("<image>\\nWhat is it? ")
    'What is it?'
    """
    return _MARKER.sub("", text).strip()


def pixels(encoded: bytes, where: str) -> tuple[int, int]:
    """Width and height of a photo, from its header. Raises `RowError`, naming the row, for bytes that are no photo."""
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
