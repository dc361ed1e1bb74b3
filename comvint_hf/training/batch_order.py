"""In which order rows are trained on: batches of like length, and for message trees the rows of one image together.

Both are said as a dataset, so that any trainer's own sampling, sharding and resuming go on working. This file knows datasets'
columns and how many entries a batch takes; it knows no collator, no model and no label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from comvint_hf.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset
    from transformers import TrainingArguments

PICTURES = ("images", "image")
PLACES, LENGTH = "places", "length"
"""The columns of a dataset of trees: the row numbers of each, and how many characters they hold."""


def arranged(
    rows: Dataset | IterableDataset,
    training: TrainingArguments,
    *,
    alike: bool = False,
    pack: str | None = None,
    branches: int = 64,
) -> Dataset | IterableDataset:
    """Rows as training shall meet them, and `training` told how to take them.

    With `pack="tree"` an entry is an image with its rows, at most `branches` of them; a stream is taken as it comes. With
    `alike` batches are of about one length, in random order. Raises `InputError` where the rows do not allow it.
    """
    if pack == "tree":
        training.remove_unused_columns = False
        rows = rows if streams(rows) else by_tree(rows, branches)
    if not alike:
        return rows
    training.train_sampling_strategy, training.max_steps = "sequential", steps(training, rows)
    batches = training.max_steps * training.gradient_accumulation_steps * training.world_size
    return in_like_batches(rows, training.train_batch_size, batches, training.seed)


def arranged_for_evaluation(rows: Dataset, *, alike: bool = False, pack: str | None = None, branches: int = 64) -> Dataset:
    """Rows as evaluation shall meet them: each once, as trees with `pack="tree"`, the short ones first with `alike`."""
    if pack == "tree" and not streams(rows):
        rows = by_tree(rows, branches)
    return rows.select(np.argsort(lengths(rows), kind="stable")) if alike and not streams(rows) else rows


def streams(rows: Any) -> bool:
    """Whether rows come one after another, without a length."""
    return not hasattr(rows, "__len__")


def steps(training: TrainingArguments, rows: Dataset | IterableDataset) -> int:
    """How many steps the settings ask for, `num_train_epochs` turned into steps. Raises `InputError` for streams."""
    if streams(rows):
        raise InputError(
            "--alike sorts rows by length, and a stream shows one at a time: leave out --dataset_streaming or --alike."
        )
    if training.max_steps > 0:
        return training.max_steps
    at_once = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    return max(1, int(len(rows) * training.num_train_epochs / at_once))


def lengths(rows: Dataset) -> np.ndarray:
    """How many characters each entry's texts have, `[N]` int64."""
    if LENGTH in rows.column_names:
        return np.array(rows.with_format(None)[LENGTH][:])
    return np.array(
        [sum(len(turn["content"]) for turn in messages) for messages in rows.select_columns(["messages"])["messages"]]
    )


def in_like_batches(rows: Dataset, batch: int, batches: int, seed: int = 0, pool: int = 50) -> Dataset:
    """Put rows in an order in which every `batch` of them are of about one length, so that little is padded, for `batches` batches.

    Rows are drawn in epochs, sorted by their text's length in pools of `pool` batches, and the batches are shuffled again. The trainer's
    own `group_by_length` leaves them sorted, so a model is fed one kind of row after another.
    Take it with `--train_sampling_strategy sequential`: processes then get whole batches in turn. Raises `InputError` for fewer rows than a batch.
    """
    if len(rows) < batch:
        raise InputError(
            f"There are {len(rows)} rows and a batch takes {batch}: lower --per_device_train_batch_size or leave out --alike."
        )
    long = lengths(rows)
    random = np.random.default_rng(seed)
    drawn: list[np.ndarray] = []
    while sum(map(len, drawn)) < batch * batches:
        epoch = random.permutation(len(long))
        epoch = epoch[: len(epoch) // batch * batch]
        pools = [
            np.array(part)[np.argsort(long[part], kind="stable")]
            for part in np.split(epoch, range(batch * pool, len(epoch), batch * pool))
        ]
        drawn.append(random.permutation(np.concatenate(pools).reshape(-1, batch)).reshape(-1))
    return rows.select(np.concatenate(drawn)[: batch * batches])


def by_tree(rows: Dataset, most: int = 64) -> Dataset:
    """A dataset whose entries are images: `rows` lists all rows of one, dealt out evenly to several entries if over `most`.

    A row without an `image_id` is an entry of its own. Pictures are decoded once an entry, when it is asked for. Raises
    `InputError` for rows that do not name their image.
    """
    if "image_id" not in rows.column_names or not set(PICTURES) & set(rows.column_names):
        raise InputError(
            "--pack tree lays out the rows of one image together, and these rows have not both a column `image_id` and a column "
            f"`images` but {', '.join(rows.column_names)}: add them, or leave out --pack."
        )
    if most < 1:
        raise InputError(f"--branches is {most}: expected how many rows of one image a sequence may hold, 1 or more.")
    groups: dict[Any, list[int]] = {}
    for place, image_id in enumerate(rows.select_columns(["image_id"])["image_id"]):
        groups.setdefault(image_id or (place,), []).append(place)
    parts = [part for group in groups.values() for part in np.array_split(group, -(-len(group) // most))]
    long = lengths(rows)
    columns = {PLACES: [part.tolist() for part in parts], LENGTH: [int(long[part].sum()) for part in parts]}
    return type(rows).from_dict(columns).with_transform(_Together(rows))


@dataclass(frozen=True)
class _Together:
    """Reads the rows that a tree's places name; they share one decoded picture."""

    rows: Dataset

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        pictures = next(name for name in PICTURES if name in self.rows.column_names)
        texts = self.rows.remove_columns(pictures)
        entries: dict[str, list[Any]] = {"rows": [], pictures: []}
        for places in batch[PLACES]:
            picture = self.rows[places[0]][pictures]
            entries["rows"].append([{**texts[place], pictures: picture} for place in places])
            entries[pictures].append(picture)
        return entries
