"""Message trees: rows of one image laid out as one sequence that the model reads once.

    shared prefix (system prompt, image)   question 1, answer 1   question 2, answer 2   ...
    positions 0 .. n-1                     n, n+1, ...            n, n+1, ...

Each branch sees the prefix and itself, and counts its positions on from the prefix, so every token has the hidden state it would
have in a row of its own: the same loss and the same gradients, with the image encoded once. A label is learnt from the
token before it, and the branches differ in their first label: where that one carries loss, the branch opens with its own copy of
the last prefix token, which stands in for it. The model is transformers' own, unmodified, with SDPA attention, which takes
the `[B, 1, T, T]` bool mask as it is.

`lay_out`, `split` and `tree_mask` are pure; `collate_trees` is what `L2TCollator(pack="tree")` does. It knows rows and
processors, no trainer; `require_tree_attention` is the one thing to ask of a model beforehand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from comvint_hf.errors import ModelError, RowError
from comvint_hf.tuning.encoding import Encoded, encode, encode_alike, tokenizer_of
from comvint_hf.tuning.reading import Conversation
from comvint_hf.tuning.rendering import Rendered

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from comvint_hf.tuning.collator import L2TCollator

IGNORED = -100
PREFIX, PADDING = 0, -1
PER_TOKEN = {"token_type_ids", "mm_token_type_ids", "image_grid_thw", "cross_attention_mask", "qformer_input_ids"}
"""What processors of other families add for every token; a tree would have to lay it out too."""


@dataclass(frozen=True)
class TokenRow:
    """One row's tokens and labels, `[T]` int64 each, labels -100 where there is no loss."""

    input_ids: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Tree:
    """One sequence of several rows, all `[T]`: tokens, labels, positions, and who may see whom.

    `branch` is 0 for the prefix and 1, 2, ... for the branches; `open` is true for prefix tokens that every branch sees.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    branch: np.ndarray
    open: np.ndarray


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
    length = shared_length(rows) if len(rows) > 1 else len(rows[0].input_ids)
    prefix = rows[0].input_ids[:length]
    parts = [(prefix, rows[0].labels[:length], np.arange(length), np.full(length, PREFIX))]
    copied = len(rows) > 1 and length > 0 and any(row.labels[length : length + 1].tolist() not in ([], [IGNORED]) for row in rows)
    if copied and int(prefix[-1]) in image_tokens:
        raise RowError(
            "These rows cannot share their image: the chat template writes a question right behind it, and its first word is "
            "learnt from the last image token. Use a template with a token between them (a line break will do), or train "
            "without pack='tree'."
        )
    for number, row in enumerate(rows if len(rows) > 1 else (), start=1):
        start = length - copied
        labels = row.labels[start:].copy()
        labels[:1] = IGNORED
        parts.append((row.input_ids[start:], labels, np.arange(start, len(row.labels)), np.full(len(labels), number)))
    input_ids, labels, positions, branch = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    visible = branch == PREFIX
    if copied:
        visible[length - 1] = False
    return Tree(input_ids, labels, positions, branch, visible)


def split(rows: Sequence[TokenRow], max_length: int | None) -> list[list[int]]:
    """Deal rows out to trees of at most `max_length` tokens each, in order; each tree is a list of places in `rows`."""
    if max_length is None:
        return [list(range(len(rows)))]
    shared = shared_length(rows)
    trees: list[list[int]] = []
    length = max_length + 1
    for place, row in enumerate(rows):
        own = len(row.labels) - shared + 1
        if length + own > max_length:
            trees.append([])
            length = shared
        trees[-1].append(place)
        length += own
    return trees


def tree_mask(branch: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Who may look at whom, `[B, T, T]` bool from `[B, T]`: back into one's own branch and into the visible prefix.

    Padding sees padding only, and itself: a token that sees nothing would have no softmax.
    """
    back = np.tri(branch.shape[1], dtype=bool)
    return back & ((branch[:, :, None] == branch[:, None, :]) | (visible[:, None, :] & (branch[:, :, None] != PADDING)))


def tokens_in(mask: torch.Tensor) -> torch.Tensor:
    """How many tokens a batch of trees has without padding, from its mask `[B, 1, T, T]`: all of them see the first one."""
    return mask[:, 0, :, 0].sum()


def collate_trees(collator: L2TCollator, rows: Sequence[Any]) -> dict[str, torch.Tensor]:
    """Collate rows, or lists of rows that share an image, into a batch of trees, one or more an image."""
    import torch

    groups = list(_groups(collator, rows))
    rendered = [collator.render(group) for group in groups]
    encoded, tokens = _tokens(collator, groups, rendered)
    trees = [(at, places) for at, row in enumerate(tokens) for places in split(row, collator.max_length)]
    if len(trees) > len(groups):
        texts = [rendered[at][places[0]].text for at, places in trees]
        encoded = encode(
            collator.processor, texts, [groups[at][0].images for at, _ in trees], [groups[at][0].name for at, _ in trees]
        )
    laid = [lay_out([tokens[at][place] for place in places], collator.image_tokens) for at, places in trees]
    padding = tokenizer_of(collator.processor).pad_token_id
    labels = _stacked([tree.labels for tree in laid], IGNORED)
    mask = tree_mask(_stacked([tree.branch for tree in laid], PADDING), _stacked([tree.open for tree in laid], False))
    return {
        **encoded.features,
        "input_ids": torch.from_numpy(_stacked([tree.input_ids for tree in laid], padding)),
        "attention_mask": torch.from_numpy(mask[:, None]),
        "position_ids": torch.from_numpy(_stacked([tree.positions for tree in laid], 0)),
        "labels": collator.trainable(torch.from_numpy(labels)),
    }


def require_tree_attention(model: PreTrainedModel) -> None:
    """Raise `ModelError` unless the model's attention takes a bool mask: the eager one would add it to the scores unnoticed."""
    config = model.config.get_text_config()
    if config._attn_implementation != "sdpa":
        raise ModelError(
            f"pack='tree' needs SDPA attention: the model uses {config._attn_implementation!r}, which takes no such mask. "
            "Load it with attn_implementation='sdpa', or train without pack='tree'."
        )


def _groups(collator: L2TCollator, rows: Sequence[Any]) -> Iterator[list[Conversation]]:
    """Conversations that share their pictures, in the order of their first row."""
    groups: dict[Any, list[Conversation]] = {}
    place = 0
    for at, entry in enumerate(rows):
        together = entry.get("rows") if isinstance(entry, Mapping) else entry
        for row in [entry] if together is None else together:
            conversation = collator.read(row, place)
            key = _picture_key(row, conversation, place) if together is None else ("group", at)
            groups.setdefault(key, []).append(conversation)
            place += 1
    for group in groups.values():
        leader = group[0]
        for conversation in group[1:]:
            if len(conversation.images) != len(leader.images):
                raise RowError(
                    f"{conversation.name} has {len(conversation.images)} pictures and {leader.name} has {len(leader.images)}: "
                    "rows of one tree share theirs. Group by image (comvint_hf.by_image)."
                )
        yield group


def _picture_key(row: Mapping[str, Any], conversation: Conversation, place: int) -> Any:
    if row.get("image_id"):
        return row["image_id"]
    if not conversation.images:
        return place
    digest = blake2b(digest_size=16)
    for image in conversation.images:
        digest.update(image.tobytes() if hasattr(image, "tobytes") else repr(image).encode())
    return digest.digest()


def _tokens(
    collator: L2TCollator, groups: list[list[Conversation]], rendered: list[list[Rendered]]
) -> tuple[Encoded, list[list[TokenRow]]]:
    """Every row's tokens; each group's pictures go through the processor once, with the group's first row."""
    leaders = [group[0] for group in groups]
    names = [leader.name for leader in leaders]
    encoded = encode(collator.processor, [texts[0].text for texts in rendered], [leader.images for leader in leaders], names)
    if strange := PER_TOKEN & set(encoded.features):
        family, added = type(collator.processor).__name__, ", ".join(sorted(strange))
        raise ModelError(
            f"pack='tree' does not lay out what {family} adds to every token ({added}): train this family without pack='tree'."
        )
    tokens = []
    for place, (group, texts) in enumerate(zip(groups, rendered, strict=True)):
        written, names = [text.text for text in texts], [conversation.name for conversation in group]
        known = encoded.replacements[place]
        alike = encode_alike(collator.processor, written, group[0].images, names, written[0], known)
        collator.refuse_long(names, alike)
        lengths = alike.features["attention_mask"].sum(-1).tolist()
        pairs = zip(alike.features["input_ids"].numpy(), collator.labels(alike, texts).numpy(), lengths, strict=True)
        tokens.append([TokenRow(ids[:length], labels[:length]) for ids, labels, length in pairs])
    return encoded, tokens


def _stacked(rows: Sequence[np.ndarray], filler: Any) -> np.ndarray:
    """`[B, T]` from rows of different lengths, filled up on the right."""
    stacked = np.full((len(rows), max(map(len, rows))), filler, dtype=rows[0].dtype)
    for line, row in zip(stacked, rows, strict=True):
        line[: len(row)] = row
    return stacked
