"""Merge an adapter into its base, and compare the result with the trained model before it is kept.

An adapter fits exactly the weights that it was trained beside. QLoRA's are those of a base rounded to four bits, so that base
is loaded as in training, brought to full precision without changing a weight, and merged into: the base before rounding is another
model, and merging into packed weights would round the adapter away. The merged model is written, loaded again, and kept only if
its logits match the trained model's. This module knows transformers' and peft's models; it knows no dataset and no trainer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.errors import InputError, ModelError, first_line, make_output_folder
from comvint_hf.training import lora
from comvint_hf.training.collator import L2TCollator

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel, ProcessorMixin

QUANTIZATIONS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "nf4-nested": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
}
"""The quantisations of a base by name, for adapters without a comvint.json."""
FLOAT_ERROR = 1e-5
"""The largest error of a logit in float32 arithmetic, as a share of the largest logit."""
TOLERANCE = 0.1
IMAGE_SIZES = ((64, 48), (40, 96))
TEXTS = ("What is in the picture?", "A cup on a table.", "What stands beside it?", "Nothing else is to be seen.")


@dataclass(frozen=True)
class BaseCheckpoint:
    """A base model as it was loaded in training; `quantization` holds bitsandbytes' settings if it was quantised."""

    name_or_path: str
    revision: str | None = None
    dtype: str | None = None
    quantization: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class MergeResult:
    """The logits of a merge over a small batch.

    `difference` is the largest one between the trained and the merged model, `effect` the largest one that the adapter makes,
    `largest` the largest logit.
    """

    difference: float
    effect: float
    largest: float

    def within(self, tolerance: float) -> bool:
        """Whether the difference is at most this share of the adapter's effect, or float error."""
        return self.difference <= max(tolerance * self.effect, FLOAT_ERROR * self.largest)


def merge_adapter(
    adapter: str | Path,
    base: BaseCheckpoint,
    processor: ProcessorMixin,
    out: Path | str,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    tolerance: float = TOLERANCE,
) -> MergeResult:
    """Write the merged model and its processor into a new folder. Arithmetic is float32 throughout.

    Args:
        adapter: The adapter's folder or Hub name.
        base: The base as it was loaded in training.
        processor: The model's processor.
        out: A folder that is new or empty.
        dtype: The dtype of the stored weights, by default the base's own.
        device: Where to compute.
        tolerance: The largest allowed difference of a logit, as a share of the adapter's effect.

    Raises:
        ModelError: The base cannot be loaded, the adapter does not fit, or the merged model differs too much. Nothing is written.
        InputError: `out` holds files.
    """
    out = Path(out)
    check_new_folder(out)
    batch = make_comparison_batch(processor)
    adapted = attach_adapter(load_base(base, device), adapter)
    compute_in_float32(adapted)
    trained = compute_logits(adapted, batch)
    # The bare base's logits give the scale: how much the adapter changes.
    with adapted.disable_adapter():
        bare = compute_logits(adapted, batch)
    merged = attach_adapter(dequantize_model(adapted.unload()), adapter).merge_and_unload(safe_merge=True)
    with _atomic_folder(out) as folder:
        merged.to(_dtype(dtype or read_stored_dtype(base))).save_pretrained(folder)
        processor.save_pretrained(folder)
        # Free its memory before the model is loaded again.
        del merged
        found = compare_logits(
            trained, bare, compute_logits(load_base(BaseCheckpoint(str(folder), dtype="float32"), device), batch)
        )
        if not found.within(tolerance):
            raise ModelError(
                f"The merged model differs from the trained one: logits by up to {found.difference:.3g}, where the adapter "
                f"changes them by {found.effect:.3g} and {tolerance:.0%} of that is allowed. Nothing was written: store it "
                "with --dtype float32, give the base as it was in training (--quantised, --base), or raise --tolerance."
            )
    return found


def check_new_folder(out: Path) -> None:
    """Raise `InputError` for a folder that holds files."""
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} holds files already; give --out a new folder.")


def describe_base_loading(model: Any) -> dict[str, Any]:
    """Describe how a model's base was loaded, for comvint.json: `base_dtype` and `quantization`."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    settings = getattr(base.config, "quantization_config", None)
    return {
        "base_dtype": str(base.config.dtype).removeprefix("torch."),
        "quantization": settings.to_diff_dict() if settings is not None else None,
    }


def load_base(base: BaseCheckpoint, device: str = "cpu") -> PreTrainedModel:
    """Load a base as in training. Raises `ModelError`."""
    from transformers import AutoConfig, AutoModelForImageTextToText, BitsAndBytesConfig

    try:
        config = AutoConfig.from_pretrained(base.name_or_path, revision=base.revision or "main", trust_remote_code=False)
        quantization = BitsAndBytesConfig(**base.quantization) if base.quantization else None
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            base.name_or_path,
            trust_remote_code=False,
            revision=base.revision or "main",
            dtype=_dtype(base.dtype or ("bfloat16" if base.quantization else "float32")),
            quantization_config=lora.limit_to_decoder(quantization, config),
            device_map={"": device} if quantization else None,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"The base {base.name_or_path} cannot be loaded ({first_line(error)}); if it has moved, give its place with --base."
        ) from error
    lora.check_model(loaded)
    return (loaded if quantization else loaded.to(device)).eval()


def read_stored_dtype(base: BaseCheckpoint) -> str:
    """Read the dtype of the base's stored weights from its config."""
    from transformers import AutoConfig

    dtype = AutoConfig.from_pretrained(base.name_or_path, revision=base.revision or "main", trust_remote_code=False).dtype
    return str(dtype or "float32").removeprefix("torch.")


def attach_adapter(model: PreTrainedModel, adapter: str | Path) -> PeftModel:
    """Put the adapter on the model, not merged. Raises `ModelError`."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter)).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"The adapter {adapter} does not fit its base ({first_line(error)}); give the right one with --base."
        ) from error


def compute_in_float32(model: nn.Module) -> None:
    """Make a model compute in float32; quantised weights stay as they are."""
    import torch

    module: Any
    for module in model.modules():
        for held in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if held.is_floating_point() and not lora.is_packed(held):
                held.data = held.data.float()
            if state := getattr(held, "quant_state", None):
                state.dtype = torch.float32  # the dtype of unpacked weights
        if hasattr(module, "compute_dtype"):
            module.compute_dtype = torch.float32
            # On some CPUs bitsandbytes would repack the weights for its own bfloat16 kernel, and not restore them exactly.
            module.support_avx512bf16_for_cpu = False


def dequantize_model(model: PreTrainedModel) -> PreTrainedModel:
    """Convert a model's weights to float32, none of them packed."""
    import torch

    compute_in_float32(model)
    if lora.is_quantized(model):
        model = model.dequantize(dtype=torch.float32)
    return model


def make_comparison_batch(processor: ProcessorMixin) -> dict[str, torch.Tensor]:
    """Make a batch of two conversations about images of two shapes."""
    from PIL import Image

    messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, TEXTS, strict=True)]
    image = Image.merge("RGB", [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.linear_gradient("L").rotate(90)])
    rows = [{"images": [image.resize(size)], "messages": messages[: 2 * n]} for n, size in enumerate(IMAGE_SIZES, start=1)]
    batch = L2TCollator(processor, learn="response")(rows)
    return {name: value for name, value in batch.items() if name != "labels"}


def compute_logits(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Compute the logits of a batch at all tokens but padding, `[N, V]` float32 on the CPU."""
    import torch

    device = next(model.parameters()).device
    with torch.inference_mode():
        found = model(**{name: value.to(device) for name, value in batch.items()}).logits
    return found[batch["attention_mask"].to(device) != 0].float().cpu()


def compare_logits(trained: torch.Tensor, bare: torch.Tensor, merged: torch.Tensor) -> MergeResult:
    """Compare the logits of the trained, the bare and the merged model, each `[N, V]`."""
    difference, effect, largest = (logits.abs().max().item() for logits in (merged - trained, bare - trained, trained))
    return MergeResult(difference, effect, largest)


@contextmanager
def _atomic_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` that takes its name at the end, or is deleted if an error was raised."""
    make_output_folder(out.parent)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}-") as folder:
        model = Path(folder, "model")
        yield model
        model.replace(out)


def _dtype(name: str) -> torch.dtype:
    import torch

    return getattr(torch, name)
