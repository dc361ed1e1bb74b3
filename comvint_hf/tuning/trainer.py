"""TRL's trainer with two things told better: how long is left, and how many tokens a message tree has."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import SFTTrainer

from comvint_hf.tuning.tree import tokens_in


class TreeTrainer(SFTTrainer):
    """SFTTrainer that counts a tree's tokens (`num_tokens`), where TRL counts the pairs of tokens that its mask allows."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **more: Any) -> Any:
        before, mask = self._total_train_tokens, inputs["attention_mask"]
        result = super().compute_loss(model, inputs, *arguments, **more)
        if self._total_train_tokens != before and mask.dim() == 4:
            self._total_train_tokens = before + self.accelerator.gather_for_metrics(tokens_in(mask)).sum().item()
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return result


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
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(TimeLeft())
