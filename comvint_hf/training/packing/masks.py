"""Who may look at whom in a message tree, as a model's attention takes it: a dense mask for SDPA, a BlockMask for FlexAttention.

A token is described by a few whole numbers (`Sight`), and one rule (`may_see`) reads two of them; both kernels go by it. Models whose
layers see windows of different sizes take a mask for each kind of layer. This file knows attention; it knows no row, no processor
and no trainer.
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
"""SDPA as `training.packing.attention` does it, by the name under which transformers knows it."""
KERNELS = ("sdpa", SPARSE, "flex_attention")
PREFIX = 0
ALL = 2**31 - 1
"""The window of a layer that sees everything before."""


class Sight(NamedTuple):
    """What decides whom a token sees, each `[B, T]` or broadcast from it; as one array `[B, 6, T]` int32 in this order.

    `index` counts along the sequence, `place` along the token's own row; `branch` is 0 for the prefix, 1, 2, ... for branches, and a
    number below 0 of its own for each token of padding; `open` is 1 for prefix tokens that all branches see; tokens of one `block`
    (0, 1, ...; -1 for none) see each other, ahead too; `window` is how many places back the token's layer sees, itself included.
    """

    index: Any
    branch: Any
    open: Any
    place: Any
    block: Any
    window: Any


def may_see(token: Sight, other: Sight) -> Any:
    """Whether `token` may look at `other`: back into its own branch and the open prefix, and within a block.

    A `block` or `window` of `None` is one that makes no difference.
    """
    seen = (token.branch == other.branch) | ((other.open == 1) & (token.branch >= PREFIX))
    seen = seen & (other.index <= token.index)
    if token.block is not None:
        seen = seen | ((token.block == other.block) & (token.block >= 0))
    if token.window is not None:
        seen = seen & (token.place - other.place < token.window)
    return seen


def dense_mask(sight: torch.Tensor) -> torch.Tensor:
    """`[B, 1, T, T]` bool, true where a query (third) may look at a key (last), from `[B, 6, T]`."""
    columns = Sight(*sight.unbind(1))
    token = Sight(*(column[:, None, :, None] for column in columns))
    other = Sight(*(column[:, None, None, :] for column in columns))
    # Each part of the rule is a pass over all pairs, the dearest work of the whole batch: what is not needed is left out.
    if not (columns.block >= 0).any():
        token = token._replace(block=None)
    if (columns.window > columns.place.max()).all():
        token = token._replace(window=None)
    return may_see(token, other)


def block_mask(sight: torch.Tensor) -> BlockMask:
    """The same for FlexAttention, on the device of `sight`."""
    from torch.nn.attention.flex_attention import create_block_mask

    columns = sight.unbind(1)

    def rule(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        token, other = (Sight(*(column[batch, at] for column in columns)) for at in (query, key))
        return may_see(token, other)

    size = sight.shape[-1]
    return create_block_mask(rule, len(sight), None, size, size, device=sight.device, _compile=sight.is_cuda)


class MasksByLayer(dict):
    """Masks by kind of layer. `sum` counts tokens, as trainers ask a mask of rows to."""

    def sum(self) -> torch.Tensor:
        return tokens_in(self)


@dataclass(frozen=True)
class Attention:
    """What a model's attention asks of masks: its kernel, and by kind of layer the window it sees, `None` for all before."""

    kernel: str = "sdpa"
    windows: tuple[tuple[str, int | None], ...] = (("full_attention", None),)

    @property
    def narrowest(self) -> int:
        """The smallest window: rows up to this length are seen whole by every layer."""
        return min(window or ALL for _, window in self.windows)

    def masks(self, sight: np.ndarray) -> torch.Tensor | MasksByLayer:
        """A batch's `attention_mask` from `[B, 6, T]`: one for all layers, or one for each kind where windows make a difference.

        With SDPA each is `[B, 1, T, T]` bool; with FlexAttention it is `sight` itself, which `as_block_masks` reads on the device.
        """
        longest = int(sight[:, Sight._fields.index("place")].max()) + 1
        effective = {kind: window if window and window < longest else ALL for kind, window in self.windows}
        made = {window: self._mask(sight, window) for window in set(effective.values())}
        if len(made) == 1:
            return next(iter(made.values()))
        return MasksByLayer({kind: made[window] for kind, window in effective.items()})

    def _mask(self, sight: np.ndarray, window: int) -> torch.Tensor:
        import torch

        seen = torch.from_numpy(sight.copy())
        seen[:, Sight._fields.index("window")] = window
        return seen if self.kernel == "flex_attention" else dense_mask(seen)


def attention_of(model: PreTrainedModel) -> Attention:
    """What the model's attention asks of a tree's mask. Raises `ModelError` for a model that cannot read trees."""
    config = model.config.get_text_config()
    if getattr(model.config, "is_encoder_decoder", False) or getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"pack='tree' needs a decoder that reads left to right, and {type(model).__name__} has an encoder of text."
        )
    if config._attn_implementation not in KERNELS:
        raise ModelError(
            f"pack='tree' needs SDPA attention or FlexAttention: the model uses {config._attn_implementation!r}, which takes no such "
            "mask. Load it with attn_implementation='sdpa' (or 'flex_attention'), or train without pack='tree'."
        )
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    if strange := sorted(set(kinds) - {"full_attention", "sliding_attention"}):
        raise ModelError(
            f"pack='tree' knows layers that see all or a window of what is before; the model has {', '.join(strange)}: train it "
            "without pack='tree'."
        )
    return Attention(
        config._attn_implementation, tuple((kind, window if kind == "sliding_attention" else None) for kind in sorted(set(kinds)))
    )


def as_block_masks(mask: Any) -> Any:
    """What a model with FlexAttention takes, from what the collator made for it; any other mask as it is."""
    if isinstance(mask, dict):
        return MasksByLayer({kind: as_block_masks(one) for kind, one in mask.items()})
    return block_mask(mask) if getattr(mask, "ndim", 0) == 3 else mask


def is_of_trees(mask: Any) -> bool:
    """Whether an `attention_mask` is one of trees, and not `[B, T]`, one of rows."""
    return isinstance(mask, dict) or mask.ndim > 2


def tokens_in(mask: Any) -> torch.Tensor:
    """How many tokens a batch of trees has without padding, from its mask: a token of padding sees and is seen by itself alone."""
    if isinstance(mask, dict):
        return tokens_in(mask["full_attention"])
    if mask.ndim == 3:
        return (mask[:, Sight._fields.index("branch")] >= PREFIX).sum()
    return ((mask.sum(-1) > 1) | (mask.sum(-2) > 1)).sum()
