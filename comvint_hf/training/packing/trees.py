"""Message trees: rows of one image laid out as one sequence that the model reads once.

    shared prefix (system prompt, image)   question 1, answer 1   question 2, answer 2   ...
    positions 0 .. n-1                     n, n+1, ...            n, n+1, ...

Each branch attends to the prefix and itself, and its positions continue those of the prefix, so every token has the hidden state
that it would have in a row of its own: same loss, same gradients, with the image encoded once. A label is predicted from the token
before it, and the branches differ in their first label: where that label carries loss, the branch starts with its own copy of the
last prefix token.

Everything here is pure; `collate` makes batches of it and `masks` decides who attends to whom. The model is transformers' own,
unmodified.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from comvint_hf.errors import RowError
from comvint_hf.training.loss_mask import IGNORE_INDEX
from comvint_hf.training.packing.masks import FULL_WINDOW, PREFIX, MaskFields


@dataclass(frozen=True)
class TokenRow:
    """One row: tokens, labels (-100 where there is no loss) and attention blocks `[T]`, position ids `[1, T]` or `[3, T]`, int64."""

    input_ids: np.ndarray
    labels: np.ndarray
    position_ids: np.ndarray
    blocks: np.ndarray


@dataclass(frozen=True)
class Tree:
    """One sequence of several rows: tokens and labels `[T]`, position ids `[1, T]` or `[3, T]`, mask fields `[6, T]`."""

    input_ids: np.ndarray
    labels: np.ndarray
    position_ids: np.ndarray
    mask_fields: np.ndarray


def count_shared_tokens(rows: Sequence[TokenRow]) -> int:
    """Count the tokens that all rows begin with and none of which carries loss: they can be read once for all."""
    first = rows[0].input_ids
    length = len(first)
    for row in rows:
        size = min(length, len(row.input_ids))
        unequal = np.flatnonzero(row.input_ids[:size] != first[:size])
        trained = np.flatnonzero(row.labels != IGNORE_INDEX)
        length = min([size, *unequal[:1].tolist(), *trained[:1].tolist()])
    return length


def build_tree(rows: Sequence[TokenRow], image_tokens: Collection[int] = ()) -> Tree:
    """Lay rows out as one sequence. A single row stays as it is.

    Raises `RowError` if a question follows the image without a token between: the last image token cannot be repeated.
    """
    alone = len(rows) == 1
    length = len(rows[0].labels) if alone else count_shared_tokens(rows)
    copied = (
        not alone and length > 0 and any(row.labels[length : length + 1].tolist() not in ([], [IGNORE_INDEX]) for row in rows)
    )
    if copied and int(rows[0].input_ids[length - 1]) in image_tokens:
        raise RowError(
            "These rows cannot share their image: the chat template writes a question right behind it, and its first word is "
            "predicted from the last image token. Use a template with a token between them (a line break will do), or train "
            "without pack='tree'."
        )
    segments = [_make_segment(rows[0], slice(0, length), PREFIX, length - copied)]
    if not alone:
        segments += [_make_segment(row, slice(length - copied, None), number) for number, row in enumerate(rows, start=1)]
    tree = Tree(*(np.concatenate(columns, axis=-1) for columns in zip(*segments, strict=True)))
    tree.mask_fields[MaskFields._fields.index("index")] = np.arange(len(tree.labels))
    return tree


def _make_segment(
    row: TokenRow, tokens: slice, branch: int, shared: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut a segment from a row, its first `shared` tokens visible to all branches."""
    labels = row.labels[tokens].copy()
    if branch != PREFIX:
        # No token of the branch precedes its first label.
        labels[:1] = IGNORE_INDEX
    position = np.arange(len(row.labels))[tokens]
    fields = np.empty((len(MaskFields._fields), len(labels)), dtype=np.int32)
    is_shared = np.arange(len(labels)) < shared
    fields[:] = np.broadcast_arrays(*MaskFields(0, branch, is_shared, position, row.blocks[tokens], FULL_WINDOW))
    return row.input_ids[tokens], labels, row.position_ids[:, tokens], fields


def split_rows(rows: Sequence[TokenRow], max_length: int | None, image_tokens: Collection[int] = ()) -> list[list[int]]:
    """Distribute rows over trees of at most `max_length` tokens each, in order; each tree is a list of indices of `rows`.

    Rows that differ before the end of their images (by a system prompt, say) go to different trees.
    """
    by_prefix: dict[bytes, list[int]] = {}
    for index, row in enumerate(rows):
        images = np.flatnonzero(np.isin(row.input_ids, list(image_tokens)))
        by_prefix.setdefault(row.input_ids[: images[-1] + 1 if len(images) else 0].tobytes(), []).append(index)
    return [tree for indices in by_prefix.values() for tree in _split_by_length(rows, indices, max_length)]


def _split_by_length(rows: Sequence[TokenRow], indices: list[int], max_length: int | None) -> list[list[int]]:
    if max_length is None:
        return [indices]
    shared = count_shared_tokens([rows[index] for index in indices])
    trees: list[list[int]] = []
    # The first row opens a tree.
    length = max_length + 1
    for index in indices:
        # One more for the copy of the last prefix token.
        branch = len(rows[index].labels) - shared + 1
        if length + branch > max_length:
            trees.append([])
            length = shared
        trees[-1].append(index)
        length += branch
    return trees


def stack_mask_fields(trees: Sequence[Tree]) -> np.ndarray:
    """Stack the mask fields of trees, padded on the right, `[B, 6, T]` int32; a padding token attends to itself only."""
    size = max(len(tree.labels) for tree in trees)
    index = np.arange(size)
    padding = np.stack(np.broadcast_arrays(*MaskFields(index, -1 - index, 0, 0, -1, FULL_WINDOW)))
    stacked = np.repeat(padding[None].astype(np.int32), len(trees), axis=0)
    for fields, tree in zip(stacked, trees, strict=True):
        fields[:, : len(tree.labels)] = tree.mask_fields
    return stacked
