"""What a tuning run needs beside TRL: rows that can be trained on, the checkpoint to go on from, conventions.

This file knows flags, datasets' columns and model folders; it knows no loss and no label.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import model_families
from comvint_hf.conventions import FILE, Conventions
from comvint_hf.dataset.locate import require_place
from comvint_hf.errors import InputError, ModelError, RowError, first_line
from comvint_hf.image_geometry import keeps_resolution, within_pixels
from comvint_hf.training.error_messages import loading
from comvint_hf.training.skip_rows import refusal
from comvint_hf.training.task_templates import mine_templates

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset
    from trl import ModelConfig, ScriptArguments

    from comvint_hf.training.collator import L2TCollator

COLUMNS = ("id", "image_id", "image", "images", "messages")
"""What the collator reads of a row."""


def load_rows(script: ScriptArguments, *, evaluate: bool) -> tuple[Any, Any]:
    """The rows to train on and, with `evaluate`, those held out, else `None`. Raises `InputError`."""
    from datasets import load_dataset

    if not script.dataset_name:
        raise InputError("No dataset is named: give --dataset_name DIR or ORG/NAME.")
    require_place(script.dataset_name, "dataset")
    try:
        rows = load_dataset(script.dataset_name, script.dataset_config, streaming=script.dataset_streaming)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The dataset {script.dataset_name} cannot be loaded ({first_line(error)}); expected the folder that a builder wrote, or "
            "a name on the Hub like ORG/NAME."
        ) from error
    splits = {"--dataset_train_split": script.dataset_train_split, "--dataset_test_split": script.dataset_test_split}
    for flag, split in splits.items():
        if split not in rows and (evaluate or split == script.dataset_train_split):
            raise InputError(f"{script.dataset_name} has no split {split!r} but {', '.join(rows)}; say which with {flag}.")
    return rows[script.dataset_train_split], rows[script.dataset_test_split] if evaluate else None


def load_processor(model: ModelConfig) -> Any:
    """The model's own processor. Raises `ModelError`."""
    if not model.model_name_or_path:
        raise ModelError("No model is named: give --model_name_or_path DIR or ORG/NAME.")
    require_place(model.model_name_or_path)
    with loading(model.model_name_or_path):
        return model_families.load_processor(model.model_name_or_path, model.model_revision)


def trainable_rows(rows: Dataset | IterableDataset, *, text_only: bool = False, decode: bool = True) -> Dataset | IterableDataset:
    """Keep the columns that the collator reads, pictures as files without `decode`; refuse rows whose pictures were left behind.

    Raises `RowError` for rows with an `image_id` and no picture unless `text_only`: a trainer would take them blind.
    """
    names = rows.column_names or list(next(iter(rows)))
    if "messages" not in names:
        raise RowError(f"The dataset has no column `messages` but {', '.join(names)}; expected rows as builders write them.")
    if "image_id" in names and not {"image", "images"} & set(names) and not text_only:
        raise RowError(
            "The rows name their picture by `image_id` but have no column `images`: give the folder or repository of the "
            "pictures with --images, or say --text_only to train without seeing them."
        )
    rows = rows.select_columns([name for name in COLUMNS if name in names])
    return rows if decode else undecoded(rows)


def undecoded(rows: Dataset | IterableDataset) -> Dataset | IterableDataset:
    """The same rows with pictures as files, which the collator decodes, and can say whose is not readable. Nothing is copied."""
    from datasets import Image

    if not hasattr(rows, "__len__"):
        return rows.decode(False)
    rows = copy.deepcopy(rows)
    for name in {"image", "images"} & set(rows.column_names):
        feature = rows.features[name]
        if isinstance(feature, Image):
            rows.info.features[name] = Image(decode=False)
        elif isinstance(getattr(feature, "feature", None), Image):
            rows.info.features[name] = type(feature)(Image(decode=False))
    return rows


def try_first_rows(rows: Dataset | IterableDataset, collator: L2TCollator, most: int = 20) -> None:
    """Collate the first row, before a model is loaded: what is wrong with it is mostly wrong with all.

    A collator with `skip_bad` may leave out some, but not all of the first `most`. Raises `RowError` or `ModelError`.
    """
    first = list(islice(rows, most if collator.skip_bad else 1))
    if not first:
        raise RowError("The dataset has no rows; expected some to train on.")
    if not collator.skip_bad:
        collator(first)
        return
    refusals = list(takewhile(bool, (refusal(lambda row: collator.batch([row]), row) for row in first)))
    if len(refusals) == len(first):
        raise RowError(f"None of the first {len(first)} rows can be trained on; the first was refused so: {refusals[0]}")


def refuse_idle_bounds(processor: Any, least: int | None, most: int | None) -> None:
    """Raise `InputError` for bounds of a picture's pixels that the processor would undo."""
    if least is None and most is None:
        return
    looks = getattr(processor, "image_processor", processor)
    if not keeps_resolution(processor):
        raise InputError(
            f"{type(processor).__name__} makes all pictures of one size, so --min_pixels and --max_pixels would only blur them: leave "
            "them out, or take a model whose pictures keep their resolution."
        )
    own = looks.size if within_pixels(looks) else None
    if own and ((most or 0) > own["longest_edge"] or (least or math.inf) < own["shortest_edge"]):
        raise InputError(
            f"The processor itself keeps pictures between {own['shortest_edge']:,} and {own['longest_edge']:,} pixels, so --min_pixels "
            f"{least} and --max_pixels {most} would not hold: stay between them."
        )


def task_templates(wanted: str, rows: Dataset | IterableDataset, most_rows: int = 100_000) -> list[str]:
    """The task sentences that carry no loss: "mine" finds them in `rows`, "none" has none, else a file with one a line."""
    if wanted == "mine":
        return mine_templates(row["messages"] for row in rows.select_columns(["messages"]).take(most_rows))
    if wanted == "none":
        return []
    path = Path(wanted)
    if not path.is_file():
        raise InputError(f"--templates is {wanted!r}: expected mine, none, or a file with one sentence a line.")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def checkpoint_to_resume(asked: str | bool | None, output: Path | str) -> str | None:
    """The checkpoint folder to go on from: a path as it is, "true" for the latest under `output`, `None` to start anew.

    Raises `InputError` where a checkpoint is asked for and there is none.
    """
    from transformers.trainer_utils import get_last_checkpoint

    if asked is None or str(asked).lower() in ("false", "no", ""):
        return None
    path = str(asked)
    if path.lower() in ("true", "yes", "latest"):
        path = get_last_checkpoint(str(output)) if Path(output).is_dir() else None
    if path is None or not Path(path, "trainer_state.json").is_file():
        raise InputError(
            f"There is no checkpoint to resume under {path or output}: expected a folder checkpoint-N with its state."
        )
    return path


def weights_of(model: str, checkpoint: str | None) -> str:
    """Where the model's weights are loaded from: the checkpoint when a full-parameter run goes on.

    The trainer's own resume restores the optimiser but, for LLaVA, none of the weights: it looks for keys by other names
    than the checkpoint has, and only warns. `from_pretrained` renames them. An adapter's checkpoint holds no model.
    """
    whole = checkpoint and Path(checkpoint, "config.json").is_file() and not Path(checkpoint, "adapter_config.json").is_file()
    return checkpoint if whole else model


def dataset_conventions(dataset: str) -> Conventions:
    """The conventions beside a dataset, in a folder or a Hub repository; the defaults if it has none."""
    if Path(dataset).is_dir():
        return Conventions.read(dataset)
    from comvint_hf.dataset.locate import dataset_file

    found = dataset_file(dataset, FILE)
    return Conventions.read(found.parent) if found else Conventions()


def write_conventions(
    folder: Path | str, collator: L2TCollator, dataset: str, model: ModelConfig, loaded_as: Mapping[str, Any] | None = None
) -> None:
    """Write beside the tuned model what serving must know: the dataset's conventions, and how the model was tuned."""
    dataset_conventions(dataset).model_copy(
        update={
            "dataset": dataset,
            "base_model": model.model_name_or_path,
            "base_revision": None if model.model_revision == "main" else model.model_revision,
            "learn": collator.learn,
            "box_dialect": collator.boxes,
            "templates": tuple(collator.templates),
            "min_pixels": collator.min_pixels,
            "max_pixels": collator.max_pixels,
            **(loaded_as or {}),
        }
    ).write(folder)
