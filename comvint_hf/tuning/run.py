"""What a tuning run needs beside TRL: settings, rows that can be trained on, the checkpoint to go on from, conventions.

This file knows flags, datasets' columns and model folders; it knows no loss and no label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import families
from comvint_hf.conventions import FILE, Conventions
from comvint_hf.errors import ComvintError, InputError, ModelError, RowError, first_line
from comvint_hf.tuning.templates import mine_templates

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset
    from trl import ModelConfig, ScriptArguments

    from comvint_hf.tuning.collator import L2TCollator

COLUMNS = ("id", "image_id", "image", "images", "messages")
"""What the collator reads of a row."""


def read_settings(*kinds: type) -> tuple[Any, ...]:
    """Read the flags, and the YAML file that --config names, into one object of each kind. Raises `InputError`."""
    from trl import TrlParser
    from yaml import YAMLError

    usage = "%(prog)s --config FILE.yaml, or --model_name_or_path MODEL --dataset_name DATASET --output_dir DIR; all TRL flags: --help"
    try:
        return TrlParser(kinds, usage=usage).parse_args_and_config()
    except (OSError, ValueError, IndexError, YAMLError) as error:
        said = "--config names no file" if isinstance(error, IndexError) else " ".join(str(error).split())
        step = "here, without a GPU, add --use_cpu --bf16 false" if "use_cpu" in said else "mend the flag or the --config file"
        raise InputError(f"The settings cannot be used ({said}); {step}.") from error


def load_rows(script: ScriptArguments, *, evaluate: bool) -> tuple[Any, Any]:
    """The rows to train on and, with `evaluate`, those held out, else `None`. Raises `InputError`."""
    from datasets import load_dataset

    if not script.dataset_name:
        raise InputError("No dataset is named: give --dataset_name DIR or ORG/NAME.")
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
    with loading(model.model_name_or_path):
        processor = families.load_processor(model.model_name_or_path, model.model_revision)
    family = families.family_of(processor)
    if not family.trl:
        raise ModelError(
            f"TRL's trainer cannot train {family.name}: use L2TCollator with transformers' Trainer, as the README's support table says."
        )
    return processor


@contextmanager
def agreeing() -> Iterator[None]:
    """Say in a sentence why the trainer refuses its settings. Raises `InputError`."""
    try:
        yield
    except ComvintError:
        raise
    except (ValueError, ImportError) as error:
        raise InputError(
            f"The trainer refuses these settings ({first_line(error)}); change them, in --config or as flags."
        ) from error


@contextmanager
def reading() -> Iterator[None]:
    """Say in a sentence what stopped the work on rows, also where it happened in a worker process. Raises `RowError`."""
    try:
        yield
    except RowError as error:
        raise RowError(_own_words(error)) from error
    except OSError as error:
        raise RowError(
            f"A row or a file could not be read or written ({_own_words(error)}): mend the picture or drop its row, or look for room "
            "on the disk. A saved checkpoint goes on with --resume_from_checkpoint true."
        ) from error


def _own_words(error: Exception) -> str:
    """An error's message; of one from a worker process, whose message is a whole traceback, the last line."""
    message = str(error).strip()
    if "\n" not in message:
        return message
    return re.sub(r"^[\w.]+: ", "", message.splitlines()[-1])


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Say in a sentence why a model or its processor cannot be loaded. Raises `ModelError`."""
    try:
        yield
    except ComvintError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"The model {name} cannot be loaded ({first_line(error)}); expected a folder or a Hub name of an image-text-to-text "
            "model with its processor."
        ) from error


def trainable_rows(rows: Dataset | IterableDataset, *, text_only: bool = False) -> Dataset | IterableDataset:
    """Keep the columns that the collator reads, and refuse rows whose pictures were left behind.

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
    return rows.select_columns([name for name in COLUMNS if name in names])


def fitting(rows: Dataset | IterableDataset, collator: L2TCollator) -> Dataset | IterableDataset:
    """Leave out rows that the collator would refuse, when a `max_length` is set or boxes may be cropped away; the first reason is
    printed.

    Otherwise only the first row is read: what is wrong with it is mostly wrong with all, and better known before a model
    is loaded. Raises `RowError` or `ModelError`.
    """
    first = next(iter(rows), None)
    if first is None:
        raise RowError("The dataset has no rows; expected some to train on.")
    if collator.max_length is None and not collator.may_lose_boxes:
        collator([first])
        return rows
    reasons: list[str] = []

    def fits(row: dict[str, Any]) -> bool:
        reason = collator.check(row, length=collator.max_length is not None)
        reasons.extend([reason] if reason else [])
        return reason is None

    kept = rows.filter(fits)
    if hasattr(kept, "__len__") and not len(kept):
        raise RowError(f"No row is left of {len(rows):,}; the first was refused so: {reasons[0]}")
    if reasons:
        print(f"{len(reasons):,} rows are left out; the first: {reasons[0]}")
    return kept


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
    from comvint_hf.data.hub import dataset_file

    found = dataset_file(dataset, FILE)
    return Conventions.read(found.parent) if found else Conventions()


def write_conventions(
    folder: Path | str,
    *,
    dataset: str,
    base_model: str,
    base_revision: str | None = None,
    learn: str,
    templates: Sequence[str],
    boxes: str = "fraction",
) -> None:
    """Write beside the tuned model what serving must know: the dataset's conventions, and how the model was tuned."""
    dataset_conventions(dataset).model_copy(
        update={
            "dataset": dataset,
            "base_model": base_model,
            "base_revision": base_revision,
            "learn": learn,
            "box_dialect": boxes,
            "templates": tuple(templates),
        }
    ).write(folder)
