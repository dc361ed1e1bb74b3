"""Counts of the rows that a collator left out, through workers, processes and a resumed run.

The counts travel inside the batches, so rows that were prepared and never trained on are not counted. The trainer takes them out of
the batches, sums them over all processes and keeps them in its state, which checkpoints hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from comvint_hf.errors import RowError
from comvint_hf.training.resuming import ResumableTrainer
from comvint_hf.training.rows import Entry
from comvint_hf.training.skip_rows import NONE_LEFT, find_row_error

if TYPE_CHECKING:
    import torch

    from comvint_hf.training.collator import L2TCollator

SKIPPED = "skipped_rows"
"""The key of the counts in a batch, `[B, len(REASONS)]` int64, to be summed over B; so it may be sliced like the rest of the batch."""
REASONS = ("image not readable", "no image", "too long", "box not convertible", "nothing to learn", "not usable")
"""Every `RowError.reason` of a collator, in the order of the counts in a batch."""
MAX_EMPTY_BATCHES = 20
"""After so many empty batches in a row, more is wrong than a few rows."""


@dataclass
class SkipCountingCollator:
    """A collator whose batches carry the counts of skipped rows; a batch with no row left trains nothing."""

    collator: L2TCollator
    _empty: int = field(default=0, init=False)

    def __call__(self, rows: Sequence[Entry]) -> dict[str, torch.Tensor]:
        import torch

        # `skipped` counts on in this worker; the batch carries the difference.
        before = self.collator.skipped.copy()
        try:
            batch = self.collator(rows)
            self._empty = 0
        except RowError as error:
            if error.reason != NONE_LEFT:
                raise
            self._empty += 1
            if self._empty == MAX_EMPTY_BATCHES:
                raise RowError(f"{MAX_EMPTY_BATCHES} batches in a row had nothing to train on; the last one: {error}") from error
            batch = self.collator.make_empty_batch()
        counts = torch.zeros(len(batch["labels"]), len(REASONS), dtype=torch.long)
        counts[0] = torch.tensor([self.collator.skipped[reason] - before[reason] for reason in REASONS])
        return {**batch, SKIPPED: counts}


def select_trainable_rows(rows: Any, collator: L2TCollator) -> Any:
    """Select the rows of an evaluation that the collator accepts, counting the others in its `skipped`; a stream is returned as it is.

    Otherwise each evaluation would meet the bad rows again, and a batch with no row left would count as a loss of 0.
    """
    if not hasattr(rows, "__len__"):
        return rows
    errors = [find_row_error(lambda row: collator.collate([row]), row) for row in rows]
    collator.count_skipped([error for error in errors if error is not None])
    return rows.select([index for index, error in enumerate(errors) if error is None]) if any(errors) else rows


def format_skip_counts(stage: str, counts: Mapping[str, int]) -> str:
    """Format how many rows were left out of `stage` ("training"), by reason."""
    if not counts:
        return f"No row was left out of {stage}."
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    total = sum(counts.values())
    return f"{total:,} {'row was' if total == 1 else 'rows were'} left out of {stage}: {reasons}."


class SkipCountCallback(TrainerCallback, ExportableState):
    """The rows left out of training so far, by reason, and the tokens seen; part of the trainer's state, so a resumed run continues it."""

    def __init__(self) -> None:
        self.skipped: dict[str, int] = {}
        self.tokens = 0

    def add(self, counts: Sequence[int]) -> None:
        """Add the counts of `REASONS`."""
        for reason, count in zip(REASONS, counts, strict=True):
            if count:
                self.skipped[reason] = self.skipped.get(reason, 0) + count

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"skipped": dict(self.skipped), "tokens": self.tokens}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if saved := state.stateful_callbacks.get(type(self).__name__):
            self.skipped, self.tokens = dict(saved["attributes"]["skipped"]), saved["attributes"]["tokens"]

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.stateful_callbacks[type(self).__name__] = self.state()

    def __str__(self) -> str:
        return format_skip_counts("training", self.skipped)


class SkipCountTrainer(ResumableTrainer):
    """A `Trainer` that counts the rows left out by a `SkipCountingCollator` and resumes exactly; a base for trainers of either kind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.skip_counts = SkipCountCallback()
        self.add_callback(self.skip_counts)
        self._eval_counts = [0] * len(REASONS)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate, and print what was left out: of a stream, nobody knows before."""
        import torch

        self._eval_counts = [0] * len(REASONS)
        metrics = super().evaluate(*args, **kwargs)
        total = SkipCountCallback()
        total.add(self.accelerator.gather(torch.tensor([self._eval_counts], device=self.accelerator.device)).sum(0).tolist())
        if total.skipped and self.is_world_process_zero():
            print(format_skip_counts("evaluation", total.skipped))
        return metrics

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self._count_skipped(inputs)
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Load a checkpoint and keep the dtype of trained weights: PEFT would turn an adapter into float32, and change its steps."""
        assert self.model is not None
        before = {name: weights.dtype for name, weights in self.model.named_parameters() if weights.requires_grad}
        super()._load_from_checkpoint(*args, **kwargs)
        for name, weights in self.model.named_parameters():
            if weights.dtype != before.get(name, weights.dtype):
                weights.data = weights.data.to(before[name])

    def _count_skipped(self, inputs: dict[str, Any]) -> None:
        """Take the counts out of a batch and add them up; those of training at once over all processes."""
        counts = inputs.pop(SKIPPED, None)
        if counts is None:
            return
        counts = counts.sum(0, keepdim=True)
        assert self.model is not None
        # Every process needs the sum at each step, because the checkpoint holds it.
        if self.model.training:
            self.skip_counts.add(self.accelerator.gather(counts).sum(0).tolist())
        else:
            self._eval_counts = [sum(pair) for pair in zip(self._eval_counts, counts[0].tolist(), strict=True)]
