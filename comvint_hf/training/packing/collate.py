"""What `L2TCollator(pack="tree")` does: rows, or lists of rows that share their pictures, into a batch of message trees.

It knows rows, processors and what is particular to a family; how a tree is laid out is `tree`'s, who sees whom is `masks`'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from comvint_hf.errors import ModelError, RowError
from comvint_hf.model_families import Family, family_of
from comvint_hf.training.chat_template import Rendered
from comvint_hf.training.packing.masks import Attention
from comvint_hf.training.packing.positions import Grid, blocks, positions
from comvint_hf.training.packing.trees import IGNORED, TokenRow, Tree, lay_out, split, stacked_sight
from comvint_hf.training.rows import Conversation
from comvint_hf.training.tokenization import Encoded, encode, encode_alike, tokenizer_of

if TYPE_CHECKING:
    from comvint_hf.training.collator import L2TCollator

PER_TOKEN = {"token_type_ids", "mm_token_type_ids"}
"""What processors say of every token, for the model to make masks and positions of; a tree brings its own."""
UNKNOWN = {"image_grid_thw", "cross_attention_mask", "qformer_input_ids"}
"""What a model makes positions, masks or pictures of in a way that a tree of an unknown family would have to follow."""


def require_trees(family: Family, learn: str) -> None:
    """Raise `ModelError` for a family whose rows cannot share what they see of a picture."""
    if family.reads:
        raise ModelError(
            f"In {family.name} the part that looks at the picture reads the question too, so no two questions share what it sees: "
            "train it without pack='tree'."
        )
    if family.prefix and learn == "response":
        raise ModelError(
            f"In {family.name} picture and question see each other where only answers are learnt, so no two questions share what is "
            "seen of the picture: use learn='instruction+response', or train without pack='tree'."
        )


def collate_trees(collator: L2TCollator, rows: Sequence[Any]) -> dict[str, Any]:
    """Collate rows, or lists of rows that share an image, into a batch of trees, one or more an image."""
    import torch

    family = family_of(collator.processor)
    attention = _attention(collator, family)
    groups = list(_groups(collator, rows))
    rendered = [collator.render(group) for group in groups]
    encoded, tokens = _tokens(collator, family, groups, rendered)
    pictures = collator.image_tokens
    trees = [(at, places) for at, row in enumerate(tokens) for places in split(row, collator.max_length, pictures)]
    _require_sight(family, attention, [tokens[at][place] for at, places in trees for place in places])
    if len(trees) > len(groups):
        texts = [rendered[at][places[0]].text for at, places in trees]
        encoded = encode(
            collator.processor, texts, [groups[at][0].images for at, _ in trees], [groups[at][0].name for at, _ in trees]
        )
    laid = [lay_out([tokens[at][place] for place in places], pictures) for at, places in trees]
    labels = _stacked([tree.labels for tree in laid], IGNORED)
    return {
        "input_ids": torch.from_numpy(_stacked([tree.input_ids for tree in laid], tokenizer_of(collator.processor).pad_token_id)),
        **{key: value for key, value in encoded.features.items() if key not in PER_TOKEN | {"input_ids"}},
        "attention_mask": attention.masks(stacked_sight(laid)),
        "position_ids": torch.from_numpy(_position_ids(laid)),
        "labels": collator.trainable(torch.from_numpy(labels)),
    }


def _attention(collator: L2TCollator, family: Family) -> Attention:
    if collator.attention is None and family.windows:
        raise ModelError(
            f"Some layers of {family.name} see a window of what is before, and the processor does not tell its size: say "
            "collator.attention = attention_of(model) (from comvint_hf.training.packing.masks)."
        )
    return collator.attention or Attention()


def _require_sight(family: Family, attention: Attention, rows: Sequence[TokenRow]) -> None:
    """Raise `RowError` where a window would have to be laid over a prefix that sees ahead, which no mask by layer can tell."""
    longest = max(len(row.labels) for row in rows)
    if family.prefix and longest > attention.narrowest:
        raise RowError(
            f"A row is {longest} tokens long and some layers of the model see {attention.narrowest}: such rows of {family.name} are "
            "trained without pack='tree'."
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
    collator: L2TCollator, family: Family, groups: list[list[Conversation]], rendered: list[list[Rendered]]
) -> tuple[Encoded, list[list[TokenRow]]]:
    """Every row's tokens; each group's pictures go through the processor once, with the group's first row."""
    leaders = [group[0] for group in groups]
    names = [leader.name for leader in leaders]
    encoded = encode(collator.processor, [texts[0].text for texts in rendered], [leader.images for leader in leaders], names)
    _require_known(collator.processor, family, encoded)
    grids = iter(_grids(collator.processor, encoded))
    tokens = []
    for place, (group, texts) in enumerate(zip(groups, rendered, strict=True)):
        written, names = [text.text for text in texts], [conversation.name for conversation in group]
        known = encoded.replacements[place]
        alike = encode_alike(collator.processor, written, group[0].images, names, written[0], known)
        collator.refuse_long(names, alike)
        tokens.append(_rows(collator, family, alike, texts, [next(grids) for _ in group[0].images if family.grid]))
    return encoded, tokens


def _rows(
    collator: L2TCollator, family: Family, alike: Encoded, texts: Sequence[Rendered], grids: Sequence[Grid]
) -> list[TokenRow]:
    """The rows of one group, each without its padding."""
    rows = []
    lengths = alike.features["attention_mask"].sum(-1).tolist()
    pairs = zip(alike.features["input_ids"].numpy(), collator.labels(alike, texts).numpy(), lengths, strict=True)
    for ids, labels, length in pairs:
        pictured = np.isin(ids[:length], collator.image_tokens)
        rows.append(TokenRow(ids[:length], labels[:length], positions(family, pictured, grids), blocks(family, pictured)))
    return rows


def _grids(processor: Any, encoded: Encoded) -> list[Grid]:
    """How many tokens each picture of the batch has in time, down and across, for a family with a `grid`."""
    side = getattr(processor.image_processor, "merge_size", 1) if "image_grid_thw" in encoded.features else 1
    return [(t, h // side, w // side) for t, h, w in encoded.features.get("image_grid_thw", np.empty((0, 3))).tolist()]


def _require_known(processor: Any, family: Family, encoded: Encoded) -> None:
    """Raise `ModelError` where a processor of an unknown family says more of tokens than a tree can follow."""
    followed = {"token_type_ids"} if family.prefix or family.whole else set()
    followed |= {"mm_token_type_ids", "image_grid_thw"} if family.grid else set()
    if strange := ((PER_TOKEN | UNKNOWN) & set(encoded.features)) - followed:
        raise ModelError(
            f"pack='tree' does not follow what {type(processor).__name__} says of each token ({', '.join(sorted(strange))}): train "
            "this family without pack='tree'."
        )


def _position_ids(trees: Sequence[Tree]) -> np.ndarray:
    """`[B, T]`, or `[3, B, T]` for a family whose positions have three parts."""
    parts = [_stacked(list(rows), 0) for rows in zip(*(tree.positions for tree in trees), strict=True)]
    return parts[0] if len(parts) == 1 else np.stack(parts)


def _stacked(rows: Sequence[np.ndarray], filler: Any) -> np.ndarray:
    """`[B, T]` from rows of different lengths, filled up on the right."""
    stacked = np.full((len(rows), max(map(len, rows))), filler, dtype=rows[0].dtype)
    for line, row in zip(stacked, rows, strict=True):
        line[: len(row)] = row
    return stacked
