"""The two operators of one decoding step that torch has no word for.

Each is a torch custom operator (so ``torch.export`` keeps it as one node) with its meaning in plain torch;
``harness/compiler/operators.py`` gives the same operator to TVM as a kernel that works in place.
Shapes are named in :mod:`harness.models.g2p.network`; G stands for H*K.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("harness::attend_cache", mutates_args=())
def attend_cache(
    qkv: Tensor, distance_bias: Tensor, position: Tensor, cache: Tensor, layer: int, heads: int
) -> tuple[Tensor, Tensor]:
    """Write this position's key and value, then attend to everything up to it.

    ``qkv`` [B, 3G], ``distance_bias`` [H, C], ``position`` int32[1], ``cache`` [L, 2, B, C, G] to the context
    [B, G] and the cache with ``[layer, :, :, position]`` written.
    """
    batch, capacity = qkv.shape[0], cache.shape[3]
    at = int(position)
    query, key, value = qkv.view(batch, 3, heads, -1).unbind(1)
    written = cache.clone()
    written[layer, 0, :, at] = key.reshape(batch, -1)
    written[layer, 1, :, at] = value.reshape(batch, -1)
    keys, values = written[layer, :, :, : at + 1].view(2, batch, at + 1, heads, -1)
    distances = at - torch.arange(at + 1)
    assert at < capacity
    scores = torch.einsum("bhk,bthk->bht", query, keys) + distance_bias[:, distances]
    context = torch.einsum("bht,bthk->bhk", torch.softmax(scores, -1), values)
    return context.reshape(batch, -1), written


@attend_cache.register_fake
def _(
    qkv: Tensor, distance_bias: Tensor, position: Tensor, cache: Tensor, layer: int, heads: int
) -> tuple[Tensor, Tensor]:
    return qkv.new_empty(qkv.shape[0], qkv.shape[1] // 3), torch.empty_like(cache)


@torch.library.custom_op("harness::attend_encoder", mutates_args=())
def attend_encoder(query: Tensor, lengths: Tensor, cache: Tensor, layer: int, heads: int) -> Tensor:
    """Attend to the encoder's states: ``query`` [B, G], ``lengths`` int32[B], ``cache`` [B, S, L, 2, G] to [B, G]."""
    batch, length = cache.shape[:2]
    keys, values = cache[:, :, layer].reshape(batch, length, 2, heads, -1).unbind(2)
    scores = torch.einsum("bhk,bshk->bhs", query.view(batch, heads, -1), keys)
    hidden = torch.arange(length)[None, :] >= lengths[:, None]
    scores = scores.masked_fill(hidden[:, None, :], float("-inf"))
    return torch.einsum("bhs,bshk->bhk", torch.softmax(scores, -1), values).reshape(batch, -1)


@attend_encoder.register_fake
def _(query: Tensor, lengths: Tensor, cache: Tensor, layer: int, heads: int) -> Tensor:
    return torch.empty_like(query)
