"""A tiny model of every family, made from configurations, with a tokenizer trained here: nothing is downloaded.

A `Tiny` says how a family's processor and model are made, which special tokens its style has, and how a conversation is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from training.tiny.models import (
    blip_model,
    clip_tower,
    gemma_model,
    idefics_model,
    internvl_model,
    llava_model,
    next_model,
    onevision_model,
    paligemma_model,
    qwen_model,
    siglip_tower,
)
from training.tiny.processors import (
    blip_processor,
    clip_processor,
    gemma_processor,
    idefics_processor,
    instruct_processor,
    internvl_processor,
    next_processor,
    onevision_processor,
    paligemma_processor,
    qwen_processor,
    siglip_processor,
    smolvlm_processor,
)
from training.tiny.styles import Segment, chatml, gemma, mistral, prefix, question, qwen, utterance, vicuna
from transformers import PreTrainedTokenizerFast

from comvint_hf import L2TCollator
from comvint_hf.model_families import FAMILIES, load_chat_template

TEXTS = [
    "What colour is the car? It is red and stands beside a tree.",
    "USER: Is there a dog in the picture? Answer with yes or no. ASSISTANT: yes, on the left.",
    "User: How many people do you see? Assistant: three <st>men<ed>[0.100, 0.200, 0.300, 0.400]",
]
CHATML = ("<|pad|>", "<|unk|>", None, "<|im_end|>", "<|im_start|>")
LLAMA = ("<pad>", "<unk>", "<s>", "</s>")


@dataclass(frozen=True)
class Tiny:
    """One family, small.

    `special` are padding, unknown, beginning (or none) and end, then further special tokens; `named` are those a processor asks its
    tokenizer for. `expansion` is what the processor writes for an image of 40 x 30.
    """

    processor_class: str
    special: tuple[str | None, ...]
    named: dict[str, str]
    expansion: str
    write: Callable[[list[dict[str, str]], str], Iterator[Segment]]
    process: Callable[[Any], Any]
    build: Callable[[Any], Any]
    plain: tuple[str, ...] = ()

    @property
    def family(self) -> Any:
        return FAMILIES[self.processor_class]

    def tokenizer(self) -> PreTrainedTokenizerFast:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        pad, unk, bos, eos, *more = self.special
        special = [token for token in (pad, unk, bos, eos, *more, *self.named.values()) if token]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(
            TEXTS * 3, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, special_tokens=special, show_progress=False)
        )
        made = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token=pad,
            unk_token=unk,
            bos_token=bos,
            eos_token=eos,
            extra_special_tokens=self.named,
            model_input_names=["input_ids", "attention_mask"],
        )
        made.add_tokens(list(self.plain))
        return made

    def processor(self) -> Any:
        processor = self.process(self.tokenizer())
        processor.chat_template = load_chat_template(self.family)
        return processor

    def model(self, processor: Any) -> Any:
        torch.manual_seed(0)
        model = self.build(processor)
        model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
        model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
        return model

    def segments(self, messages: list[dict[str, str]], image: bool = True) -> list[Segment]:
        return list(self.write(messages, self.expansion if image else ""))


GEMMA = ("<pad>", "<unk>", "<bos>", "<eos>")
IMAGE = {"image_token": "<image>"}
TURNS = ("<start_of_turn>", "<end_of_turn>")
QWEN_TOKENS = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
QWEN_SPECIAL = (*CHATML, "<|vision_start|>", "<|vision_end|>")
QWEN_BOXES = (*QWEN_SPECIAL, "<|box_start|>", "<|box_end|>")
INTERN = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
GRID = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
UTTERANCE = ("<pad>", "<unk>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>", *GRID)
FAKE = "<fake_token_around_image>"
SPLIT = "".join("".join(f"{FAKE}<row_{row}_col_{column}><image>" for column in (1, 2)) + "\n" for row in (1, 2))
SPLIT += f"\n{FAKE}<global-img><image>{FAKE}"
LOCATIONS = tuple(f"<loc{place:04d}>" for place in range(1024))
LONG = "<|image_pad|>"

TINY: dict[str, Tiny] = {
    "LLaVA-1.5, CLIP": Tiny(
        "LlavaProcessor",
        LLAMA,
        IMAGE,
        "<image>" * 4,
        vicuna,
        clip_processor,
        llava_model(clip_tower, "default", -2, transformers.LlamaConfig),
    ),
    "LLaVA-1.5, SigLIP": Tiny(
        "LlavaProcessor",
        LLAMA,
        IMAGE,
        "<image>" * 4,
        vicuna,
        siglip_processor,
        llava_model(siglip_tower, "full", -1, transformers.Qwen2Config),
    ),
    "LLaVA-NeXT": Tiny(
        "LlavaNextProcessor", (*LLAMA, "[INST]", "[/INST]"), IMAGE, "<image>" * 10, mistral, next_processor, next_model
    ),
    "LLaVA-OneVision": Tiny(
        "LlavaOnevisionProcessor",
        CHATML,
        {**IMAGE, "video_token": "<video>"},
        "<image>" * 10,
        chatml,
        onevision_processor,
        onevision_model,
    ),
    "Idefics3": Tiny("Idefics3Processor", UTTERANCE, IMAGE, SPLIT, utterance, idefics_processor, idefics_model("Idefics3")),
    "SmolVLM": Tiny("SmolVLMProcessor", UTTERANCE, IMAGE, SPLIT, utterance, smolvlm_processor, idefics_model("SmolVLM")),
    "PaliGemma": Tiny(
        "PaliGemmaProcessor", GEMMA, IMAGE, "<image>" * 4, prefix, paligemma_processor, paligemma_model, plain=LOCATIONS
    ),
    "Gemma 3": Tiny(
        "Gemma3Processor",
        (*GEMMA, *TURNS),
        {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"},
        f"\n\n<start_of_image>{'<image_soft_token>' * 4}<end_of_image>\n\n",
        gemma,
        gemma_processor,
        gemma_model,
    ),
    "Qwen2-VL": Tiny(
        "Qwen2VLProcessor", QWEN_BOXES, QWEN_TOKENS, LONG * 12, qwen, qwen_processor("Qwen2VLProcessor"), qwen_model("Qwen2VL")
    ),
    "Qwen2.5-VL": Tiny(
        "Qwen2_5_VLProcessor",
        QWEN_SPECIAL,
        QWEN_TOKENS,
        LONG * 12,
        qwen,
        qwen_processor("Qwen2_5_VLProcessor"),
        qwen_model("Qwen2_5_VL"),
    ),
    "Qwen3-VL": Tiny(
        "Qwen3VLProcessor", QWEN_SPECIAL, QWEN_TOKENS, LONG * 12, qwen, qwen_processor("Qwen3VLProcessor"), qwen_model("Qwen3VL")
    ),
    "InternVL": Tiny(
        "InternVLProcessor",
        (*CHATML, "<box>", "</box>"),
        INTERN,
        f"<img>{'<IMG_CONTEXT>' * 5}</img>",
        chatml,
        internvl_processor,
        internvl_model,
    ),
    "BLIP-2": Tiny(
        "Blip2Processor",
        LLAMA,
        {},
        "<image>" * 4,
        question,
        blip_processor,
        blip_model("Blip2", transformers.OPTConfig, ffn_dim=64, word_embed_proj_dim=32),
    ),
    "InstructBLIP": Tiny(
        "InstructBlipProcessor",
        LLAMA,
        {},
        "<image>" * 4,
        question,
        instruct_processor,
        blip_model("InstructBlip", transformers.LlamaConfig),
    ),
}
"""By the line of the support table in the README."""


SAMPLE_IMAGE = Image.effect_noise((40, 30), 60).convert("RGB")
SENTENCE = "Is <st>the cup<ed>[0.300, 0.350, 0.600, 0.650] full?"
TALK = ("What colour is the car?", "It is red.", "Sure?", "yes")
FAMILY = pytest.mark.parametrize("name", TINY)
LEARN = {"instruction+response": ("instruction", "response"), "response": ("response",)}
CASES = pytest.mark.parametrize(
    ("name", "learn"),
    [(name, learn) for name in TINY for learn in LEARN if learn == "response" or not TINY[name].family.qformer_reads_text],
)


@cache
def processor_of(name: str) -> Any:
    return TINY[name].processor()


@cache
def model_of(name: str) -> Any:
    """The tiny model in evaluation mode; tests that train it make their own."""
    return TINY[name].model(processor_of(name)).eval()


def collator_of(name: str, processor: Any = None, **options: Any) -> L2TCollator:
    """The collator with the largest scope that the family allows."""
    scope = "response" if TINY[name].family.qformer_reads_text else "instruction+response"
    return L2TCollator(processor or processor_of(name), **{"learn": scope, **options})


def talk(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def row_of(*texts: str) -> dict[str, Any]:
    return {"images": [SAMPLE_IMAGE], "messages": talk(*texts)}
