"""Message trees: rows of one image laid out as one sequence that the model reads once.

    shared prefix (system prompt, image)   question 1, answer 1   question 2, answer 2   ...
    places 0 .. n-1                        n, n+1, ...            n, n+1, ...

Each branch sees the prefix and itself, and counts its places on from the prefix, so every token has the hidden state it would
have in a row of its own: the same loss and the same gradients, with the image encoded once. A label is learnt from the
token before it, and the branches differ in their first label: where that one carries loss, the branch opens with its own copy of
the last prefix token, which stands in for it.

Everything here is pure; `packing` makes batches of it and `masks` says who sees whom. The model is transformers' own, unmodified.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from comvint_hf.errors import RowError
from comvint_hf.training.packing.masks import ALL, PREFIX, Sight

IGNORED = -100


@dataclass(frozen=True)
class TokenRow:
    """One row: its tokens and labels, `[T]` int64 each, labels -100 where there is no loss; positions and blocks as in `places`."""

    input_ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    blocks: np.ndarray


@dataclass(frozen=True)
class Tree:
    """One sequence of several rows: tokens and labels `[T]`, positions `[1, T]` or `[3, T]`, and who may see whom, `[6, T]`."""

    input_ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    sight: np.ndarray


def shared_length(rows: Sequence[TokenRow]) -> int:
    """How many tokens all rows begin with alike, none of which carries loss: those can be read once for all."""
    first = rows[0].input_ids
    length = len(first)
    for row in rows:
        size = min(length, len(row.input_ids))
        unequal = np.flatnonzero(row.input_ids[:size] != first[:size])
        learnt = np.flatnonzero(row.labels != IGNORED)
        length = min([size, *unequal[:1].tolist(), *learnt[:1].tolist()])
    return length


def lay_out(rows: Sequence[TokenRow], image_tokens: Collection[int] = ()) -> Tree:
    """Lay rows out as one sequence. A single row stays as it is.

    Raises `RowError` if a question follows the image without a token between: the last image token cannot be repeated.
    """
    alone = len(rows) == 1
    length = len(rows[0].labels) if alone else shared_length(rows)
    copied = not alone and length > 0 and any(row.labels[length : length + 1].tolist() not in ([], [IGNORED]) for row in rows)
    if copied and int(rows[0].input_ids[length - 1]) in image_tokens:
        raise RowError(
            "These rows cannot share their image: the chat template writes a question right behind it, and its first word is "
            "learnt from the last image token. Use a template with a token between them (a line break will do), or train "
            "without pack='tree'."
        )
    parts = [_part(rows[0], slice(0, length), PREFIX, length - copied)]
    if not alone:
        parts += [_part(row, slice(length - copied, None), number) for number, row in enumerate(rows, start=1)]
    whole = Tree(*(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)))
    whole.sight[Sight._fields.index("index")] = np.arange(len(whole.labels))
    return whole


def _part(row: TokenRow, places: slice, branch: int, seen: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A piece of a row, its first `seen` tokens open to all; the first label of a branch has nothing to be learnt from."""
    labels = row.labels[places].copy()
    if branch != PREFIX:
        labels[:1] = IGNORED
    place = np.arange(len(row.labels))[places]
    sight = np.empty((len(Sight._fields), len(labels)), dtype=np.int32)
    sight[:] = np.broadcast_arrays(*Sight(0, branch, np.arange(len(labels)) < seen, place, row.blocks[places], ALL))
    return row.input_ids[places], labels, row.positions[:, places], sight


def split(rows: Sequence[TokenRow], max_length: int | None, image_tokens: Collection[int] = ()) -> list[list[int]]:
    """Deal rows out to trees of at most `max_length` tokens each, in order; each tree is a list of places in `rows`.

    Rows that differ before the end of their pictures (by a system prompt, say) go to different trees.
    """
    heads: dict[bytes, list[int]] = {}
    for place, row in enumerate(rows):
        pictures = np.flatnonzero(np.isin(row.input_ids, list(image_tokens)))
        heads.setdefault(row.input_ids[: pictures[-1] + 1 if len(pictures) else 0].tobytes(), []).append(place)
    return [tree for places in heads.values() for tree in _cut(rows, places, max_length)]


def _cut(rows: Sequence[TokenRow], places: list[int], max_length: int | None) -> list[list[int]]:
    if max_length is None:
        return [places]
    shared = shared_length([rows[place] for place in places])
    trees: list[list[int]] = []
    length = max_length + 1
    for place in places:
        own = len(rows[place].labels) - shared + 1
        if length + own > max_length:
            trees.append([])
            length = shared
        trees[-1].append(place)
        length += own
    return trees


def stacked_sight(trees: Sequence[Tree]) -> np.ndarray:
    """Who sees whom in a batch of trees filled up on the right, `[B, 6, T]` int32; a token of padding sees itself alone."""
    size = max(len(tree.labels) for tree in trees)
    along = np.arange(size)
    padding = np.stack(np.broadcast_arrays(*Sight(along, -1 - along, 0, 0, -1, ALL)))
    sight = np.repeat(padding[None].astype(np.int32), len(trees), axis=0)
    for filled, tree in zip(sight, trees, strict=True):
        filled[:, : len(tree.labels)] = tree.sight
    return sight
