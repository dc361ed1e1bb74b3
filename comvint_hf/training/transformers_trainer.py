"""transformers' own Trainer, called as TRL's SFTTrainer is, for families that the latter cannot train.

SFTTrainer computes the loss from the last hidden state that a model's trunk returns; BLIP-2 and InstructBLIP have their language
model inside and return none. Here the model's own loss is used, over the same labels and the same number of tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import Trainer, set_seed

from comvint_hf.errors import InputError

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel
    from trl import SFTConfig

TRLS_OWN = {
    "packing": False,
    "padding_free": False,
    "assistant_only_loss": False,
    "completion_only_loss": False,
    "loss_type": "nll",
    "activation_offloading": False,
    "chat_template_path": None,
    "eos_token": None,
}
"""Settings that would change the training and that only TRL's trainer knows, with what they are by default."""


class PlainTrainer(Trainer):
    """`Trainer` that takes SFTTrainer's settings and puts the adapter on. Raises `InputError` for settings that only TRL knows."""

    def __init__(self, model: PreTrainedModel, args: SFTConfig, *, peft_config: PeftConfig | None = None, **more: Any) -> None:
        refuse_trls_own(args)
        if peft_config is not None:
            # Adapters begin at random: the same seed gives the same ones, as with SFTTrainer.
            set_seed(args.seed)
            model = with_adapter(model, peft_config, checkpointing=args.gradient_checkpointing)
        super().__init__(model=model, args=args, **more)


def refuse_trls_own(args: SFTConfig) -> None:
    """Raise `InputError` for a setting that TRL's trainer would heed and transformers' does not know."""
    changed = next((name for name, usual in TRLS_OWN.items() if getattr(args, name) not in (usual, None)), None)
    if changed:
        raise InputError(
            f"--{changed} is a setting of TRL's trainer, which cannot train this model family; transformers' Trainer, which does, has "
            "no such setting. Leave it out."
        )


def with_adapter(model: PreTrainedModel, config: PeftConfig, *, checkpointing: bool = False) -> PeftModel:
    """The model with a new adapter on it."""
    from peft import get_peft_model

    adapted = get_peft_model(model, config)
    if checkpointing:
        adapted.enable_input_require_grads()
    return adapted
