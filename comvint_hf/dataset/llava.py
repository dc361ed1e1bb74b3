"""Convert rows to and from LLaVA's "conversations" JSON and the "messages" JSON of ShareGPT tools.

There an image is the word `<image>` in a text and a file name; here it is the column `images` and no word. The other columns of
a row are stored under the key "comvint", which LLaVA's loaders ignore, so that rows come back as they left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from comvint_hf.dataset.image_table import image_suffix
from comvint_hf.dataset.schema import IMAGE_MARKER, Row, features
from comvint_hf.errors import RowError
from comvint_hf.grounding import parse
from comvint_hf.images import OUTSIDE, read_size, resolve_inside
from comvint_hf.strict_reader import read_file

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
# The key of a record that holds the row's other columns.
COLUMNS_KEY = "comvint"
# Columns that a row has once it was measured.
QUALITY_COLUMNS = ("matching", "correctness", "complexity", "label")
# Beside those columns: a hash of the turns, which shows whether the text was changed since.
HASH_KEY = "text"
_MARKER = re.compile(rf"[ \t]*{re.escape(IMAGE_MARKER)}[ \t]*\n?")
_OWN_MARKER = re.compile(rf"{re.escape(IMAGE_MARKER)}\n?")
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"}


def to_llava(rows: Iterable[Row], folder: Path | str | None = None) -> Iterator[dict[str, Any]]:
    """Convert rows to LLaVA records: id, image, conversations, and the other columns under "comvint".

    Args:
        rows: The rows. A text-only row gives a record without `image`.
        folder: Where the rows' images are written, as `folder/images`, one file an image; the records name them relative to
            it. Without a folder the records name the image by the row's `image_id`.

    Raises:
        RowError: If a row cannot be expressed in LLaVA's format.
    """
    images = _ImageWriter(None if folder is None else Path(folder))
    known = (*features(rejected=True), *QUALITY_COLUMNS)
    for row in rows:
        record: dict[str, Any] = {"id": row["id"]}
        names = images.write_all(row)
        if names:
            record["image"] = names[0] if len(names) == 1 else names
        columns = {name: row[name] for name in known if name in row and name not in ("id", "images", "messages")}
        columns[HASH_KEY] = _hash_messages(row["messages"])
        yield {**record, "conversations": _to_conversations(row, len(names)), COLUMNS_KEY: columns}


def _hash_messages(messages: list[dict[str, str]]) -> str:
    turns = [(message["role"], message["content"]) for message in messages]
    return blake2b(json.dumps(turns).encode(), digest_size=8).hexdigest()


def _to_conversations(row: Row, num_images: int) -> list[dict[str, str]]:
    """Write the turns as LLaVA does, with a marker for each image before the first question."""
    turns = [
        {"from": {"user": "human", "assistant": "gpt"}.get(message["role"], message["role"]), "value": message["content"]}
        for message in row["messages"]
    ]
    if any(IMAGE_MARKER in turn["value"] for turn in turns):
        raise RowError(f"Row {row['id']!r} says {IMAGE_MARKER}, which would count as one more image; take the word out.")
    if num_images:
        first = next((turn for turn in turns if turn["from"] == "human"), None)
        if first is None:
            raise RowError(f"Row {row['id']!r} has an image and no user turn to mention it in; leave the row out.")
        first["value"] = f"{IMAGE_MARKER}\n" * num_images + first["value"]
    return turns


class _ImageWriter:
    """Names the images of rows and, if there is a folder for them, writes each image once."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._written: dict[tuple[str, bytes], str] = {}
        self._stems: set[str] = set()

    def write_all(self, row: Row) -> list[str]:
        """Write a row's images and return their names."""
        images, image_id = row.get("images"), row.get("image_id")
        if self.folder is None or not images:
            if images and not image_id:
                raise RowError(f"Row {row['id']!r} has an image and no `image_id` to name it by; give a folder to write it into.")
            return [image_id] if image_id and images != [] else []
        return [self._name(image_id or row["id"], image, self.folder / "images") for image in images]

    def _name(self, image_id: str, image: Any, folder: Path) -> str:
        """Return the file of an image; different images of the same id get different files."""
        encoded = None
        if isinstance(image, dict):
            encoded = image["bytes"] if image.get("bytes") is not None else Path(image["path"]).read_bytes()
        content = image.tobytes() if encoded is None else encoded
        key = (image_id, blake2b(content, digest_size=16).digest())
        if key not in self._written:
            name = self._unused_stem(image_id) + (".png" if encoded is None else image_suffix(encoded))
            folder.mkdir(parents=True, exist_ok=True)
            if encoded is None:
                (image if image.mode in _PNG_MODES else image.convert("RGB")).save(folder / name)
            else:
                (folder / name).write_bytes(encoded)
            self._written[key] = f"images/{name}"
        return self._written[key]

    def _unused_stem(self, image_id: str) -> str:
        stem = name = quote(image_id, safe="")
        number = 0
        # Different images may have the same id.
        while stem in self._stems:
            stem = f"{name}-{(number := number + 1)}"
        self._stems.add(stem)
        return stem


def from_llava(
    records: Path | str | Iterable[dict[str, Any]], images: Path | str | None = None, *, source: str = "llava", _refused: str = ""
) -> Iterator[Row]:
    """Convert LLaVA or ShareGPT records to rows.

    The word `<image>` is removed from all texts, so an image of a later turn comes first here. Text-only records give
    `images=[]` and an empty `image_id`. Columns that `to_llava` stored come back as they were, except that boxes are read from
    the text where it was changed since.

    Args:
        records: The records, or a .json or .jsonl file of them.
        images: The folder of the images. Without it rows have only an `image_id`.
        source: The column `source`, and the first part of each `image_id`.

    Raises:
        RowError: If a record cannot be read; the message names it.
    """
    for number, record in enumerate(_read_records(Path(records)) if isinstance(records, str | Path) else records):
        row = _to_row(record, number, source)
        try:
            yield _add_images(row, record, f"Record {row['id']!r}", None if images is None else Path(images))
        except RowError as error:
            if not _refused or error.reason != OUTSIDE:
                raise
            yield {**row, _refused: error.reason}  # counted by `mix`


def _read_records(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    try:
        records = (
            [json.loads(line) for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else json.loads(text)
        )
    except json.JSONDecodeError as error:
        raise RowError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); expected a list of records, or one a line in .jsonl."
        ) from error
    if not isinstance(records, list):
        raise RowError(f"{path} holds a {type(records).__name__}; expected a list of records.")
    yield from records


def _to_row(record: dict[str, Any], number: int, source: str) -> Row:
    where, stored = f"Record {record.get('id', number)!r}", record.get(COLUMNS_KEY)
    if stored is not None and not isinstance(stored, dict):
        raise RowError(f"{where} has {stored!r} under {COLUMNS_KEY!r}; expected the columns that to_llava writes there.")
    messages, names, columns = _read_messages(record, where, stored is not None), _image_names(record), dict(stored or {})
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
    if columns.pop(HASH_KEY, None) != _hash_messages(messages):  # from elsewhere or changed since: the text decides
        grounded = [found for message in messages for found in parse(message["content"])]
        columns["boxes"] = [list(box.xyxy) for found in grounded for box in found.boxes]
        columns["phrases"] = [found.phrase for found in grounded for _ in found.boxes]
    # Records of others may hold any column; images come from the files that the record names alone.
    return row | {column: value for column, value in columns.items() if column not in ("images", "image", "refused")}


def _add_images(row: Row, record: dict[str, Any], where: str, folder: Path | None) -> Row:
    """Read the images that a record names."""
    names = _image_names(record)
    if folder is not None or not names:
        row["images"] = [{"bytes": _read_image(Path(folder or ""), name, where), "path": None} for name in names]
    if row.get("images") and not row["width"]:
        row["width"], row["height"] = read_image_size(row["images"][0]["bytes"], where)
    return row


def _read_messages(record: dict[str, Any], where: str, is_own: bool) -> list[dict[str, str]]:
    """Read the turns without markers. The text of our own records stays as it is; others are stripped."""
    messages = [_read_message(turn, where) for turn in record.get("conversations") or record.get("messages") or ()]
    num_markers, names = sum(message["content"].count(IMAGE_MARKER) for message in messages), _image_names(record)
    if not messages:
        raise RowError(f"{where} has no turns; expected a list under 'conversations' or 'messages'.")
    if num_markers and num_markers != len(names):
        raise RowError(
            f"{where} says {IMAGE_MARKER} {num_markers} times and names {len(names)} images; expected as many of one as of the other."
        )
    for message in messages:
        text = message["content"]
        message["content"] = _OWN_MARKER.sub("", text) if is_own else strip_image_marker(text)
    if any(not message["content"].strip() for message in messages):
        raise RowError(f"{where} has an empty turn; leave the record out or correct it.")
    return messages


def strip_image_marker(text: str) -> str:
    """Remove image markers and surrounding whitespace from a text.

    >>> strip_image_marker("<image>\\nWhat is it? ")
    'What is it?'
    """
    return _MARKER.sub("", text).strip()


def read_image_size(encoded: bytes, where: str) -> tuple[int, int]:
    """Read (width, height) in pixels of an encoded image of the row `where`. Raises `RowError` if it cannot be read."""
    if size := read_size(encoded):
        return size
    raise RowError(f"{where}: its image cannot be read; replace the file or leave the record out.")


def _read_message(turn: dict[str, Any], where: str) -> dict[str, str]:
    role, content = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if role not in ROLES or not isinstance(content, str):
        raise RowError(f"{where} has a turn {turn!r}; expected a role ({', '.join(ROLES)}) and a text.")
    return {"role": ROLES[role], "content": content}


def _image_names(record: dict[str, Any]) -> list[str]:
    names = record.get("image", record.get("images"))
    return [] if not names else [names] if isinstance(names, str) else list(names)


def _read_image(folder: Path, name: str, where: str) -> bytes:
    # Records come from anywhere; a name must not read a file outside the folder.
    path = resolve_inside(folder, name)
    if path is None:
        raise RowError(f"{where} names the image {name!r}, which leads out of {folder}.", OUTSIDE)
    if not path.is_file():
        raise RowError(f"{where}: no image {name!r} under {folder}; add it, or read the records without `images`.")
    return read_file(path)
