"""Load the processor and the model of a training run, and save the conventions.

This module knows flags and model folders; it knows no row and no loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf import model_families
from comvint_hf._deprecated import forward_names
from comvint_hf.conventions import FILE, Conventions
from comvint_hf.dataset.locate import check_exists, fetch_dataset_file
from comvint_hf.errors import InputError, ModelError
from comvint_hf.image_geometry import has_dynamic_resolution, has_pixel_bounds
from comvint_hf.strict_reader import LIMITS
from comvint_hf.training import lora
from comvint_hf.training.error_messages import explain_model_loading_error
from comvint_hf.training.packing.masks import AttentionSettings, read_attention

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel
    from trl import ModelConfig

    from comvint_hf.training.encoder import RowEncoder


def load_processor(model_args: ModelConfig) -> Any:
    """Load the model's own processor. Raises `ModelError`."""
    name = model_args.model_name_or_path
    if not name:
        raise ModelError("No model is named: give --model_name_or_path DIR or ORG/NAME.")
    check_exists(name)
    with explain_model_loading_error(name):
        return model_families.load_processor(name, model_args.model_revision)


def check_pixel_bounds(processor: Any, min_pixels: int | None, max_pixels: int | None) -> None:
    """Raise `InputError` for bounds of an image's pixels that the processor would undo."""
    if min_pixels is None and max_pixels is None:
        return
    for name, bound in (("--min_pixels", min_pixels), ("--max_pixels", max_pixels)):
        if bound is not None and not 1 <= bound <= LIMITS.resized_pixels:
            raise InputError(f"{name} is {bound:,}; expected a number of pixels between 1 and {LIMITS.resized_pixels:,}.")
    if min_pixels and max_pixels and min_pixels > max_pixels:
        raise InputError(f"--min_pixels {min_pixels:,} is more than --max_pixels {max_pixels:,}: swap them, or leave one out.")
    image_processor = getattr(processor, "image_processor", processor)
    if not has_dynamic_resolution(processor):
        raise InputError(
            f"{type(processor).__name__} resizes all images to one size, so --min_pixels and --max_pixels would only blur them: leave "
            "them out, or use a model whose images keep their resolution."
        )
    size = image_processor.size if has_pixel_bounds(image_processor) else None
    if size and ((max_pixels or 0) > size["longest_edge"] or (min_pixels or math.inf) < size["shortest_edge"]):
        raise InputError(
            f"The processor itself keeps images between {size['shortest_edge']:,} and {size['longest_edge']:,} pixels, so --min_pixels "
            f"{min_pixels} and --max_pixels {max_pixels} would not hold: stay between them."
        )


def load_model(model_args: ModelConfig, checkpoint: str | None = None) -> PreTrainedModel:
    """Load the model as the flags say, its weights from `checkpoint` where a full run resumes. Raises `ModelError`."""
    from transformers import AutoConfig, AutoModelForImageTextToText
    from trl import get_quantization_config

    name = model_args.model_name_or_path
    assert name, "load_processor has checked it"
    weights = find_weights(name, checkpoint)
    with explain_model_loading_error(name):
        config = AutoConfig.from_pretrained(name, revision=model_args.model_revision, trust_remote_code=False)
        return AutoModelForImageTextToText.from_pretrained(
            weights,
            trust_remote_code=False,
            revision=model_args.model_revision if weights == name else None,
            dtype=model_args.dtype,
            attn_implementation=model_args.attn_implementation,
            quantization_config=lora.limit_to_decoder(get_quantization_config(model_args), config),
        )


def prepare_tree_attention(model: PreTrainedModel, device: torch.device) -> AttentionSettings:
    """Read what masks of trees the model needs; on a CPU, replace SDPA by the sparse one, which is exact and faster there."""
    settings = read_attention(model)
    if settings.kernel == "sdpa" and device.type == "cpu":
        from comvint_hf.training.packing.attention import use_sparse_attention

        use_sparse_attention(model)
    return settings


def find_weights(model: str, checkpoint: str | None) -> str:
    """Choose where to load the model's weights from: the checkpoint if a full run resumes, else the model.

    The trainer's own resume restores the optimiser but, for LLaVA, none of the weights: it looks for keys by other names
    than the checkpoint has, and only warns. `from_pretrained` renames them. An adapter's checkpoint holds no model.
    """
    if checkpoint and Path(checkpoint, "config.json").is_file() and not Path(checkpoint, "adapter_config.json").is_file():
        return checkpoint
    return model


def read_dataset_conventions(dataset: str) -> Conventions:
    """Read the conventions of a dataset, in a folder or a Hub repository; the defaults if it has none."""
    if Path(dataset).is_dir():
        return Conventions.read(dataset)
    path = fetch_dataset_file(dataset, FILE)
    return Conventions.read(path.parent) if path else Conventions()


def write_conventions(
    folder: Path | str, encoder: RowEncoder, dataset: str, model_args: ModelConfig, base_loading: Mapping[str, Any] | None = None
) -> None:
    """Write comvint.json for serving: the dataset's conventions, and how the model was trained and its base loaded."""
    read_dataset_conventions(dataset).model_copy(
        update={
            "dataset": dataset,
            "base_model": model_args.model_name_or_path,
            "base_revision": None if model_args.model_revision == "main" else model_args.model_revision,
            "learn": encoder.learn,
            "box_dialect": encoder.boxes,
            "templates": tuple(encoder.templates),
            "min_pixels": encoder.min_pixels,
            "max_pixels": encoder.max_pixels,
            **(base_loading or {}),
        }
    ).write(folder)


__getattr__ = forward_names("training.model_loading")
