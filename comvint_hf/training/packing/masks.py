"""Attention masks of message trees: a dense mask for SDPA, a `BlockMask` for FlexAttention, from one rule.

A token is described by a few integers (`MaskFields`), and `can_attend` decides on two tokens by them; both kernels use it. Models
whose layers have windows of different sizes take one mask for each layer type. This module knows attention; it knows no row, no
processor and no trainer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from comvint_hf.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch.nn.attention.flex_attention import BlockMask
    from transformers import PreTrainedModel

SPARSE = "sparse_sdpa"
"""The name under which transformers knows the SDPA of `packing.attention`."""
KERNELS = ("sdpa", SPARSE, "flex_attention")
PREFIX = 0
FULL_WINDOW = 2**31 - 1
"""The window of a layer that attends to everything before."""


class MaskFields(NamedTuple):
    """The integers that decide whether a token attends to another, each `[B, T]` or broadcast; stacked they are `[B, 6, T]` int32.

    - `index`: position in the packed sequence; `position`: position in the token's own row.
    - `branch`: 0 for the prefix, 1, 2, ... for branches, a negative number of its own for each padding token.
    - `shared`: 1 for the prefix tokens that every branch attends to.
    - `block`: tokens of one block (0, 1, ...; -1 for none) attend to each other, also ahead.
    - `window`: how many positions back the layer attends, the token itself included.
    """

    index: Any
    branch: Any
    shared: Any
    position: Any
    block: Any
    window: Any


def can_attend(query: MaskFields, key: MaskFields) -> Any:
    """Decide whether `query` attends to `key`: back into its own branch and the shared prefix, and within a block.

    A `block` or `window` of `None` makes no difference.
    """
    allowed = (query.branch == key.branch) | ((key.shared == 1) & (query.branch >= PREFIX))
    allowed = allowed & (key.index <= query.index)
    if query.block is not None:
        allowed = allowed | ((query.block == key.block) & (query.block >= 0))
    if query.window is not None:
        allowed = allowed & (query.position - key.position < query.window)
    return allowed


def make_dense_mask(fields: torch.Tensor) -> torch.Tensor:
    """Build `[B, 1, T, T]` bool, true where a query (third) attends to a key (last), from `[B, 6, T]`."""
    columns = MaskFields(*fields.unbind(1))
    query = MaskFields(*(column[:, None, :, None] for column in columns))
    key = MaskFields(*(column[:, None, None, :] for column in columns))
    # Each part of the rule is a pass over all pairs, the most expensive work of a batch: skip the parts that change nothing.
    if not (columns.block >= 0).any():
        query = query._replace(block=None)
    if (columns.window > columns.position.max()).all():
        query = query._replace(window=None)
    return can_attend(query, key)


def make_block_mask(fields: torch.Tensor) -> BlockMask:
    """Build the same mask for FlexAttention, on the device of `fields`, `[B, 6, T]`."""
    from torch.nn.attention.flex_attention import create_block_mask

    columns = fields.unbind(1)

    def rule(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return can_attend(*(MaskFields(*(column[batch, index] for column in columns)) for index in (query, key)))

    size = fields.shape[-1]
    return create_block_mask(rule, len(fields), None, size, size, device=fields.device, _compile=fields.is_cuda)


class MasksByLayer(dict):
    """Masks by layer type. `sum` counts tokens, which trainers ask of a mask of rows."""

    def sum(self) -> torch.Tensor:
        return count_mask_tokens(self)


@dataclass(frozen=True)
class AttentionSettings:
    """The properties of a model's attention that masks depend on.

    `kernel` is one of `KERNELS`; `windows` gives the window of each layer type in tokens, `None` for everything before.
    """

    kernel: str = "sdpa"
    windows: tuple[tuple[str, int | None], ...] = (("full_attention", None),)

    @property
    def smallest_window(self) -> int:
        """In every layer, rows of up to this length attend to all their tokens."""
        return min(window or FULL_WINDOW for _, window in self.windows)

    def make_masks(self, fields: np.ndarray) -> torch.Tensor | MasksByLayer:
        """Build a batch's `attention_mask` from `[B, 6, T]`: one mask, or one per layer type where windows make a difference.

        With SDPA a mask is `[B, 1, T, T]` bool; with FlexAttention it is `fields` itself, for `to_block_masks` on the device.
        """
        longest = int(fields[:, MaskFields._fields.index("position")].max()) + 1
        # A window longer than every row changes nothing, and equal masks are made once.
        effective = {layer: window if window and window < longest else FULL_WINDOW for layer, window in self.windows}
        masks = {window: self._make_mask(fields, window) for window in set(effective.values())}
        if len(masks) == 1:
            return next(iter(masks.values()))
        return MasksByLayer({layer: masks[window] for layer, window in effective.items()})

    def _make_mask(self, fields: np.ndarray, window: int) -> torch.Tensor:
        import torch

        windowed = torch.from_numpy(fields.copy())
        windowed[:, MaskFields._fields.index("window")] = window
        return windowed if self.kernel == "flex_attention" else make_dense_mask(windowed)


def read_attention(model: PreTrainedModel) -> AttentionSettings:
    """Read from a model what its attention needs of a tree's mask. Raises `ModelError` for a model that cannot train on trees."""
    config = model.config.get_text_config()
    if getattr(model.config, "is_encoder_decoder", False) or getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"pack='tree' needs a decoder-only language model, and {type(model).__name__} has a text encoder.")
    if config._attn_implementation not in KERNELS:
        raise ModelError(
            f"pack='tree' needs SDPA or FlexAttention: the model uses {config._attn_implementation!r}, which takes no such "
            "mask. Load it with attn_implementation='sdpa' (or 'flex_attention'), or train without pack='tree'."
        )
    window = getattr(config, "sliding_window", None)
    layer_types = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    if unknown := sorted(set(layer_types) - {"full_attention", "sliding_attention"}):
        raise ModelError(
            f"pack='tree' supports layers of full or sliding attention; the model has {', '.join(unknown)}: train it "
            "without pack='tree'."
        )
    windows = tuple((layer, window if layer == "sliding_attention" else None) for layer in sorted(set(layer_types)))
    return AttentionSettings(config._attn_implementation, windows)


def to_block_masks(mask: Any) -> Any:
    """Convert the collator's mask for a model with FlexAttention; any other mask is returned as it is."""
    if isinstance(mask, dict):
        return MasksByLayer({layer: to_block_masks(layer_mask) for layer, layer_mask in mask.items()})
    return make_block_mask(mask) if getattr(mask, "ndim", 0) == 3 else mask


def is_tree_mask(mask: Any) -> bool:
    """Whether an `attention_mask` is of trees, not `[B, T]` of rows."""
    return isinstance(mask, dict) or mask.ndim > 2


def count_mask_tokens(mask: Any) -> torch.Tensor:
    """Count the tokens of a batch of trees by its mask, padding left out: a padding token attends and is attended to by itself only."""
    if isinstance(mask, dict):
        return count_mask_tokens(mask["full_attention"])
    if mask.ndim == 3:
        # Mask fields of FlexAttention, not a mask yet.
        return (mask[:, MaskFields._fields.index("branch")] >= PREFIX).sum()
    return ((mask.sum(-1) > 1) | (mask.sum(-2) > 1)).sum()
