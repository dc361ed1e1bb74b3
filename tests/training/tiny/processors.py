"""Small processors of every family, with the image processors that need no torchvision."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import transformers

from comvint_hf.model_families import image_only_processor

SQUARE = {"height": 32, "width": 32}
TILES = [[32, 64], [64, 32], [64, 64]]


def pil(module: str, name: str, **options: Any) -> Any:
    from importlib import import_module

    return getattr(import_module(f"transformers.models.{module}.image_processing_pil_{module}"), name)(**options)


def clip_processor(tokenizer: Any) -> Any:
    looks = pil("clip", "CLIPImageProcessorPil", size={"shortest_edge": 32}, crop_size=SQUARE)
    return transformers.LlavaProcessor(
        looks, tokenizer, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )


def siglip_processor(tokenizer: Any) -> Any:
    looks = pil("siglip", "SiglipImageProcessorPil", size=SQUARE)
    return transformers.LlavaProcessor(looks, tokenizer, patch_size=16, vision_feature_select_strategy="full")


def next_processor(tokenizer: Any) -> Any:
    looks = pil(
        "llava_next",
        "LlavaNextImageProcessorPil",
        size={"shortest_edge": 32},
        crop_size=SQUARE,
        image_grid_pinpoints=TILES,
    )
    return transformers.LlavaNextProcessor(
        looks, tokenizer, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )


def onevision_processor(tokenizer: Any) -> Any:
    looks = pil("llava_onevision", "LlavaOnevisionImageProcessorPil", size=SQUARE, image_grid_pinpoints=TILES)
    return image_only_processor("LlavaOnevisionProcessor")(
        looks, tokenizer, num_image_tokens=4, vision_feature_select_strategy="full", vision_aspect_ratio="anyres_max_4"
    )


def idefics_processor(tokenizer: Any, module: str = "idefics3", name: str = "Idefics3") -> Any:
    looks = pil(module, f"{name}ImageProcessorPil", size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    return image_only_processor(f"{name}Processor")(looks, tokenizer, image_seq_len=1)


def smolvlm_processor(tokenizer: Any) -> Any:
    return idefics_processor(tokenizer, "smolvlm", "SmolVLM")


def paligemma_processor(tokenizer: Any) -> Any:
    looks = pil("siglip", "SiglipImageProcessorPil", size=SQUARE)
    looks.image_seq_length = 4
    return transformers.PaliGemmaProcessor(looks, tokenizer)


def gemma_processor(tokenizer: Any) -> Any:
    return transformers.Gemma3Processor(pil("gemma3", "Gemma3ImageProcessorPil", size=SQUARE), tokenizer, image_seq_length=4)


def qwen_processor(name: str, patch: int = 4) -> Callable[[Any], Any]:
    limits = {"shortest_edge": 24 * 24, "longest_edge": 32 * 32}

    def made(tokenizer: Any) -> Any:
        looks = pil("qwen2_vl", "Qwen2VLImageProcessorPil", size=limits, patch_size=patch)
        return image_only_processor(name)(image_processor=looks, tokenizer=tokenizer)

    return made


def internvl_processor(tokenizer: Any) -> Any:
    looks = pil("got_ocr2", "GotOcr2ImageProcessorPil", size=SQUARE, crop_to_patches=True, min_patches=2, max_patches=4)
    return image_only_processor("InternVLProcessor")(looks, tokenizer, image_seq_length=1)


def blip_processor(tokenizer: Any) -> Any:
    looks = pil("blip", "BlipImageProcessorPil", size=SQUARE)
    return transformers.Blip2Processor(looks, tokenizer, num_query_tokens=4)


def instruct_processor(tokenizer: Any) -> Any:
    looks = pil("blip", "BlipImageProcessorPil", size=SQUARE)
    return transformers.InstructBlipProcessor(looks, tokenizer, deepcopy(tokenizer), num_query_tokens=4)
