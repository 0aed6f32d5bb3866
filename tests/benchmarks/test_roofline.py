"""The kernels that measure the machine compute what they claim, and samples are set against the right bounds."""

from __future__ import annotations

import numpy as np
import pytest
import tvm

from benchmarks.counting import STORAGE, Cost, Dimensions
from benchmarks.machine import Machine, build, dot_names
from benchmarks.roofline import judge
from harness.compiler.observe.machine import CHAINS, DOTS, STREAMS, emit_dot, emit_multiply_add, emit_read
from harness.compiler.targets import resolve_target
from harness.protocol.schema import Output, Phase, Sample

pytestmark = pytest.mark.compiler

HOST = resolve_target("llvm")
LANES = HOST.profile.lanes
TINY = Dimensions(d_model=2, inner=4, d_ff=3, encoder_layers=1, decoder_layers=1, vocabulary=5)


def test_the_read_kernel_reads_everything_as_often_as_asked() -> None:
    kernel = build("read", lambda: emit_read(LANES), HOST)
    x = np.arange(3 * STREAMS * LANES, dtype=np.float32).reshape(3, -1)
    sums = tvm.runtime.tensor(np.full(STREAMS * LANES, np.nan, np.float32))
    kernel(tvm.runtime.tensor(x), tvm.runtime.tensor(np.array([5], np.int32)), sums)
    expected = 5 * x.sum(axis=0) + np.repeat(np.arange(STREAMS), LANES)
    np.testing.assert_array_equal(sums.numpy(), expected)


def test_the_multiply_add_kernel() -> None:
    kernel = build("multiply_add", lambda: emit_multiply_add(LANES), HOST)
    factors = np.stack([np.full(LANES, 2), np.full(LANES, 3)]).astype(np.float32)
    sums = tvm.runtime.tensor(np.full((CHAINS, LANES), np.nan, np.float32))
    kernel(tvm.runtime.tensor(factors), tvm.runtime.tensor(np.array([2], np.int32)), sums)
    np.testing.assert_array_equal(sums.numpy()[:, 0], [(start * 2 + 3) * 2 + 3 for start in range(CHAINS)])


def test_a_dot_product_kernel_for_this_machine() -> None:
    for name in dot_names(HOST):
        dot = DOTS[name, LANES]
        kernel = build("dot", lambda: emit_dot(LANES, dot), HOST)  # noqa: B023
        x = np.full((2, LANES * dot.per_lane), 1, dot.dtype).view(np.int32)
        sums = tvm.runtime.tensor(np.full((CHAINS, LANES), -1, np.int32))
        kernel(tvm.runtime.tensor(x), tvm.runtime.tensor(np.array([1], np.int32)), sums)
        # Fused: plus a product of 1 for each of a lane's numbers. Else the small sum itself times 1, added to itself.
        expected = [start + dot.per_lane if dot.fused else 2 * start for start in range(CHAINS)]
        np.testing.assert_array_equal(sums.numpy()[:, 0], expected)


def sample(total: int, encoder: int, prefill: int | None, steps: list[int]) -> Sample:
    return Sample(
        record="sample",
        workload="g2p",
        items=["0"],
        phase=Phase.TIMED,
        repetition=0,
        total_ns=total,
        parts={"encoder": [encoder], "prefill": [] if prefill is None else [prefill], "step": steps},
        outputs=[Output(token_ids=[5, 1], text="a")],
    )


@pytest.mark.parametrize("prefill", [100, None])
def test_parts_are_means_over_words_of_medians_over_rounds(prefill: int | None) -> None:
    machine = Machine(bandwidth={1: 1e9}, rates={"float32": 1e9, "pairs": 2e9})
    rounds = [[sample(2000 + extra, 500 + extra, prefill, [400, 500])] for extra in (0, 10, 90)]
    found = judge("fp32", TINY, STORAGE["fp32"], machine, "pairs", [3], rounds)
    parts = {part.name: part for part in found.parts}
    assert found.working_set == (440 + 472) / 2
    assert parts["encoder"].measured_ns == 510
    assert parts["prefill"].measured_ns == (prefill or 0)
    assert parts["steps"].measured_ns == 900
    assert parts["total"].measured_ns == 2010
    assert parts["other"].measured_ns == 600 - (prefill or 0)
    assert parts["other"].distance is None
    assert parts["steps"].cost == Cost(bytes=912, macs=224)
    assert parts["steps"].distance == pytest.approx(900 / (912 + 224))
    assert parts["total"].cost == Cost(bytes=1296, macs=494)


def test_int8_is_bound_by_its_dot_product_where_there_is_one() -> None:
    machine = Machine(bandwidth={1: 1e9}, rates={"float32": 1e9, "pairs": 2e9})
    assert machine.rate("int8", "pairs") == ("pairs", 2e9)
    assert machine.rate("int8", None) == ("float32", 1e9)
    assert machine.rate("fp16", "pairs") == ("float32", 1e9)
