"""A tiny LLaVA made from configurations: real transformers classes, small enough to learn shapes on two cores.

`make_tiny_model` trains a tokenizer on given texts, builds SigLIP tower + projector + Llama, and saves a folder that
`AutoProcessor` and `AutoModelForImageTextToText` load. This module knows no dataset: texts and scenes are handed to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comvint_hf.types import Scene

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

SPECIAL = {"pad_token": "<|pad|>", "eos_token": "<|end|>", "image_token": "<image>"}
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
MARKERS = ("<st>", " <st>", "<ed>[")
"""Grounding markers are tokens, but not special ones: decoding must keep them."""

SPLIT = r"\d+(?:\.\d+)?(?:, (?=[.\d]))?| ?\p{L}+|\s+(?=\S)| ?[^\s\p{L}\p{N}]+|\s+|\p{N}"
"""The units that may become one token: a number with the comma that leads to the next, a word, a run of punctuation."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|{{ message.role }}|>
{%- if message.role == 'assistant' -%}
{%- generation -%}
{%- if message.content is string -%}{{ message.content }}
{%- else -%}{%- for part in message.content if part.type == 'text' -%}{{ part.text }}{%- endfor -%}{%- endif -%}
<|end|>
{%- endgeneration -%}
{%- else -%}
{%- if message.content is string -%}{{ message.content }}
{%- else -%}{%- for part in message.content -%}
{%- if part.type == 'image' -%}{{ '<image>\n' }}{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


def make_tiny_model(
    folder: Path | str,
    texts: Iterable[str],
    *,
    scenes: Iterable[Scene] | None = None,
    seed: int = 0,
    pixels: int = 96,
    words: int = 2000,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make the tiny LLaVA, with random weights or, given `scenes`, with a vision tower pretrained on them.

    The same arguments give the same files.

    Args:
        folder: Where the model is saved.
        texts: Texts to train the tokenizer on.
        scenes: Scenes to pretrain the vision tower on.
        seed: Of weights and training.
        pixels: The side to which images are resized, a multiple of 32.
        words: The tokenizer's maximum number of tokens.
        progress: Called with the step and the number of steps while the tower is trained.

    Returns:
        The folder.
    """
    import torch

    torch.manual_seed(seed)
    processor = build_processor(train_tokenizer(texts, words), pixels)
    model = build_model(processor, pixels)
    if scenes is not None:
        from comvint_hf.training.tiny_vision import pretrain_vision_tower

        pretrain_vision_tower(model, processor, scenes, seed=seed, progress=progress)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Path(folder)


def train_tokenizer(texts: Iterable[str], words: int = 2000) -> PreTrainedTokenizerFast:
    """Train a tokenizer that has a token for every frequent word and number, and bytes for all the rest.

    Any text comes back unchanged from `decode(encode(text))`.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[*SPECIAL.values(), *ROLES],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL["pad_token"],
        eos_token=SPECIAL["eos_token"],
        extra_special_tokens={"image_token": SPECIAL["image_token"]},
        clean_up_tokenization_spaces=False,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )


def build_processor(tokenizer: PreTrainedTokenizerFast, pixels: int = 96) -> LlavaProcessor:
    """Combine the tokenizer with SigLIP's PIL image processor, which needs no torchvision."""
    from transformers import LlavaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    return LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": pixels, "width": pixels}),
        tokenizer=tokenizer,
        patch_size=32,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: LlavaProcessor, pixels: int = 96) -> LlavaForConditionalGeneration:
    """Build the model with random weights: tower and decoder 128 wide, 2 and 3 layers, 4 heads, tied embeddings."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    tokenizer = processor.tokenizer
    ids: dict[str, Any] = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    vision = SiglipVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=pixels,
        patch_size=32,
        vision_use_head=False,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        **ids,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        image_seq_length=(pixels // 32) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
        **ids,
    )
    model = LlavaForConditionalGeneration(config)
    init_weights(model)
    init_similar_tokens(model, tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def init_weights(model: LlavaForConditionalGeneration, embedding_std: float = 0.08) -> None:
    """Initialise every matrix with standard deviation 1/sqrt(fan-in), embeddings with 0.08, the tower's positions with 1.

    transformers' 0.02 is meant for wide models; at width 128 it is too small to learn in minutes. Positions are added to patches of
    unit scale: with much smaller ones the model learns late where objects are.
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=embedding_std)
        nn.init.normal_(model.model.vision_tower.embeddings.position_embedding.weight, std=1.0)
    model.tie_weights()


def init_similar_tokens(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, std: float = 0.01) -> None:
    """Initialise tokens that differ only in case or in the blank before them alike: "Red", " red" and "red" are one word.

    A small model has no corpus from which to learn that they are. `std` is the standard deviation of their difference.
    """
    import torch

    weights = model.get_input_embeddings().weight
    assert isinstance(weights, torch.Tensor)
    first: dict[str, int] = {}
    with torch.no_grad():
        for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
            leader = first.setdefault(token.lstrip("Ġ").lower(), index)
            if leader != index:
                weights[index] = weights[leader] + std * torch.randn(weights.shape[1])
