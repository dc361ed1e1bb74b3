"""SDPA for message trees that computes little more than their mask allows, as an attention function of transformers.

A dense mask costs the square of a tree's length, though a branch attends to the prefix and itself only. Here queries go in short
chunks, each against the keys that some of its queries attend to. The module knows masks, not trees: any bool mask gives exact results.
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

CHUNK_SIZE = 128
"""Queries per chunk, about three short branches. Smaller chunks meet fewer keys in vain and cost more calls."""


class QueryChunk(NamedTuple):
    """Consecutive queries, the indices of the keys that any of them attends to, and the mask between them, `[B, 1, Q, K]` bool."""

    queries: slice
    keys: torch.Tensor
    mask: torch.Tensor


def use_sparse_attention(model: PreTrainedModel) -> None:
    """Switch the language model of `model` to sparse SDPA. The vision tower, and any call without a tree's mask, stay as they are."""
    model.get_decoder().set_attn_implementation(SPARSE)


def sparse_sdpa_forward(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """Compute transformers' `sdpa_attention_forward`, `[B, T, heads, D]`, in chunks where a bool mask covers many tokens."""
    if mask is None or mask.dtype != torch.bool or query.shape[2] <= CHUNK_SIZE:
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)
    outputs = []
    for queries, keys, part in split_mask(mask):
        attended = key.index_select(2, keys), value.index_select(2, keys)
        outputs.append(sdpa_attention_forward(module, query[:, :, queries], *attended, part, **kwargs)[0])
    return torch.cat(outputs, dim=1), None


def split_mask(mask: torch.Tensor) -> list[QueryChunk]:
    """Split a mask `[B, 1, T, T]` into chunks of queries; computed once and kept with the mask, which all layers share."""
    # Kept on the tensor itself, because attention functions get nothing else that all layers share.
    chunks = getattr(mask, "query_chunks", None)
    if chunks is None:
        chunks = [_make_chunk(mask, slice(first, first + CHUNK_SIZE)) for first in range(0, mask.shape[2], CHUNK_SIZE)]
        mask.query_chunks = chunks  # type: ignore[attr-defined]  # tensors take further attributes
    return chunks


def _make_chunk(mask: torch.Tensor, queries: slice) -> QueryChunk:
    rows = mask[:, :, queries]
    keys = rows.any(dim=(0, 1, 2)).nonzero().flatten()
    return QueryChunk(queries, keys, rows[..., keys])


AttentionInterface.register(SPARSE, sparse_sdpa_forward)
AttentionMaskInterface.register(SPARSE, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
