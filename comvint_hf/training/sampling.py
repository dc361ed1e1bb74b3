"""The order in which rows are trained on: batches of similar length, and for message trees the rows of one image together.

The order is expressed as a dataset, so any trainer's own sampling, sharding and resuming still work. This module knows dataset
columns and batch sizes; it knows no collator, no model and no label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comvint_hf.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset
    from transformers import TrainingArguments

IMAGE_COLUMNS = ("images", "image")
INDICES, LENGTH = "indices", "length"
"""The columns of a dataset of trees: the row numbers of each tree, and how many characters they hold."""


def order_rows(
    rows: Dataset | IterableDataset,
    training_args: TrainingArguments,
    *,
    by_length: bool = False,
    pack: str | None = None,
    branches: int = 64,
) -> Dataset | IterableDataset:
    """Put rows in their training order, and set `training_args` to keep it.

    With `pack="tree"` an entry is an image with its rows, at most `branches` of them; a stream is returned as it is. With `by_length`
    batches hold rows of similar length, in random order. Raises `InputError` where the rows do not allow it.
    """
    if pack == "tree":
        training_args.remove_unused_columns = False
        rows = rows if is_streaming(rows) else group_by_image(rows, branches)
    if not by_length:
        return rows
    training_args.train_sampling_strategy, training_args.max_steps = "sequential", count_steps(training_args, rows)
    # The order is a dataset of its own that holds every epoch, so its length has to be known now.
    batches = training_args.max_steps * training_args.gradient_accumulation_steps * training_args.world_size
    return group_by_length(rows, training_args.train_batch_size, batches, training_args.seed)


def order_eval_rows(rows: Dataset, *, by_length: bool = False, pack: str | None = None, branches: int = 64) -> Dataset:
    """Put rows in their evaluation order: each once, as trees with `pack="tree"`, short ones first with `by_length`."""
    if pack == "tree" and not is_streaming(rows):
        rows = group_by_image(rows, branches)
    return rows.select(np.argsort(compute_lengths(rows), kind="stable")) if by_length and not is_streaming(rows) else rows


def is_streaming(rows: Any) -> bool:
    """Whether rows come one after another, without a length."""
    return not hasattr(rows, "__len__")


def count_steps(training_args: TrainingArguments, rows: Dataset | IterableDataset) -> int:
    """Count the training steps, converting `num_train_epochs`. Raises `InputError` for streams."""
    if is_streaming(rows):
        raise InputError("--alike sorts rows by length, which a stream does not allow: leave out --dataset_streaming or --alike.")
    if training_args.max_steps > 0:
        return training_args.max_steps
    rows_per_step = training_args.train_batch_size * training_args.gradient_accumulation_steps * training_args.world_size
    return max(1, int(len(rows) * training_args.num_train_epochs / rows_per_step))


def compute_lengths(rows: Dataset) -> np.ndarray:
    """Compute the number of characters of each entry's texts, `[N]` int64."""
    if LENGTH in rows.column_names:
        return np.array(rows.with_format(None)[LENGTH][:])
    messages = rows.select_columns(["messages"])["messages"]
    return np.array([sum(len(message["content"]) for message in row) for row in messages])


def group_by_length(rows: Dataset, batch_size: int, batches: int, seed: int = 0, pool: int = 50) -> Dataset:
    """Order rows so that every `batch_size` of them have similar lengths and little is padded, for `batches` batches.

    Rows are drawn in epochs, sorted by text length in pools of `pool` batches, and the batches are shuffled again; the trainer's
    own `group_by_length` leaves them sorted, so a model meets one kind of row after another. Use the result with
    `--train_sampling_strategy sequential`: processes then get whole batches in turn. Raises `InputError` for fewer rows than a batch.
    """
    if len(rows) < batch_size:
        raise InputError(
            f"There are {len(rows)} rows and a batch takes {batch_size}: lower --per_device_train_batch_size or leave out --alike."
        )
    lengths = compute_lengths(rows)
    random = np.random.default_rng(seed)
    order: list[np.ndarray] = []
    while sum(map(len, order)) < batch_size * batches:
        epoch = random.permutation(len(lengths))
        # Whole batches only, so that no batch mixes two epochs.
        epoch = epoch[: len(epoch) // batch_size * batch_size]
        pools = [
            np.array(part)[np.argsort(lengths[part], kind="stable")]
            for part in np.split(epoch, range(batch_size * pool, len(epoch), batch_size * pool))
        ]
        order.append(random.permutation(np.concatenate(pools).reshape(-1, batch_size)).reshape(-1))
    return rows.select(np.concatenate(order)[: batch_size * batches])


def group_by_image(rows: Dataset, max_rows: int = 64) -> Dataset:
    """Group rows by image: each entry's `rows` are the rows of one image, split evenly over several entries if over `max_rows`.

    A row without an `image_id` is an entry of its own. Images are decoded once per entry, on access. Raises `InputError` for rows
    that do not name their image.
    """
    if "image_id" not in rows.column_names or not set(IMAGE_COLUMNS) & set(rows.column_names):
        raise InputError(
            "--pack tree lays out the rows of one image together, which needs the columns `image_id` and `images`; the rows have "
            f"{', '.join(rows.column_names)}: add the missing one, or leave out --pack."
        )
    if max_rows < 1:
        raise InputError(f"--branches is {max_rows}: expected how many rows of one image a sequence may hold, 1 or more.")
    groups: dict[Any, list[int]] = {}
    for index, image_id in enumerate(rows.select_columns(["image_id"])["image_id"]):
        # A tuple cannot be equal to an image_id.
        groups.setdefault(image_id or (index,), []).append(index)
    parts = [part for group in groups.values() for part in np.array_split(group, -(-len(group) // max_rows))]
    lengths = compute_lengths(rows)
    columns = {INDICES: [part.tolist() for part in parts], LENGTH: [int(lengths[part].sum()) for part in parts]}
    return type(rows).from_dict(columns).with_transform(_GroupReader(rows))


@dataclass(frozen=True)
class _GroupReader:
    """Reads the rows of a group's indices; they share one decoded image."""

    rows: Dataset

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        column = next(name for name in IMAGE_COLUMNS if name in self.rows.column_names)
        texts = self.rows.remove_columns(column)
        entries: dict[str, list[Any]] = {"rows": [], column: []}
        for indices in batch[INDICES]:
            images = self.rows[indices[0]][column]
            entries["rows"].append([{**texts[index], column: images} for index in indices])
            entries[column].append(images)
        return entries
