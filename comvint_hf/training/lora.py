"""Choose which modules of a multimodal model are quantised and trained, and check the loaded model for it.

Quantisation helpers take every linear layer they can find, and LoRA target names also match the vision tower. So both are chosen
by full path, read from the model's own structure, and then checked on the modules that were really loaded. This module knows
transformers and peft models; it knows no dataset and no trainer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from comvint_hf.errors import ModelError

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig
    from torch import nn
    from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel
    from trl import ModelConfig


class ParameterGroup(NamedTuple):
    """One line of the parameter table: a part of the model, its storage, and how many of its parameters are trained."""

    name: str
    parameters: int
    stored: str
    trained: int


def build_meta_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Build a model without weights, only to read its structure: nothing is allocated."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def find_decoder_path(model: nn.Module) -> str:
    """Find the full path of the language model inside a multimodal model, such as "model.language_model".

    Raises `ModelError` where the model does not name its language model.
    """
    base = _get_base(model)
    found, decoder = None, _get_decoder(base)
    # A multimodal decoder may itself wrap the decoder, for example BLIP-2 around OPT.
    while decoder is not None and decoder is not found:
        found, decoder = decoder, _get_decoder(decoder)
    path = next((name for name, module in base.named_modules() if module is found), "")
    if not path:
        raise ModelError(
            f"{type(base).__name__} does not say which of its modules is the language model; expected get_decoder() to name one. "
            "Give LoRA targets and modules to skip by hand (--lora_target_modules)."
        )
    return path


def find_other_modules(model: nn.Module) -> list[str]:
    """Find the full paths of all modules outside the language model, the output head included; they must not be quantised.

    transformers silently ignores a bare "vision_tower"; the name must be "model.vision_tower".
    """
    path = find_decoder_path(model)
    parents = {".".join(path.split(".")[:depth]) for depth in range(path.count(".") + 1)}
    children = [
        f"{parent}.{name}".lstrip(".") for parent in sorted(parents) for name, _ in model.get_submodule(parent).named_children()
    ]
    return [name for name in children if name != path and name not in parents]


def find_projector_modules(model: nn.Module, paths: Iterable[str]) -> list[str]:
    """Find the full paths of the projector's modules: those of the family's `paths` that exist; a module list gives its entries."""
    from torch import nn

    modules = dict(_get_base(model).named_modules())
    found: list[str] = []
    for name in (name for path in paths for name in (path, f"model.{path}") if name in modules):
        module = modules[name]
        found += [f"{name}.{index}" for index in range(len(module))] if isinstance(module, nn.ModuleList) else [name]
    return found


def limit_to_decoder(quantization: BitsAndBytesConfig | None, config: PreTrainedConfig) -> BitsAndBytesConfig | None:
    """Limit a quantisation, if there is one, to the language model's layers."""
    if quantization is not None:
        quantization.llm_int8_skip_modules = find_other_modules(build_meta_model(config))
    return quantization


def build_lora_targets(model: nn.Module) -> str:
    """Build a regular expression that matches each linear layer of the language model by its full path, and nothing else."""
    path = find_decoder_path(model)
    names = sorted({name.rpartition(".")[2] for name, _ in _named_linear_layers(model) if name.startswith(f"{path}.")})
    if not names:
        raise ModelError(f"The language model at {path} has no linear layer that LoRA could be put on.")
    return rf"{re.escape(path)}\.(?:.*\.)?(?:{'|'.join(map(re.escape, names))})"


def make_peft_config(
    model: nn.Module, model_args: ModelConfig, projector: Collection[str] = (), *, train_projector: bool = False
) -> PeftConfig | None:
    """Make the adapter's settings from the flags, or `None` without --use_peft.

    Unless --lora_target_modules says otherwise, the adapter covers the language model only. Raises `ModelError` where the projector
    is to be trained and not known.
    """
    from trl import get_peft_config

    config: Any = get_peft_config(model_args)
    if config is None:
        return None
    if config.target_modules is None:
        config.target_modules = build_lora_targets(model)
    if train_projector and not projector:
        raise ModelError(f"The family of {type(model).__name__} is not known: name its projector with --lora_modules_to_save.")
    if train_projector:
        config.modules_to_save = [*(config.modules_to_save or ()), *projector]
    return config


def check_model(model: nn.Module, modules_to_save: Collection[str] = ()) -> None:
    """Check which modules of a loaded model are quantised, if that was asked for, and trained, if it has an adapter.

    `modules_to_save` are trained whole beside the adapter. Raises `ModelError`.
    """
    if is_quantized(model) or getattr(_get_base(model), "is_quantized", False):
        check_quantized_modules(model)
    if any("lora_" in name for name, _ in model.named_parameters()):
        check_adapter_modules(model, modules_to_save)


def is_quantized(model: nn.Module) -> bool:
    """Whether any parameter is stored in 4 or 8 bits."""
    return any(is_packed(parameter) for parameter in model.parameters())


def check_quantized_modules(model: nn.Module) -> None:
    """Raise `ModelError` unless exactly the language model's linear layers are stored in 4 or 8 bits."""
    path, base = find_decoder_path(model), _get_base(model)
    expected = {name for name, _ in _named_linear_layers(base) if name.startswith(f"{path}.")}
    packed = {name.rpartition(".")[0].removesuffix(".base_layer") for name, held in base.named_parameters() if is_packed(held)}
    if unexpected := sorted(packed - expected):
        raise ModelError(f"{unexpected[0]} was quantised; expected only linear layers under {path}. Check llm_int8_skip_modules.")
    if missing := sorted(expected - packed):
        raise ModelError(
            f"{missing[0]} was not quantised; expected all linear layers under {path} to be. Check the quantisation config."
        )


def check_adapter_modules(model: nn.Module, modules_to_save: Collection[str] = ()) -> None:
    """Raise `ModelError` if an adapter is outside the language model or anything else but `modules_to_save` is trained."""
    path, base = find_decoder_path(model), _get_base(model)
    adapted = [name for name, _ in base.named_parameters() if "lora_" in name]
    outside = next((name for name in adapted if not name.startswith(f"{path}.")), None)
    if outside or not adapted:
        raise ModelError(f"LoRA was found on {outside or 'no module'}; expected it on modules under {path} and nowhere else.")
    trained = [name for name, held in base.named_parameters() if held.requires_grad and "lora_" not in name]
    copies = tuple(f"{name}.modules_to_save." for name in modules_to_save)
    unexpected = next(
        (name for name in trained if "trainable_tokens" not in name and not any(copy in name for copy in copies)), None
    )
    if unexpected:
        raise ModelError(
            f"{unexpected} is trained beside the adapter; expected all weights of the base model to be frozen, except "
            f"{', '.join(modules_to_save) or 'none'}."
        )
    if missing := next((copy for copy in copies if not any(copy in name for name in trained)), None):
        raise ModelError(f"{missing.removesuffix('.modules_to_save.')} is not trained; expected a copy of it beside the adapter.")


def set_trained_precision(model: nn.Module) -> None:
    """Set the dtype of trained weights: bfloat16 beside a quantised base; modules saved whole keep that of their originals.

    Trainers differ: peft makes an adapter float32, and TRL's trainer makes everything that QLoRA trains bfloat16.
    """
    import torch
    from peft.utils import ModulesToSaveWrapper

    if is_quantized(model):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            module.modules_to_save.to(next(module.original_module.parameters()).dtype)


def freeze_modules(model: nn.Module, names: Iterable[str], projector: Iterable[str] = ()) -> None:
    """Freeze every module whose own name is one of `names`; "family" is everything outside language model, head and projector.

    Raises `ModelError` for a name that does not exist, and for a quantised model, whose other modules cannot be trained either.
    """
    if is_quantized(model):
        raise ModelError("A quantised model is trained through an adapter: add --use_peft, or leave out --load_in_4bit.")
    for wanted in names:
        if wanted == "family":
            _freeze_vision_modules(model, tuple(projector))
            continue
        found = [module for name, module in model.named_modules() if name.rpartition(".")[2] == wanted]
        if not found:
            parts = ", ".join(sorted({name.rpartition(".")[2] for name, _ in model.named_modules() if name.count(".") == 1}))
            raise ModelError(f"There is no module {wanted!r} to freeze; this model's parts are {parts}.")
        for module in found:
            module.requires_grad_(False)


def _freeze_vision_modules(model: Any, projector: tuple[str, ...]) -> None:
    if not projector:
        raise ModelError(
            f"The projector of {type(model).__name__} is not known: name the modules to freeze with --freeze, among "
            f"{', '.join(find_other_modules(model))}."
        )
    # The head belongs to the language model, which is trained.
    head = model.get_output_embeddings()
    for part in find_other_modules(model):
        if model.get_submodule(part) is not head:
            for name, parameter in model.named_parameters():
                if name.startswith(f"{part}.") and not name.startswith(tuple(f"{module}." for module in projector)):
                    parameter.requires_grad_(False)


def list_parameter_groups(model: nn.Module, projector: Iterable[str] = ()) -> list[ParameterGroup]:
    """List the model's parts: vision tower, projector, language model, head, adapter; tied parameters count once."""
    base = _get_base(model)
    parts = sorted([find_decoder_path(model), *find_other_modules(base), *projector], key=len, reverse=True)
    found: dict[str, dict[str, list[nn.Parameter]]] = {}
    for name, parameter in base.named_parameters():
        part = next((part for part in parts if name.startswith(f"{part}.")), name)
        suffix = next((suffix for mark, suffix in _ADAPTER_SUFFIXES.items() if mark in name), "")
        found.setdefault(part + suffix, {}).setdefault(_describe_storage(parameter), []).append(parameter)
    return [
        ParameterGroup(
            part, sum(map(_count_parameters, held)), stored, sum(_count_parameters(each) for each in held if each.requires_grad)
        )
        for part, by_storage in found.items()
        for stored, held in by_storage.items()
    ]


def format_parameter_table(model: nn.Module, projector: Iterable[str] = ()) -> str:
    """Format the storage and the trained parameters of each part as lines of text."""
    groups = list_parameter_groups(model, projector)
    width = max(len(group.name) for group in groups)
    lines = [f"{'module':<{width}}  {'parameters':>14}  {'stored':<9}  {'trained':>12}"]
    lines += [f"{group.name:<{width}}  {group.parameters:>14,}  {group.stored:<9}  {group.trained:>12,}" for group in groups]
    total, trained = sum(group.parameters for group in groups), sum(group.trained for group in groups)
    return "\n".join([*lines, f"{'all':<{width}}  {total:>14,}  {'':<9}  {trained:>12,} ({trained / total:.2%})"])


_ADAPTER_SUFFIXES = {"lora_": " (LoRA)", ".modules_to_save.": " (trained copy)"}
"""The suffix of a part's name in the table for parameters that an adapter adds, by a mark in the parameters' names."""


def _get_base(model: Any) -> nn.Module:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _get_decoder(model: Any) -> nn.Module | None:
    return model.get_decoder() if hasattr(model, "get_decoder") else None


def _named_linear_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    from torch import nn

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and "lora_" not in name:
            yield name.removesuffix(".base_layer"), module


_PACKED = {"Params4bit": "4-bit", "Int8Params": "8-bit"}
"""bitsandbytes' parameter classes, by name so that it need not be installed."""


def is_packed(parameter: torch.Tensor) -> bool:
    """Whether bitsandbytes stores a parameter in 4 or 8 bits."""
    return type(parameter).__name__ in _PACKED


def _describe_storage(parameter: nn.Parameter) -> str:
    return _PACKED.get(type(parameter).__name__, str(parameter.dtype).removeprefix("torch."))


def _count_parameters(parameter: nn.Parameter) -> int:
    """Count as the model does; 4-bit storage packs two parameters into a byte."""
    state = getattr(parameter, "quant_state", None)
    return state.shape.numel() if state is not None else parameter.numel()
