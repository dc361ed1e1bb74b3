"""Load the rows of a training run, check them before a model is loaded, and load the task templates.

This module knows flags and dataset columns; it knows no loss and no label.
"""

from __future__ import annotations

import copy
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.dataset.locate import check_exists
from comvint_hf.errors import InputError, RowError, first_line
from comvint_hf.training.skip_rows import find_row_error
from comvint_hf.training.task_templates import mine_templates

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset
    from trl import ScriptArguments

    from comvint_hf.training.collator import L2TCollator

COLUMNS = ("id", "image_id", "image", "images", "messages")
"""The columns that the collator reads."""


def load_rows(script_args: ScriptArguments, *, evaluate: bool) -> tuple[Any, Any]:
    """Load the rows to train on and, with `evaluate`, those to evaluate on, else `None`. Raises `InputError`."""
    from datasets import load_dataset

    name = script_args.dataset_name
    if not name:
        raise InputError("No dataset is named: give --dataset_name DIR or ORG/NAME.")
    check_exists(name, "dataset")
    try:
        splits = load_dataset(name, script_args.dataset_config, streaming=script_args.dataset_streaming)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The dataset {name} cannot be loaded ({first_line(error)}); expected the folder that a builder wrote, or "
            "a name on the Hub like ORG/NAME."
        ) from error
    train, test = script_args.dataset_train_split, script_args.dataset_test_split
    for flag, split in {"--dataset_train_split": train, "--dataset_test_split": test}.items():
        if split not in splits and (evaluate or split == train):
            raise InputError(f"{name} has no split {split!r} but {', '.join(splits)}; name another one with {flag}.")
    return splits[train], splits[test] if evaluate else None


def select_columns(rows: Dataset | IterableDataset, *, text_only: bool = False, decode: bool = True) -> Dataset | IterableDataset:
    """Keep the columns that the collator reads; without `decode`, images stay encoded.

    Raises `RowError` for rows without messages, and for rows with an `image_id` and no image unless `text_only`: a trainer would
    train on them without their images.
    """
    names = rows.column_names or list(next(iter(rows)))
    if "messages" not in names:
        raise RowError(f"The dataset has no column `messages` but {', '.join(names)}; expected rows as builders write them.")
    if "image_id" in names and not {"image", "images"} & set(names) and not text_only:
        raise RowError(
            "The rows name their image by `image_id` but have no column `images`: give the folder or repository of the "
            "images with --images, or train without images on purpose with --text_only."
        )
    rows = rows.select_columns([name for name in COLUMNS if name in names])
    return rows if decode else disable_decoding(rows)


def disable_decoding(rows: Dataset | IterableDataset) -> Dataset | IterableDataset:
    """Leave images encoded, so that the collator decodes them and can name the row of a broken one. Nothing is copied."""
    from datasets import Image, IterableDataset

    if isinstance(rows, IterableDataset):
        return rows.decode(False)
    # The features are changed in place below; the tables are not copied.
    rows = copy.deepcopy(rows)
    for name in {"image", "images"} & set(rows.column_names):
        feature = rows.features[name]
        if isinstance(feature, Image):
            rows.info.features[name] = Image(decode=False)
        elif isinstance(getattr(feature, "feature", None), Image):
            rows.info.features[name] = type(feature)(Image(decode=False))
    return rows


def check_first_rows(rows: Dataset | IterableDataset, collator: L2TCollator, count: int = 20) -> None:
    """Collate the first row before a model is loaded: most mistakes are in all rows.

    A collator with `skip_bad` may leave out some, but not all of the first `count`. Raises `RowError` or `ModelError`.
    """
    first = list(islice(rows, count if collator.skip_bad else 1))
    if not first:
        raise RowError("The dataset has no rows; expected some to train on.")
    if not collator.skip_bad:
        collator(first)
        return
    errors = list(takewhile(bool, (find_row_error(lambda row: collator.collate([row]), row) for row in first)))
    if len(errors) == len(first):
        raise RowError(f"None of the first {len(first)} rows can be trained on; the error of the first: {errors[0]}")


def load_templates(name: str, rows: Dataset | IterableDataset, max_rows: int = 100_000) -> list[str]:
    """Load the task sentences that carry no loss: "mine" finds them in `rows`, "none" has none, else a file with one per line."""
    if name == "mine":
        # A stream is read only this far, and a sample of it is enough to count sentences.
        return mine_templates(row["messages"] for row in rows.select_columns(["messages"]).take(max_rows))
    if name == "none":
        return []
    path = Path(name)
    if not path.is_file():
        raise InputError(f"--templates is {name!r}: expected mine, none, or a file with one sentence per line.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
