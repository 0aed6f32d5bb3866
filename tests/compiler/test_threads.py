"""Kernels whose rounds threads share, beside the same kernels on one thread: every bit is the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from tvm import tirx, topi

from harness.compiler.kernels import convolution, parallel, winograd
from harness.compiler.kernels.attention import Heads
from harness.compiler.kernels.attention_rows import AllRows, Side, attend_all
from harness.compiler.kernels.convolution import convolution_kernel
from harness.compiler.kernels.depthwise import depthwise_kernel
from harness.compiler.kernels.epilogue import Epilogue, Operand, Step
from harness.compiler.kernels.kernel import Kernel, prim_func
from harness.compiler.kernels.panels import Convolution
from harness.compiler.kernels.product import Product, product_kernel
from harness.compiler.schedule.rest import scheduled
from harness.compiler.targets.profiles import AVX2, AVX512
from tests.compiler.kernels import Float32, build, empty, host, normal, tensor
from tests.compiler.schedules import elementwise, reduction, run

pytestmark = pytest.mark.compiler

HEAVY = Epilogue(
    (Step("gelu", (Operand("value"),)), Step("add", (Operand("value", 1), Operand("channel")))), channels=1
)
BORDERS = (1, 1, 1, 1)


def by_winograd(conv: Convolution) -> Kernel:
    return winograd.winograd_kernel(AVX2, winograd.winograd(conv, AVX2, 2))


KERNELS: dict[str, Callable[[], Kernel]] = {
    "rows": lambda: convolution_kernel(AVX2, Convolution(2, (16, 9), 3, 8, (3, 3), padding=BORDERS)),
    "panels": lambda: convolution_kernel(AVX2, Convolution(1, (3, 5), 4, 150, (1, 1), epilogue=HEAVY)),
    "whole panels": lambda: convolution_kernel(AVX512, Convolution(1, (4, 4), 4, 96, (1, 1), epilogue=HEAVY)),
    "one odd panel": lambda: convolution_kernel(AVX512, Convolution(1, (9, 4), 4, 7, (1, 1), epilogue=HEAVY)),
    "groups": lambda: convolution_kernel(AVX2, Convolution(1, (4, 9), 48, 81, (3, 3), padding=BORDERS, groups=3)),
    "spread": lambda: convolution_kernel(AVX2, Convolution(1, (12, 7), 10, 21, (1, 1), spread=(2, 3), epilogue=HEAVY)),
    "by channel": lambda: depthwise_kernel(AVX2, Convolution(2, (6, 8), 27, 27, (3, 3), groups=27, epilogue=HEAVY)),
    "blocks": lambda: by_winograd(Convolution(1, (13, 26), 19, 70, (3, 3), padding=BORDERS, epilogue=HEAVY)),
    "few blocks": lambda: by_winograd(Convolution(1, (6, 6), 17, 100, (3, 3), padding=BORDERS, epilogue=HEAVY)),
    "product": lambda: product_kernel(
        AVX2, "fp32", Product(40, 90, norm="layer", eps=1e-5, bias=True, activation="gelu", residual=True), (3, 7)
    )[0],
    "gates": lambda: product_kernel(AVX2, "fp32", Product(24, 90, activation="silu", gated=True), (13,))[0],
    "attention": lambda: attend_all(
        AVX2,
        AllRows(Heads(3, 20), 0.3, 2, 9, 9, (Side("x", 180, 0), Side("x", 180, 60), Side("x", 180, 120)), None),
    ),
}


@pytest.fixture(autouse=True)
def worth(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say whether all work is worth threads, or none; blocks are small enough to be several."""
    monkeypatch.setattr(winograd, "BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr(winograd, "LEAST_TILES", 3)
    monkeypatch.setattr(convolution, "LEAST_PIXELS", 3)
    monkeypatch.setattr(convolution, "ENOUGH", 4)
    return lambda all_: monkeypatch.setattr(parallel, "LEAST_CYCLES", 1.0 if all_ else math.inf)


def loops_of(function: tirx.PrimFunc) -> int:
    return str(function.script()).count("T.parallel(")


def answer(kernel: Kernel) -> Float32:
    *given, shape = [[int(extent) for extent in param.shape] for param in kernel.params]
    arrays = [normal(*extents, seed=at) * np.float32(0.3) for at, extents in enumerate(given)]
    result = empty(*shape)
    build(kernel)(*map(tensor, arrays), result)
    values: Float32 = result.numpy()
    return values


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_templates(name: str, worth: Callable[[bool], None]) -> None:
    worth(False)
    alone = KERNELS[name]()
    assert loops_of(prim_func(alone)) == 0
    expected = answer(alone)
    worth(True)
    several = KERNELS[name]()
    assert loops_of(prim_func(several)) >= 1
    found = answer(several)
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(found.view(np.int32), expected.view(np.int32))


FUNCTIONS: dict[str, tuple[tirx.PrimFunc, list[tuple[int, ...]], tuple[int, ...]]] = {
    "steps": (elementwise((5, 7, 32), topi.exp), [(5, 7, 32), (32,)], (5, 7, 32)),
    "means": (reduction((5, 6, 64), (2,)), [(5, 6, 64)], (5, 6, 1)),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_without_a_template(name: str, worth: Callable[[bool], None]) -> None:
    worth(False)
    function, inputs, shape = FUNCTIONS[name]
    arrays = [normal(*extents, seed=at) for at, extents in enumerate(inputs)]
    alone = scheduled(function, AVX2, host())
    assert loops_of(alone) == 0
    expected = run(alone, *arrays, shape=shape)
    worth(True)
    several = scheduled(function, AVX2, host())
    assert loops_of(several) >= 1
    np.testing.assert_array_equal(run(several, *arrays, shape=shape).view(np.int32), expected.view(np.int32))


def test_a_sum_is_never_cut(worth: Callable[[bool], None]) -> None:
    """A reduction to one number has no independent rounds."""
    worth(True)
    assert loops_of(scheduled(reduction((4096,), (0,)), AVX2, host())) == 0


def test_sums_without_a_schedule_stay_in_one_function(worth: Callable[[bool], None]) -> None:
    """In a thread's function LLVM would keep them in memory, which took four times as long."""
    worth(True)
    function = reduction((64, 30, 40), (1,))
    assert scheduled(function, AVX2, host(), rules=()).same_as(function)
