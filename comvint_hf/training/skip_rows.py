"""Rows that cannot be trained on, left out of their batch.

A batch is collated whole; only if that fails are its rows tried one by one. Which rows are left out depends on the rows alone, so
a resumed run leaves out the same. This module knows rows; it knows no collator and no trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comvint_hf.errors import ModelError, RowError
from comvint_hf.training.rows import Entry, Row, load_images, shared_rows

NONE_LEFT = "none left"
"""The reason of the error for a batch that has no row left."""


def drop_bad_rows(entries: Sequence[Entry], attempt: Callable[[Row], Any]) -> tuple[list[Entry], list[RowError]]:
    """Drop the rows that `attempt` refuses. Returns the remaining entries and the errors of the dropped rows."""
    remaining: list[Entry] = []
    errors: list[RowError] = []
    for entry in entries:
        rows = shared_rows(entry)
        tried = [(row, find_row_error(attempt, row)) for row in ([entry] if rows is None else rows)]
        good: list[Any] = [row for row, error in tried if error is None]
        remaining += good if rows is None else [good] if good else []
        errors += [error for _, error in tried if error is not None]
    return remaining, errors


def find_row_error(attempt: Callable[[Row], Any], row: Any) -> RowError | None:
    """Find out why `attempt` refuses a row, if it does. Raises `ModelError` where the row is not at fault."""
    try:
        attempt(row)
    except ModelError:
        raise
    except RowError as error:
        return error
    except ValueError as error:
        return RowError(f"Row {row.get('id')!r} is refused by the processor ({error}).")
    return None


def decode_shared_images(entry: Entry) -> Entry:
    """Decode images that several rows share once for all of them."""
    rows = shared_rows(entry)
    if rows is None:
        return entry
    decoded: dict[int, list[Any]] = {}
    opened = []
    for row in rows:
        files = row.get("images") or row.get("image")
        if id(files) not in decoded:
            decoded[id(files)] = load_images(row, f"Row {row.get('id')!r}")
        opened.append({**row, "image": None, "images": decoded[id(files)]})
    return opened
