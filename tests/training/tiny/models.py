"""Random models of every family from their configurations: 2 layers, 32 wide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from training.tiny.processors import TILES

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
HEADS = {"num_key_value_heads": 2, "max_position_embeddings": 1024}


def words(processor: Any, kind: Any = transformers.LlamaConfig, **more: Any) -> Any:
    tokenizer = processor.tokenizer
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    return kind(vocab_size=len(tokenizer), **SIZES, **HEADS, **ids, **more)


def clip_tower() -> Any:
    return transformers.CLIPVisionConfig(image_size=32, patch_size=16, projection_dim=32, **SIZES)


def siglip_tower(**more: Any) -> Any:
    return transformers.SiglipVisionConfig(image_size=32, patch_size=16, vision_use_head=False, **SIZES, **more)


def llava_model(tower: Callable[[], Any], strategy: str, layer: int, decoder: Any) -> Callable[[Any], Any]:
    def made(processor: Any) -> Any:
        config = transformers.LlavaConfig(
            vision_config=tower(),
            text_config=words(processor, decoder),
            image_token_index=processor.image_token_id,
            vision_feature_select_strategy=strategy,
            vision_feature_layer=layer,
        )
        return transformers.LlavaForConditionalGeneration(config)

    return made


def next_model(processor: Any) -> Any:
    config = transformers.LlavaNextConfig(
        vision_config=clip_tower(),
        text_config=words(processor, transformers.MistralConfig, sliding_window=None),
        image_token_index=processor.image_token_id,
        image_grid_pinpoints=TILES,
        vision_feature_layer=-2,
    )
    return transformers.LlavaNextForConditionalGeneration(config)


def onevision_model(processor: Any) -> Any:
    config = transformers.LlavaOnevisionConfig(
        vision_config=siglip_tower(),
        text_config=words(processor, transformers.Qwen2Config),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=TILES,
        vision_aspect_ratio="anyres_max_4",
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config)


def idefics_model(name: str) -> Callable[[Any], Any]:
    def made(processor: Any) -> Any:
        config = getattr(transformers, f"{name}Config")(
            vision_config={"image_size": 32, "patch_size": 16, **SIZES},
            text_config=words(processor),
            image_token_id=processor.image_token_id,
            scale_factor=2,
            pad_token_id=processor.tokenizer.pad_token_id,
        )
        return getattr(transformers, f"{name}ForConditionalGeneration")(config)

    return made


def paligemma_model(processor: Any) -> Any:
    config = transformers.PaliGemmaConfig(
        vision_config=siglip_tower(projection_dim=32),
        text_config=words(processor, transformers.GemmaConfig, head_dim=8),
        image_token_index=processor.image_token_id,
        projection_dim=32,
        hidden_size=32,
    )
    return transformers.PaliGemmaForConditionalGeneration(config)


def gemma_model(processor: Any) -> Any:
    tokenizer = processor.tokenizer
    text = words(processor, transformers.Gemma3TextConfig, head_dim=8, sliding_window=16)
    config = transformers.Gemma3Config(
        vision_config=siglip_tower(),
        text_config=text,
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
QWEN_TOWERS = {
    "Qwen2VL": {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "patch_size": 4},
    "Qwen2_5_VL": {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "patch_size": 4,
        "out_hidden_size": 32,
        "window_size": 16,
        "fullatt_block_indexes": [1],
    },
    "Qwen3VL": {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "patch_size": 4,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    },
}


def qwen_model(name: str) -> Callable[[Any], Any]:
    def made(processor: Any) -> Any:
        tokenizer = processor.tokenizer
        rope = {**ROPE, "mrope_interleaved": True} if name == "Qwen3VL" else ROPE
        head = {"head_dim": 8} if name == "Qwen3VL" else {}
        text = words(processor, getattr(transformers, f"{name}TextConfig"), rope_parameters=rope, **head)
        config = getattr(transformers, f"{name}Config")(
            vision_config=QWEN_TOWERS[name],
            text_config=text.to_dict(),
            image_token_id=processor.image_token_id,
            video_token_id=processor.video_token_id,
            vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
            vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        )
        return getattr(transformers, f"{name}ForConditionalGeneration")(config)

    return made


def internvl_model(processor: Any) -> Any:
    config = transformers.InternVLConfig(
        vision_config={"image_size": [32, 32], "patch_size": [16, 16], **SIZES},
        text_config=words(processor, transformers.Qwen2Config).to_dict(),
        image_token_id=processor.image_token_id,
        image_seq_length=1,
        downsample_ratio=0.5,
    )
    return transformers.InternVLForConditionalGeneration(config)


def blip_model(name: str, decoder: Any, **sizes: Any) -> Callable[[Any], Any]:
    def made(processor: Any) -> Any:
        text = words(processor, decoder, **sizes)
        config = getattr(transformers, f"{name}Config")(
            vision_config={"image_size": 32, "patch_size": 16, **SIZES},
            qformer_config={**SIZES, "encoder_hidden_size": 32, "vocab_size": len(processor.tokenizer)},
            text_config=text.to_dict(),
            num_query_tokens=4,
            image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
        )
        model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
        torch.nn.init.normal_(model.query_tokens, std=1.0)
        return model

    return made
