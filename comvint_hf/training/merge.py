"""Merge an adapter into its base, and look at the result before it is kept.

An adapter is right for the very weights that it was trained beside. QLoRA's are those of a base rounded to four bits, so that base
is loaded as it was then, brought to full precision without changing a weight, and merged into: the base before rounding is another
model, and merging into packed weights would round the adapter away. What is written is loaded again and asked, and only kept if
it answers as the trained model did. This file knows transformers' and peft's models; it knows no dataset and no trainer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import InputError, ModelError, first_line, writable
from comvint_hf.training import lora
from comvint_hf.training.collator import L2TCollator

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel, ProcessorMixin

QUANTISED: dict[str, dict[str, Any] | None] = {
    "none": None,
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4-nested": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}
"""How a base may have been quantised, for adapters beside which nothing says it."""
FLOAT_ERROR = 1e-5
"""What float32 arithmetic alone may move a logit by, as a share of the largest one."""
TOLERANCE = 0.1
PICTURES = ((64, 48), (40, 96))
TALK = ("What is in the picture?", "A cup on a table.", "What stands beside it?", "Nothing else is to be seen.")


@dataclass(frozen=True)
class Base:
    """A base model as it was loaded when the adapter was trained: place, revision, dtype, bitsandbytes' settings if quantised."""

    place: str
    revision: str | None = None
    dtype: str | None = None
    quantization: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Merged:
    """How a merge came out, in logits over a small batch.

    `difference` is the largest one between the model as trained and the merged one as written, `effect` the largest one that the
    adapter makes, `largest` the largest logit.
    """

    difference: float
    effect: float
    largest: float

    def within(self, tolerance: float) -> bool:
        """Whether the difference is at most this share of the adapter's effect, or nothing but float error."""
        return self.difference <= max(tolerance * self.effect, FLOAT_ERROR * self.largest)


def merge(
    adapter: str | Path,
    base: Base,
    processor: ProcessorMixin,
    out: Path | str,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    tolerance: float = TOLERANCE,
) -> Merged:
    """Write the merged model and its processor into the new folder `out`, weights stored as `dtype` (the base's own unless told).

    Arithmetic is float32 on `device` throughout. Raises `ModelError`, and writes nothing, if the base cannot be loaded, the
    adapter does not fit, or the merged model answers otherwise by more than `tolerance` (a share of the adapter's effect);
    `InputError` if `out` holds something.
    """
    out = Path(out)
    refuse_used(out)
    batch = small_batch(processor)
    adapted = attached(load_base(base, device), adapter)
    in_float32(adapted)
    trained = logits(adapted, batch)
    with adapted.disable_adapter():
        bare = logits(adapted, batch)
    merged = attached(full_precision(adapted.unload()), adapter).merge_and_unload(safe_merge=True)
    with _kept_if_good(out) as folder:
        merged.to(_dtype(dtype or stored_dtype(base))).save_pretrained(folder)
        processor.save_pretrained(folder)
        del merged
        found = compared(trained, bare, logits(load_base(Base(str(folder), dtype="float32"), device), batch))
        if not found.within(tolerance):
            raise ModelError(
                f"The merged model answers otherwise than the trained one: logits differ by up to {found.difference:.3g}, where the "
                f"adapter moves them by {found.effect:.3g} and {tolerance:.0%} of that is allowed. Nothing was written: store it "
                "with --dtype float32, say how the base was loaded in training (--quantised, --base), or raise --tolerance."
            )
    return found


def refuse_used(out: Path) -> None:
    """Raise `InputError` for a folder that holds something."""
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} holds files already; give --out a new folder.")


def loaded_as(model: PreTrainedModel | PeftModel) -> dict[str, Any]:
    """What comvint.json keeps of how a base was loaded: `base_dtype` and `quantization`, as `Base` takes them."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    settings = getattr(base.config, "quantization_config", None)
    return {
        "base_dtype": str(base.config.dtype).removeprefix("torch."),
        "quantization": settings.to_diff_dict() if settings is not None else None,
    }


def load_base(base: Base, device: str = "cpu") -> PreTrainedModel:
    """Load a base as it was loaded in training. Raises `ModelError`."""
    from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

    try:
        config = AutoConfig.from_pretrained(base.place, revision=base.revision or "main")
        quantisation = BitsAndBytesConfig(**base.quantization) if base.quantization else None
        loaded = AutoModelForImageTextToText.from_pretrained(
            base.place,
            revision=base.revision or "main",
            dtype=_dtype(base.dtype or ("bfloat16" if base.quantization else "float32")),
            quantization_config=lora.decoder_only(quantisation, config),
            device_map={"": device} if quantisation else None,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"The base {base.place} cannot be loaded ({first_line(error)}); if it has moved, say where with --base."
        ) from error
    lora.check(loaded)
    return (loaded if quantisation else loaded.to(device)).eval()


def stored_dtype(base: Base) -> str:
    """The dtype of the base's own weights, as its config says it."""
    from transformers import AutoConfig

    told = AutoConfig.from_pretrained(base.place, revision=base.revision or "main").dtype
    return str(told or "float32").removeprefix("torch.")


def attached(model: PreTrainedModel, adapter: str | Path) -> PeftModel:
    """The model with the adapter on it, not merged. Raises `ModelError`."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter)).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"The adapter {adapter} does not fit its base ({first_line(error)}); say the right one with --base."
        ) from error


def in_float32(model: nn.Module) -> None:
    """Let a model calculate in float32, quantised weights staying as they are."""
    import torch

    for module in model.modules():
        for held in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if held.is_floating_point() and not lora.packed(held):
                held.data = held.data.float()
            if state := getattr(held, "quant_state", None):
                state.dtype = torch.float32  # what it is unpacked to
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = torch.float32
            # On some CPUs bitsandbytes would repack the weights for the bfloat16 of its own kernel, and not give them back exactly.
            module.support_avx512bf16_for_cpu = False


def full_precision(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in float32, none of them packed."""
    import torch

    in_float32(model)
    if lora.is_quantised(model):
        model = model.dequantize(dtype=torch.float32)
    return model


def small_batch(processor: ProcessorMixin) -> dict[str, torch.Tensor]:
    """Two conversations of two turns about pictures of two shapes, as the model takes them."""
    from PIL import Image

    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, TALK, strict=True)]
    shades = Image.merge("RGB", [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.linear_gradient("L").rotate(90)])
    rows = [{"images": [shades.resize(size)], "messages": turns[: 2 * n]} for n, size in enumerate(PICTURES, start=1)]
    batch = L2TCollator(processor, learn="response")(rows)
    return {name: value for name, value in batch.items() if name != "labels"}


def logits(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The logits at all real tokens of a batch, `[N, V]` float32 on the CPU."""
    import torch

    device = next(model.parameters()).device
    with torch.inference_mode():
        told = model(**{name: value.to(device) for name, value in batch.items()}).logits
    return told[batch["attention_mask"].to(device) != 0].float().cpu()


def compared(trained: torch.Tensor, bare: torch.Tensor, merged: torch.Tensor) -> Merged:
    """Compare the logits of the trained, the bare and the merged model, each `[N, V]`."""
    return Merged(
        difference=(merged - trained).abs().max().item(),
        effect=(bare - trained).abs().max().item(),
        largest=trained.abs().max().item(),
    )


@contextmanager
def _kept_if_good(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name at the end, or is gone if anything was raised."""
    writable(out.parent)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}-") as folder:
        made = Path(folder, "model")
        yield made
        made.replace(out)


def _dtype(name: str) -> torch.dtype:
    import torch

    return getattr(torch, name)
