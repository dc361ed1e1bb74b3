"""TRL's trainer with a few things told better: how long is left, and what a batch of message trees is.

Its steps, losses and schedules are TRL's own.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import SFTTrainer

from comvint_hf.errors import ModelError
from comvint_hf.training.collator import IGNORED
from comvint_hf.training.packing.masks import as_block_masks, is_of_trees, tokens_in


class TreeTrainer(SFTTrainer):
    """SFTTrainer for message trees: it counts their tokens, weights them in evaluation, and makes FlexAttention's masks.

    TRL counts the pairs of tokens that a tree's mask allows (`num_tokens`), and takes the mean of batches for evaluation, where
    trees hold few rows or many: here the loss is that of a mean label. Raises `ModelError` for FlexAttention without a GPU.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        config = self.accelerator.unwrap_model(self.model).config.get_text_config()
        if config._attn_implementation == "flex_attention":
            if self.args.device.type == "cpu":
                raise ModelError(
                    "FlexAttention computes no gradients on a CPU: train with --attn_implementation sdpa, or on a GPU."
                )
            self.model.register_forward_pre_hook(with_block_masks, with_kwargs=True)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **more: Any) -> Any:
        before, mask = self._total_train_tokens, inputs["attention_mask"]
        result = super().compute_loss(model, inputs, *arguments, **more)
        if self._total_train_tokens != before and is_of_trees(mask):
            self._total_train_tokens = before + self.accelerator.gather(tokens_in(mask)).sum().item()
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return result

    def evaluation_loop(self, *arguments: Any, **more: Any) -> Any:
        self._evaluated: list[torch.Tensor] = []
        output = super().evaluation_loop(*arguments, **more)
        if self._evaluated:
            loss, labels = torch.stack(self._evaluated).sum(0).tolist()
            name = next(name for name in output.metrics if name.endswith("_loss"))
            output.metrics[name] = loss / labels
        return output

    def prediction_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **more: Any) -> Any:
        labels = (inputs["labels"][:, 1:] != IGNORED).sum().float() * self._fresh()
        result = super().prediction_step(model, inputs, *arguments, **more)
        both = torch.stack([result[0].float() * labels.to(result[0].device), labels.to(result[0].device)])
        self._evaluated.append(self.accelerator.gather(both[None]).cpu().double().sum(0))
        return result

    def _fresh(self) -> float:
        """The share of this process's batch that is not there to fill up the last round of all processes."""
        state, size = self.accelerator.gradient_state, self.args.eval_batch_size
        if self.accelerator.num_processes == 1 or not state.end_of_dataloader or state.remainder <= 0:
            return 1.0
        return min(max(state.remainder - self.accelerator.process_index * size, 0), size) / size


def with_block_masks(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A hook before a model's forward pass: FlexAttention's masks are made on the device, where the batch already is."""
    return arguments, {**named, "attention_mask": as_block_masks(named.get("attention_mask"))}


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
