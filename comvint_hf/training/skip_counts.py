"""The trainer of `train/sft.py`: it counts the rows its collator left out, through workers, processes and a resumed run.

The counts travel inside the batches, so what was prepared and never learnt is not counted; the trainer takes them out again, adds
them up over all processes and keeps them in its state, which checkpoints hold. It knows no reason but by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from comvint_hf.errors import RowError
from comvint_hf.training.skip_rows import NONE_LEFT, learns_nothing
from comvint_hf.training.trainer import TreeTrainer
from comvint_hf.training.transformers_trainer import PlainTrainer

if TYPE_CHECKING:
    import torch

    from comvint_hf.training.collator import L2TCollator

SKIPPED = "skipped_rows"
REASONS = ("picture not readable", "no picture", "too long", "box not sayable", "nothing to learn", "not usable")
"""Every `RowError.reason` that a collator gives, in the order of the numbers in a batch."""
EMPTY_IN_A_ROW = 20
"""After so many batches of which nothing was left, something is wrong with more than a few rows."""


@dataclass
class Telling:
    """A collator whose batches tell what was left out of them; one with no row left learns nothing.

    `SKIPPED` is `[B, len(REASONS)]` int64, to be summed over B, so that it may be sliced like all else in a batch.
    """

    collator: L2TCollator
    _empty: int = field(default=0, init=False)

    def __call__(self, rows: Sequence[Any]) -> dict[str, torch.Tensor]:
        import torch

        before = self.collator.skipped.copy()
        try:
            batch = self.collator(rows)
            self._empty = 0
        except RowError as error:
            if error.reason != NONE_LEFT:
                raise
            self._refuse_another(error)
            batch = learns_nothing(self.collator)
        numbers = torch.zeros(len(batch["labels"]), len(REASONS), dtype=torch.long)
        numbers[0] = torch.tensor([self.collator.skipped[reason] - before[reason] for reason in REASONS])
        return {**batch, SKIPPED: numbers}

    def _refuse_another(self, error: RowError) -> None:
        self._empty += 1
        if self._empty == EMPTY_IN_A_ROW:
            raise RowError(f"{EMPTY_IN_A_ROW} batches in a row had nothing to train on; in the last one: {error}") from error


class Counted(TrainerCallback, ExportableState):
    """The rows left out of training so far, by reason, and the tokens seen; part of the trainer's state, so a resumed run counts on."""

    def __init__(self) -> None:
        self.skipped: dict[str, int] = {}
        self.tokens = 0

    def add(self, numbers: Sequence[int]) -> None:
        """Add to each of `REASONS` its number."""
        for reason, number in zip(REASONS, numbers, strict=True):
            if number:
                self.skipped[reason] = self.skipped.get(reason, 0) + number

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"skipped": dict(self.skipped), "tokens": self.tokens}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if kept := state.stateful_callbacks.get(type(self).__name__):
            self.skipped, self.tokens = dict(kept["attributes"]["skipped"]), kept["attributes"]["tokens"]

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.stateful_callbacks[type(self).__name__] = self.state()

    def __str__(self) -> str:
        return told("training", self.skipped)


def told(what: str, counts: Mapping[str, int]) -> str:
    """Say how many rows were left out of `what`, and why."""
    if not counts:
        return f"No row was left out of {what}."
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in counts.items())
    number = sum(counts.values())
    return f"{number:,} {'row was' if number == 1 else 'rows were'} left out of {what}: {reasons}."


class Counting:
    """What is told to a trainer of either kind by its collator (`Telling`), and exact resuming; mixed in before the trainer."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.counted = Counted()
        self.add_callback(self.counted)
        self._unseen = [0] * len(REASONS)

    def evaluate(self, *arguments: Any, **more: Any) -> dict[str, float]:
        """Evaluate, and say what was left out of it: of a stream, nobody knows before."""
        import torch

        self._unseen = [0] * len(REASONS)
        figures = super().evaluate(*arguments, **more)
        left = Counted()
        left.add(self.accelerator.gather(torch.tensor([self._unseen], device=self.accelerator.device)).sum(0).tolist())
        if left.skipped and self.is_world_process_zero():
            print(told("evaluation", left.skipped))
        return figures

    def _load_from_checkpoint(self, *arguments: Any, **more: Any) -> None:
        """As before, but trained weights keep their precision: PEFT would make an adapter's float32 on the way, and other steps of it."""
        before = {name: one.dtype for name, one in self.model.named_parameters() if one.requires_grad}
        super()._load_from_checkpoint(*arguments, **more)
        for name, one in self.model.named_parameters():
            if one.dtype != before.get(name, one.dtype):
                one.data = one.data.to(before[name])

    def _count(self, inputs: dict[str, Any]) -> None:
        """Take the numbers of rows left out of a batch, and add them up; those of training at once over all processes."""
        numbers = inputs.pop(SKIPPED, None)
        if numbers is None:
            return
        numbers = numbers.sum(0, keepdim=True)
        if self.model.training:
            self.counted.add(self.accelerator.gather(numbers).sum(0).tolist())
        else:
            self._unseen = [before + here for before, here in zip(self._unseen, numbers[0].tolist(), strict=True)]


class Tuner(Counting, TreeTrainer):
    """TRL's trainer for rows and message trees: told by its collator (`Telling`) what was left out, and exact in resuming."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **more: Any) -> Any:
        self._count(inputs)
        # TRL begins at 0 again in a resumed run.
        self._total_train_tokens = max(self._total_train_tokens, self.counted.tokens)
        result = super().compute_loss(model, inputs, *arguments, **more)
        self.counted.tokens = self._total_train_tokens
        return result


class PlainTuner(Counting, PlainTrainer):
    """The same for the families that TRL's trainer cannot train."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **more: Any) -> Any:
        self._count(inputs)
        return super().compute_loss(model, inputs, *arguments, **more)
