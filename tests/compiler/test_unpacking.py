"""What packed weights are read back as, in every layout, and how far it is from what was packed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from harness.compiler.kernels.choice import format_for
from harness.compiler.kernels.formats import Format, IntegerFormat
from harness.compiler.kernels.product import Product, pack_product
from harness.compiler.kernels.rounding import LayerInputs
from harness.compiler.kernels.unpacking import departure, unpack_product
from harness.compiler.targets.profiles import PROFILES
from harness.protocol.schema import PRECISIONS

pytestmark = pytest.mark.compiler

DEPTH, WIDTH = 37, 50
STEPS = {"fp32": np.inf, "fp16": 1024.0, "int8": 127.0, "int4": 4.0}
"""How many steps the largest weight has; two bytes have more than float16. int4 lacks the step opposite of its largest,
so that one whole step can be lost."""


def forms() -> Iterator[tuple[str, Format]]:
    for profile in PROFILES:
        for precision in PRECISIONS:
            for one_row in (True, False):
                for wide in (False, True):
                    yield precision, format_for(precision, profile, one_row=one_row, wide=wide)


def weight() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(1).standard_normal((DEPTH, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("gated", [False, True])
def test_every_layout_is_read_back_to_half_a_step(gated: bool) -> None:
    whole, product = weight(), Product(DEPTH, WIDTH, gated=gated, bias=True)
    seen = set()
    for precision, form in forms():
        found = unpack_product(product, pack_product(product, whole, np.ones(WIDTH, np.float32), form), form)
        half = np.abs(whole).max(axis=0) / STEPS[precision] / 2
        assert (np.abs(found - whole) <= half * 1.001).all(), form.name
        assert (precision == "fp32") == np.array_equal(found, whole), form.name
        seen.add(form.name)
    assert {name.partition("-")[0] for name in seen} == set(PRECISIONS)
    assert len(seen) > 6


def test_the_error_of_a_product_is_that_of_its_results() -> None:
    whole, product = weight(), Product(DEPTH, WIDTH)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((4000, DEPTH)) @ rng.standard_normal((DEPTH, DEPTH))
    crest = float((np.square(x).max(1) / np.square(x).mean(1)).mean())
    inputs = LayerInputs(x.T @ x / len(x), crest)
    for precision, form in forms():
        stored = unpack_product(product, pack_product(product, whole, None, form), form)
        rows = x
        if isinstance(form, IntegerFormat):
            unit = np.abs(x).max(1, keepdims=True) / (form.largest(DEPTH) * (254 if form.limbs == 2 else 1))
            rows = np.rint(x / unit) * unit
        error = rows @ stored - x @ whole
        measured = float((np.square(error).mean() / np.square(x @ whole).mean()) ** 0.5)
        assert departure(whole, stored, form, inputs) == pytest.approx(measured, rel=0.15, abs=1e-6), (precision, form)


def test_without_inputs_the_weights_alone_are_compared() -> None:
    form = next(form for precision, form in forms() if precision == "int8")
    whole = weight()
    assert departure(whole, whole * np.float32(1.01), form, None) == pytest.approx(0.01, rel=1e-4)
    assert departure(np.zeros_like(whole), np.zeros_like(whole), form, None) == 0
