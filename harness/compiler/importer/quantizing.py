"""Define importer entries for quantization with given scales: ``fake_quantize``, ``quantize`` and ``dequantize``."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from tvm import relax

from harness.compiler.importer.arguments import arguments
from harness.compiler.operators.operator import OpTable


def _like(importer: Any, value: Any, x: Any, axis: int | None, kind: str) -> Any:
    """Return a scale or zero point as a number, or as a tensor along one axis of ``x``."""
    emit = importer.block_builder.emit
    if not isinstance(value, relax.Expr):
        return relax.const(value, kind)
    shape = [1] * len(x.ty.shape.values)
    if axis is not None:
        shape[axis] = -1
    return emit(relax.op.astype(emit(relax.op.reshape(value, shape)), kind))


def _steps(importer: Any, given: dict[str, Any], axis: int | None) -> tuple[Any, Any, Any]:
    """Return the number of its step for each element, not bounded; and the zero point and scale."""
    x, emit = given["x"], importer.block_builder.emit
    scale, zero = (_like(importer, given[name], x, axis, "float32") for name in ("scale", "zero"))
    # torch multiplies by the inverse, which rounds otherwise than a quotient.
    inverse = emit(relax.op.divide(relax.const(1.0, "float32"), scale))
    nearest = emit(relax.op.round(emit(relax.op.multiply(x, inverse))))
    return emit(relax.op.add(nearest, zero)), zero, scale


def _bounded(importer: Any, steps: Any, given: dict[str, Any]) -> Any:
    emit = importer.block_builder.emit
    low, high = (relax.const(float(given[name]), "float32") for name in ("low", "high"))
    return emit(relax.op.minimum(emit(relax.op.maximum(steps, low)), high))


def _read(node: fx.Node, importer: Any) -> tuple[dict[str, Any], int | None]:
    """Return the arguments, and the axis of a form by channel."""
    by_channel = "per_channel" in str(node.target)
    switch = ("enabled",) if "tensor_qparams" in str(node.target) else ()
    names = ("x", "scale", "zero", *(("axis",) if by_channel else switch), "low", "high", "dtype")
    given = arguments(node, importer, *names)
    return given, int(given["axis"]) if by_channel else None


def fake_quantize(node: fx.Node, importer: Any, _table: OpTable) -> tuple[Any, Any]:
    """Round to steps, and return numbers; the second result marks what was within the bounds."""
    given, axis = _read(node, importer)
    emit, op = importer.block_builder.emit, relax.op
    steps, zero, scale = _steps(importer, given, axis)
    bounded = _bounded(importer, steps, given)
    found = emit(op.multiply(emit(op.subtract(bounded, zero)), scale))
    return found, emit(op.equal(steps, bounded))


def quantize(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    given, axis = _read(node, importer)
    bounded = _bounded(importer, _steps(importer, given, axis)[0], given)
    return importer.block_builder.emit(relax.op.astype(bounded, _name(node)))


def dequantize(node: fx.Node, importer: Any, _table: OpTable) -> Any:
    given, axis = _read(node, importer)
    x, emit = given["x"], importer.block_builder.emit
    scale = _like(importer, given["scale"], x, axis, "float32")
    offset = 0.0 if given["zero"] is None else given["zero"]
    zero = _like(importer, offset, x, axis, "float32")
    away = emit(relax.op.subtract(emit(relax.op.astype(x, "float32")), zero))
    return emit(relax.op.multiply(away, scale))


def _name(node: fx.Node) -> str:
    value = node.meta["val"]
    assert isinstance(value, torch.Tensor)
    return str(value.dtype).removeprefix("torch.")
