"""The trainers of `train/sft.py`: TRL's for most families, transformers' own for those that TRL's cannot train.

Steps, losses and schedules are the libraries' own. What is added: message trees, counts of skipped rows, exact resuming, and a
progress line with the time left.
"""

from __future__ import annotations

import time
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from comvint_hf.errors import InputError, ModelError
from comvint_hf.training.loss_mask import IGNORE_INDEX
from comvint_hf.training.packing.masks import count_mask_tokens, is_tree_mask, to_block_masks
from comvint_hf.training.skip_counts import SkipCountTrainer

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

_LOSS_SETTINGS = ("assistant_only_loss", "completion_only_loss", "loss_type")
TRL_SETTINGS = (*_LOSS_SETTINGS, "packing", "padding_free", "activation_offloading", "chat_template_path", "eos_token")
"""Settings that change the training and that only TRL's trainer knows."""


class L2TTrainer(SkipCountTrainer, SFTTrainer):
    """SFTTrainer for rows and message trees: it counts the tokens of trees, weights evaluations by labels, and supports FlexAttention.

    TRL counts the pairs of tokens that a tree's mask allows (`num_tokens`). It evaluates with the mean over batches, in which trees
    with few and with many rows weigh alike; here the loss is the mean over labels. Raises `ModelError` for FlexAttention without a
    GPU.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        model: Any = self.model
        config = self.accelerator.unwrap_model(model).config.get_text_config()
        if config._attn_implementation == "flex_attention":
            if self.args.device.type == "cpu":
                raise ModelError(
                    "FlexAttention computes no gradients on a CPU: train with --attn_implementation sdpa, or on a GPU."
                )
            # Here, because the batch is on the device only now.
            model.register_forward_pre_hook(convert_block_masks, with_kwargs=True)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # TRL starts at 0 in a resumed run.
        before = self._total_train_tokens = max(self._total_train_tokens, self.skip_counts.tokens)
        mask = inputs["attention_mask"]
        result = super().compute_loss(model, inputs, *args, **kwargs)
        if self._total_train_tokens != before and is_tree_mask(mask):
            self._total_train_tokens = before + self.accelerator.gather(count_mask_tokens(mask)).sum().item()
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        self.skip_counts.tokens = self._total_train_tokens
        return result

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        self._loss_sums: list[torch.Tensor] = []
        output = super().evaluation_loop(*args, **kwargs)
        if self._loss_sums:
            metrics: Any = output.metrics
            loss, labels = torch.stack(self._loss_sums).sum(0).tolist()
            metrics[next(name for name in metrics if name.endswith("_loss"))] = loss / labels
        return output

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # Weighted by labels, because batches of trees differ in their number of rows.
        labels = (inputs["labels"][:, 1:] != IGNORE_INDEX).sum().float() * self._unpadded_share()
        result = super().prediction_step(model, inputs, *args, **kwargs)
        sums = torch.stack([result[0].float() * labels.to(result[0].device), labels.to(result[0].device)])
        self._loss_sums.append(self.accelerator.gather(sums[None]).cpu().double().sum(0))
        return result

    def _unpadded_share(self) -> float:
        """The share of this process's batch that was not repeated to fill the last round of all processes."""
        state, size = self.accelerator.gradient_state, self.args.eval_batch_size
        if self.accelerator.num_processes == 1 or not state.end_of_dataloader or state.remainder <= 0:
            return 1.0
        return min(max(state.remainder - self.accelerator.process_index * size, 0), size) / size


class TransformersTrainer(SkipCountTrainer):
    """transformers' `Trainer` with SFTTrainer's settings, for families that the latter cannot train; it adds the adapter.

    SFTTrainer computes the loss from the last hidden state of a model's trunk; BLIP-2 and InstructBLIP have their language model
    inside and return none. Here the model's own loss is used, over the same labels and the same number of tokens. Raises
    `InputError` for settings that only TRL knows.
    """

    def __init__(self, model: PreTrainedModel, args: SFTConfig, *, peft_config: PeftConfig | None = None, **kwargs: Any) -> None:
        check_no_trl_settings(args)
        trained: PreTrainedModel | PeftModel = model
        if peft_config is not None:
            # Adapters start at random: the same seed gives the same ones as SFTTrainer would.
            set_seed(args.seed)
            trained = add_adapter(model, peft_config, checkpointing=args.gradient_checkpointing)
        super().__init__(model=trained, args=args, **kwargs)


def check_no_trl_settings(args: SFTConfig) -> None:
    """Raise `InputError` for a setting that TRL's trainer would heed and transformers' does not know."""
    defaults = {field.name: field.default for field in fields(SFTConfig)}
    if changed := next((name for name in TRL_SETTINGS if getattr(args, name) not in (defaults[name], None)), None):
        raise InputError(
            f"--{changed} is a setting of TRL's trainer, which cannot train this model family; transformers' Trainer, which can, has "
            "no such setting. Leave it out."
        )


def add_adapter(model: PreTrainedModel, config: PeftConfig, *, checkpointing: bool = False) -> PeftModel:
    """Put a new adapter on the model."""
    from peft import get_peft_model

    adapted: Any = get_peft_model(model, config)
    if checkpointing:
        adapted.enable_input_require_grads()
    return adapted


def convert_block_masks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Make FlexAttention's masks on the device of the batch: a hook before a model's forward pass."""
    return args, {**kwargs, "attention_mask": to_block_masks(kwargs.get("attention_mask"))}


class ProgressLineCallback(TrainerCallback):
    """Print a line with each log: step, loss, time left. The rate is that of this run, so a resumed run has a correct estimate."""

    def __init__(self) -> None:
        self._start_time, self._start_step = 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._start_time, self._start_step = time.monotonic(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        done = state.global_step - self._start_step
        if not state.is_world_process_zero or not logs or "loss" not in logs or not done:
            return
        left = (time.monotonic() - self._start_time) / done * (state.max_steps - state.global_step)
        print(
            f"step {state.global_step:,} of {state.max_steps:,} · loss {float(logs['loss']):.3f} · {timedelta(seconds=round(left))} left",
            flush=True,
        )


def use_progress_lines(trainer: Any) -> None:
    """Replace the trainer's progress bar and log dictionaries by `ProgressLineCallback`."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(ProgressLineCallback())
