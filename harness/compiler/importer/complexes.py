"""Compute with complex numbers as pairs of tensors: TVM has no complex type.

While the graph is imported, the value of a complex node is a :class:`Pair`. Layout operators go over both parts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree
from tvm import relax

from harness.compiler.errors import CannotCompile, UnsupportedOperator
from harness.compiler.importer.arguments import given
from harness.compiler.importer.unsupported import BoundConverter, operator_name, place


class Pair(NamedTuple):
    """Hold the parts of a complex tensor."""

    real: Any
    imag: Any


Form = Callable[[fx.Node, Any], Any]
"""An entry for an operator with complex numbers among its arguments or results."""


def is_complex(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) and leaf.is_complex() for leaf in pytree.tree_leaves(value))


def touches_complex(node: fx.Node) -> bool:
    """Return whether a node takes or makes complex numbers."""
    return is_complex([node.meta.get("val"), *(argument.meta.get("val") for argument in node.all_input_nodes)])


def split_state(program: ExportedProgram) -> ExportedProgram:
    """Return the program with complex weights as float tensors [..., 2].

    Raises CannotCompile if the program takes or returns complex numbers.
    """
    [output] = program.graph.find_nodes(op="output")
    users = set(program.graph_signature.user_inputs)
    ends = [node for node in program.graph.find_nodes(op="placeholder") if node.name in users]
    if any(is_complex(node.meta.get("val")) for node in (*ends, *output.all_input_nodes)):
        raise CannotCompile(
            "the model takes or returns complex numbers", cure="return torch.view_as_real(x), or take its like"
        )
    nodes = {node.name: node for node in program.graph.find_nodes(op="placeholder")}
    after = next((node for node in program.graph.nodes if node.op != "placeholder"), output)
    for spec in program.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind == InputKind.USER_INPUT or not is_complex(node.meta.get("val")):
            continue
        for state in (program.state_dict, program.constants):
            value = state.get(str(spec.target))
            if isinstance(value, Tensor) and value.is_complex():
                parts = torch.view_as_real(value.detach().resolve_conj()).contiguous()
                parameter = isinstance(value, torch.nn.Parameter)
                state[str(spec.target)] = torch.nn.Parameter(parts, False) if parameter else parts
        with program.graph.inserting_before(after):
            whole = program.graph.call_function(torch.ops.aten.view_as_complex.default, (node,))
        whole.meta["val"] = node.meta["val"]
        node.meta["val"] = torch.view_as_real(node.meta["val"])
        node.replace_all_uses_with(whole, delete_user_cb=lambda user, whole=whole: user is not whole)
    program.graph_module.recompile()
    return program


def with_complex(name: str, convert: BoundConverter | None) -> BoundConverter:
    """Return the entry of an operator that also takes complex numbers; ``convert`` is the one for others."""

    def plain(node: fx.Node, importer: Any) -> Any:
        if convert is not None:
            return convert(node, importer)
        theirs = importer.create_convert_map().get(name)
        if theirs is None:
            raise UnsupportedOperator(f"TVM has no operator for {place(node)}")
        return theirs(node)

    def call(node: fx.Node, importer: Any) -> Any:
        if not touches_complex(node):
            return plain(node, importer)
        return FORMS[name](node, importer) if name in FORMS else _of_each_part(node, importer, plain)

    return call


def _of_each_part(node: fx.Node, importer: Any, convert: BoundConverter) -> Any:
    """Apply a layout operator to both parts."""
    before = {one: importer.env[one] for one in node.all_input_nodes if isinstance(importer.env.get(one), Pair)}
    found = []
    try:
        for part in (0, 1):
            importer.env.update({one: pair[part] for one, pair in before.items()})
            found.append(convert(node, importer))
    finally:
        importer.env.update(before)
    real, imag = found
    if isinstance(real, list | tuple):
        return [Pair(*parts) for parts in zip(real, imag, strict=True)]
    if isinstance(real.ty, relax.TupleType):
        emit, count = importer.block_builder.emit, len(real.ty.fields)
        return [Pair(emit(relax.TupleGetItem(real, at)), emit(relax.TupleGetItem(imag, at))) for at in range(count)]
    return Pair(real, imag)


def _item(node: fx.Node, importer: Any) -> Any:
    return importer.env[given(node)[0]][given(node)[1]]


def _kind(node: fx.Node) -> str:
    """Return the type of the parts of the complex tensor that a node makes, or of the tensor itself."""
    dtype = node.meta["val"].dtype
    return {torch.complex64: "float32", torch.complex128: "float64"}.get(dtype, str(dtype).removeprefix("torch."))


def pair(value: Any, importer: Any, kind: str) -> Pair:
    """Return a number or a tensor, complex or not, as a pair."""
    emit = importer.block_builder.emit
    if isinstance(value, fx.Node):
        value = importer.env[value]
    if isinstance(value, Pair):
        return value
    if isinstance(value, relax.Expr):
        real = emit(relax.op.astype(value, kind))
        return Pair(real, emit(relax.op.zeros_like(real)))
    number = complex(value)
    return Pair(relax.const(number.real, kind), relax.const(number.imag, kind))


def _sides(node: fx.Node, importer: Any) -> tuple[Callable[[Any], Any], Pair, Pair]:
    kind = _kind(node)
    one, other = (pair(argument, importer, kind) for argument in given(node)[:2])
    if node.kwargs.get("alpha", 1) != 1:
        raise ValueError("a sum of complex numbers with alpha")
    return importer.block_builder.emit, one, other


def _add(node: fx.Node, importer: Any) -> Pair:
    emit, one, other = _sides(node, importer)
    return Pair(emit(relax.op.add(one.real, other.real)), emit(relax.op.add(one.imag, other.imag)))


def _subtract(node: fx.Node, importer: Any) -> Pair:
    emit, one, other = _sides(node, importer)
    return Pair(emit(relax.op.subtract(one.real, other.real)), emit(relax.op.subtract(one.imag, other.imag)))


def _product(node: fx.Node, importer: Any) -> Pair:
    return _multiplied(*_sides(node, importer), relax.op.multiply)


def _matrix_product(node: fx.Node, importer: Any) -> Pair:
    return _multiplied(*_sides(node, importer), relax.op.matmul)


def _multiplied(emit: Callable[[Any], Any], one: Pair, other: Pair, times: Callable[..., Any]) -> Pair:
    op = relax.op
    real = op.subtract(emit(times(one.real, other.real)), emit(times(one.imag, other.imag)))
    imag = op.add(emit(times(one.real, other.imag)), emit(times(one.imag, other.real)))
    return Pair(emit(real), emit(imag))


def _quotient(node: fx.Node, importer: Any) -> Pair:
    emit, one, other = _sides(node, importer)
    below = emit(_square(emit, other))
    turned = Pair(other.real, emit(relax.op.negative(other.imag)))
    whole = _multiplied(emit, one, turned, relax.op.multiply)
    return Pair(emit(relax.op.divide(whole.real, below)), emit(relax.op.divide(whole.imag, below)))


def _square(emit: Callable[[Any], Any], value: Pair) -> Any:
    squares = [emit(relax.op.multiply(part, part)) for part in value]
    return relax.op.add(*squares)


def _absolute(node: fx.Node, importer: Any) -> Any:
    emit = importer.block_builder.emit
    return emit(relax.op.sqrt(emit(_square(emit, importer.env[given(node)[0]]))))


def _angle(node: fx.Node, importer: Any) -> Any:
    value = importer.env[given(node)[0]]
    return importer.block_builder.emit(relax.op.atan2(value.imag, value.real))


def _conjugate(node: fx.Node, importer: Any) -> Pair:
    value = importer.env[given(node)[0]]
    return Pair(value.real, importer.block_builder.emit(relax.op.negative(value.imag)))


def _exponential(node: fx.Node, importer: Any) -> Pair:
    emit, value = importer.block_builder.emit, importer.env[given(node)[0]]
    size = emit(relax.op.exp(value.real))
    return _turned(emit, size, value.imag)


def _turned(emit: Callable[[Any], Any], size: Any, angle: Any) -> Pair:
    sides = [emit(relax.op.multiply(size, emit(turn(angle)))) for turn in (relax.op.cos, relax.op.sin)]
    return Pair(*sides)


def _polar(node: fx.Node, importer: Any) -> Pair:
    return _turned(importer.block_builder.emit, *(importer.env[argument] for argument in given(node)[:2]))


def _parts(node: fx.Node, importer: Any) -> Any:
    """Convert view_as_real: both parts along a new last axis."""
    emit, value = importer.block_builder.emit, importer.env[given(node)[0]]
    return emit(relax.op.concat([emit(relax.op.expand_dims(part, -1)) for part in value], axis=-1))


def _whole(node: fx.Node, importer: Any) -> Pair:
    """Convert view_as_complex: the two numbers of the last axis."""
    emit, parts = importer.block_builder.emit, importer.env[given(node)[0]]
    return Pair(*(emit(relax.op.take(parts, relax.const(at, "int64"), axis=-1)) for at in (0, 1)))


def _full(node: fx.Node, importer: Any) -> Pair:
    """Convert ``full``, ``zeros`` and ``ones`` of complex numbers."""
    name, emit = operator_name(node), importer.block_builder.emit
    value = {"zeros.default": 0, "ones.default": 1}.get(name, given(node)[1] if len(given(node)) > 1 else 0)
    shape = relax.ShapeExpr(list(importer._retrieve_args(given(node)[0])))
    parts = pair(value, importer, _kind(node))
    return Pair(*(emit(relax.op.full(shape, part, _kind(node))) for part in parts))


def _converted(node: fx.Node, importer: Any) -> Any:
    return pair(given(node)[0], importer, _kind(node))


FORMS: dict[str, Form] = {
    "_conj.default": _conjugate,
    "_conj_physical.default": _conjugate,
    "_to_copy.default": _converted,
    "abs.default": _absolute,
    "add.Tensor": _add,
    "angle.default": _angle,
    "bmm.default": _matrix_product,
    "complex.default": lambda node, importer: Pair(*(importer.env[argument] for argument in given(node)[:2])),
    "conj_physical.default": _conjugate,
    "div.Tensor": _quotient,
    "exp.default": _exponential,
    "full.default": _full,
    "getitem": _item,
    "imag.default": lambda node, importer: importer.env[given(node)[0]].imag,
    "mm.default": _matrix_product,
    "mul.Tensor": _product,
    "polar.default": _polar,
    "real.default": lambda node, importer: importer.env[given(node)[0]].real,
    "sub.Tensor": _subtract,
    "view_as_complex.default": _whole,
    "view_as_real.default": _parts,
    "zeros.default": _full,
}
"""Entries for operators that mix the parts; :mod:`harness.compiler.importer.fourier` adds its own."""

LAYOUT = (
    *("alias.default", "cat.default", "clone.default", "constant_pad_nd.default", "expand.default", "flip.default"),
    *("gather.default", "index.Tensor", "index_put.default", "index_select.default", "mean.dim", "mean.default"),
    *("neg.default", "permute.default", "repeat.default", "roll.default", "select.int", "slice.Tensor"),
    *("slice_scatter.default", "split.Tensor", "split_with_sizes.default", "squeeze.default", "squeeze.dim"),
    *("squeeze.dims", "stack.default", "sum.default", "sum.dim_IntList", "transpose.int", "unbind.int"),
    *("unsqueeze.default", "view.default", "reshape.default", "select_scatter.default", "_unsafe_view.default"),
)
"""Operators that treat both parts alike."""
