"""Define the operators on caches that torch does not have.

Each is a torch custom operator (so ``torch.export`` keeps it as one node) with its meaning in plain torch.
``harness/compiler/operators/`` gives the same operator to TVM as a kernel that works in place. The kernel alone decides
how keys and values lie within a cache's last axis, so only the sizes agree between both.

Shapes are named in :mod:`harness.models.g2p.network`; G stands for H*K.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("harness::append_and_attend", mutates_args=())
def append_and_attend(
    qkv: Tensor, distance_bias: Tensor, rows: Tensor, position: Tensor, cache: Tensor, layer: int, heads: int
) -> tuple[Tensor, Tensor]:
    """Write this position's key and value, then attend to everything up to it.

    ``qkv`` [b, 3G], ``distance_bias`` [H, 2C] (column C - 1 - d belongs to a key d positions back), ``rows``
    int32[b] (the cache's row of each row), ``position`` int32[1], ``cache`` [B, L, 2, C * G] to the context [b, G]
    and the cache with this position written.
    """
    active, width = qkv.shape[0], qkv.shape[1] // 3
    capacity = cache.shape[3] // width
    at, chosen = int(position), rows.long()
    query, key, value = qkv.view(active, 3, width).unbind(1)
    written = cache.clone()
    layered = written.view(*cache.shape[:3], capacity, width)
    layered[chosen, layer, 0, at] = key.to(cache.dtype)
    layered[chosen, layer, 1, at] = value.to(cache.dtype)
    keys, values = layered[chosen, layer, :, : at + 1].to(qkv.dtype).view(active, 2, at + 1, heads, -1).unbind(1)
    scores = torch.einsum("bhk,bthk->bht", query.view(active, heads, -1), keys)
    scores = scores + distance_bias[:, capacity - 1 - at : capacity]
    context = torch.einsum("bht,bthk->bhk", torch.softmax(scores, -1), values)
    return context.reshape(active, -1), written


@append_and_attend.register_fake
def _(
    qkv: Tensor, distance_bias: Tensor, rows: Tensor, position: Tensor, cache: Tensor, layer: int, heads: int
) -> tuple[Tensor, Tensor]:
    return qkv.new_empty(qkv.shape[0], qkv.shape[1] // 3), torch.empty_like(cache)


@torch.library.custom_op("harness::store_memory", mutates_args=())
def store_memory(source: Tensor, heads: int, capacity: int, dtype: torch.dtype) -> Tensor:
    """Return keys and values of the encoder's states ``source`` [B, S, L, 2, G] as memory [B, L, 2, capacity * G]."""
    batch, length, layers, _, width = source.shape
    memory = source.new_zeros(batch, layers, 2, capacity, width, dtype=dtype)
    memory[:, :, :, :length] = source.permute(0, 2, 3, 1, 4).to(dtype)
    return memory.view(batch, layers, 2, capacity * width)


@store_memory.register_fake
def _(source: Tensor, heads: int, capacity: int, dtype: torch.dtype) -> Tensor:
    batch, _, layers, _, width = source.shape
    return source.new_empty(batch, layers, 2, capacity * width, dtype=dtype)


@torch.library.custom_op("harness::attend_memory", mutates_args=())
def attend_memory(query: Tensor, rows: Tensor, lengths: Tensor, memory: Tensor, layer: int, heads: int) -> Tensor:
    """Attend to the encoder's states, each row to its own length.

    ``query`` [b, G], ``rows`` int32[b], ``lengths`` int32[B], ``memory`` [B, L, 2, C * G] to the context [b, G].
    """
    active, width = query.shape
    chosen = rows.long()
    capacity = memory.shape[3] // width
    keys, values = memory[chosen, layer].to(query.dtype).view(active, 2, capacity, heads, -1).unbind(1)
    scores = torch.einsum("bhk,bshk->bhs", query.view(active, heads, -1), keys)
    hidden = torch.arange(capacity)[None, :] >= lengths[chosen][:, None]
    scores = scores.masked_fill(hidden[:, None, :], float("-inf"))
    return torch.einsum("bhs,bshk->bhk", torch.softmax(scores, -1), values).reshape(active, -1)


@attend_memory.register_fake
def _(query: Tensor, rows: Tensor, lengths: Tensor, memory: Tensor, layer: int, heads: int) -> Tensor:
    return torch.empty_like(query)
