"""SDPA for message trees that computes what their mask allows and not much more, in transformers' own attention interface.

A dense mask costs the square of a tree's length, though a branch sees the prefix and itself alone. Here queries go in short runs, each
against the keys that some of its queries see. It knows masks; it knows no tree, so any bool mask is computed rightly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

from comvint_hf.training.packing.masks import SPARSE

if TYPE_CHECKING:
    from transformers import PreTrainedModel

QUERIES = 128
"""Queries of a run: about three short branches. Shorter runs see fewer keys in vain and cost more calls."""


class Run(NamedTuple):
    """Some queries in a row, the places of the keys that any of them sees, and the mask between them, `[B, 1, Q, K]` bool."""

    queries: slice
    keys: torch.Tensor
    mask: torch.Tensor


def use_sparse_attention(model: PreTrainedModel) -> None:
    """Let the language model of `model` attend this way. What looks at pictures and any call without a tree's mask stay as they are."""
    model.get_decoder().set_attn_implementation(SPARSE)


def attend(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, **more: Any
) -> tuple[torch.Tensor, None]:
    """What transformers' `sdpa_attention_forward` gives, `[B, T, heads, D]`, in runs where there is a bool mask between many tokens."""
    if mask is None or mask.dtype != torch.bool or query.shape[2] <= QUERIES:
        return sdpa_attention_forward(module, query, key, value, mask, **more)
    seen = [
        sdpa_attention_forward(
            module, query[:, :, run.queries], key.index_select(2, run.keys), value.index_select(2, run.keys), run.mask, **more
        )[0]
        for run in runs(mask)
    ]
    return torch.cat(seen, dim=1), None


def runs(mask: torch.Tensor) -> list[Run]:
    """A mask `[B, 1, T, T]` in runs of queries; found once and kept with the mask, which all layers share."""
    found = getattr(mask, "runs", None)
    if found is None:
        found = mask.runs = [_run(mask, slice(first, first + QUERIES)) for first in range(0, mask.shape[2], QUERIES)]
    return found


def _run(mask: torch.Tensor, queries: slice) -> Run:
    part = mask[:, :, queries]
    keys = part.any(dim=(0, 1, 2)).nonzero().flatten()
    return Run(queries, keys, part[..., keys])


AttentionInterface.register(SPARSE, attend)
AttentionMaskInterface.register(SPARSE, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
