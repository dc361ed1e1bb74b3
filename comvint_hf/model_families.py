"""What model families do otherwise, as data: the one table behind collator, training and serving.

Everything that can be asked of a processor is asked of it; what stands here is what a processor does not tell. A family is known
by the class of its processor, and one that is not in the table is taken as it is. `load_processor` is the door through which
training and serving load one, also where its video part cannot be built.
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
    """What a processor does not tell of its model.

    - `style`: a chat template under `chat/`; `shown`: what it writes for a picture; `silent`: checkpoints bring no template.
    - `boxes`: the dialect (see `dialects`) that fits the family's own checkpoints.
    - `prefix`: tokens of type 0 see each other, ahead too, so only tokens of type 1 may be learnt.
    - `picture`: a row without a picture cannot be encoded.
    - `reads`: the part that looks at the picture is given text too, and must be given none that is learnt.
    - `grid`: a picture's tokens have a position in time, down and across (M-RoPE), and text goes on behind its longer side.
    - `whole`: tokens of one picture see each other, ahead too. `windows`: some layers see a window of what is before.
    - `trl`: TRL's trainer takes the family.
    - `projector`: paths of what hands pictures on to the language model, from the model's core; lists stand for their entries.
    - `stand_in`: another processor class that makes the same of pictures and text, where the family's own cannot be built.
    """

    name: str
    style: str = "chatml"
    shown: str = "<image>"
    boxes: str = "seen"
    silent: bool = False
    prefix: bool = False
    picture: bool = False
    reads: bool = False
    grid: bool = False
    whole: bool = False
    windows: bool = False
    trl: bool = True
    stand_in: str | None = None
    projector: tuple[str, ...] = ("multi_modal_projector",)


_CONNECTOR, _MERGER = ("connector",), ("visual.merger",)
_QFORMER = ("qformer", "language_projection")
_QWEN = "<|vision_start|><|image_pad|><|vision_end|>"
FAMILIES: dict[str, Family] = {
    "LlavaProcessor": Family("LLaVA-1.5", "vicuna", "<image>\n"),
    "LlavaNextProcessor": Family("LLaVA-NeXT", "mistral", "<image>\n"),
    "LlavaOnevisionProcessor": Family("LLaVA-OneVision", "chatml", "<image>\n"),
    "Idefics3Processor": Family("Idefics3", "utterance", projector=_CONNECTOR),
    "SmolVLMProcessor": Family("SmolVLM", "utterance", stand_in="Idefics3Processor", projector=_CONNECTOR),
    "PaliGemmaProcessor": Family("PaliGemma", "prefix", boxes="location", silent=True, prefix=True, picture=True),
    "Gemma3Processor": Family("Gemma 3", "gemma", "<start_of_image>", "thousand_yx", whole=True, windows=True),
    "Qwen2VLProcessor": Family("Qwen2-VL", "chatml", _QWEN, "corners", grid=True, projector=_MERGER),
    "Qwen2_5_VLProcessor": Family("Qwen2.5-VL", "chatml", _QWEN, "pixel", grid=True, projector=_MERGER),
    "Qwen3VLProcessor": Family(
        "Qwen3-VL", "chatml", _QWEN, "thousand", grid=True, projector=(*_MERGER, "visual.deepstack_merger_list")
    ),
    "InternVLProcessor": Family("InternVL", "chatml", "<IMG_CONTEXT>\n", "boxed"),
    "Blip2Processor": Family("BLIP-2", "question", "", silent=True, picture=True, trl=False, projector=_QFORMER),
    "InstructBlipProcessor": Family(
        "InstructBLIP", "question", "", silent=True, picture=True, reads=True, trl=False, projector=_QFORMER
    ),
}
"""Families by the class of their processor."""


def family_of(processor: Any) -> Family:
    """The family of a processor or of a subclass of one; a plain one for any other.

    >>> family_of("no processor").name
    'str'
    """
    names = [kind.__name__ for kind in type(processor).__mro__]
    return next((FAMILIES[name] for name in names if name in FAMILIES), Family(names[0]))


def chat_template(family: Family) -> str:
    """Our chat template in the family's style (Jinja), with generation blocks around the answers.

    For checkpoints that bring none: `processor.chat_template = chat_template(family_of(processor))`.
    """
    text = (files("comvint_hf") / "chat_templates" / f"{family.style}.jinja").read_text(encoding="utf-8")
    return text.replace("PICTURE", "{{ " + repr(family.shown) + " }}")


def types_after_pictures(input_ids: torch.Tensor, picture_tokens: list[int]) -> torch.Tensor:
    """Token types for a family with a prefix: 0 up to the last picture token of each row, 1 after. `[B, T]` int64.

    So no word sees a later one, as it is when instructions are learnt.
    """
    pictures = sum(input_ids == token for token in picture_tokens)
    return (pictures.flip(-1).cumsum(-1).flip(-1) == 0).long()


def reader_inputs(processor: Any, questions: Sequence[str]) -> dict[str, torch.Tensor]:
    """What a family that `reads` is told about each picture: the first question, and nothing answered or asked after it."""
    read = processor.qformer_tokenizer(list(questions), padding=True, truncation=True, max_length=512, return_tensors="pt")
    return {f"qformer_{key}": read[key] for key in ("input_ids", "attention_mask")}


def picture_tokens(processor: Any) -> list[int]:
    """The ids of the tokens that stand for pictures."""
    several = getattr(processor, "image_token_ids", None) or [getattr(processor, "image_token_id", None)]
    return [token for token in several if token is not None]


def load_processor(place: str, revision: str | None = None) -> Any:
    """Load a processor from a folder or the Hub; one for pictures only, with a warning, where its video part cannot be built.

    Raises what transformers raises if that does not help: `OSError`, `ValueError`, `KeyError` or `ImportError`.
    """
    processor = _loaded(place, revision)
    family = family_of(processor)
    if family.silent and not getattr(processor, "chat_template", None):
        processor.chat_template = chat_template(family)
    return processor


def _loaded(place: str, revision: str | None) -> Any:
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(place, revision=revision or "main")
    except (OSError, ValueError, KeyError, ImportError):
        name = _class_name(place, revision)
        if name not in FAMILIES or not (kind := _without_videos(name)):
            raise
        processor = kind.from_pretrained(place, revision=revision or "main")
    warnings.warn(
        f"The processor of {place} ({name}) wants torchvision for videos, which is not here or does not fit this torch: it is loaded "
        "for pictures only.",
        stacklevel=3,
    )
    return processor


def pictures_only(name: str) -> type:
    """The processor class of that name without its video part, which needs torchvision; or its stand-in.

    It saves under the name of the full class, so what it saves loads anywhere. Raises `KeyError` for a name not in `FAMILIES`.
    """
    import transformers

    return _without_videos(name) or getattr(transformers, name)


@cache
def _without_videos(name: str) -> type | None:
    """A subclass of the processor class that has no video part; `None` if the class has none to leave out."""
    import transformers

    if stand_in := FAMILIES[name].stand_in:
        return getattr(transformers, stand_in)
    whole = getattr(transformers, name)
    parts = whole.get_attributes()
    if "video_processor" not in parts:
        return None
    left = [part for part in parts if part != "video_processor"]
    return type(name, (whole,), {"get_attributes": classmethod(lambda _: list(left)), "__module__": __name__})


def __getattr__(name: str) -> type:
    """The pictures-only classes by name, for pickle, which looks a class up in its module."""
    if name in FAMILIES and (kind := _without_videos(name)):
        return kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _class_name(place: str, revision: str | None) -> str | None:
    """The processor class that a folder or repository names, or that its model type goes with."""
    from transformers import AutoConfig, ProcessorMixin
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    try:
        written, _ = ProcessorMixin.get_processor_dict(place, revision=revision or "main")
        if name := written.get("processor_class"):
            return name
        return PROCESSOR_MAPPING_NAMES.get(AutoConfig.from_pretrained(place, revision=revision or "main").model_type)
    except (OSError, ValueError, KeyError, ImportError):
        # There is nothing to name it: what the first attempt said is the better reason.
        return None
