"""Say which modules of a multimodal model are quantised and which are trained, and look afterwards whether it came true.

Quantisation helpers take every linear layer they can find, and LoRA target names also match the vision tower. So both are
asked for by full path, read from the model's own structure, and then checked on the modules that were really loaded. This
file knows transformers and peft models; it knows no dataset and no trainer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from comvint_hf.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel


class Group(NamedTuple):
    """One line of the table: a part of the model, how it is stored, and how much of it is trained."""

    name: str
    parameters: int
    stored: str
    trained: int


def skeleton(config: PreTrainedConfig) -> PreTrainedModel:
    """Build a model without weights, only to read its structure: nothing is allocated."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def decoder_path(model: nn.Module) -> str:
    """The full path of the language model inside a multimodal model, such as "model.language_model".

    Raises `ModelError` where the language model cannot be told from the rest.
    """
    base = _base(model)
    found, decoder = None, _decoder(base)
    while decoder is not None and decoder is not found:
        found, decoder = decoder, _decoder(decoder)
    path = next((name for name, module in base.named_modules() if module is found), "")
    if not path:
        raise ModelError(
            f"{type(base).__name__} does not say which of its modules is the language model; expected get_decoder() to name one. "
            "Give LoRA targets and modules to skip by hand (--lora_target_modules)."
        )
    return path


def skipped(model: nn.Module) -> list[str]:
    """Full paths of what must not be quantised: everything beside the language model, the output head included.

    transformers ignores a bare "vision_tower" without a word; the name must be "model.vision_tower".
    """
    path = decoder_path(model)
    parents = {".".join(path.split(".")[:depth]) for depth in range(path.count(".") + 1)}
    beside = [
        f"{parent}.{name}".lstrip(".") for parent in sorted(parents) for name, _ in model.get_submodule(parent).named_children()
    ]
    return [name for name in beside if name != path and name not in parents]


def projector(model: nn.Module, paths: Iterable[str]) -> list[str]:
    """Full paths of the modules that hand pictures on to the language model: those of the family's `paths` that are there.

    A list of modules stands for its entries.
    """
    from torch import nn

    modules = dict(_base(model).named_modules())
    found: list[str] = []
    for name in (name for path in paths for name in (path, f"model.{path}") if name in modules):
        several = isinstance(modules[name], nn.ModuleList)
        found += [f"{name}.{place}" for place in range(len(modules[name]))] if several else [name]
    return found


def nf4(config: PreTrainedConfig, compute_dtype: torch.dtype | str | None = None) -> BitsAndBytesConfig:
    """The QLoRA quantisation: NF4 with nested constants, for the language model's layers only."""
    import torch
    from transformers import BitsAndBytesConfig

    quantisation = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype or torch.bfloat16,
    )
    return decoder_only(quantisation, config)


def decoder_only(quantisation: BitsAndBytesConfig | None, config: PreTrainedConfig) -> BitsAndBytesConfig | None:
    """The same quantisation, told to leave alone all that is beside the language model."""
    if quantisation is not None:
        quantisation.llm_int8_skip_modules = skipped(skeleton(config))
    return quantisation


def lora_targets(model: nn.Module) -> str:
    """A regular expression that matches each linear layer of the language model by its full path, and nothing else."""
    path = decoder_path(model)
    names = sorted({name.rpartition(".")[2] for name, _ in _linears(model) if name.startswith(f"{path}.")})
    if not names:
        raise ModelError(f"The language model at {path} has no linear layer that LoRA could be put on.")
    return rf"{re.escape(path)}\.(?:.*\.)?(?:{'|'.join(map(re.escape, names))})"


def check(model: nn.Module, saved: Collection[str] = ()) -> None:
    """Check a loaded model: what is quantised if that was asked for, what is trained if an adapter is on it.

    `saved` are the modules that are trained whole beside the adapter (`modules_to_save`). Raises `ModelError`.
    """
    if is_quantised(model) or getattr(_base(model), "is_quantized", False):
        check_quantised(model)
    if any("lora_" in name for name, _ in model.named_parameters()):
        check_adapted(model, saved)


def is_quantised(model: nn.Module) -> bool:
    """Whether any parameter is stored in few bits."""
    return any(packed(parameter) for parameter in model.parameters())


def check_quantised(model: nn.Module) -> None:
    """Raise `ModelError` unless exactly the language model's linear layers are stored in few bits."""
    path, base = decoder_path(model), _base(model)
    inside = {name for name, _ in _linears(base) if name.startswith(f"{path}.")}
    small = {name.rpartition(".")[0].removesuffix(".base_layer") for name, one in base.named_parameters() if packed(one)}
    if strange := sorted(small - inside):
        raise ModelError(f"{strange[0]} was quantised; expected only linear layers under {path}. Check llm_int8_skip_modules.")
    if whole := sorted(inside - small):
        raise ModelError(
            f"{whole[0]} was not quantised; expected all linear layers under {path} to be. Check the quantisation config."
        )


def check_adapted(model: nn.Module, saved: Collection[str] = ()) -> None:
    """Raise `ModelError` if an adapter sits outside the language model or something else is trained, `saved` modules aside."""
    path, base = decoder_path(model), _base(model)
    adapted = [name for name, _ in base.named_parameters() if "lora_" in name]
    outside = next((name for name in adapted if not name.startswith(f"{path}.")), None)
    if outside or not adapted:
        raise ModelError(f"LoRA was found on {outside or 'no module'}; expected it on modules under {path} and nowhere else.")
    trained = [name for name, one in base.named_parameters() if one.requires_grad and "lora_" not in name]
    copies = tuple(f"{name}.modules_to_save." for name in saved)
    loose = next((name for name in trained if "trainable_tokens" not in name and not any(copy in name for copy in copies)), None)
    if loose:
        raise ModelError(
            f"{loose} is trained beside the adapter; expected all weights of the base model to be frozen, but for "
            f"{', '.join(saved) or 'none'}."
        )
    if lost := next((copy for copy in copies if not any(copy in name for name in trained)), None):
        raise ModelError(f"{lost.removesuffix('.modules_to_save.')} is not trained; expected a copy of it beside the adapter.")


def choose_precision(model: nn.Module) -> None:
    """Give what is trained its dtype: beside a quantised base bfloat16, but to modules that are saved whole that of their originals.

    Trainers differ: peft makes an adapter float32, and TRL's trainer all that QLoRA trains bfloat16.
    """
    import torch
    from peft.utils import ModulesToSaveWrapper

    if is_quantised(model):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            module.modules_to_save.to(next(module.original_module.parameters()).dtype)


def freeze(model: nn.Module, names: Iterable[str], projector: Iterable[str] = ()) -> None:
    """Stop training every module whose own name is one of `names`; "family" is what looks at the picture before the projector.

    Raises `ModelError` for a name that is not there, and for a quantised model, whose other modules cannot be trained either.
    """
    if is_quantised(model):
        raise ModelError("A quantised model is trained through an adapter: add --use_peft, or leave out --load_in_4bit.")
    for wanted in names:
        if wanted == "family":
            _freeze_tower(model, tuple(projector))
            continue
        found = [module for name, module in model.named_modules() if name.rpartition(".")[2] == wanted]
        if not found:
            parts = ", ".join(sorted({name.rpartition(".")[2] for name, _ in model.named_modules() if name.count(".") == 1}))
            raise ModelError(f"There is no module {wanted!r} to freeze; this model's parts are {parts}.")
        for module in found:
            module.requires_grad_(False)


def _freeze_tower(model: nn.Module, projector: tuple[str, ...]) -> None:
    if not projector:
        raise ModelError(
            f"Which part of {type(model).__name__} hands pictures to the language model is not known here: name with --freeze what to "
            f"leave alone of {', '.join(skipped(model))}."
        )
    head = model.get_output_embeddings()
    for part in skipped(model):
        if model.get_submodule(part) is not head:
            for name, parameter in model.named_parameters():
                if name.startswith(f"{part}.") and not name.startswith(tuple(f"{one}." for one in projector)):
                    parameter.requires_grad_(False)


def groups(model: nn.Module, projector: Iterable[str] = ()) -> list[Group]:
    """The model's parts: vision tower, projector, language model, head, adapter; counts are of parameters, tied ones once."""
    base = _base(model)
    parts = sorted([decoder_path(model), *skipped(base), *projector], key=len, reverse=True)
    found: dict[str, dict[str, list[nn.Parameter]]] = {}
    for name, parameter in base.named_parameters():
        part = next((part for part in parts if name.startswith(f"{part}.")), name)
        kind = next((told for sign, told in _BESIDE.items() if sign in name), "")
        found.setdefault(part + kind, {}).setdefault(_stored(parameter), []).append(parameter)
    return [
        Group(part, sum(map(_count, held)), stored, sum(_count(one) for one in held if one.requires_grad))
        for part, kinds in found.items()
        for stored, held in kinds.items()
    ]


def table(model: nn.Module, projector: Iterable[str] = ()) -> str:
    """What is stored how and what is trained, as lines of text."""
    rows = groups(model, projector)
    wide = max(len(row.name) for row in rows)
    lines = [f"{'module':<{wide}}  {'parameters':>14}  {'stored':<9}  {'trained':>12}"]
    lines += [f"{row.name:<{wide}}  {row.parameters:>14,}  {row.stored:<9}  {row.trained:>12,}" for row in rows]
    whole, trained = sum(row.parameters for row in rows), sum(row.trained for row in rows)
    return "\n".join([*lines, f"{'all':<{wide}}  {whole:>14,}  {'':<9}  {trained:>12,} ({trained / whole:.2%})"])


_BESIDE = {"lora_": " (LoRA)", ".modules_to_save.": " (trained copy)"}
"""What an adapter lays beside a part, by a sign in its parameters' names."""


def _base(model: nn.Module) -> nn.Module:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _decoder(model: nn.Module) -> nn.Module | None:
    return model.get_decoder() if hasattr(model, "get_decoder") else None


def _linears(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    from torch import nn

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and "lora_" not in name:
            yield name.removesuffix(".base_layer"), module


_PACKED = {"Params4bit": "4-bit", "Int8Params": "8-bit"}
"""bitsandbytes' parameter classes, by name so that it need not be installed."""


def packed(parameter: nn.Parameter) -> bool:
    """Whether bitsandbytes holds a parameter in fewer bits than it stands for."""
    return type(parameter).__name__ in _PACKED


def _stored(parameter: nn.Parameter) -> str:
    return _PACKED.get(type(parameter).__name__, str(parameter.dtype).removeprefix("torch."))


def _count(parameter: nn.Parameter) -> int:
    """Parameters as the model counts them; 4-bit storage packs two into a byte."""
    state = getattr(parameter, "quant_state", None)
    return state.shape.numel() if state is not None else parameter.numel()
