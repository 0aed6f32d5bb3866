"""Products with packed weights against numpy: every precision, over sizes that are no multiple of anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.compiler.kernels import dot
from harness.compiler.kernels.formats import IntegerFormat
from harness.compiler.kernels.product import Product, column_order, product_kernel
from harness.compiler.targets.profiles import AVX2, AVX512, AVX512_VNNI, NEON, NEON_DOT, PROFILES, Profile
from harness.protocol.schema import PRECISIONS, Precision
from tests.compiler.kernels import (
    TOLERANCE,
    ProductCase,
    check_product,
    normal,
    portable_bytes,
    portable_folded,
    portable_four,
    portable_pairs,
)

pytestmark = pytest.mark.compiler

ROWS = (1, 2, 5, 6, 7, 12, 13, 24, 31, 64)
PRODUCTS = {
    "plain": Product(33, 65),
    "one-by-one": Product(1, 1),
    "residual": Product(64, 200, residual=True),
    "all": Product(37, 70, norm="rms", eps=1e-6, bias=True, activation="gelu_tanh", gated=True, residual=True),
    "layer-norm": Product(48, 96, norm="layer", eps=1e-5, bias=True, activation="gelu_tanh"),
}


def here_or(own: dot.Instruction, portable: dot.Instruction) -> dot.Instruction:
    def chosen(sums: Any, x: Any, weights: Any, lanes: int) -> Any:
        return (own if lanes == 8 else portable)(sums, x, weights, lanes)

    return chosen


@pytest.fixture(autouse=True)
def any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instructions of other CPUs in plain arithmetic; AVX2's run as they are where the vectors are this CPU's."""
    monkeypatch.setitem(dot.INSTRUCTIONS, "vnni", portable_four(signed=False))
    monkeypatch.setitem(dot.INSTRUCTIONS, "vnni-nibbles", portable_four(signed=True))
    for name, portable in (("pairs", portable_pairs), ("bytes", portable_bytes), ("folded", portable_folded)):
        monkeypatch.setitem(dot.INSTRUCTIONS, name, here_or(dot.INSTRUCTIONS[name], portable))
    monkeypatch.setitem(dot.INSTRUCTIONS, "sdot", portable_four(signed=True))


@pytest.mark.parametrize("name", sorted(PRODUCTS))
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
def test_any_number_of_rows(precision: Precision, name: str) -> None:
    case = ProductCase(AVX2, precision, PRODUCTS[name], ("rows",))
    for rows in ROWS:
        check_product(case, rows, precision)


@pytest.mark.parametrize("name", sorted(PRODUCTS))
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
def test_one_row(precision: Precision, name: str) -> None:
    check_product(ProductCase(AVX2, precision, PRODUCTS[name], (1,)), 1, precision)


@pytest.mark.parametrize("profile", [AVX512, AVX512_VNNI, NEON, NEON_DOT], ids=lambda p: p.name)
@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_every_instruction_sets_tiles(profile: Profile, precision: Precision) -> None:
    """Tile sizes and packed layouts of other instruction sets, computed by this CPU."""
    for rows in (1, 3, 17):
        check_product(ProductCase(profile, precision, PRODUCTS["all"], (rows,)), rows, precision)


def test_a_static_number_of_rows() -> None:
    for rows in (2, 7, 16):
        check_product(ProductCase(AVX2, "fp32", PRODUCTS["all"], (rows,)), rows, "fp32")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_zeros_denormals_and_large_rows(precision: Precision) -> None:
    case = ProductCase(AVX2, precision, PRODUCTS["plain"], ("rows",))
    x = normal(4, 33)
    x[0], x[1], x[2] = 0, x[1] * 1e-39, x[2] * 1e30
    ours, expected = case.ours(x, x), case.expected(x, x)
    assert np.isfinite(ours).all()
    for row in range(4):
        scale = max(float(np.abs(expected[row]).max()), 1e-20)
        assert np.abs(ours[row] - expected[row]).max() <= TOLERANCE[precision] * scale


def test_the_largest_sum_does_not_overflow() -> None:
    """Rows of equal values against weights of equal values: the int32 sum of the longest product."""
    for depth in (1024, 16384):
        product = Product(depth, 16)
        case = ProductCase(AVX2, "int8", product, (1,))
        case.packed[0][:] = 127
        case.packed[1][:] = 1
        x = np.full((1, depth), 2.0, np.float32)
        np.testing.assert_allclose(case.ours(x, x), np.full((1, 16), 2.0 * 127 * depth), rtol=1e-3)


def test_two_limbs_keep_fifteen_bits() -> None:
    """With exact weights all of the error is the activations': a second limb takes 250th of it."""
    product = Product(256, 64)
    one, two = (IntegerFormat("vnni", AVX512_VNNI, 128, limbs) for limbs in (1, 2))
    assert product_kernel(AVX512_VNNI, "int8", product, (1,))[1].name == two.name
    assert product_kernel(AVX512_VNNI, "int8", product, ("rows",))[1].name == one.name
    errors = {}
    for name, rows in (("one", 2), ("two", 1)):
        case = ProductCase(AVX512_VNNI, "int8", product, (rows,))
        x = normal(rows, 256)
        weight = np.rint(case.weight / np.abs(case.weight).max(0) * 127) * (np.abs(case.weight).max(0) / 127)
        errors[name] = np.abs(case.ours(x, x) - x @ weight).max()
    assert errors["two"] < errors["one"] / 50


@pytest.mark.parametrize("rows", [1, 3])
def test_weights_of_two_bytes_lose_less_than_float16(rows: int) -> None:
    case = ProductCase(NEON_DOT, "fp16", Product(256, 64), (rows,))
    x = normal(rows, 256)
    exact = x.astype(np.float64) @ case.weight
    halves = x @ case.weight.astype(np.float16).astype(np.float32)
    ours, float16 = (np.square(found - exact).mean() for found in (case.ours(x, x), halves))
    assert ours < float16 / 4


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_packing_places_every_column_once_and_fills_with_zeros(profile: Profile, product: Product) -> None:
    for precision in (one for one in PRECISIONS if one != "int4"):
        _, form = product_kernel(profile, precision, product, ("rows",))
        order = column_order(product, form)
        assert len(order) % form.columns == 0
        assert sorted(order[order >= 0]) == list(range(product.width))
        arranged = np.zeros((product.depth, len(order)), np.float32)
        arranged[:, order >= 0] = 1
        assert form.pack(arranged)[0].astype(np.float64).sum() in (arranged.sum(), 127 * arranged.sum())


def test_a_panel_of_odd_vectors_is_refused() -> None:
    with pytest.raises(ValueError, match="not pairs of 16-lane vectors"):
        Profile("odd", 16, columns=48, rows=6, vector_columns=64, integer="pairs", integer_rows="pairs")
