"""Define attention to a cache that torch does not have: causal, with heads that share keys, and rotary positions.

It is a torch custom operator (so ``torch.export`` keeps it as one node) with its meaning in plain torch.
``harness/compiler/operators/attend_causally.py`` gives the same operator to TVM as a kernel that works in place. The
kernel alone decides how keys and values lie within a cache's last axis, so only the sizes agree between both.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("harness::attend_causally", mutates_args=())
def attend_causally(
    qkv: Tensor,
    rotation: Tensor,
    norms: Tensor | None,
    position: Tensor,
    cache: Tensor,
    layer: int,
    heads: int,
    kv_heads: int,
    window: int,
    eps: float,
    cap: float,
) -> tuple[Tensor, Tensor]:
    """Write the rows' keys and values into a layer of the cache, then let each row attend to all up to its own.

    ``qkv`` [T, (H + 2 K) * D], ``rotation`` [C, D] (cosines, then sines, of a position's angles; no columns without
    rotary positions), ``norms`` [2, D] (gains of the norms of queries and keys, if they have any), ``position``
    int32[1] (of the first row), ``cache`` [L, 2, C * K * D] to the context [T, H * D] and the cache. A ``window`` of
    0 sees everything; otherwise a row sees so many positions, its own included. With a ``cap`` above 0 a score x
    becomes cap * tanh(x / cap).
    """
    rows = qkv.shape[0]
    size = qkv.shape[1] // (heads + 2 * kv_heads)
    first, capacity = int(position), cache.shape[2] // (kv_heads * size)
    query, key, value = torch.split(qkv.view(rows, -1, size), [heads, kv_heads, kv_heads], 1)
    if norms is not None:
        query, key = (_normed(x, gain, eps) for x, gain in zip((query, key), norms.unbind(), strict=True))
    if rotation.shape[1]:
        turned = rotation[first : first + rows, None]
        query, key = _rotated(query, turned), _rotated(key, turned)
    written = cache.clone()
    layered = written.view(cache.shape[0], 2, capacity, kv_heads, size)
    layered[layer, 0, first : first + rows] = key.to(cache.dtype)
    layered[layer, 1, first : first + rows] = value.to(cache.dtype)
    keys, values = layered[layer, :, : first + rows].to(qkv.dtype).unbind()
    grouped = query.view(rows, kv_heads, heads // kv_heads, size) * size**-0.5
    scores = torch.einsum("tkgd,skd->kgts", grouped, keys)
    if cap:
        scores = cap * torch.tanh(scores / cap)
    ages = (torch.arange(rows)[:, None] + first) - torch.arange(first + rows)
    scores = scores.masked_fill((ages < 0) | ((ages >= window) if window else False), float("-inf"))
    context = torch.einsum("kgts,skd->tkgd", torch.softmax(scores, -1), values)
    return context.reshape(rows, heads * size), written


@attend_causally.register_fake
def _(
    qkv: Tensor,
    rotation: Tensor,
    norms: Tensor | None,
    position: Tensor,
    cache: Tensor,
    layer: int,
    heads: int,
    kv_heads: int,
    window: int,
    eps: float,
    cap: float,
) -> tuple[Tensor, Tensor]:
    size = qkv.shape[1] // (heads + 2 * kv_heads)
    return qkv.new_empty(qkv.shape[0], heads * size), torch.empty_like(cache)


def _normed(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * gain


def _rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn each pair (element i of the first half, of the second half) by its angle."""
    cosines, sines = rotation.chunk(2, -1)
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), -1)
