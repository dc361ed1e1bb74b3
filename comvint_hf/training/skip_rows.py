"""Rows that cannot be trained on, left out of their batches: no crash, and nothing missing without a word.

A batch is collated as it is; only where that fails are its rows tried one by one. What is left out depends on the rows alone,
so a resumed run leaves out the same. This file knows the collator and rows; it knows no trainer.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import ModelError, RowError
from comvint_hf.training.rows import pictures_of
from comvint_hf.training.tokenization import tokenizer_of

if TYPE_CHECKING:
    import torch

    from comvint_hf.training.collator import L2TCollator

NONE_LEFT = "none left"
Entry = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A row, or rows that share their picture: a list, or the list under `rows`."""


def without_bad(collator: L2TCollator, entries: Sequence[Entry]) -> dict[str, torch.Tensor]:
    """Collate what can be trained on; the rest is counted in `collator.skipped`, the first of each reason with a warning.

    Raises `RowError` with the reason `NONE_LEFT` for a batch of which nothing is left, `ModelError` as the collator does.
    """
    # Reading finds most of what is wrong and is cheap; only what it does not find is looked for by collating rows alone.
    for attempt in (lambda row: collator.read(row, 0), lambda row: collator.batch([row])):
        try:
            return collator.batch([_opened(entry) for entry in entries])
        except ModelError:
            raise
        except ValueError:
            entries = _left(entries, attempt, collator)
    return collator.batch(entries)


def usable(rows: Any, collator: L2TCollator) -> Any:
    """Rows of an evaluation, those that the collator refuses left out and counted in `collator.skipped`; a stream as it comes.

    Each evaluation would meet them again, and a batch of which nothing is left would count as a loss of 0.
    """
    if not hasattr(rows, "__len__"):
        return rows
    found = [refusal(lambda row: collator.batch([row]), row) for row in rows]
    for error in filter(None, found):
        _count(collator, error)
    return rows.select([place for place, error in enumerate(found) if error is None]) if any(found) else rows


def refusal(attempt: Callable[[Mapping[str, Any]], Any], row: Mapping[str, Any]) -> RowError | None:
    """Why `attempt` refuses a row, or `None`. Raises `ModelError` where it is not the row's fault."""
    try:
        attempt(row)
    except ModelError:
        raise
    except RowError as error:
        return error
    except ValueError as error:
        return RowError(f"Row {row.get('id')!r} is refused by the processor ({error}).")
    return None


def learns_nothing(collator: L2TCollator) -> dict[str, torch.Tensor]:
    """A batch without a label, for a step that has no row left: it goes through the model and changes nothing."""
    from PIL import Image

    talk = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "Nothing."}]
    sees = tokenizer_of(collator.processor) is not collator.processor
    row = {"messages": talk, "images": [Image.new("RGB", (64, 64))] if sees else []}
    batch = dataclasses.replace(collator, max_length=None, templates=()).batch([row])
    batch["labels"].fill_(-100)
    return batch


def _left(entries: Sequence[Entry], attempt: Callable[[Mapping[str, Any]], Any], collator: L2TCollator) -> list[Entry]:
    """What is left of the entries without the rows that `attempt` refuses, which are counted. Raises `RowError` if nothing is."""
    left: list[Entry] = []
    refused: list[RowError] = []
    for entry in entries:
        together = _together(entry)
        found = [(row, refusal(attempt, row)) for row in ([entry] if together is None else together)]
        good = [row for row, error in found if error is None]
        left += good if together is None else [good] if good else []
        refused += [error for _, error in found if error is not None]
    for error in refused:
        _count(collator, error)
    if not left:
        raise RowError(f"No row of this batch can be trained on; the first: {refused[0]}", NONE_LEFT)
    return left


def _count(collator: L2TCollator, error: RowError) -> None:
    if not collator.skipped[error.reason]:
        warnings.warn(f"{error} It is left out of its batch, as others will be ({error.reason}).", stacklevel=2)
    collator.skipped[error.reason] += 1


def _together(entry: Entry) -> Sequence[Mapping[str, Any]] | None:
    """The rows of an entry that holds several, else `None`."""
    if isinstance(entry, Mapping):
        return entry.get("rows")
    return entry if isinstance(entry, list | tuple) else None


def _opened(entry: Entry) -> Entry:
    """The same rows with pictures that they share decoded once for all of them."""
    together = _together(entry)
    return entry if together is None else list(_sharing(together))


def _sharing(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    decoded: dict[int, list[Any]] = {}
    for row in rows:
        files = row.get("images") or row.get("image")
        if id(files) not in decoded:
            decoded[id(files)] = pictures_of(row, f"Row {row.get('id')!r}")
        yield {**row, "image": None, "images": decoded[id(files)]}
