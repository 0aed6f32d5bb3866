"""Operators that work element by element."""

from __future__ import annotations

import functools
import operator as python
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.models.tensor.readers.onnx.call import OPERATORS, Call, Known, Results, operator

TYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""PyTorch's types by ONNX's numbers. It has no text, and unsigned integers of 8 bits alone are whole in it."""


def dtype_of(call: Call, number: int) -> torch.dtype:
    """Return the type of ONNX's number; raises BadModel for one that PyTorch does not compute with."""
    if number not in TYPES:
        raise call.refuse(f"its element type {number} has no counterpart in PyTorch")
    return TYPES[number]


def _unary(function: Callable[..., Tensor], known: Callable[[Known], Any] | None = None) -> Callable[[Call], Results]:
    def compute(call: Call) -> Results:
        if known is not None and call.all_known:
            return np.asarray(known(call.known(0)))
        return function(call.tensor(0))

    return compute


def _binary(function: Callable[..., Tensor], known: Callable[..., Any] | None = None) -> Callable[[Call], Results]:
    def compute(call: Call) -> Results:
        if known is not None and call.all_known:
            return np.asarray(known(call.known(0), call.known(1)))
        return function(call.tensor(0), call.tensor(1))

    return compute


def _divided(one: Tensor, other: Tensor) -> Tensor:
    """Return quotients; those of integers are cut, as in C."""
    whole = not one.is_floating_point()
    return torch.div(one, other, rounding_mode="trunc") if whole else one / other


def _known_divided(one: Known, other: Known) -> Any:
    if one.dtype.hasobject or other.dtype.hasobject:
        return one // other
    return np.trunc(one / other).astype(one.dtype) if np.issubdtype(one.dtype, np.integer) else one / other


OPERATORS.update(
    {
        "Abs": _unary(torch.abs, np.abs),
        "Acos": _unary(torch.acos),
        "Acosh": _unary(torch.acosh),
        "Asin": _unary(torch.asin),
        "Asinh": _unary(torch.asinh),
        "Atan": _unary(torch.atan),
        "Atanh": _unary(torch.atanh),
        "BitwiseNot": _unary(torch.bitwise_not),
        "Ceil": _unary(torch.ceil, np.ceil),
        "Cos": _unary(torch.cos),
        "Cosh": _unary(torch.cosh),
        "Erf": _unary(torch.erf),
        "Exp": _unary(torch.exp),
        "Floor": _unary(torch.floor, np.floor),
        "HardSwish": _unary(functional.hardswish),
        "Identity": _unary(lambda one: one, lambda one: one),
        "IsNaN": _unary(torch.isnan),
        "Log": _unary(torch.log),
        "Mish": _unary(functional.mish),
        "Neg": _unary(torch.neg, np.negative),
        "Not": _unary(torch.logical_not, np.logical_not),
        "Reciprocal": _unary(torch.reciprocal),
        "Relu": _unary(torch.relu),
        "Round": _unary(torch.round),
        "Sigmoid": _unary(torch.sigmoid),
        "Sign": _unary(torch.sign),
        "Sin": _unary(torch.sin),
        "Sinh": _unary(torch.sinh),
        "Softplus": _unary(functional.softplus),
        "Softsign": _unary(functional.softsign),
        "Sqrt": _unary(torch.sqrt, np.sqrt),
        "Tan": _unary(torch.tan),
        "Tanh": _unary(torch.tanh),
        "And": _binary(torch.logical_and, np.logical_and),
        "BitwiseAnd": _binary(torch.bitwise_and),
        "BitwiseOr": _binary(torch.bitwise_or),
        "BitwiseXor": _binary(torch.bitwise_xor),
        "Div": _binary(_divided, _known_divided),
        "Equal": _binary(torch.eq, python.eq),
        "Greater": _binary(torch.gt, python.gt),
        "GreaterOrEqual": _binary(torch.ge, python.ge),
        "Less": _binary(torch.lt, python.lt),
        "LessOrEqual": _binary(torch.le, python.le),
        "Or": _binary(torch.logical_or, np.logical_or),
        "PRelu": _binary(lambda one, slope: torch.where(one < 0, one * slope, one)),
        "Pow": _binary(lambda one, power: torch.pow(one, power).to(one.dtype)),
        "Xor": _binary(torch.logical_xor),
    }
)


@operator("Add", "Sub", "Mul")
def arithmetic(call: Call) -> Results:
    function = {"Add": python.add, "Sub": python.sub, "Mul": python.mul}[call.operator]
    if call.all_known:
        return np.asarray(function(call.known(0), call.known(1)))
    result: Tensor = function(call.tensor(0), call.tensor(1))
    return result


@operator("Min", "Max", "Sum", "Mean")
def of_several(call: Call) -> Results:
    if call.all_known and call.operator in ("Min", "Max"):
        pick = np.minimum if call.operator == "Min" else np.maximum
        return np.asarray(functools.reduce(pick, [call.known(at) for at in range(len(call.inputs))]))
    function = {"Min": torch.minimum, "Max": torch.maximum}.get(call.operator, torch.add)
    total = functools.reduce(function, call.tensors())
    return total / len(call.inputs) if call.operator == "Mean" else total


@operator("Mod")
def mod(call: Call) -> Results:
    """Take the sign of the divisor, or with ``fmod`` that of the dividend."""
    if call.all_known and not call.attributes.get("fmod"):
        return np.asarray(call.known(0) % call.known(1))
    function = torch.fmod if call.attributes.get("fmod") else torch.remainder
    return function(call.tensor(0), call.tensor(1))


@operator("BitShift")
def bit_shift(call: Call) -> Results:
    function = torch.bitwise_left_shift if call.text("direction") == "LEFT" else torch.bitwise_right_shift
    return function(call.tensor(0), call.tensor(1))


@operator("Cast", "CastLike")
def cast(call: Call) -> Results:
    if call.operator == "CastLike":
        return call.tensor(0).to(call.tensor(1).dtype)
    wanted = dtype_of(call, call.attributes["to"])
    value = call.inputs[0]
    if isinstance(value, np.ndarray) and wanted != torch.bfloat16:
        whole = value.dtype.hasobject and not wanted.is_floating_point
        return value if whole else value.astype(str(wanted).removeprefix("torch."))
    return call.tensor(0).to(wanted)


@operator("Clip")
def clip(call: Call) -> Results:
    one = call.tensor(0)
    low = call.tensor(1) if call.has(1) else call.attributes.get("min")
    high = call.tensor(2) if call.has(2) else call.attributes.get("max")
    for at, bound in ((1, low), (2, high)):
        if isinstance(bound, Tensor) and at < len(call.constants) and call.constants[at] is not None:
            number = call.known(at).reshape(-1).tolist()[0]
            low, high = (number, high) if at == 1 else (low, number)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        one = one if low is None else torch.maximum(one, torch.as_tensor(low, dtype=one.dtype))
        return one if high is None else torch.minimum(one, torch.as_tensor(high, dtype=one.dtype))
    return one if low is None and high is None else torch.clamp(one, low, high)


@operator("Where")
def where(call: Call) -> Results:
    if call.all_known:
        return np.where(call.known(0), call.known(1), call.known(2))
    return torch.where(call.tensor(0), call.tensor(1), call.tensor(2))


@operator("IsInf")
def is_inf(call: Call) -> Results:
    one = call.tensor(0)
    found = torch.zeros_like(one, dtype=torch.bool)
    found = found | (one == float("inf")) if call.attributes.get("detect_positive", 1) else found
    return found | (one == float("-inf")) if call.attributes.get("detect_negative", 1) else found


@operator("Gelu", "Celu", "Elu", "HardSigmoid", "LeakyRelu", "Selu", "Shrink", "Swish", "ThresholdedRelu")
def activation(call: Call) -> Results:
    """Compute an activation with parameters."""
    one = call.tensor(0)
    alpha = call.attributes.get("alpha")
    if call.operator == "Gelu":
        return functional.gelu(one, approximate=call.text("approximate", "none"))
    if call.operator == "Celu":
        return functional.celu(one, 1.0 if alpha is None else alpha)
    if call.operator == "Elu":
        return functional.elu(one, 1.0 if alpha is None else alpha)
    if call.operator == "HardSigmoid":
        slope, beta = 0.2 if alpha is None else alpha, call.attributes.get("beta", 0.5)
        same = abs(slope - 1 / 6) < 1e-6 and beta == 0.5
        return functional.hardsigmoid(one) if same else torch.clamp(one * slope + beta, 0, 1)
    if call.operator == "LeakyRelu":
        return functional.leaky_relu(one, 0.01 if alpha is None else alpha)
    if call.operator == "Selu":
        scale, slope = (
            call.attributes.get("gamma", 1.05070102214813232),
            1.67326319217681884 if alpha is None else alpha,
        )
        selu: Tensor = scale * torch.where(one > 0, one, slope * (torch.exp(one) - 1))
        return selu
    if call.operator == "Shrink":
        bias, limit = call.attributes.get("bias", 0.0), call.attributes.get("lambd", 0.5)
        return torch.where(one < -limit, one + bias, torch.where(one > limit, one - bias, torch.zeros_like(one)))
    if call.operator == "Swish":
        return one * torch.sigmoid(one * (1.0 if alpha is None else alpha))
    return torch.where(one > (1.0 if alpha is None else alpha), one, torch.zeros_like(one))


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(call: Call) -> Results:
    """Before version 13 the axes from the given one on count as one."""
    one = call.tensor(0)
    axis = call.attributes.get("axis", 1 if call.version < 13 else -1)
    shape = one.shape
    if call.version < 13:
        axis = axis + one.ndim if axis < 0 else axis
        one, axis = one.flatten(axis) if axis < one.ndim - 1 else one, axis
    if call.operator == "Hardmax":
        best = torch.argmax(one, axis, keepdim=True)
        found = torch.zeros_like(one).scatter(axis, best, 1.0)
    else:
        found = (functional.softmax if call.operator == "Softmax" else functional.log_softmax)(one, axis)
    return found.reshape(shape)


@operator("Dropout")
def dropout(call: Call) -> Results:
    """Return the input, as a model in use does."""
    if call.has(2) and bool(call.known(2).reshape(-1)[0]):
        raise call.refuse("it is in training mode")
    one = call.tensor(0)
    return one if call.outputs == 1 else (one, torch.ones_like(one, dtype=torch.bool))


@operator("QuantizeLinear", "DequantizeLinear")
def quantized(call: Call) -> Results:
    """Round to steps of a scale, or come back from them; a scale for all, or for each place on an axis."""
    one, scale, zero = call.tensor(0), call.tensor(1), call.optional(2)
    if call.attributes.get("block_size"):
        raise call.refuse("scales of blocks are not read")
    if scale.ndim == 1 and one.ndim > 0:
        axis = call.attributes.get("axis", 1)
        form = [1] * one.ndim
        form[axis] = -1
        scale = scale.reshape(form)
        zero = None if zero is None else zero.reshape(form)
    if call.operator == "DequantizeLinear":
        whole = one.to(scale.dtype)
        return (whole if zero is None else whole - zero.to(scale.dtype)) * scale
    kept = torch.uint8 if zero is None else zero.dtype
    if call.attributes.get("output_dtype"):
        kept = dtype_of(call, call.attributes["output_dtype"])
    if kept not in (torch.uint8, torch.int8, torch.int16, torch.int32):
        raise call.refuse(f"its results are {kept}")
    limits = torch.iinfo(kept)
    steps = torch.round(one / scale)
    return torch.clamp(steps if zero is None else steps + zero.to(steps.dtype), limits.min, limits.max).to(kept)
