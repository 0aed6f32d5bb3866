"""Ten defects that engineers make, each in one place of what is compiled. PyTorch's side is never touched.

Each is injected while a model is compiled in the test's own process, by patching the importer, a pass, a packer or a
kernel's statements; where several layers share one of those, for one layer alone. ``DEFECTS`` says where each sits,
which is what has to be found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import load_file
from tvm.tirx.script import builder as T

from harness.compiler import functions
from harness.compiler.importer import importing
from harness.compiler.kernels import attention, attention_rows, product, vector
from harness.compiler.kernels.kernel import Buffers, Kernel
from harness.compiler.operators import product as product_operator
from harness.compiler.operators.attention import AttentionOp, DotAttentionOp
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.product import Linear, ProductOp, match_linear
from harness.compiler.targets.profiles import Profile
from harness.models.g2p import functions as g2p_functions
from harness.models.g2p import network
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.network import MASKED

Array = npt.NDArray[Any]
Emit = Callable[[Buffers], None]
Inject = Callable[[pytest.MonkeyPatch, Checkpoint], None]


@dataclass(frozen=True)
class Defect:
    """``function``, ``module`` (a torch module's path within it) and ``operator`` (a node of its exported graph) are
    where it sits."""

    inject: Inject
    function: str
    module: str
    operator: str

    @property
    def name(self) -> str:
        return self.inject.__name__


def dropped_scale(patch: pytest.MonkeyPatch, _checkpoint: Checkpoint) -> None:
    """The importer overlooks attention's ``scale`` and takes the usual 1/sqrt(d), which T5 does without."""
    imported = importing.import_function

    def without_scale(function: Any, ops: OpTable, *rest: Any) -> Any:
        module = imported(function, ops, *rest)
        if function.name == "encoder":
            _, at = (n for n, op in enumerate(ops.entries) if isinstance(op, DotAttentionOp))
            ops.entries[at] = DotAttentionOp(scale=16**-0.5)
        return module

    patch.setattr(functions, "import_function", without_scale)


def transposed_weight(patch: pytest.MonkeyPatch, checkpoint: Checkpoint) -> None:
    """The packer takes a square weight for [K, N] that lies as torch keeps it, [N, K]: the shapes do not tell."""
    weight, packed = _weight(checkpoint, "decoder.block.0.layer.1.EncDecAttention.q"), product.pack_product

    def packing(what: product.Product, array: Array, *rest: Any) -> list[Array]:
        return packed(what, array.T if np.array_equal(array, weight) else array, *rest)

    patch.setattr(product_operator, "pack_product", packing)


def position_off_by_one(patch: pytest.MonkeyPatch, _checkpoint: Checkpoint) -> None:
    """One layer's cache counts positions from one: each step overwrites the last one's key and value."""

    def change(kernel: Kernel, _profile: Profile) -> Emit:
        return lambda buffers: kernel.emit({**buffers, "position": [T.max(buffers["position"][0] - 1, 0)]})

    _change_append(patch, layer=1, change=change)


def causal_mask(patch: pytest.MonkeyPatch, _checkpoint: Checkpoint) -> None:
    """An encoder's layer gets a decoder's mask: no byte sees those behind it."""

    def change(kernel: Kernel) -> Emit:
        return lambda buffers: kernel.emit({**buffers, "bias": _Causal(buffers["bias"])})

    _change_attention(patch, layer=0, change=change)


@dataclass(frozen=True)
class _Causal:
    """A bias [B, H, Sq, Sk] with what lies in a query's future masked."""

    bias: Any

    @property
    def shape(self) -> Any:
        return self.bias.shape

    def __getitem__(self, index: tuple[Any, Any, Any, Any]) -> Any:
        *_, query, key = index
        return T.Select(key <= query, self.bias[index], T.float32(MASKED))


def swapped_residual(patch: pytest.MonkeyPatch, checkpoint: Checkpoint) -> None:
    """A feed-forward is added to what the attention before it was added to, not to their sum."""
    weight = _weight(checkpoint, "decoder.block.0.layer.2.DenseReluDense.wo")

    def matching(graph: Any, value: Any) -> Linear | None:
        found = match_linear(graph, value)
        if found is None or found.residual is None or not np.array_equal(found.weight, weight):
            return found
        before = match_linear(graph, found.residual)
        assert before is not None
        assert before.residual is not None
        return replace(found, residual=before.residual)

    patch.setattr(product_operator, "match_linear", matching)


def stale_cache(patch: pytest.MonkeyPatch, _checkpoint: Checkpoint) -> None:
    """A position of the cache that is filled is taken for this word's: keys and values are kept from word to word. The
    first word of a process is right."""
    layer = 1

    def change(kernel: Kernel, profile: Profile) -> Emit:
        cache = next(param for param in kernel.params if param.name == "cache")
        bias = next(param for param in kernel.params if param.name == "distance_bias")
        heads = attention.Heads(int(bias.shape[0]), 16)
        capacity, layers = int(bias.shape[1]) // 2, int(cache.shape[1])

        def emit(buffers: Buffers) -> None:
            qkv, row = buffers["qkv"], buffers["rows"][0]
            kept = attention._layer(buffers["cache"], row, layer, layers, capacity, heads, profile.lanes)
            position = buffers["position"][0]
            block, lane = position // profile.lanes, position % profile.lanes
            with (
                vector.when(kept.keys[0, block, 0, lane] != T.float32(0)),
                T.serial(heads.count) as head,
                T.serial(heads.size) as d,
            ):
                at = head * heads.size + d
                T.buffer_store(qkv, kept.keys[head, block, d, lane], [0, heads.width + at])
                T.buffer_store(qkv, kept.values[head, position, d], [0, 2 * heads.width + at])
            kernel.emit(buffers)

        return emit

    _change_append(patch, layer=layer, change=change)


def float16_overflow(patch: pytest.MonkeyPatch, _checkpoint: Checkpoint) -> None:
    """Caches in half the memory: float16 ends at 65504, and keys of this checkpoint go beyond."""
    made = g2p_functions.g2p_spec

    def making(*args: Any, **options: Any) -> Any:
        return made(*args, **{**options, "cache_dtype": torch.float16})

    patch.setattr(g2p_functions, "g2p_spec", making)


def wrong_bucket(patch: pytest.MonkeyPatch, _checkpoint: Checkpoint) -> None:
    """The encoder's distances are counted from the key to the query: past and future change places."""
    init = network.PositionBias.__init__

    def making(self: Any, attention: Any, capacity: int, *, bidirectional: bool) -> None:
        init(self, attention, capacity, bidirectional=bidirectional)
        if bidirectional:
            self.buckets = self.buckets.flip(0)

    patch.setattr(network.PositionBias, "__init__", making)


def missing_last_tile(patch: pytest.MonkeyPatch, checkpoint: Checkpoint) -> None:
    """A product's loop over panels ends before the last, whose columns are never computed."""
    weight = _weight(checkpoint, "encoder.block.1.layer.1.DenseReluDense.wo")
    lowered, made = ProductOp.lower, product.product_kernel

    def short(profile: Any, precision: Any, what: product.Product, leading: Any, **more: Any) -> tuple[Kernel, Any]:
        kernel, form = made(profile, precision, what, leading, **more)
        panels = product.panel_count(what, form) - 1

        def emit(buffers: Buffers) -> None:
            product._Emitter(profile, what, form, panels, buffers, cut=False).emit(product.is_one_row(leading))

        return _changed(kernel, emit), form

    def lowering(op: Any, args: list[Any], call: Any, packer: Any) -> Any:
        with pytest.MonkeyPatch.context() as here:
            if any(found is not None and np.array_equal(found, weight) for found in map(_constant, args)):
                here.setattr(product_operator, "product_kernel", short)
            return lowered(op, args, call, packer)

    patch.setattr(ProductOp, "lower", lowering)


def uninitialised_tail(patch: pytest.MonkeyPatch, _checkpoint: Checkpoint) -> None:
    """A softmax runs over whole vectors of keys: behind the last key stands what its memory happened to hold."""

    def change(kernel: Kernel) -> Emit:
        def emit(buffers: Buffers) -> None:
            with pytest.MonkeyPatch.context() as here:
                here.setattr(attention_rows, "T", _Unmasked())
                kernel.emit(buffers)

        return emit

    _change_attention(patch, layer=1, change=change)


class _Unmasked:
    """TVM's builder, whose selections take everything."""

    def __getattr__(self, name: str) -> Any:
        return getattr(T, name)

    def Select(self, _inside: Any, value: Any, _outside: Any) -> Any:
        return value


DEFECTS = (
    Defect(dropped_scale, "encoder", "encoder.attentions.1", "scaled_dot_product_attention_1"),
    Defect(transposed_weight, "decoder_step", "cross_q.0", "linear_2"),
    Defect(position_off_by_one, "decoder_step", "", "append_and_attend_1"),
    Defect(causal_mask, "encoder", "encoder.attentions.0", "scaled_dot_product_attention"),
    Defect(swapped_residual, "decoder_step", "feed_forwards.0", "add_5"),
    Defect(stale_cache, "decoder_step", "", "append_and_attend_1"),
    Defect(float16_overflow, "decoder_prefill", "", "store_memory"),
    Defect(wrong_bucket, "encoder", "encoder.position_bias", "index_1"),
    Defect(missing_last_tile, "encoder", "encoder.feed_forwards.1", "linear_13"),
    Defect(uninitialised_tail, "encoder", "encoder.attentions.1", "scaled_dot_product_attention_1"),
)


def _weight(checkpoint: Checkpoint, name: str) -> Array:
    """A linear layer's weight as products take it, [K, N]."""
    return np.asarray(load_file(checkpoint.folder / "model.safetensors")[f"{name}.weight"].T)


def _constant(value: Any) -> Array | None:
    return np.asarray(value.value.numpy()) if hasattr(getattr(value, "value", None), "numpy") else None


def _changed(kernel: Kernel, emit: Emit) -> Kernel:
    """Under a name of its own: layers with equal kernels share one."""
    return replace(kernel, name=f"{kernel.name}_defect", emit=emit)


def _change_append(patch: pytest.MonkeyPatch, *, layer: int, change: Callable[[Kernel, Profile], Emit]) -> None:
    """The statements of one decoder layer's append_and_attend."""
    whole = attention.append_and_attend

    def making(*args: Any) -> Kernel:
        kernel = whole(*args)
        return _changed(kernel, change(kernel, args[0])) if args[6] == layer else kernel

    patch.setattr(attention, "append_and_attend", making)


def _change_attention(patch: pytest.MonkeyPatch, *, layer: int, change: Callable[[Kernel], Emit]) -> None:
    """The statements of one encoder layer's attention."""
    lowered, whole = AttentionOp.lower, attention_rows.attend_all

    def making(*args: Any) -> Kernel:
        kernel = whole(*args)
        return _changed(kernel, change(kernel))

    def lowering(op: Any, args: list[Any], call: Any, packer: Any) -> Any:
        layers = [entry for entry in packer.ops.entries if isinstance(entry, AttentionOp)]
        with pytest.MonkeyPatch.context() as here:
            if op is layers[layer]:
                here.setattr(attention_rows, "attend_all", making)
            return lowered(op, args, call, packer)

    patch.setattr(AttentionOp, "lower", lowering)
