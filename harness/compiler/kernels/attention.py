"""Attention of one new row over a cache: the decoding step's own kernels.

Shapes as in :mod:`harness.models.g2p.ops`: G = H * K; a cache lies as [..., position, G], so that a key is
contiguous and appending is one copy.
"""

from __future__ import annotations

from math import gcd
from typing import Any

from tvm.script import tirx as T

from harness.compiler.profiles import Profile

F32 = "float32"
LOWEST = -3.0e38


@T.inline
def add_lanes(scores, total, acc, t, lanes):
    """Add a dot product's lanes to a score; total[0] keeps the highest score."""
    for v in T.unroll(lanes):
        scores[t] = scores[t] + acc[v]
    total[0] = T.max(total[0], scores[t])


@T.inline
def exponentiate(scores, total, count):
    """Scores to softmax numerators; total[1] becomes their sum."""
    total[1] = T.float32(0)
    for t in T.serial(count):
        scores[t] = T.exp(scores[t] - total[0])
        total[1] = total[1] + scores[t]


def attend_cache(profile: Profile, batch: int, heads: int, d_kv: int, capacity: int, layers: int, layer: int) -> Any:
    """Append this position's key and value in place, then attend to all positions so far.

    Parameters of the kernel: qkv [B, 3G], distance_bias [H, C], position int32[1],
    cache [L, 2, B, C, G] (read and written), context [B, G] (written).
    """
    width = heads * d_kv
    lanes = gcd(profile.lanes, d_kv)

    @T.prim_func
    def kernel(
        qkv: T.Buffer((batch, 3 * width), F32),
        distance_bias: T.Buffer((heads, capacity), F32),
        position: T.Buffer((1,), "int32"),
        cache: T.Buffer((layers, 2, batch, capacity, width), F32),
        context: T.Buffer((batch, width), F32),
    ) -> None:
        T.func_attr({"tirx.noalias": True, "op_pattern": 8})
        for b in T.serial(batch):
            for g in T.serial(width):
                cache[layer, 0, b, position[0], g] = qkv[b, width + g]
            for g in T.serial(width):
                cache[layer, 1, b, position[0], g] = qkv[b, 2 * width + g]
            for h in T.serial(heads):
                scores = T.alloc_buffer((capacity,), F32)
                total = T.alloc_buffer((2,), F32)
                total[0] = T.float32(LOWEST)
                for t in T.serial(position[0] + 1):
                    acc = T.alloc_buffer((lanes,), F32)
                    for v in T.vectorized(lanes):
                        acc[v] = T.float32(0)
                    for d in T.serial(d_kv // lanes):
                        for v in T.vectorized(lanes):
                            acc[v] = (
                                acc[v]
                                + qkv[b, h * d_kv + d * lanes + v] * cache[layer, 0, b, t, h * d_kv + d * lanes + v]
                            )
                    scores[t] = distance_bias[h, position[0] - t]
                    add_lanes(scores, total, acc, t, lanes)
                exponentiate(scores, total, position[0] + 1)
                out = T.alloc_buffer((d_kv,), F32)
                for v in T.vectorized(d_kv):
                    out[v] = T.float32(0)
                for t in T.serial(position[0] + 1):
                    for v in T.vectorized(d_kv):
                        out[v] = out[v] + scores[t] * cache[layer, 1, b, t, h * d_kv + v]
                for v in T.vectorized(d_kv):
                    context[b, h * d_kv + v] = out[v] / total[1]

    return kernel


def attend_encoder(profile: Profile, batch: int, heads: int, d_kv: int, capacity: int, layers: int, layer: int) -> Any:
    """Attend to the encoder's keys and values of one layer, up to each row's own length.

    Parameters of the kernel: query [B, G], lengths int32[B], cache [B, S, L, 2, G], context [B, G] (written);
    S is at most ``capacity``.
    """
    width = heads * d_kv
    lanes = gcd(profile.lanes, d_kv)

    @T.prim_func
    def kernel(
        query: T.Buffer((batch, width), F32),
        lengths: T.Buffer((batch,), "int32"),
        cache_handle: T.handle,
        context: T.Buffer((batch, width), F32),
    ) -> None:
        T.func_attr({"tirx.noalias": True, "op_pattern": 8})
        s = T.int64()
        cache = T.match_buffer(cache_handle, (batch, s, layers, 2, width), F32)
        for b in T.serial(batch):
            for h in T.serial(heads):
                scores = T.alloc_buffer((capacity,), F32)
                total = T.alloc_buffer((2,), F32)
                total[0] = T.float32(LOWEST)
                for t in T.serial(lengths[b]):
                    acc = T.alloc_buffer((lanes,), F32)
                    for v in T.vectorized(lanes):
                        acc[v] = T.float32(0)
                    for d in T.serial(d_kv // lanes):
                        for v in T.vectorized(lanes):
                            acc[v] = (
                                acc[v]
                                + query[b, h * d_kv + d * lanes + v] * cache[b, t, layer, 0, h * d_kv + d * lanes + v]
                            )
                    scores[t] = T.float32(0)
                    add_lanes(scores, total, acc, t, lanes)
                exponentiate(scores, total, lengths[b])
                out = T.alloc_buffer((d_kv,), F32)
                for v in T.vectorized(d_kv):
                    out[v] = T.float32(0)
                for t in T.serial(lengths[b]):
                    for v in T.vectorized(d_kv):
                        out[v] = out[v] + scores[t] * cache[b, t, layer, 1, h * d_kv + v]
                for v in T.vectorized(d_kv):
                    context[b, h * d_kv + v] = out[v] / total[1]

    return kernel
