"""Collation for `L2TCollator(pack="tree")`: rows, or lists of rows that share their images, into a batch of message trees.

It knows rows, processors and the special cases of model families; `trees` lays a tree out, `masks` decides who attends to whom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from comvint_hf.errors import ModelError, RowError
from comvint_hf.model_families import Family, family_of
from comvint_hf.training.chat_template import Rendered
from comvint_hf.training.encoder import RowEncoder, check_has_loss
from comvint_hf.training.loss_mask import IGNORE_INDEX
from comvint_hf.training.packing.masks import AttentionSettings
from comvint_hf.training.packing.trees import TokenRow, Tree, build_tree, split_rows, stack_mask_fields
from comvint_hf.training.rows import Conversation, Entry, shared_rows
from comvint_hf.training.tokenization import Encoded, encode, encode_shared_images, get_tokenizer

TOKEN_FEATURES = {"token_type_ids", "mm_token_type_ids"}
"""Features by token from which a model makes masks and position ids; a tree brings its own."""
OTHER_FEATURES = {"image_grid_thw", "cross_attention_mask", "qformer_input_ids"}
"""Further features from which a model makes masks or position ids, in a way that a tree of an unknown family would have to follow."""
Grid = tuple[int, int, int]
"""The image tokens of one image: how many in time, down and across."""


def check_tree_support(family: Family, learn: str) -> None:
    """Raise `ModelError` for a family whose rows cannot share the encoding of their image."""
    if family.qformer_reads_text:
        raise ModelError(
            f"The vision part of {family.name} also reads the question, so two questions cannot share an image's encoding: "
            "train it without pack='tree'."
        )
    if family.bidirectional_prefix and learn == "response":
        raise ModelError(
            f"In {family.name} image and question attend to each other where only answers are trained, so two questions cannot share "
            "an image's encoding: use learn='instruction+response', or train without pack='tree'."
        )


def collate_trees(encoder: RowEncoder, attention: AttentionSettings | None, rows: Sequence[Entry]) -> dict[str, Any]:
    """Collate rows, or lists of rows that share an image, into a batch of trees, one or more per image."""
    import torch

    family = family_of(encoder.processor)
    attention = _resolve_attention(attention, family)
    groups = list(_group_by_image(encoder, rows))
    rendered = [encoder.render(group) for group in groups]
    encoded, token_rows = _tokenize_groups(encoder, family, groups, rendered)
    image_tokens = encoder.image_tokens
    members = [(n, tree) for n, group in enumerate(token_rows) for tree in split_rows(group, encoder.max_length, image_tokens)]
    tree_rows = [[token_rows[n][index] for index in tree] for n, tree in members]
    _check_windows(family, attention, tree_rows)
    if len(members) > len(groups):
        # Some images have several trees: each tree needs the image's features again.
        texts = [rendered[n][tree[0]].text for n, tree in members]
        leaders = [groups[n][0] for n, _ in members]
        encoded = encode(encoder.processor, texts, [leader.images for leader in leaders], [leader.name for leader in leaders])
    trees = [build_tree(rows, image_tokens) for rows in tree_rows]
    pad_token_id = get_tokenizer(encoder.processor).pad_token_id
    return {
        "input_ids": torch.from_numpy(_pad_rows([tree.input_ids for tree in trees], pad_token_id)),
        **{key: value for key, value in encoded.features.items() if key not in TOKEN_FEATURES | {"input_ids"}},
        "attention_mask": attention.make_masks(stack_mask_fields(trees)),
        "position_ids": torch.from_numpy(_stack_position_ids(trees)),
        "labels": check_has_loss(torch.from_numpy(_pad_rows([tree.labels for tree in trees], IGNORE_INDEX))),
    }


def _resolve_attention(attention: AttentionSettings | None, family: Family) -> AttentionSettings:
    if attention is None and family.sliding_window:
        raise ModelError(
            f"Some layers of {family.name} attend to a window only, and the processor does not tell its size: set "
            "collator.attention = read_attention(model) (from comvint_hf.training.packing.masks)."
        )
    return attention or AttentionSettings()


def _check_windows(family: Family, attention: AttentionSettings, trees: Sequence[Sequence[TokenRow]]) -> None:
    """Raise `RowError` where a window meets a bidirectional prefix: masks by layer type cannot express that."""
    longest = max(len(row.labels) for rows in trees for row in rows)
    if family.bidirectional_prefix and longest > attention.smallest_window:
        raise RowError(
            f"A row is {longest} tokens long and some layers of the model have a window of {attention.smallest_window}: train such "
            f"rows of {family.name} without pack='tree'."
        )


def _group_by_image(encoder: RowEncoder, entries: Sequence[Entry]) -> Iterator[list[Conversation]]:
    """Group conversations that share their images, in the order of their first row."""
    groups: dict[Any, list[Conversation]] = {}
    index = 0
    for number, entry in enumerate(entries):
        rows = shared_rows(entry)
        for row in [entry] if rows is None else rows:
            conversation = encoder.read(row, index)
            key = _image_key(row, conversation, index) if rows is None else ("group", number)
            groups.setdefault(key, []).append(conversation)
            index += 1
    for group in groups.values():
        leader = group[0]
        for conversation in group[1:]:
            if len(conversation.images) != len(leader.images):
                raise RowError(
                    f"{conversation.name} has {len(conversation.images)} images and {leader.name} has {len(leader.images)}: "
                    "rows of one tree share their images. Group them with comvint_hf.by_image."
                )
        yield group


def _image_key(row: Any, conversation: Conversation, index: int) -> Any:
    if row.get("image_id"):
        return row["image_id"]
    if not conversation.images:
        return index
    # Rows without an `image_id` share a tree if their images have the same pixels.
    digest = blake2b(digest_size=16)
    for image in conversation.images:
        digest.update(image.tobytes() if hasattr(image, "tobytes") else repr(image).encode())
    return digest.digest()


def _tokenize_groups(
    encoder: RowEncoder, family: Family, groups: list[list[Conversation]], rendered: list[list[Rendered]]
) -> tuple[Encoded, list[list[TokenRow]]]:
    """Tokenize every row; each group's images go through the processor once, with the group's first row."""
    leaders = [group[0] for group in groups]
    names = [leader.name for leader in leaders]
    encoded = encode(encoder.processor, [items[0].text for items in rendered], [leader.images for leader in leaders], names)
    _check_token_features(encoder.processor, family, encoded)
    grids = iter(_image_grids(encoder.processor, encoded))
    token_rows = []
    for group, items, known in zip(groups, rendered, encoded.replacements, strict=True):
        texts, names = [item.text for item in items], [conversation.name for conversation in group]
        shared = encode_shared_images(encoder.processor, texts, group[0].images, names, texts[0], known)
        encoder.check_lengths(names, shared)
        token_rows.append(
            _make_token_rows(encoder, family, shared, items, [next(grids) for _ in group[0].images if family.uses_mrope])
        )
    return encoded, token_rows


def _make_token_rows(
    encoder: RowEncoder, family: Family, encoded: Encoded, rendered: Sequence[Rendered], grids: Sequence[Grid]
) -> list[TokenRow]:
    """Make the rows of one group, each without its padding."""
    rows = []
    lengths = encoded.features["attention_mask"].sum(-1).tolist()
    columns = (encoded.features["input_ids"].numpy(), encoder.make_labels(encoded, rendered).numpy(), lengths)
    for ids, labels, length in zip(*columns, strict=True):
        is_image = np.isin(ids[:length], encoder.image_tokens)
        position_ids = compute_position_ids(family, is_image, grids)
        rows.append(TokenRow(ids[:length], labels[:length], position_ids, compute_attention_blocks(family, is_image)))
    return rows


def compute_position_ids(family: Family, is_image: np.ndarray, grids: Sequence[Grid]) -> np.ndarray:
    """Compute the position ids of a row's tokens.

    Args:
        family: The model family.
        is_image: `[T]` bool, true for image tokens.
        grids: The grid of each image, for a family with M-RoPE.

    Returns:
        `[1, T]`, or `[3, T]` in time, down and across for a family with M-RoPE. int64.
    """
    if not family.uses_mrope:
        return np.arange(len(is_image))[None]
    columns: list[np.ndarray] = []
    index = position = 0
    for grid in grids:
        text = int(np.argmax(is_image[index:]))
        columns += [_text_positions(position, text), np.indices(grid).reshape(3, -1) + position + text]
        index += text + int(np.prod(grid))
        # The text continues behind the longer side of the image, so positions are far fewer than tokens.
        position += text + max(grid[1:])
    columns.append(_text_positions(position, len(is_image) - index))
    return np.concatenate(columns, axis=1)


def _text_positions(start: int, length: int) -> np.ndarray:
    return np.broadcast_to(np.arange(start, start + length), (3, length))


def compute_attention_blocks(family: Family, is_image: np.ndarray) -> np.ndarray:
    """Number the blocks whose tokens attend to each other, also ahead; -1 for none. `[T]` int64 from `[T]` bool.

    In a family with a prefix everything up to the last image is one block; with bidirectional images each image is.
    """
    if family.bidirectional_prefix:
        return np.where(np.cumsum(is_image[::-1])[::-1] > 0, 0, -1)
    if not family.bidirectional_image:
        return np.full(len(is_image), -1)
    # Image tokens side by side belong to one image: these families write other tokens between two images.
    starts = is_image & ~np.concatenate([[False], is_image[:-1]])
    return np.where(is_image, np.cumsum(starts) - 1, -1)


def _image_grids(processor: Any, encoded: Encoded) -> list[Grid]:
    """Compute the token grid of each image of the batch, for a family with M-RoPE."""
    side = getattr(processor.image_processor, "merge_size", 1) if "image_grid_thw" in encoded.features else 1
    return [(t, h // side, w // side) for t, h, w in encoded.features.get("image_grid_thw", np.empty((0, 3))).tolist()]


def _check_token_features(processor: Any, family: Family, encoded: Encoded) -> None:
    """Raise `ModelError` where a processor of an unknown family makes features that a tree cannot follow."""
    supported = {"token_type_ids"} if family.bidirectional_prefix or family.bidirectional_image else set()
    supported |= {"mm_token_type_ids", "image_grid_thw"} if family.uses_mrope else set()
    if unknown := ((TOKEN_FEATURES | OTHER_FEATURES) & set(encoded.features)) - supported:
        raise ModelError(
            f"pack='tree' does not support the features of {type(processor).__name__} ({', '.join(sorted(unknown))}): train "
            "this family without pack='tree'."
        )


def _stack_position_ids(trees: Sequence[Tree]) -> np.ndarray:
    """Stack to `[B, T]`, or `[3, B, T]` for a family with M-RoPE."""
    parts = [_pad_rows(list(rows), 0) for rows in zip(*(tree.position_ids for tree in trees), strict=True)]
    return parts[0] if len(parts) == 1 else np.stack(parts)


def _pad_rows(rows: Sequence[np.ndarray], filler: Any) -> np.ndarray:
    """Stack rows of different lengths to `[B, T]`, padded on the right."""
    padded = np.full((len(rows), max(map(len, rows))), filler, dtype=rows[0].dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded
