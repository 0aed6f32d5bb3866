"""int4 weights in groups: how they are rounded and laid out, and products with them beside the same sums in numpy."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pytest

from harness.compiler.kernels.choice import format_for
from harness.compiler.kernels.formats import Array
from harness.compiler.kernels.groups import GroupFormat, column_scales, eight_bits, grouped
from harness.compiler.kernels.product import Product, column_order
from harness.compiler.observe.provenance import Operator
from harness.compiler.operators.quality import Quality
from harness.compiler.targets import resolve_target
from harness.compiler.targets.profiles import PROFILES, Profile
from harness.models.language.gguf import TYPES
from harness.protocol.schema import Precision
from tests.compiler.kernels import TOLERANCE, Float32, ProductCase, normal

pytestmark = pytest.mark.compiler

Float64 = npt.NDArray[np.float64]
GGUF_SHA256 = "85dfaa1549580d58ef0893986dd7557926eacb74832ddd85d4c16f4669946f08"
"""Of the blocks that gguf 0.19.0, llama.cpp's own package, writes for the array of the test: ``quantize(x, Q4_0)``."""


def as_blocks(nibbles: Array, scales: Array) -> bytes:
    """One column after the other in blocks of llama.cpp: a scale, then 16 bytes of two nibbles, 16 apart."""
    count, width = scales.shape
    blocks = nibbles.reshape(count, 2, 16, width)
    both = (blocks[:, 0] | blocks[:, 1] << 4).transpose(2, 0, 1)
    halves = np.ascontiguousarray(scales.T).view(np.uint8).reshape(width, count, 2)
    return np.concatenate([halves, both], axis=2).tobytes()


def hard_weights() -> Float32:
    """Columns of usual numbers, with groups of zeros, of equal numbers of either sign, and of ties between steps."""
    weight = normal(256, 6)
    weight[:32, 0] = 0
    weight[32:64, 0] = np.repeat([2.5, -2.5], 16)
    weight[64:96, 0] = np.repeat([-2.5, 2.5], 16)
    weight[:32, 1] = np.arange(-16, 16) / 4
    weight[32:64, 1] = np.arange(16, -16, -1) / 4
    weight[:, 2] *= np.float32(1e-6)
    return weight


def test_rounding_is_that_of_llama_cpp() -> None:
    assert hashlib.sha256(as_blocks(*grouped(hard_weights(), 32))).hexdigest() == GGUF_SHA256


def test_blocks_of_llama_cpp_become_the_same_groups() -> None:
    """What a Q4_0 file has comes out as it was: a group's largest weight is the lowest step of its scale."""
    nibbles, scales = grouped(hard_weights(), 32)
    blocks = np.frombuffer(as_blocks(nibbles, scales), np.uint8).reshape(-1, 18)
    read = TYPES[2].unpack(blocks).reshape(scales.shape[1], -1).T
    again, scales_again = grouped(np.ascontiguousarray(read), 32)
    np.testing.assert_array_equal(scales_again, scales)
    np.testing.assert_array_equal(again[:, 1:], nibbles[:, 1:])


@pytest.mark.parametrize("group", [32, 64, 128])
def test_the_largest_of_a_group_is_kept_and_the_rest_is_within_a_step(group: int) -> None:
    weight = normal(2 * group + 5, 7)
    nibbles, scales = grouped(weight, group)
    assert nibbles.shape == (3 * group, 7)
    assert scales.shape == (3, 7)
    wide, found = np.repeat(scales.astype(np.float32), group, axis=0), dequantized(weight, group)
    assert not found[len(weight) :].any()
    error = np.abs(found[: len(weight)] - weight)
    # Only the step opposite of the largest one is missing.
    inside = np.abs(weight / wide[: len(weight)]) < 7.4
    assert (error <= np.abs(wide[: len(weight)]) * np.where(inside, 0.51, 1.01)).all()
    for first in range(0, len(weight), group):
        at = np.abs(weight[first : first + group]).argmax(axis=0)
        assert (nibbles[first + at, np.arange(7)] == 0).all()


def test_int8_for_many_rows_is_within_half_a_step_of_a_columns_largest() -> None:
    nibbles, scales = grouped(hard_weights(), 32)
    exact = dequantized(hard_weights(), 32)
    whole, unit = eight_bits(nibbles, scales), column_scales(scales)
    assert np.abs(whole).max() == 127
    assert (np.abs(whole * unit - exact) <= 0.52 * unit).all()


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_layout_is_read_back(profile: Profile, group: int) -> None:
    one, many = (format_for("int4", profile, one_row=one_row, group=group) for one_row in (True, False))
    assert isinstance(one, GroupFormat)
    assert isinstance(many, GroupFormat)
    weight = normal(group + 3, 2 * one.columns)
    packed = many.pack(weight)
    assert np.array_equal(many.read(packed[0]), dequantized(weight, group).astype(np.float32))
    # Both functions of a model read the same bytes, which are stored once.
    assert np.array_equal(one.pack(weight)[0], packed[0])
    assert [tuple(array.shape) for array in packed] == [param.shape for param in many.params(*weight.shape)]
    assert [str(array.dtype) for array in packed] == [param.dtype for param in many.params(*weight.shape)]
    assert packed[0].nbytes == weight.shape[1] * 2 * (group // 2 + 2)


def dequantized(weight: Float32, group: int) -> Float64:
    """The rounded weight, with the rows of a whole group."""
    nibbles, scales = grouped(weight, group)
    return (nibbles.astype(np.float64) - 8) * np.repeat(scales.astype(np.float64), group, axis=0)


def met(case: ProductCase, x: Float32) -> Float64:
    """What the product is by its formula: rounded activations times the weights as one row or many rows meet them."""
    form = case.form
    assert isinstance(form, GroupFormat)
    largest = form.largest(case.product.depth)
    # One row has a scale for each group, many rows have one each.
    padded = np.zeros((len(x), -(-x.shape[1] // form.group) * form.group), np.float32)
    padded[:, : x.shape[1]] = x
    parts = padded.reshape(len(x), -1, form.group if case.one_row else padded.shape[1])
    highest = np.maximum(np.abs(parts).max(2, keepdims=True), np.float32(1e-20))
    whole = np.rint(parts * (np.float32(largest) / highest)).astype(np.float64)
    rows = (whole * (highest.astype(np.float64) / largest)).reshape(padded.shape)
    order = column_order(case.product, form)
    weight = np.zeros((case.product.depth, len(order)), np.float32)
    weight[:, order >= 0] = case.weight[:, order[order >= 0]]
    nibbles, scales = grouped(weight, form.group)
    if case.one_row:
        stored = dequantized(weight, form.group)
    else:
        stored = eight_bits(nibbles, scales).astype(np.float64) * column_scales(scales)
    result: Float64 = (rows @ stored)[:, order >= 0]
    return result


def check_exactly(profile: Profile) -> None:
    """Compare products with their formula, and with the rounded weights in float64."""
    for product, group in ((Product(70, 50), 32), (Product(64, 200), 32), (Product(130, 40), 64)):
        for rows in (1, 2, 7):
            case = ProductCase(profile, "int4", product, (rows,), group=group)
            x = normal(rows, product.depth, seed=rows)
            x[-1] *= 1e4
            ours, expected = case.ours(x, x), met(case, x)
            unit = np.abs(expected).max(1, keepdims=True)
            assert (np.abs(ours - expected) <= 3e-6 * unit).all(), (product, rows)
            stored = dequantized(case.weight, group)
            exact = x.astype(np.float64) @ stored[: product.depth]
            assert (np.abs(ours - exact) <= (1e-2 if rows == 1 else 2e-2) * unit).all(), (product, rows)


def test_products_on_this_cpu() -> None:
    """With this CPU's own instructions, whichever they are."""
    check_exactly(resolve_target("llvm").profile)


@pytest.mark.parametrize("group", [32, 128])
def test_the_largest_sums_of_a_group_do_not_overflow(group: int) -> None:
    """All activations are the largest, and all weights of a group but its first are the largest with its other sign."""
    product = Product(2 * group, 16)
    case = ProductCase(resolve_target("llvm").profile, "int4", product, (1,), group=group)
    case.weight[:] = 7
    case.weight[::group] = -8
    case.packed = case.pack()
    x = np.full((1, product.depth), 3.0, np.float32)
    expected = np.full((1, 16), 3.0 * 2 * (7 * (group - 1) - 8), np.float32)
    for signed in (x, -x):
        np.testing.assert_allclose(case.ours(signed, x), expected * signed[0, 0] / 3, rtol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_a_product_of_one_row_that_threads_share_is_the_same(precision: Precision) -> None:
    product = Product(512, 1030, norm="rms", eps=1e-6, activation="gelu_tanh", gated=True, residual=True)
    x, residual = normal(1, 512), normal(1, 515, seed=9)
    profile = resolve_target("llvm").profile
    cut, whole = (ProductCase(profile, precision, product, (1,), shared=shared) for shared in (True, False))
    assert cut.name.endswith("_cut")
    assert not whole.name.endswith("_cut")
    ours, expected = cut.ours(x, residual), cut.expected(x, residual)
    np.testing.assert_allclose(ours, whole.ours(x, residual), rtol=1e-5, atol=1e-4)
    assert np.abs(ours - expected).max() <= TOLERANCE[precision] * np.abs(expected).max()


def test_the_head_and_layers_that_are_kept_wide_have_eight_bits() -> None:
    head, other = (
        Operator(name=name, target="aten.linear.default", module=module, kind="Linear")
        for name, module in (("linear_9", "head"), ("linear_1", "blocks.0.up"))
    )
    quality = Quality("int4", "step", ["blocks.0.*"], heads=("head",))
    assert [quality.of([one]) for one in (head, other)] == ["int8", "int8"]
    assert Quality("int4", "step", heads=("head",)).of([other]) == "int4"
    assert Quality("int4", "step", ["head"], heads=("head",)).of([head]) == "fp16"
    assert Quality("int8", "step", heads=("head",)).of([head]) == "int8"
    assert Quality("fp32", "step", heads=("head",)).of([head]) == "fp32"
