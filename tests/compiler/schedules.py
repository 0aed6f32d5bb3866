"""What the tests of schedules share: functions as TVM writes them, and running one on this CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import te, tirx, topi

from harness.compiler.settings import PASS_CONFIG
from tests.compiler.kernels import host, tensor

Array = npt.NDArray[np.float32]


def named(function: tirx.PrimFunc) -> tvm.IRModule:
    return tvm.IRModule({"main": function.with_attr("global_symbol", "main")})


def run(function: tirx.PrimFunc, *inputs: Array, shape: tuple[int, ...]) -> Array:
    """The function's last tensor, of that shape."""
    with tvm.transform.PassContext(config=PASS_CONFIG):
        compiled = tvm.compile(named(function), host())
    result = tensor(np.full(shape, np.nan, np.float32))
    compiled["main"](*(tensor(array) for array in inputs), result)
    values: Array = result.numpy()
    return values


def elementwise(shape: tuple[Any, ...], step: Callable[[Any], Any]) -> tirx.PrimFunc:
    """``step`` of every element, and a number for each of the last axis added."""
    x, bias = te.placeholder(shape, name="x"), te.placeholder(shape[-1:], name="bias")
    return te.create_prim_func([x, bias, topi.add(step(x), bias)])


def reduction(shape: tuple[Any, ...], axes: tuple[int, ...], reduce: Callable[..., Any] = topi.sum) -> tirx.PrimFunc:
    x = te.placeholder(shape, name="x")
    return te.create_prim_func([x, reduce(x, axis=axes, keepdims=True)])


def softmax(shape: tuple[Any, ...]) -> tirx.PrimFunc:
    x = te.placeholder(shape, name="x")
    return te.create_prim_func([x, topi.nn.softmax(x)])


def product(batch: tuple[int, ...], rows: int, depth: int, columns: int) -> tirx.PrimFunc:
    """A product with a bias and ReLU behind it."""
    x, w = te.placeholder((*batch, rows, depth), name="x"), te.placeholder((*batch, depth, columns), name="w")
    bias = te.placeholder((columns,), name="bias")
    result = topi.matmul(x, w) if not batch else topi.nn.batch_matmul(x, w, transpose_b=False)
    return te.create_prim_func([x, w, bias, topi.nn.relu(topi.add(result, bias))])


def convolution(
    size: tuple[int, int], channels: int, filters: int, kernel: int, stride: int, dilation: int, groups: int
) -> tirx.PrimFunc:
    """A convolution over [1, H, W, C] with borders of zeros, a bias and ReLU behind it."""
    x = te.placeholder((1, *size, channels), name="x")
    w = te.placeholder((kernel, kernel, channels // groups, filters), name="w")
    bias = te.placeholder((1, 1, 1, filters), name="bias")
    result = topi.nn.conv(x, w, stride, kernel // 2, dilation, groups, "NHWC", "HWIO")
    return te.create_prim_func([x, w, bias, topi.nn.relu(topi.add(result, bias))])


def pool(size: tuple[int, int], channels: int, window: int, stride: int, kind: str) -> tirx.PrimFunc:
    x = te.placeholder((1, *size, channels), name="x")
    padding = [window // 2] * 4
    result = topi.nn.pool2d(x, [window] * 2, [stride] * 2, [1, 1], padding, kind, layout="NHWC")
    return te.create_prim_func([x, result])


def shapes(function: tirx.PrimFunc, length: int | None = None) -> list[tuple[int, ...]]:
    """Of the function's parameters, with ``length`` for what is known only when it runs."""
    return [
        tuple(int(extent) if isinstance(extent, tirx.IntImm) else int(length or 0) for extent in param.shape)
        for param in function.params
    ]
