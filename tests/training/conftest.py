"""Small real tokenizers, processors and models, and six chat-template styles with an oracle of whose characters are whose.

Everything is made here: nothing is downloaded. A style knows its Jinja and, independently of it, how to write a conversation as
segments in plain Python; a tokenizer kind knows how to say from token *pieces* (not from offsets) which characters each token
has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

SYSTEM = "You look at pictures and answer."
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>"]
SPECIAL += ["<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<|system|>", "<|user|>", "<|assistant|>"]
TEXTS = [
    "What colour is the car? It is red and stands beside a tree.",
    "USER: Is there a dog in the picture? Answer with yes or no. ASSISTANT: yes, on the left.",
    "user\nHow many people do you see?\nmodel\nassistant\nthree. system: <st>man<ed>[0.100, 0.200, 0.300, 0.400]",
    SYSTEM,
]
Segment = tuple[str, str]
"""Text and what it is: template, image, instruction or response."""


@dataclass(frozen=True)
class Style:
    """A chat-template style: `jinja` with `(gen)`/`(end)` where generation blocks may stand, and its own writer."""

    name: str
    jinja: str
    write: Callable[[list[dict[str, str]], str], Iterator[Segment]]
    trims: bool = False
    system: bool = False

    def template(self, generation: bool) -> str:
        opening, closing = ("{% generation %}", "{% endgeneration %}") if generation else ("", "")
        return self.jinja.replace("(gen)", opening).replace("(end)", closing)

    def segments(self, messages: list[dict[str, str]], images: str = "") -> list[Segment]:
        """The conversation in segments; `images` is what the processor writes for the row's images."""
        return list(self.write(messages, images))


PARTS = """{%- macro text(message) -%}
{%- for part in message.content -%}{%- if part.type == 'text' -%}{{ part.text }}{%- endif -%}{%- endfor -%}
{%- endmacro -%}
{%- macro pictures(message, after='') -%}
{%- for part in message.content -%}{%- if part.type == 'image' -%}{{ '<image>' + after }}{%- endif -%}{%- endfor -%}
{%- endmacro -%}
"""


def with_images(messages: list[dict[str, str]], images: str) -> Iterator[tuple[str, str, str]]:
    """Role, content and, before the first user turn, the images."""
    left = images
    for message in messages:
        yield message["role"], message["content"], left if message["role"] == "user" else ""
        left = "" if message["role"] == "user" else left


def chatml(messages: list[dict[str, str]], images: str) -> Iterator[Segment]:
    for role, content, image in with_images(messages, images):
        yield f"<|im_start|>{role}\n", "template"
        yield image, "image"
        yield content, {"user": "instruction", "assistant": "response"}.get(role, "template")
        yield "<|im_end|>", "response" if role == "assistant" else "template"
        yield "\n", "template"


def llava(messages: list[dict[str, str]], images: str) -> Iterator[Segment]:
    for role, content, image in with_images(messages, images):
        if role == "user":
            yield "USER: ", "template"
            yield image, "image"
            yield "\n" if image else "", "template"
            yield content, "instruction"
            yield " ASSISTANT:", "template"
        else:
            yield f" {content}</s>", "response"


def llama3(messages: list[dict[str, str]], images: str) -> Iterator[Segment]:
    yield "<s>", "template"
    for role, content, image in with_images(messages, images):
        yield f"<|start_header_id|>{role}<|end_header_id|>\n\n", "template"
        yield image, "image"
        yield content.strip(), {"user": "instruction", "assistant": "response"}.get(role, "template")
        yield "<|eot_id|>", "response" if role == "assistant" else "template"


def gemma(messages: list[dict[str, str]], images: str) -> Iterator[Segment]:
    yield "<s>", "template"
    for role, content, image in with_images(messages, images):
        yield f"<start_of_turn>{'model' if role == 'assistant' else role}\n", "template"
        yield image, "image"
        yield content.strip(), "response" if role == "assistant" else "instruction"
        yield "<end_of_turn>", "response" if role == "assistant" else "template"
        yield "\n", "template"


def mistral(messages: list[dict[str, str]], images: str) -> Iterator[Segment]:
    yield "<s>", "template"
    for role, content, image in with_images(messages, images):
        if role == "user":
            yield "[INST] ", "template"
            yield image, "image"
            yield content, "instruction"
            yield " [/INST]", "template"
        else:
            yield f" {content}</s>", "response"


def zephyr(messages: list[dict[str, str]], images: str) -> Iterator[Segment]:
    if messages[0]["role"] != "system":
        yield f"<|system|>\n{SYSTEM}</s>\n", "template"
    for role, content, image in with_images(messages, images):
        yield f"<|{role}|>\n", "template"
        yield image, "image"
        yield content, {"user": "instruction", "assistant": "response"}.get(role, "template")
        yield "</s>", "response" if role == "assistant" else "template"
        yield "\n", "template"


STYLES = {
    style.name: style
    for style in (
        Style(
            "chatml",
            PARTS
            + """{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.role == 'assistant' -%}(gen){{- text(message) + '<|im_end|>\\n' -}}(end)
{%- else -%}{{- pictures(message) + text(message) + '<|im_end|>\\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}""",
            chatml,
            system=True,
        ),
        Style(
            "llava",
            PARTS
            + """{%- for message in messages -%}
{%- if message.role == 'user' -%}{{- 'USER: ' + pictures(message, '\\n') + text(message) + ' ASSISTANT:' -}}
{%- elif message.role == 'assistant' -%}(gen){{- ' ' + text(message) + '</s>' -}}(end)
{%- else -%}{{- raise_exception('only user and assistant') -}}{%- endif -%}
{%- endfor -%}""",
            llava,
        ),
        Style(
            "llama3",
            PARTS
            + """{{- bos_token -}}{%- for message in messages -%}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' -}}
{%- if message.role == 'assistant' -%}(gen){{- text(message) | trim + '<|eot_id|>' -}}(end)
{%- else -%}{{- pictures(message) + text(message) | trim + '<|eot_id|>' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}""",
            llama3,
            trims=True,
            system=True,
        ),
        Style(
            "gemma",
            PARTS
            + """{{- bos_token -}}{%- for message in messages -%}
{%- if message.role == 'system' -%}{{- raise_exception('System role not supported') -}}{%- endif -%}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' -}}
{%- if message.role == 'assistant' -%}(gen){{- text(message) | trim + '<end_of_turn>\\n' -}}(end)
{%- else -%}{{- pictures(message) + text(message) | trim + '<end_of_turn>\\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}""",
            gemma,
            trims=True,
        ),
        Style(
            "mistral",
            PARTS
            + """{{- bos_token -}}{%- for message in messages -%}
{%- if message.role == 'user' -%}{{- '[INST] ' + pictures(message) + text(message) + ' [/INST]' -}}
{%- elif message.role == 'assistant' -%}(gen){{- ' ' + text(message) + '</s>' -}}(end)
{%- else -%}{{- raise_exception('only user and assistant') -}}{%- endif -%}
{%- endfor -%}""",
            mistral,
        ),
        Style(
            "zephyr",
            PARTS
            + """{%- if messages[0].role != 'system' -%}{{- '<|system|>\\n"""
            + SYSTEM
            + """</s>\\n' -}}{%- endif -%}
{%- for message in messages -%}
{{- '<|' + message.role + '|>\\n' -}}
{%- if message.role == 'assistant' -%}(gen){{- text(message) + '</s>' -}}(end){{- '\\n' -}}
{%- else -%}{{- pictures(message) + text(message) + '</s>\\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\\n' -}}{%- endif -%}""",
            zephyr,
            system=True,
        ),
    )
}


def byte_level(trim: bool = False) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def metaspace(by_normalizer: bool = False) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if by_normalizer:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.train_from_iterator(
        TEXTS * 3, trainers.BpeTrainer(vocab_size=900, special_tokens=[*SPECIAL, *bytes_], show_progress=False)
    )
    # the 256 byte pieces have to be ordinary vocabulary: as added tokens they would be found in texts that spell them
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    fresh = Tokenizer(models.BPE(model["vocab"], merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    fresh.normalizer, fresh.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    fresh.add_special_tokens(SPECIAL)
    return fresh


def word_level() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))
    return tokenizer


TOKENIZERS = {
    "byte": byte_level,
    "byte, trimmed offsets": lambda: byte_level(trim=True),
    "metaspace": metaspace,
    "metaspace by normalizer": lambda: metaspace(by_normalizer=True),
    "word": word_level,
}
BYTES = {}


def byte_alphabet() -> dict[str, int]:
    """Which byte each letter of byte-level BPE stands for."""
    if not BYTES:
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        rest = [byte for byte in range(256) if byte not in printable]
        BYTES.update({chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(rest)})
    return BYTES


def characters_of_tokens(kind: str, pieces: list[str], text: str) -> list[set[int]]:
    """The characters of `text` that each piece was made from, found by spelling the text with the pieces.

    A blank that a tokenizer puts in front of a segment belongs to the character that it precedes.
    """
    if kind == "word":
        return _words(pieces, text)
    place_of_byte = [place for place, letter in enumerate(text) for _ in letter.encode()]
    data, at, found = text.encode(), 0, []
    for segment, follower in _segments(pieces):
        spelled = [_bytes(kind, piece) for piece in segment]
        whole = b"".join(spelled)
        extra = int(not data.startswith(whole + follower.encode(), at))
        assert data.startswith(whole[extra:] + follower.encode(), at) and whole[:extra] in (b"", b" "), (segment, text)
        for piece in spelled:
            own, extra = piece[extra:], 0
            found.append(set(place_of_byte[at : at + max(len(own), 1)]))
            at += len(own)
    assert at == len(data), "the pieces do not spell the text"
    return found


def _segments(pieces: list[str]) -> Iterator[tuple[list[str], str]]:
    """The pieces between special ones, each with the special piece that follows; special ones stand alone."""
    segment: list[str] = []
    for piece in pieces:
        if piece not in SPECIAL:
            segment.append(piece)
            continue
        if segment:
            yield segment, piece
        yield [piece], ""
        segment = []
    if segment:
        yield segment, ""


def _bytes(kind: str, piece: str) -> bytes:
    if piece in SPECIAL:
        return piece.encode()
    if kind.startswith("byte"):
        return bytes(byte_alphabet()[letter] for letter in piece)
    if re.fullmatch(r"<0x[0-9A-F]{2}>", piece):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁", " ").encode()


def _words(pieces: list[str], text: str) -> list[set[int]]:
    special = "|".join(map(re.escape, sorted(SPECIAL, key=len, reverse=True)))
    spans = [match.span() for match in re.finditer(rf"{special}|\w+|(?:(?!{special})[^\w\s])+", text)]
    assert len(spans) == len(pieces), (pieces, [text[a:b] for a, b in spans])
    return [set(range(*span)) for span in spans]


@pytest.fixture(scope="session")
def styles() -> dict[str, Style]:
    return STYLES


@pytest.fixture(scope="session")
def spell() -> Callable[[str, list[str], str], list[set[int]]]:
    return characters_of_tokens


@pytest.fixture(scope="session")
def tokenizer_of() -> Callable[[str], Any]:
    """Make a transformers tokenizer of a kind; each is trained once."""
    from transformers import PreTrainedTokenizerFast

    made: dict[str, Any] = {}

    def make(kind: str) -> Any:
        if kind not in made:
            names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
            made[kind] = PreTrainedTokenizerFast(
                tokenizer_object=TOKENIZERS[kind](),
                **names,
                extra_special_tokens={"image_token": "<image>"},
                model_input_names=["input_ids", "attention_mask"],
            )
        return made[kind]

    return make


@pytest.fixture(scope="session")
def processor_of(tokenizer_of: Callable[[str], Any]) -> Callable[..., Any]:
    """Make a LLaVA processor of a template style and a tokenizer kind: 32-pixel images, 4 image tokens each."""
    from transformers import LlavaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    made: dict[Any, Any] = {}

    def make(style: str, kind: str = "byte", generation: bool = False) -> Any:
        key = (style, kind, generation)
        if key not in made:
            made[key] = LlavaProcessor(
                image_processor=SiglipImageProcessorPil(size={"height": 32, "width": 32}),
                tokenizer=tokenizer_of(kind),
                patch_size=16,
                vision_feature_select_strategy="full",
                num_additional_image_tokens=0,
                chat_template=STYLES[style].template(generation),
            )
        return made[key]

    return make


@pytest.fixture(scope="session")
def image() -> Any:
    from PIL import Image

    return Image.effect_noise((40, 30), 60).convert("RGB")
