"""Rows of datasets that others made, as rows of ours: their pictures in them, their columns in our form or left out with a word.

This file knows datasets' columns and our schema; it knows no folder and no repository.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset.llava import pixels, without_marker
from comvint_hf.dataset.schema import IMAGE_MARKER, Row, features
from comvint_hf.errors import RowError

if TYPE_CHECKING:
    from datasets import Dataset

TEXT_COLUMNS = ("id", "image_id", "messages", "task", "format", "topic")
PICTURES = ("images", "image")
_EMPTY = {"string": "", "int32": 0}
_ODD = re.compile(r"[^\w. -]+")


def guests(rows: Dataset, name: str, split: str, only_text: bool = False) -> Iterator[Row]:
    """Yield the rows of a split of the repository `name`; with `only_text` just the columns that choosing needs.

    Pictures that are files become bytes, `image` becomes `images`; where rows do not say which image they are of, its content
    names it, and pictures are read for that even with `only_text`. A task becomes a name that a folder can have. Raises
    `RowError` for rows without usable `messages`, and for pictures that are not there or are none.
    """
    if "messages" not in rows.column_names:
        raise RowError(f"{name} has no column `messages` but {', '.join(rows.column_names)}; only rows of that form mix.")
    pictures = next((column for column in PICTURES if column in rows.column_names), None)
    rows = _in_our_form(rows, name, pictures)
    seen = pictures is not None and not (only_text and "image_id" in rows.column_names)
    wanted = TEXT_COLUMNS if only_text else tuple(features(images=False))
    rows = rows.select_columns([column for column in rows.column_names if column in (*wanted, *([pictures] if seen else []))])
    for number, row in enumerate(rows):
        yield _guest(row, name, f"{name}/{split}/{number}", row.pop(pictures) if seen else None, only_text)


def _in_our_form(rows: Dataset, name: str, pictures: str | None) -> Dataset:
    """The same rows, columns of our names cast to our types, or left out where they cannot be."""
    import pyarrow
    from datasets import Image, List

    if pictures:
        files = Image(decode=False)
        rows = rows.cast_column(pictures, List(files) if pictures == "images" else files)
    for column, kind in features(images=False).items():
        if column in ("messages", *PICTURES) or rows.features.get(column, kind) == kind:
            continue
        try:
            rows = rows.cast_column(column, kind)
        except (ValueError, TypeError, pyarrow.ArrowException):
            warnings.warn(f"The column `{column}` of {name} is of another form than ours and is left out.", stacklevel=2)
            rows = rows.remove_columns(column)
    return rows


def _guest(row: Row, name: str, place: str, pictures: Any, only_text: bool) -> Row:
    said = {column: value for column, value in row.items() if value is not None}
    guest = {**({"image_id": ""} if only_text else _empty()), "task": "conversation", "format": "open", **said}
    guest["id"] = said.get("id") or place
    here = f"Row {guest['id']!r} of {name}"
    guest["messages"] = [_message(turn, here) for turn in said.get("messages") or ()]
    guest["task"] = _ODD.sub("-", guest["task"]).strip("-. ") or "conversation"
    if pictures is None:
        return guest
    files = [_bytes(picture, here) for picture in (pictures if isinstance(pictures, list) else [pictures])]
    if files and "image_id" not in row:
        guest["image_id"] = f"{name}/{blake2b(b''.join(files), digest_size=8).hexdigest()}"
    if not only_text:
        guest["images"] = [{"bytes": file, "path": None} for file in files]
        if files and not guest["width"]:
            guest["width"], guest["height"] = pixels(files[0], here)
    return guest


def _empty() -> Row:
    """A row that says nothing."""
    return {column: _EMPTY.get(getattr(kind, "dtype", ""), []) for column, kind in features(images=False).items()}


def _message(turn: Any, here: str) -> dict[str, str]:
    role, said = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
    if not isinstance(role, str) or not isinstance(said, str):
        raise RowError(f"{here} has a turn {turn!r}; expected a role and a text.")
    return {"role": role, "content": without_marker(said) if IMAGE_MARKER in said else said}


def _bytes(picture: Row, here: str) -> bytes:
    """The picture as it is stored, or read from its file; that others' rows may name any file is why it is looked at."""
    if picture["bytes"] is not None:
        return picture["bytes"]
    path = Path(picture["path"] or "")
    if not path.is_file():
        raise RowError(
            f"{here} names its picture {str(path)!r}, and no such file is here: rows that mix hold their pictures. Fetch the pictures, "
            "and mix the rows as a LLaVA file with --images DIR."
        )
    found = path.read_bytes()
    pixels(found, here)
    return found
