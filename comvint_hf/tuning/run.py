"""What a tuning run needs beside TRL: rows that can be trained on, the checkpoint to go on from, time left, conventions.

This file knows datasets' columns, model folders and trainer callbacks; it knows no loss and no label.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from comvint_hf.conventions import FILE, Conventions
from comvint_hf.errors import InputError, RowError
from comvint_hf.tuning.templates import mine_templates

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset
    from transformers import TrainingArguments

    from comvint_hf.tuning.collator import L2TCollator

COLUMNS = ("id", "image_id", "image", "images", "messages")
"""What the collator reads of a row."""


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


def steps(training: TrainingArguments, rows: Dataset | IterableDataset) -> int:
    """How many steps the settings ask for, `num_train_epochs` turned into steps. Raises `InputError` for streams, whose length is unknown."""
    from datasets import IterableDataset

    if isinstance(rows, IterableDataset):
        raise InputError(
            "--alike sorts rows by length, and a stream shows one at a time: leave out --dataset_streaming or --alike."
        )
    if training.max_steps > 0:
        return training.max_steps
    at_once = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    return max(1, int(len(rows) * training.num_train_epochs / at_once))


def alike(rows: Dataset, batch: int, batches: int, seed: int = 0, pool: int = 50) -> Dataset:
    """Put rows in an order in which every `batch` of them are of about one length, so that little is padded, for `batches` batches.

    Rows are drawn in epochs, sorted by their text's length in pools of `pool` batches, and the batches are shuffled again. The trainer's
    own `group_by_length` leaves them sorted, so a model is fed one kind of row after another.
    Take it with `--train_sampling_strategy sequential`. Raises `InputError` for fewer rows than a batch.
    """
    import numpy as np

    if len(rows) < batch:
        raise InputError(
            f"There are {len(rows)} rows and a batch takes {batch}: lower --per_device_train_batch_size or leave out --alike."
        )

    lengths = np.array(
        [sum(len(turn["content"]) for turn in messages) for messages in rows.select_columns(["messages"])["messages"]]
    )
    random = np.random.default_rng(seed)
    drawn: list[np.ndarray] = []
    while sum(map(len, drawn)) < batch * batches:
        epoch = random.permutation(len(lengths))
        epoch = epoch[: len(epoch) // batch * batch]
        pools = [
            np.array(part)[np.argsort(lengths[part], kind="stable")]
            for part in np.split(epoch, range(batch * pool, len(epoch), batch * pool))
        ]
        drawn.append(random.permutation(np.concatenate(pools).reshape(-1, batch)).reshape(-1))
    return rows.select(np.concatenate(drawn)[: batch * batches])


def without_long(rows: Dataset | IterableDataset, collator: L2TCollator) -> Dataset | IterableDataset:
    """Leave out rows that the collator would refuse, when a `max_length` is set; the first reason is printed."""
    if collator.max_length is None:
        return rows
    reasons: list[str] = []

    def fits(row: dict[str, Any]) -> bool:
        reason = collator.check(row)
        reasons.extend([reason] if reason else [])
        return reason is None

    kept = rows.filter(fits)
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
    from transformers.utils import cached_file

    found = cached_file(dataset, FILE, repo_type="dataset", _raise_exceptions_for_missing_entries=False)
    return Conventions.read(Path(found).parent) if found else Conventions()


def write_conventions(
    folder: Path | str,
    *,
    dataset: str,
    base_model: str,
    base_revision: str | None = None,
    learn: str,
    templates: Sequence[str],
) -> None:
    """Write beside the tuned model what serving must know: the dataset's conventions, and how the model was tuned."""
    dataset_conventions(dataset).model_copy(
        update={
            "dataset": dataset,
            "base_model": base_model,
            "base_revision": base_revision,
            "learn": learn,
            "templates": tuple(templates),
        }
    ).write(folder)


class TimeLeft(TrainerCallback):
    """Print a line with each log: step, loss, time left. The rate is that of this run, so a resumed one is told right."""

    def __init__(self) -> None:
        self._began, self._first = 0.0, 0

    def on_train_begin(self, args, state, control, **_: Any) -> None:
        self._began, self._first = time.monotonic(), state.global_step

    def on_log(self, args, state, control, logs: dict[str, Any] | None = None, **_: Any) -> None:
        done = state.global_step - self._first
        if not state.is_world_process_zero or not logs or "loss" not in logs or not done:
            return
        left = (time.monotonic() - self._began) / done * (state.max_steps - state.global_step)
        print(
            f"step {state.global_step:,} of {state.max_steps:,} · loss {float(logs['loss']):.3f} · {timedelta(seconds=round(left))} left",
            flush=True,
        )


def quiet_progress(trainer: Any) -> None:
    """Replace the trainer's bar and its dictionaries by `TimeLeft` lines."""
    from transformers import PrinterCallback, ProgressCallback

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(TimeLeft())
