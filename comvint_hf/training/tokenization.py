"""Texts and pictures through a processor: tensors for the model, and for each token the characters it was made from.

Processors write an image token hundreds of times where the text had one placeholder. Those of transformers 5.18 and later say
where; for any other, the same text is tokenized without expansion and the two are matched end to end. A processor that adds a
beginning or an end of its own is asked where, with markers around the placeholders. This file knows no role, no template and no
loss.
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
from comvint_hf.training.loss_mask import Replacement, expand, widen

_MARKER = chr(0x10FFFD)
"""A private-use character that no row has (see `markers`)."""
_OWN_KEYS = ("offset_mapping", "text_replacement_offsets", "special_tokens_mask", "num_crops")


@dataclass(frozen=True)
class Encoded:
    """A batch as the model takes it, right-padded, and where its tokens come from.

    `features` holds `input_ids` and `attention_mask` (`[B, T]` int64), `pixel_values` and whatever else the processor makes;
    `offsets` is `[B, T, 2]` int64, characters of `texts`; `replacements` say where placeholders were expanded in them, and, as
    replacements of nothing, what the processor added.
    """

    features: dict[str, Any]
    offsets: np.ndarray
    texts: list[str]
    replacements: list[list[Replacement]]


def tokenizer_of(processor: Any) -> Any:
    """The tokenizer inside a processor; a bare tokenizer stands for itself."""
    return getattr(processor, "tokenizer", processor)


def encode(processor: Any, texts: Sequence[str], images: Sequence[Sequence[Any]], names: Sequence[str]) -> Encoded:
    """Run the processor over a batch of rendered texts; `images[i]` are the pictures of `texts[i]`, possibly none.

    Raises `ModelError` if the tokenizer tells no offsets, has no padding token, or its tokens cannot be matched with the text;
    `names` are what errors call the rows.
    """
    tokenizer = tokenizer_of(processor)
    _require_offsets(tokenizer)
    if tokenizer is processor:
        _refuse_pictures(tokenizer, images, names)
        return _encode_texts(tokenizer, texts, list(texts), [[] for _ in texts], names)
    _require_pictures(processor, images, names)
    added = _additions(processor, texts, images)
    output = dict(_call(processor, list(texts), images))
    features = {key: _tensor(value) for key, value in output.items() if key not in _OWN_KEYS}
    replaced = output.get("text_replacement_offsets")
    if "offset_mapping" not in output or (replaced is None and any(images)):
        if any(added):
            raise ModelError(f"{type(processor).__name__} adds to texts and does not say where: transformers 5.18 or later does.")
        offsets = _matched_offsets(tokenizer, texts, features, names)
        return _checked(features, offsets, texts, [[] for _ in texts], names)
    told = [[Replacement(*one["span"], one["replacement"]) for one in row] for row in replaced or [()] * len(texts)]
    replacements = [_joined(row, more) for row, more in zip(told, added, strict=True)]
    return _checked(features, _offsets_array(output["offset_mapping"]), texts, replacements, names)


def encode_alike(
    processor: Any, texts: Sequence[str], images: Sequence[Any], names: Sequence[str], leader: str, known: Sequence[Replacement]
) -> Encoded:
    """Encode texts that all have the same pictures, as `leader` has; these are not processed again if that can be avoided.

    `known` are the leader's replacements. The features may be `input_ids` and `attention_mask` only.
    """
    if sum(one.end > one.start for one in known) < len(images):
        return encode(processor, texts, [images for _ in texts], names)
    replacements = [_replaced_alike(text, leader, known) for text in texts]
    whole = [expand(text, row) for text, row in zip(texts, replacements, strict=True)]
    return _encode_texts(tokenizer_of(processor), texts, whole, replacements, names)


def _encode_texts(
    tokenizer: Any, texts: Sequence[str], whole: list[str], replacements: list[list[Replacement]], names: Sequence[str]
) -> Encoded:
    """Run the tokenizer alone over texts whose placeholders are expanded in `whole`."""
    output = tokenizer(whole, add_special_tokens=False, padding=True, padding_side="right", return_offsets_mapping=True)
    features = {key: _tensor(output[key]) for key in ("input_ids", "attention_mask")}
    return _checked(features, _offsets_array(output["offset_mapping"]), texts, replacements, names)


def _refuse_pictures(tokenizer: Any, images: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
    for name, pictures in zip(names, images, strict=True):
        if pictures:
            raise ModelError(
                f"{name} has a picture and {type(tokenizer).__name__} is a tokenizer, which takes text only: give L2TCollator the "
                "model's processor (AutoProcessor)."
            )


def _require_pictures(processor: Any, images: Sequence[Sequence[Any]], names: Sequence[str]) -> None:
    if not family_of(processor).picture:
        return
    for name, pictures in zip(names, images, strict=True):
        if not pictures:
            raise RowError(
                f"{name} has no picture, and {type(processor).__name__} takes no row without one: drop it, or train another family."
            )


def _additions(processor: Any, texts: Sequence[str], images: Sequence[Sequence[Any]]) -> list[list[Replacement]]:
    """What a processor writes into texts beside the pictures, as replacements of nothing in each text.

    Raises `ModelError` if it does more than to add something behind a placeholder or at the end.
    """
    from transformers import ProcessorMixin

    prepare = getattr(processor, "prepare_inputs_layout", None)
    if not any(images) or prepare is None or type(processor).prepare_inputs_layout is ProcessorMixin.prepare_inputs_layout:
        return [[] for _ in texts]
    placeholder = re.compile(f"({re.escape(str(processor.image_token))})")
    pieces = [placeholder.split(text) for text in texts]
    marked = prepare(images=[list(row) for row in images], text=[_MARKER.join(row) for row in pieces])[1]
    return [_added(row, written, type(processor).__name__) for row, written in zip(pieces, marked, strict=True)]


def _added(pieces: list[str], written: str, processor: str) -> list[Replacement]:
    found, place = [], 0
    for piece, more in zip(pieces, written.split(_MARKER), strict=True):
        if not more.startswith(piece):
            raise ModelError(f"{processor} rewrites texts in their middle, so the loss cannot be placed: use another processor.")
        place += len(piece)
        if len(more) > len(piece):
            found.append(Replacement(place, place, more[len(piece) :]))
    return found


def _joined(pictures: list[Replacement], added: list[Replacement]) -> list[Replacement]:
    """Both in the text's own characters, in order; `pictures` come in those of the text with the additions."""
    gains = [(one.start + sum(other.gain for other in added[:place]), one.gain) for place, one in enumerate(added)]
    moved = []
    for picture in pictures:
        before = sum(gain for start, gain in gains if start < picture.start)
        moved.append(Replacement(picture.start - before, picture.end - before, picture.expansion))
    return sorted([*moved, *added], key=lambda one: (one.start, one.end))


def _replaced_alike(text: str, leader: str, known: Sequence[Replacement]) -> list[Replacement]:
    """Where the leader's replacements fall in another text: what was added right behind a picture stays there, the rest at the end."""
    found, last, told = [], 0, 0
    for one in known:
        placeholder = leader[one.start : one.end]
        start = text.index(placeholder, last) if placeholder or one.start == told else len(text)
        last, told = start + len(placeholder), one.end
        found.append(Replacement(start, last, one.expansion))
    return found


def _require_offsets(tokenizer: Any) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} cannot say which characters a token was made from: expected a fast tokenizer "
            "(one with tokenizer.json). Load it with use_fast=True or convert it."
        )
    if tokenizer.pad_token is None:
        raise ModelError("The tokenizer has no padding token: set processor.tokenizer.pad_token, for example to its end token.")


def _checked(
    features: dict[str, Any],
    offsets: np.ndarray,
    texts: Sequence[str],
    replacements: list[list[Replacement]],
    names: Sequence[str],
) -> Encoded:
    """The encoded batch, if every offset lies inside its text."""
    whole = [expand(text, row) for text, row in zip(texts, replacements, strict=True)]
    for text, row, name in zip(whole, offsets, names, strict=True):
        if row.size and row.max() > len(text):
            raise ModelError(
                f"{name}: the tokenizer's offsets run to character {row.max()} of a text of {len(text)}: "
                "its normalizer or the processor rewrites the text, so the loss cannot be placed. Use another tokenizer file."
            )
    return Encoded(features, np.stack([widen(row) for row in offsets]), whole, replacements)


def _call(processor: Any, texts: list[str], images: Sequence[Sequence[Any]]) -> Any:
    wanted = {
        "text": texts,
        "images": [list(pictures) for pictures in images] if any(images) else None,
        "add_special_tokens": False,
        "padding": True,
        "padding_side": "right",
        "images_kwargs": {"return_tensors": "pt"},
    }
    if _tells_replacements():
        return processor(**wanted, return_offsets_mapping=True, return_text_replacement_offsets=True)
    return processor(**wanted)


def _tensor(value: Any) -> Any:
    """Lists of numbers as a tensor: by way of numpy, which is several times quicker than the way transformers takes."""
    import torch

    return value if isinstance(value, torch.Tensor) else torch.from_numpy(np.asarray(value))


def _offsets_array(offsets: Any) -> np.ndarray:
    """`[B, T, 2]` int64 from lists of pairs."""
    if not isinstance(offsets, list):
        return np.asarray(offsets, dtype=np.int64)
    flat = np.fromiter(chain.from_iterable(chain.from_iterable(offsets)), dtype=np.int64)
    return flat.reshape(len(offsets), -1, 2)


def _tells_replacements() -> bool:
    from transformers.processing_utils import ProcessingKwargs, TextKwargs

    return "return_text_replacement_offsets" in {**ProcessingKwargs.__annotations__, **TextKwargs.__annotations__}


def _matched_offsets(tokenizer: Any, texts: Sequence[str], features: dict[str, Any], names: Sequence[str]) -> np.ndarray:
    """Offsets into the unexpanded texts, `[B, T, 2]`; tokens that only the expansion has get none."""
    plain = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    input_ids, lengths = features["input_ids"].numpy(), features["attention_mask"].sum(-1).tolist()
    offsets = np.zeros((*input_ids.shape, 2), dtype=np.int64)
    for row, (name, length) in enumerate(zip(names, lengths, strict=True)):
        short = np.asarray(plain["input_ids"][row])
        head, tail = match_ends(short, input_ids[row, :length])
        if head + tail < len(short):
            raise ModelError(
                f"{name}: the processor's {length} tokens do not begin and end as its text does, so the loss cannot be placed. "
                "Use transformers 5.18 or later, or rows with their pictures next to each other."
            )
        characters = np.asarray(plain["offset_mapping"][row])
        offsets[row, :head] = characters[:head]
        offsets[row, length - tail : length] = characters[len(short) - tail :]
    return offsets


def match_ends(short: np.ndarray, long: np.ndarray) -> tuple[int, int]:
    """How many tokens two sequences share at their beginnings and, of what is left of the shorter, at their ends.

    >>> match_ends(np.array([1, 7, 2]), np.array([1, 7, 7, 7, 2]))
    (2, 1)
    """
    size = min(len(short), len(long))
    unequal = np.flatnonzero(short[:size] != long[:size])
    head = int(unequal[0]) if len(unequal) else size
    rest = size - head
    unequal = np.flatnonzero(short[len(short) - rest :][::-1] != long[len(long) - rest :][::-1])
    return head, int(unequal[0]) if len(unequal) else rest
