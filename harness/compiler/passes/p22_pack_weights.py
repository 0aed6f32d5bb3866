"""PackWeights: every fused operator becomes a call of a kernel made for it, every weight the kernel's own arrays.

Packing happens here in numpy, so that no layout operation is left in the graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from harness.compiler.graph.graph import extents
from harness.compiler.graph.origins import Origin, Origins
from harness.compiler.kernels import attention, attention_rows, rows
from harness.compiler.kernels.batch_product import batch_product
from harness.compiler.kernels.cost import Cost
from harness.compiler.kernels.instrument import Instrumentation
from harness.compiler.kernels.kernel import Dim, Kernel, prim_func
from harness.compiler.kernels.norm import Norm, norm_kernel
from harness.compiler.kernels.product import pack_product, product_kernel
from harness.compiler.kernels.recurrence import recurrence_kernel
from harness.compiler.operators import operator as fused
from harness.compiler.targets.profiles import Profile
from harness.protocol import Precision


@dataclass(frozen=True)
class Part:
    """A kernel within a merged one, and what its result stands for."""

    kernel: Kernel
    origin: Origin


@dataclass
class KernelTable:
    """The kernels that a module's functions call, by the name of their TIR function.

    Names begin with ``prefix``, so that functions of several modules can be linked together.
    """

    prefix: str
    origins: Origins = field(default_factory=Origins)
    """Of the values of the function at hand."""
    kernels: dict[str, Kernel] = field(default_factory=dict)
    parts: dict[str, list[Part]] = field(default_factory=dict)
    """Of merged kernels, in the order they run."""
    instrumentation: Instrumentation | None = None
    """Of the kernels; None for an archive without."""
    costs: dict[str, tuple[list[Any], Cost]] = field(default_factory=dict)
    """Of functions that no template made, with the tensors whose extents a cost's expressions name."""
    results: dict[str, int] = field(default_factory=dict)
    """How many tensors each of them makes: its last ones."""

    def add(self, module: tvm.IRModule, kernel: Kernel, weights_symbol: str | None = None) -> tvm.ir.GlobalVar:
        """The kernel's TIR function in the module, made unless it is there."""
        name = f"{self.prefix}{kernel.name}" + ("_linked" if weights_symbol else "")
        for known in module.get_global_vars():
            if known.name_hint == name:
                return known
        function = prim_func(kernel, weights_symbol, self.instrumentation)
        variable = relax.BlockBuilder().add_func(function, name)  # which gives it the type that calls are checked by
        module[variable] = function
        self.kernels[name] = kernel
        return variable

    def of(self, call: Any) -> Kernel | None:
        """The kernel that a ``call_tir`` or ``call_tir_inplace`` calls, if it is one of ours."""
        if getattr(getattr(call, "op", None), "name", "") not in ("relax.call_tir", "relax.call_tir_inplace"):
            return None
        return self.kernels.get(call.args[0].name_hint)


class Dims:
    """Names for extents that are known when the function runs: one name for one expression."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def of(self, value: Any) -> tuple[Dim, ...]:
        shape = extents(value)
        assert shape is not None
        return tuple(e if isinstance(e, int) else self._names.setdefault(str(e), f"n{len(self._names)}") for e in shape)


@mutator
class _PackWeights(PyExprMutator):  # type: ignore[misc]
    def __init__(
        self, module: tvm.IRModule, profile: Profile, precision: Precision, ops: fused.OpTable, table: KernelTable
    ) -> None:
        super().__init__()
        self.module, self.profile, self.precision, self.ops, self.table = module, profile, precision, ops, table

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        found = self.ops.read(call)
        if found is None:
            return call
        op, args = found
        lower = _LOWERINGS[type(op)]
        return lower(self, op, args, call)

    def call(self, kernel: Kernel, args: list[Any], ty: Any, in_place: list[int] | None = None) -> relax.Expr:
        function = self.table.add(self.module, kernel)
        if in_place is None:
            return relax.call_tir(function, args, ty)
        return relax.op.call_tir_inplace(function, args, in_place, ty)


def _array(value: Any) -> Any:
    return value.value.numpy()


def _product(self: _PackWeights, op: fused.ProductOp, args: list[Any], call: Any) -> relax.Expr:
    product = op.product
    leading = Dims().of(args[0])[:-1]
    kernel, form = product_kernel(self.profile, self.precision, product, leading)
    activations = 2 if product.residual else 1
    norms = {None: 0, "rms": 1, "layer": 2}[product.norm]
    weight, bias = _array(args[activations + norms]), _array(args[-1]) if product.bias else None
    packed = [relax.const(array) for array in pack_product(product, weight, bias, form)]
    return self.call(kernel, [*args[: activations + norms], *packed], call.ty)


def _norm(self: _PackWeights, op: fused.NormOp, args: list[Any], call: Any) -> relax.Expr:
    *leading, width = Dims().of(args[0])
    kernel = norm_kernel(self.profile, cast("Norm", op.norm), tuple(leading), int(width), op.eps)
    return self.call(kernel, args, call.ty)


def _attention(self: _PackWeights, op: fused.AttentionOp, args: list[Any], call: Any) -> relax.Expr:
    dims = Dims()
    tensors = list(dict.fromkeys(side.tensor for side in op.sides))
    shapes = {name: dims.of(arg) for name, arg in zip(tensors, args, strict=False)}
    batch, queries, _ = shapes[op.sides[0].tensor]
    bias = dims.of(args[-1]) if op.has_bias else None
    shape = attention_rows.AllRows(
        heads=attention.Heads(op.heads, op.size),
        scale=op.scale,
        batch=batch,
        queries=queries,
        keys=shapes[op.sides[1].tensor][1],
        sides=op.sides,
        bias=cast("tuple[Dim, Dim, Dim, Dim] | None", bias),
    )
    return self.call(attention_rows.attend_all(self.profile, shape), args, call.ty)


def _embedding(self: _PackWeights, _op: fused.EmbeddingOp, args: list[Any], call: Any) -> relax.Expr:
    ids, table = args[0], _array(args[1])
    dtype = "float32" if self.precision == "fp32" else "float16"
    count, width = table.shape
    kernel = rows.embedding(self.profile, Dims().of(ids), str(ids.ty.dtype), count, width, dtype)
    return self.call(kernel, [ids, relax.const(table.astype(dtype))], call.ty)


def _argmax(self: _PackWeights, _op: fused.ArgmaxOp, args: list[Any], call: Any) -> relax.Expr:
    *leading, width = Dims().of(args[0])
    return self.call(rows.argmax(self.profile, tuple(leading), int(width), str(call.ty.dtype)), args, call.ty)


def _batch_product(self: _PackWeights, _op: fused.BatchProductOp, args: list[Any], call: Any) -> relax.Expr:
    dims = Dims()
    a, b = (dims.of(arg) for arg in args)
    return self.call(batch_product(a[:-2], a[-2], b[-1], a[-1]), args, call.ty)


def _append_and_attend(self: _PackWeights, op: fused.AppendAndAttendOp, args: list[Any], call: Any) -> relax.Expr:
    count, width = Dims().of(args[0])
    batch, layers, _, size = (int(extent) for extent in extents(args[4]) or ())
    heads = attention.Heads(op.heads, int(width) // 3 // op.heads)
    kernel = attention.append_and_attend(
        self.profile, heads, count, batch, size // heads.width, layers, op.layer, str(args[4].ty.dtype)
    )
    return self.call(kernel, args, list(call.ty.fields), in_place=[-1, 4])


def _attend_memory(self: _PackWeights, op: fused.AttendMemoryOp, args: list[Any], call: Any) -> relax.Expr:
    count, width = Dims().of(args[0])
    batch, layers, _, size = (int(extent) for extent in extents(args[3]) or ())
    heads = attention.Heads(op.heads, int(width) // op.heads)
    kernel = attention.attend_memory(
        self.profile, heads, count, batch, size // heads.width, layers, op.layer, str(args[3].ty.dtype)
    )
    return self.call(kernel, args, call.ty)


def _store_memory(self: _PackWeights, op: fused.StoreMemoryOp, args: list[Any], call: Any) -> relax.Expr:
    batch, layers, _, size = (int(extent) for extent in extents(call) or ())
    _, length, _, _, width = extents(args[0]) or ()
    heads = attention.Heads(op.heads, width // op.heads)
    joined = self.builder_.emit(relax.op.reshape(args[0], relax.ShapeExpr([batch, length, layers * 2 * width])))
    kernel = attention.store_memory(self.profile, heads, batch, size // heads.width, layers, str(call.ty.dtype))
    return self.call(kernel, [joined], call.ty)


def _dot_attention(_self: _PackWeights, _op: fused.DotAttentionOp, _args: list[Any], call: Any) -> relax.Expr:
    raise ValueError(f"FusePatterns left attention of {call.ty} behind: its heads or their size are not static")


def _recurrence(self: _PackWeights, op: fused.RecurrenceOp, args: list[Any], call: Any) -> relax.Expr:
    layer = op.layer
    first, second, _ = Dims().of(args[0])
    kernel, form = recurrence_kernel(self.profile, self.precision, layer, (first, second))
    count = 3 if layer.has_cells else 2
    weight, bias = _array(args[count]), _array(args[count + 1]) if layer.bias else None
    packed = [relax.const(array) for array in pack_product(layer.product, weight, bias, form)]
    return self.call(kernel, [*args[:count], *packed], call.ty)


_LOWERINGS: dict[type, Any] = {
    fused.ProductOp: _product,
    fused.NormOp: _norm,
    fused.AttentionOp: _attention,
    fused.EmbeddingOp: _embedding,
    fused.ArgmaxOp: _argmax,
    fused.BatchProductOp: _batch_product,
    fused.AppendAndAttendOp: _append_and_attend,
    fused.AttendMemoryOp: _attend_memory,
    fused.StoreMemoryOp: _store_memory,
    fused.DotAttentionOp: _dot_attention,
    fused.RecurrenceOp: _recurrence,
}


@tvm.transform.module_pass(opt_level=0, name="PackWeights")
class PackWeights:
    """Lowers the operators of ``ops``; the kernels it makes go into ``table``."""

    def __init__(self, profile: Profile, precision: Precision, ops: fused.OpTable, table: KernelTable) -> None:
        self.profile, self.precision, self.ops, self.table = profile, precision, ops, table

    def transform_module(self, module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        rewriter = _PackWeights(module, self.profile, self.precision, self.ops, self.table)
        for name, function in module.functions_items():
            if isinstance(function, relax.Function):
                module.update_func(name, relax.analysis.remove_all_unused(rewriter.visit_expr(function)))
        return module
