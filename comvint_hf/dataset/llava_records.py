"""Read records of LLaVA's "conversations" JSON and of ShareGPT's "messages" JSON as rows, or say why one cannot be a row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from comvint_hf.dataset.conversation import check_media, first_present, is_missing, read_conversation, to_messages
from comvint_hf.dataset.schema import Row
from comvint_hf.errors import ImageError, InputError, RowError
from comvint_hf.grounding import parse
from comvint_hf.image_paths import find_named
from comvint_hf.images import OUTSIDE, prepare_image
from comvint_hf.read_counts import ReadCounts, shorten
from comvint_hf.record_stream import RecordReader
from comvint_hf.strict_reader import LIMITS, is_valid_text, read_file

COLUMNS_KEY = "comvint"
"""The key of a record that holds the row's other columns."""
HASH_KEY = "text"
"""Beside those columns: a hash of the turns, which shows whether the text was changed since."""
NO_RECORD = "records skipped: no object"
OTHER_COLUMNS = "records skipped: columns of another form than to_llava writes"
IMAGE_NAME = "records skipped: an image that is no file name"
IMAGE_NULL = "records skipped: an image is null"
IMAGE_MISSING = "records skipped: their image is not in the folder"
IMAGE_BROKEN = "records skipped: their image cannot be read"
_IMAGE_KEYS = ("image", "images", "image_path", "image_paths", "image_file")
_SCALARS = (str, int, float)


_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, lt=2**31)]
_Boxes = list[Annotated[list[_Finite], Field(min_length=4, max_length=4)]]


class _Evidence(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    tag: str
    key: str
    name: str
    boxes: _Boxes


class _Edit(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    stage: str
    instruction: str
    response: str


class _Columns(BaseModel):
    """The columns that a record may bring along; others are left out."""

    model_config = ConfigDict(strict=True, extra="ignore")
    image_id: str = ""
    task: str = ""
    format: str = ""
    source: str = ""
    generator: str = ""
    judge: str = ""
    topic: str = ""
    reason: str = ""
    rounds: _Count = 0
    width: _Count = 0
    height: _Count = 0
    boxes: _Boxes = []
    phrases: list[str] = []
    evidence: list[_Evidence] = []
    history: list[_Edit] = []
    matching: float | int | None = None
    correctness: float | int | None = None
    complexity: float | int | None = None
    label: str | None = None


@dataclass(frozen=True)
class RecordOptions:
    """How records become rows.

    Attributes:
        images: The folder of the images; without it rows have only an `image_id`.
        source: The column `source`, and the first part of each `image_id`.
        keep_places: Keep images between words, as content parts.
        read_images: Whether images are read; otherwise it is only checked that they are there.
    """

    images: Path | None = None
    source: str = "llava"
    keep_places: bool = False
    read_images: bool = True


def open_records(records: Path | str | Iterable[Any], counts: ReadCounts) -> Iterator[tuple[int, Any]]:
    """Yield (number, record) of a .json or .jsonl file, plain or packed, or of records in memory.

    Raises:
        RowError: For a file that holds no records.
    """
    if not isinstance(records, str | Path):
        yield from enumerate(records)
        return
    reader = RecordReader(Path(records), counts, "records", RowError)
    for number, record in reader.read_numbered():
        if number == 0 and isinstance(record, dict) and not first_present(record, "conversations", "messages"):
            # One object that wraps the list, as some exports have it.
            key = next(
                (key for key in ("data", "records", "rows", "train", "annotations") if isinstance(record.get(key), list)), None
            )
            if key is not None:
                yield from RecordReader(Path(records), counts, "records", RowError).read_numbered(key)
                return
        yield number, record


def to_row(record: Any, number: int, options: RecordOptions) -> Row:
    """Convert a record, without its images. Raises `RowError` with a reason for one that cannot be a row."""
    if not isinstance(record, dict):
        raise RowError(f"Record {number} is {shorten(record)}; expected an object.", NO_RECORD)
    id = _read_id(record, number)
    where, stored = f"Record {id if isinstance(record.get('id'), int) else repr(id)}", record.get(COLUMNS_KEY)
    columns = _read_columns(stored, where)
    check_media(record, where)
    conversation = read_conversation(first_present(record, "conversations", "messages", "conversation"), where)
    names = _image_names(record, where) or conversation.image_names
    if len(conversation.image_names) not in (0, len(conversation.images)):
        raise RowError(f"{where} names the files of some of its images only.", IMAGE_NAME)
    messages = to_messages(conversation, len(names), where, keep_places=options.keep_places, keep_text=stored is not None)
    row: Row = {
        "id": id,
        "image_id": f"{options.source}/{names[0]}" if names else "",
        "messages": messages,
        "task": "conversation",
        "format": "open",
        "source": options.source,
        "generator": "",
        "judge": "",
        "rounds": 0,
        "topic": "",
        "width": 0,
        "height": 0,
        "evidence": [],
        "history": [],
    }
    if columns.pop(HASH_KEY, None) != hash_messages(messages):  # from elsewhere or changed since: the text decides
        texts = [part for message in messages for part in _texts(message["content"])]
        grounded = [found for text in texts for found in parse(text)]
        columns["boxes"] = [list(box.xyxy) for found in grounded for box in found.boxes]
        columns["phrases"] = [found.phrase for found in grounded for _ in found.boxes]
    return row | columns | {"_names": names}


def _texts(content: Any) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content if "text" in part]


def hash_messages(messages: list[dict[str, Any]]) -> str:
    """Hash the turns, to see whether they were changed."""
    turns = [(message["role"], message["content"]) for message in messages]
    return blake2b(json.dumps(turns).encode(), digest_size=8).hexdigest()


def _read_id(record: dict[str, Any], number: int) -> str:
    id = record.get("id")
    if is_missing(id) or isinstance(id, bool) or not isinstance(id, _SCALARS):
        return str(number)
    if isinstance(id, float) and id.is_integer():
        id = int(id)
    if isinstance(id, int) and abs(id) >= 1 << 128:  # Python writes no number of thousands of digits
        return str(number)
    return str(id)[: LIMITS.id_characters] if is_valid_text(str(id)) else str(number)


def _read_columns(stored: Any, where: str) -> dict[str, Any]:
    """Read the columns that `to_llava` stored; of a record from elsewhere, none."""
    if stored is None:
        return {}
    try:
        known = _Columns.model_validate(stored).model_fields_set
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) or "it"
        raise RowError(
            f"{where} has {shorten(stored)} under {COLUMNS_KEY!r}; expected the columns that to_llava writes there ({place}).",
            OTHER_COLUMNS,
        ) from error
    return {name: value for name, value in stored.items() if name in known or name == HASH_KEY}


def _image_names(record: dict[str, Any], where: str) -> list[str]:
    """The file names of a record's images."""
    found = first_present(record, *_IMAGE_KEYS)
    listed = found if isinstance(found, list | tuple) else [] if found is None else [found]
    names = [first_present(one, "path", "url", "file_name") if isinstance(one, dict) else one for one in listed]
    if any(map(is_missing, names)):
        raise RowError(f"{where} has an image that is null; expected the name of a file.", IMAGE_NULL)
    for name in names:
        if not isinstance(name, str) or len(name) > LIMITS.id_characters or not is_valid_text(name) or name.startswith("data:"):
            raise RowError(f"{where} has the image {shorten(name)}; expected the name of a file.", IMAGE_NAME)
    return names


def add_images(row: Row, options: RecordOptions, counts: ReadCounts) -> Row:
    """Read the images that a record names into its row, or only check that they are there."""
    names, where, folder = row.pop("_names"), f"Record {row['id']!r}", options.images
    if names and folder is None:
        return row
    files = [read_image_file(folder or Path(), [name], where, options.read_images, counts) for name in names]
    if not options.read_images:
        return row
    row["images"] = [{"bytes": encoded, "path": None} for encoded, _ in files]
    if files and not row["width"]:
        row["width"], row["height"] = files[0][1]
    return row


def read_image_file(
    folder: Path, names: Sequence[str], where: str, read: bool = True, counts: ReadCounts | None = None
) -> tuple[bytes, tuple[int, int]]:
    """Read the first of these files below a folder, and its size in pixels; without `read` it is only checked that one is there.

    Raises:
        RowError: If none is there, the name leads out of the folder, or the file is no image.
    """
    paths = [find_named(folder, name) for name in names]
    path = next((path for path in paths if path is not None and path.is_file()), None)
    # Records come from anywhere; a name must not read a file outside the folder.
    if path is None and paths[0] is None:
        raise RowError(f"{where} names the image {shorten(names[0])!r}, which leads out of {folder}.", OUTSIDE)
    if path is None:
        raise RowError(
            f"{where}: no image {shorten(names[0])!r} under {folder}; add it, or read the records without `images`.",
            IMAGE_MISSING,
        )
    if not read:
        return b"", (0, 0)
    try:
        encoded = read_file(path, max_bytes=LIMITS.image_bytes)
    except InputError as error:
        raise RowError(f"{where}: its image cannot be read ({error}).", IMAGE_BROKEN) from error
    try:
        return prepare_image(encoded, where, counts)
    except ImageError as error:
        raise RowError(str(error), IMAGE_BROKEN) from error


def convert_records(
    records: Path | str | Iterable[Any], options: RecordOptions, counts: ReadCounts, refused: str = ""
) -> Iterator[Row]:
    """Yield the rows of the records, skipping and counting those that cannot be rows.

    With `refused`, a record whose images alone cannot be read gives a row that has the reason under this key, uncounted, so that every
    pass over the records gives as many rows.

    Raises:
        RowError: If there are records and none can be a row; it says what is wrong with the first.
    """
    first: RowError | None = None
    kept, before = 0, counts.total()
    for number, record in open_records(records, counts):
        try:
            row = to_row(record, number, options)
        except RowError as error:
            first = first or error
            counts.skip(error.reason, str(error))
            continue
        try:
            row = add_images(row, options, counts)
        except (RowError, ImageError) as error:
            reason = getattr(error, "reason", IMAGE_BROKEN)
            first = first or RowError(str(error), reason)
            if not refused:
                counts.skip(reason, str(error))
                continue
            row = {**{key: value for key, value in row.items() if key != "_names"}, refused: reason}
        kept += 1
        yield row
    if not kept and first is not None:
        raise first
    if not kept and counts.total() > before:
        raise RowError(f"{records} holds no record that can be read ({'; '.join(counts.describe())}).")
