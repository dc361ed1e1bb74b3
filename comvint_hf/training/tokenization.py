"""Texts and images through a processor: tensors for the model, and the source characters of each token.

Processors expand one image placeholder into hundreds of image tokens. Those of transformers 5.18 and later report where; for any
other, the same text is tokenized without expansion and the two are matched end to end. A processor that adds a beginning or an end
of its own is probed with markers around the placeholders. This module knows no role, no task template and no loss.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from comvint_hf.errors import ModelError, RowError
from comvint_hf.model_families import family_of
from comvint_hf.training.loss_mask import Replacement, expand_placeholders, restore_blank_offsets

_MARKER = chr(0x10FFFD)
"""A private-use character that no row has (see `chat_template`)."""
_UNUSED_KEYS = ("offset_mapping", "text_replacement_offsets", "special_tokens_mask", "num_crops")


@dataclass(frozen=True)
class Encoded:
    """A batch as the model takes it, right-padded, and the source of its tokens.

    `features` holds `input_ids` and `attention_mask` (`[B, T]` int64), `pixel_values` and whatever else the processor makes;
    `offsets` is `[B, T, 2]` int64, characters of `texts`; `replacements` are the expanded placeholders in `texts` and what the
    processor added (with `start == end`).
    """

    features: dict[str, Any]
    offsets: np.ndarray
    texts: list[str]
    replacements: list[list[Replacement]]


def get_tokenizer(processor: Any) -> Any:
    """Return the tokenizer inside a processor, or a bare tokenizer itself."""
    return getattr(processor, "tokenizer", processor)


def encode(processor: Any, texts: Sequence[str], images: Sequence[Sequence[Any]], names: Sequence[str]) -> Encoded:
    """Run the processor over a batch of rendered texts.

    Args:
        processor: A processor, or a tokenizer for rows without images.
        texts: Rendered conversations, an image as one placeholder.
        images: For each text its images, possibly none.
        names: What error messages call the rows.

    Raises:
        ModelError: The tokenizer reports no offsets or has no padding token, or its tokens cannot be matched with the text.
        RowError: A row without an image, for a processor that takes none such.
    """
    tokenizer = get_tokenizer(processor)
    _check_tokenizer(tokenizer)
    if tokenizer is processor:
        _check_no_images(tokenizer, images, names)
        return _encode_texts(tokenizer, texts, list(texts), [[] for _ in texts], names)
    _check_images(processor, images, names)
    added = _find_added_texts(processor, texts, images)
    output = dict(_run_processor(processor, list(texts), images))
    features = {key: _to_tensor(value) for key, value in output.items() if key not in _UNUSED_KEYS}
    reported = output.get("text_replacement_offsets")
    if "offset_mapping" not in output or (reported is None and any(images)):
        if any(added):
            raise ModelError(
                f"{type(processor).__name__} adds text and does not report where: expected transformers 5.18 or later, which does."
            )
        offsets = _match_offsets(tokenizer, texts, features, names)
        return _make_encoded(features, offsets, texts, [[] for _ in texts], names)
    expanded = [
        [Replacement(item["span"][0], item["span"][1], item["replacement"]) for item in row]
        for row in reported or [()] * len(texts)
    ]
    replacements = [_merge_replacements(row, more) for row, more in zip(expanded, added, strict=True)]
    return _make_encoded(features, _to_offset_array(output["offset_mapping"]), texts, replacements, names)


def encode_shared_images(
    processor: Any, texts: Sequence[str], images: Sequence[Any], names: Sequence[str], leader: str, known: Sequence[Replacement]
) -> Encoded:
    """Encode texts that all have the images of `leader`, without processing these again if that can be avoided.

    `known` are the leader's replacements. The features may be `input_ids` and `attention_mask` only.
    """
    # Without a replacement for each image, the other texts cannot be expanded here.
    if sum(item.end > item.start for item in known) < len(images):
        return encode(processor, texts, [images for _ in texts], names)
    replacements = [_transfer_replacements(text, leader, known) for text in texts]
    expanded = [expand_placeholders(text, row) for text, row in zip(texts, replacements, strict=True)]
    return _encode_texts(get_tokenizer(processor), texts, expanded, replacements, names)


def _encode_texts(
    tokenizer: Any, texts: Sequence[str], expanded: list[str], replacements: list[list[Replacement]], names: Sequence[str]
) -> Encoded:
    """Run the tokenizer alone over `expanded`, the texts with their placeholders expanded."""
    output = tokenizer(expanded, add_special_tokens=False, padding=True, padding_side="right", return_offsets_mapping=True)
    features = {key: _to_tensor(output[key]) for key in ("input_ids", "attention_mask")}
    return _make_encoded(features, _to_offset_array(output["offset_mapping"]), texts, replacements, names)


def _check_no_images(tokenizer: Any, images: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
    if name := next((name for name, row in zip(names, images, strict=True) if row), None):
        raise ModelError(
            f"{name} has an image and {type(tokenizer).__name__} is a tokenizer, which takes text only: give L2TCollator the "
            "model's processor (AutoProcessor)."
        )


def _check_images(processor: Any, images: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
    if not family_of(processor).requires_image:
        return
    if name := next((name for name, row in zip(names, images, strict=True) if not row), None):
        raise RowError(
            f"{name} has no image, and {type(processor).__name__} takes no row without one: drop the row, or train another family."
        )


def _find_added_texts(processor: Any, texts: Sequence[str], images: Sequence[Sequence[Any]]) -> list[list[Replacement]]:
    """Find the text that a processor adds beside the images, as insertions into each text.

    Raises `ModelError` if it does more than to add something behind a placeholder or at the end.
    """
    from transformers import ProcessorMixin

    prepare = getattr(processor, "prepare_inputs_layout", None)
    if not any(images) or prepare is None or type(processor).prepare_inputs_layout is ProcessorMixin.prepare_inputs_layout:
        return [[] for _ in texts]
    # The processor is asked with a marker in each gap, so that its additions are found between the markers.
    placeholder = re.compile(f"({re.escape(str(processor.image_token))})")
    parts = [placeholder.split(text) for text in texts]
    marked = prepare(images=[list(row) for row in images], text=[_MARKER.join(row) for row in parts])[1]
    return [_find_insertions(row, written, type(processor).__name__) for row, written in zip(parts, marked, strict=True)]


def _find_insertions(parts: list[str], written: str, processor: str) -> list[Replacement]:
    insertions, index = [], 0
    for part, found in zip(parts, written.split(_MARKER), strict=True):
        if not found.startswith(part):
            raise ModelError(
                f"{processor} rewrites texts in their middle, so the loss cannot be placed: expected text added behind an image "
                "or at the end. Use another processor."
            )
        index += len(part)
        if len(found) > len(part):
            insertions.append(Replacement(index, index, found[len(part) :]))
    return insertions


def _merge_replacements(images: list[Replacement], added: list[Replacement]) -> list[Replacement]:
    """Merge both in the text's own characters; those of `images` count in the text with the additions."""
    shifts = [(item.start + sum(other.added_length for other in added[:n]), item.added_length) for n, item in enumerate(added)]
    moved = []
    for start, end, expansion in images:
        before = sum(length for index, length in shifts if index < start)
        moved.append(Replacement(start - before, end - before, expansion))
    return sorted([*moved, *added], key=lambda item: (item.start, item.end))


def _transfer_replacements(text: str, leader: str, known: Sequence[Replacement]) -> list[Replacement]:
    """Find the leader's replacements in another text: an insertion right behind an image stays there, any other goes to the end."""
    found, last, last_known = [], 0, 0
    for item in known:
        placeholder = leader[item.start : item.end]
        start = text.index(placeholder, last) if placeholder or item.start == last_known else len(text)
        last, last_known = start + len(placeholder), item.end
        found.append(Replacement(start, last, item.expansion))
    return found


def _check_tokenizer(tokenizer: Any) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} cannot report the source characters of a token: expected a fast tokenizer "
            "(one with tokenizer.json). Load it with use_fast=True or convert it."
        )
    if tokenizer.pad_token is None:
        raise ModelError("The tokenizer has no padding token: set processor.tokenizer.pad_token, for example to its end token.")


def _make_encoded(
    features: dict[str, Any], offsets: Any, texts: Sequence[str], replacements: list[list[Replacement]], names: Sequence[str]
) -> Encoded:
    """Build the encoded batch. Raises `ModelError` for offsets outside their text."""
    expanded = [expand_placeholders(text, row) for text, row in zip(texts, replacements, strict=True)]
    for text, row, name in zip(expanded, offsets, names, strict=True):
        if row.size and row.max() > len(text):
            raise ModelError(
                f"{name}: the tokenizer's offsets run to character {row.max()} of a text of {len(text)}: "
                "its normalizer or the processor rewrites the text, so the loss cannot be placed. Use another tokenizer file."
            )
    return Encoded(features, np.stack([restore_blank_offsets(row) for row in offsets]), expanded, replacements)


def _run_processor(processor: Any, texts: list[str], images: Sequence[Sequence[Any]]) -> Any:
    arguments = {
        "text": texts,
        "images": [list(row) for row in images] if any(images) else None,
        # The chat template has written the special tokens.
        "add_special_tokens": False,
        "padding": True,
        "padding_side": "right",
        "images_kwargs": {"return_tensors": "pt"},
    }
    if _supports_replacement_offsets():
        return processor(**arguments, return_offsets_mapping=True, return_text_replacement_offsets=True)
    return processor(**arguments)


def _to_tensor(value: Any) -> Any:
    import torch

    # By way of numpy, which converts lists of numbers several times faster than transformers does.
    return value if isinstance(value, torch.Tensor) else torch.from_numpy(np.asarray(value))


def _to_offset_array(offsets: Any) -> np.ndarray:
    """Convert lists of pairs to `[B, T, 2]` int64."""
    if not isinstance(offsets, list):
        return np.asarray(offsets, dtype=np.int64)
    flat = np.fromiter(chain.from_iterable(chain.from_iterable(offsets)), dtype=np.int64)
    return flat.reshape(len(offsets), -1, 2)


def _supports_replacement_offsets() -> bool:
    from transformers.processing_utils import ProcessingKwargs, TextKwargs

    return "return_text_replacement_offsets" in {**ProcessingKwargs.__annotations__, **TextKwargs.__annotations__}


def _match_offsets(tokenizer: Any, texts: Sequence[str], features: dict[str, Any], names: Sequence[str]) -> np.ndarray:
    """Compute offsets into the unexpanded texts, `[B, T, 2]`; tokens that only the expansion has get none."""
    plain = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    input_ids, lengths = features["input_ids"].numpy(), features["attention_mask"].sum(-1).tolist()
    offsets = np.zeros((*input_ids.shape, 2), dtype=np.int64)
    for row, (name, length) in enumerate(zip(names, lengths, strict=True)):
        short = np.asarray(plain["input_ids"][row])
        # The expansion lies in between: all tokens before the first and after the last image token are equal.
        head, tail = match_ends(short, input_ids[row, :length])
        if head + tail < len(short):
            raise ModelError(
                f"{name}: the processor's {length} tokens do not begin and end as its text does, so the loss cannot be placed. "
                "Use transformers 5.18 or later, or rows with their images next to each other."
            )
        characters = np.asarray(plain["offset_mapping"][row])
        offsets[row, :head] = characters[:head]
        offsets[row, length - tail : length] = characters[len(short) - tail :]
    return offsets


def match_ends(short: np.ndarray, long: np.ndarray) -> tuple[int, int]:
    """Count the tokens that two sequences share at their beginnings and, of the rest of the shorter one, at their ends.

    >>> match_ends(np.array([1, 7, 2]), np.array([1, 7, 7, 7, 2]))
    (2, 1)
    """
    size = min(len(short), len(long))
    unequal = np.flatnonzero(short[:size] != long[:size])
    head = int(unequal[0]) if len(unequal) else size
    rest = size - head
    unequal = np.flatnonzero(short[len(short) - rest :][::-1] != long[len(long) - rest :][::-1])
    return head, int(unequal[0]) if len(unequal) else rest
