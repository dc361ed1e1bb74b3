"""Facts about model families that their processors do not tell: one table for the collator, training and serving.

A family is found by the class of its processor; a processor that is not in the table gets the defaults. `load_processor` loads
processors for training and serving, also without torchvision.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Family:
    """Facts about a model family that its processor does not tell.

    Attributes:
        name: Shown in tables and messages.
        chat_template: A file under `chat_templates/`.
        image_marker: The text that the chat template writes for an image.
        box_format: The format (see `box_formats`) that fits the family's own checkpoints.
        lacks_chat_template: Whether the family's checkpoints come without a chat template.
        bidirectional_prefix: Whether tokens of type 0 attend to each other in both directions, so that only tokens of type 1 may
            carry loss.
        requires_image: Whether a row without an image cannot be encoded.
        qformer_reads_text: Whether the Q-Former reads text beside the image; it must not read text that carries loss.
        uses_mrope: Whether image tokens have positions in time, height and width (M-RoPE), and text goes on behind the longer side.
        bidirectional_image: Whether the tokens of one image attend to each other in both directions.
        sliding_window: Whether some layers attend to a window of earlier tokens only.
        supports_trl: Whether TRL's trainer takes the family.
        fallback_processor: A processor class that makes the same of images and text, for where the family's own cannot be built.
        projector_paths: Paths of the modules between vision tower and language model, from the core model; `ModuleList`s stand for
            their entries.
    """

    name: str
    chat_template: str = "chatml"
    image_marker: str = "<image>"
    box_format: str = "seen"
    lacks_chat_template: bool = False
    bidirectional_prefix: bool = False
    requires_image: bool = False
    qformer_reads_text: bool = False
    uses_mrope: bool = False
    bidirectional_image: bool = False
    sliding_window: bool = False
    supports_trl: bool = True
    fallback_processor: str | None = None
    projector_paths: tuple[str, ...] = ("multi_modal_projector",)


_CONNECTOR, _MERGER = ("connector",), ("visual.merger",)
_QFORMER = ("qformer", "language_projection")
_QWEN = "<|vision_start|><|image_pad|><|vision_end|>"
FAMILIES: dict[str, Family] = {
    "LlavaProcessor": Family("LLaVA-1.5", "vicuna", "<image>\n"),
    "LlavaNextProcessor": Family("LLaVA-NeXT", "mistral", "<image>\n"),
    "LlavaOnevisionProcessor": Family("LLaVA-OneVision", "chatml", "<image>\n"),
    "Idefics3Processor": Family("Idefics3", "utterance", projector_paths=_CONNECTOR),
    "SmolVLMProcessor": Family("SmolVLM", "utterance", fallback_processor="Idefics3Processor", projector_paths=_CONNECTOR),
    "PaliGemmaProcessor": Family(
        "PaliGemma", "prefix", box_format="location", lacks_chat_template=True, bidirectional_prefix=True, requires_image=True
    ),
    "Gemma3Processor": Family(
        "Gemma 3", "gemma", "<start_of_image>", "thousand_yx", bidirectional_image=True, sliding_window=True
    ),
    "Qwen2VLProcessor": Family("Qwen2-VL", "chatml", _QWEN, "corners", uses_mrope=True, projector_paths=_MERGER),
    "Qwen2_5_VLProcessor": Family("Qwen2.5-VL", "chatml", _QWEN, "pixel", uses_mrope=True, projector_paths=_MERGER),
    "Qwen3VLProcessor": Family(
        "Qwen3-VL", "chatml", _QWEN, "thousand", uses_mrope=True, projector_paths=(*_MERGER, "visual.deepstack_merger_list")
    ),
    "InternVLProcessor": Family("InternVL", "chatml", "<IMG_CONTEXT>\n", "boxed"),
    "Blip2Processor": Family(
        "BLIP-2", "question", "", lacks_chat_template=True, requires_image=True, supports_trl=False, projector_paths=_QFORMER
    ),
    "InstructBlipProcessor": Family(
        "InstructBLIP",
        "question",
        "",
        lacks_chat_template=True,
        requires_image=True,
        qformer_reads_text=True,
        supports_trl=False,
        projector_paths=_QFORMER,
    ),
}
"""Families by the class of their processor."""


def family_of(processor: Any) -> Family:
    """Find the family of a processor, also by its base classes; the defaults for any other.

    >>> family_of("no processor").name
    'str'
    """
    names = [kind.__name__ for kind in type(processor).__mro__]
    return next((FAMILIES[name] for name in names if name in FAMILIES), Family(names[0]))


def load_chat_template(family: Family) -> str:
    """Load the chat template (Jinja) for a family's checkpoints that come without one; answers are in generation blocks.

    Use it as `processor.chat_template = load_chat_template(family_of(processor))`.
    """
    text = (files("comvint_hf") / "chat_templates" / f"{family.chat_template}.jinja").read_text(encoding="utf-8")
    return text.replace("PICTURE", "{{ " + repr(family.image_marker) + " }}")


def types_after_images(input_ids: torch.Tensor, image_token_ids: list[int]) -> torch.Tensor:
    """Compute token types for a family with a bidirectional prefix: 0 up to the last image token of each row, 1 after.

    So no word attends to a later one, as in training on instructions.

    Args:
        input_ids: `[B, T]` int64.
        image_token_ids: The ids of image tokens.

    Returns:
        `[B, T]` int64.
    """
    images = (input_ids[..., None] == input_ids.new_tensor(image_token_ids)).any(-1)
    return (images.flip(-1).cumsum(-1).flip(-1) == 0).long()


def encode_qformer_text(processor: Any, questions: Sequence[str]) -> dict[str, torch.Tensor]:
    """Encode the Q-Former's text for each image: its first question, without any answer or later question."""
    encoded = processor.qformer_tokenizer(list(questions), padding=True, truncation=True, max_length=512, return_tensors="pt")
    return {f"qformer_{key}": encoded[key] for key in ("input_ids", "attention_mask")}


def image_token_ids(processor: Any) -> list[int]:
    """Return the ids of the tokens that stand for images."""
    ids = getattr(processor, "image_token_ids", None) or [getattr(processor, "image_token_id", None)]
    return [token for token in ids if token is not None]


def load_processor(name_or_path: str, revision: str | None = None) -> Any:
    """Load a processor from a folder or the Hub; without its video part, and with a warning, where that cannot be built.

    Raises what transformers raises if that does not help: `OSError`, `ValueError`, `KeyError` or `ImportError`.
    """
    processor = _load(name_or_path, revision)
    family = family_of(processor)
    if family.lacks_chat_template and not getattr(processor, "chat_template", None):
        processor.chat_template = load_chat_template(family)
    return processor


def _load(name_or_path: str, revision: str | None) -> Any:
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(name_or_path, revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError):
        name = _find_class_name(name_or_path, revision)
        if name not in FAMILIES or not (kind := _without_videos(name)):
            raise
        processor = kind.from_pretrained(name_or_path, revision=revision or "main", trust_remote_code=False)
    warnings.warn(
        f"The processor of {name_or_path} ({name}) needs torchvision for videos, which is missing or does not fit this torch: it is "
        "loaded for images only.",
        stacklevel=3,
    )
    return processor


def image_only_processor(name: str) -> type:
    """Return the processor class of that name without its video part, which needs torchvision; or its fallback.

    It saves under the name of the full class, so that its files load anywhere. Raises `KeyError` for a name not in `FAMILIES`.
    """
    import transformers

    return _without_videos(name) or getattr(transformers, name)


@cache
def _without_videos(name: str) -> Any:
    """A subclass of the processor class without its video part; `None` if the class has none."""
    import transformers

    if fallback := FAMILIES[name].fallback_processor:
        return getattr(transformers, fallback)
    full = getattr(transformers, name)
    parts = full.get_attributes()
    if "video_processor" not in parts:
        return None
    # A class of the same name, so that a saved processor loads as the full one where torchvision is installed.
    kept = [part for part in parts if part != "video_processor"]
    return type(name, (full,), {"get_attributes": classmethod(lambda _: list(kept)), "__module__": __name__})


def __getattr__(name: str) -> type:
    """The image-only classes by name, for pickle, which looks a class up in its module."""
    if name in FAMILIES and (kind := _without_videos(name)):
        return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _find_class_name(name_or_path: str, revision: str | None) -> str | None:
    """The processor class that a folder or repository names, or that belongs to its model type."""
    from transformers import AutoConfig, ProcessorMixin
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    revision = revision or "main"
    try:
        settings, _ = ProcessorMixin.get_processor_dict(name_or_path, revision=revision)
        if name := settings.get("processor_class"):
            return name
        return PROCESSOR_MAPPING_NAMES.get(
            AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=False).model_type
        )
    except (OSError, ValueError, KeyError, ImportError):
        # Nothing names the class: the first attempt's error is the better explanation.
        return None
