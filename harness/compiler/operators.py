"""How TVM's importer reads the torch operators of :mod:`harness.models.g2p.ops`: as kernels that work in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx
from tvm import relax

from harness.compiler.kernels import attention
from harness.compiler.profiles import Profile

Converter = Callable[[fx.Node, Any], relax.Var]


def converters(profile: Profile, *, encoder_capacity: int) -> dict[str, Converter]:
    """Importer entries by operator name; ``encoder_capacity`` bounds the encoder's tokens of one row."""

    def values(node: fx.Node, importer: Any) -> list[Any]:
        return [importer.env[a] if isinstance(a, fx.Node) else a for a in node.args]

    def attend_cache(node: fx.Node, importer: Any) -> relax.Var:
        qkv, distance_bias, position, cache, layer, heads = values(node, importer)
        layers, _, batch, capacity, width = (int(size) for size in cache.ty.shape.values)
        kernel = importer.block_builder.add_func(
            attention.attend_cache(profile, batch, heads, width // heads, capacity, layers, layer),
            f"attend_cache_{layer}",
        )
        context = relax.TensorType((batch, width), "float32")
        call = relax.op.call_tir_inplace(kernel, [qkv, distance_bias, position, cache], [-1, 3], [context, cache.ty])
        return importer.block_builder.emit(call)

    def attend_encoder(node: fx.Node, importer: Any) -> relax.Var:
        query, lengths, cache, layer, heads = values(node, importer)
        batch, width = (int(size) for size in query.ty.shape.values)
        layers = int(cache.ty.shape.values[2])
        kernel = importer.block_builder.add_func(
            attention.attend_encoder(profile, batch, heads, width // heads, encoder_capacity, layers, layer),
            f"attend_encoder_{layer}",
        )
        return importer.block_builder.emit(relax.call_tir(kernel, [query, lengths, cache], query.ty))

    return {"attend_cache.default": attend_cache, "attend_encoder.default": attend_encoder}
