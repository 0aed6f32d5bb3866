"""The kernels' arm64 instructions against numpy, under an emulator: products of every instruction set, and the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm

from harness.compiler.kernels import product, winograd
from harness.compiler.kernels.product import Product
from harness.compiler.kernels.scratch import scratch
from harness.compiler.targets.profiles import NEON, NEON_DOT, NEON_I8MM, Profile
from harness.protocol.schema import Precision
from tests.compiler import byte_convolutions, convolutions
from tests.compiler import test_kernels as on_the_host
from tests.compiler.emulated import Emulator
from tests.compiler.kernels import ProductCase, built_by, check_product, normal
from tests.compiler.test_assembly import TARGETS
from tests.compiler.test_convolutions import SHAPES, WINOGRAD
from tests.compiler.test_int4 import check_exactly
from tests.compiler.test_product_kernels import PRODUCTS

pytestmark = [pytest.mark.compiler, pytest.mark.emulator]

CASES = [
    (NEON, "fp32"),
    (NEON, "fp16"),
    (NEON, "int8"),
    (NEON_DOT, "fp16"),
    (NEON_DOT, "int8"),
    (NEON_I8MM, "fp16"),
    (NEON_I8MM, "int8"),
]
each_case = pytest.mark.parametrize(("profile", "precision"), CASES, ids=lambda v: v if isinstance(v, str) else v.name)


CPUS = {NEON: "cortex-a72", NEON_DOT: "cortex-a76"}
"""qemu's CPUs that have no more than the instruction set; for the others it has none but that of all features."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("emulated")


@contextlib.contextmanager
def emulated(profile: Profile, folder: Path) -> Iterator[None]:
    triple, cpu, attributes = TARGETS[profile]
    target = tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": attributes})
    with built_by(Emulator(target, folder, CPUS.get(profile, "max")).build):
        yield


@pytest.mark.thorough(keep=["all-*"])
@each_case
@pytest.mark.parametrize("name", ["all", "layer-norm", "one-by-one"])
def test_products_of_any_number_of_rows(profile: Profile, precision: Precision, name: str, folder: Path) -> None:
    with emulated(profile, folder):
        case = ProductCase(profile, precision, PRODUCTS[name], ("rows",))
        for rows in (1, 2, 5, 13):
            check_product(case, rows, precision)


@pytest.mark.thorough(keep=["neon-dot"])
@pytest.mark.parametrize("profile", [NEON, NEON_DOT, NEON_I8MM], ids=lambda profile: profile.name)
def test_int4_products(profile: Profile, folder: Path) -> None:
    with emulated(profile, folder):
        check_exactly(profile)
        case = ProductCase(profile, "int4", PRODUCTS["all"], ("rows",))
        for rows in (1, 5, 13):
            check_product(case, rows, "int4")
        check_product(ProductCase(profile, "int4", PRODUCTS["all"], (1,)), 1, "int4")


@pytest.mark.parametrize("profile", [NEON, NEON_DOT, NEON_I8MM], ids=lambda profile: profile.name)
def test_many_rows_may_keep_15_bits_of_their_activations(profile: Profile, folder: Path) -> None:
    """One element is 300 times the others, and its weights are zeros: what remains needs more than seven bits."""
    with emulated(profile, folder):
        case = ProductCase(profile, "int8", Product(67, 37), ("rows",), wide=True)
        for rows in (1, 2, 5, 13):
            check_product(case, rows, "int8")
        plain = ProductCase(profile, "int8", Product(67, 37), ("rows",))
        x = normal(13, 67)
        x[:, 5] = 300
        errors = []
        for one in (case, plain):
            one.weight[5] = 0
            one.packed = one.pack()
            errors.append(float(np.abs(one.ours(x, x) - one.expected(x, x)).max()))
    kept = profile is NEON  # its activations are two bytes always
    assert errors[0] < (1.1 if kept else 0.2) * errors[1]


@each_case
@pytest.mark.parametrize("name", ["all", "residual"])
def test_products_of_one_row(profile: Profile, precision: Precision, name: str, folder: Path) -> None:
    with emulated(profile, folder):
        check_product(ProductCase(profile, precision, PRODUCTS[name], (1,)), 1, precision)


@each_case
def test_zeros_and_denormals(profile: Profile, precision: Precision, folder: Path) -> None:
    with emulated(profile, folder):
        case = ProductCase(profile, precision, Product(33, 65), ("rows",))
        x = normal(3, 33)
        x[0], x[1] = 0, x[1] * 1e-39
        ours = case.ours(x, x)
    assert np.isfinite(ours).all()
    assert not ours[0].any()
    assert np.abs(ours[1]).max() < 1e-37


def test_what_is_not_a_product(folder: Path) -> None:
    """Attention over caches and over all rows, norms, lookups, argmax, activations: as the host's tests check them."""
    with emulated(NEON, folder):
        on_the_host.test_a_step_appends_and_attends_to_what_came_before(NEON, "float16", 3, 16)
        on_the_host.test_memory_is_read_up_to_each_rows_length(NEON, "float16")
        on_the_host.test_memory_is_read_up_to_each_rows_length(NEON, "float32")
        on_the_host.test_all_rows_attend_to_all_rows(NEON, 2, 3, 20)
        on_the_host.test_norms(NEON, 37)
        on_the_host.test_embedding_and_argmax(NEON)
        on_the_host.test_batch_product_for_any_size()
        on_the_host.test_products_of_known_size(NEON)
        on_the_host.test_activations("gelu_tanh")


def test_convolutions(folder: Path) -> None:
    with emulated(NEON, folder):
        for name in ("far apart", "small groups", "by channel", "planar"):
            convolutions.check(NEON, SHAPES[name])
        form = winograd.winograd(WINOGRAD["no borders"], NEON, 4)
        kernel = winograd.winograd_kernel(NEON, form)
        convolutions.check_kernel(kernel, partial(winograd.pack_winograd, form), form.conv, 1e-5)


@pytest.mark.parametrize("profile", [NEON_DOT, NEON_I8MM], ids=lambda profile: profile.name)
def test_convolutions_of_bytes(profile: Profile, folder: Path) -> None:
    with emulated(profile, folder):
        for name in ("far apart", "small groups", "by channel", "points"):
            byte_convolutions.check(profile, byte_convolutions.SHAPES[name])


def test_a_kernel_that_writes_behind_its_end_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulated machine itself: it does not overlook what it is there to find."""

    def one_row(shape: tuple[Any, ...], dtype: str = "float32") -> Any:
        return scratch((1, *shape[1:]), dtype)

    monkeypatch.setattr(product, "scratch", one_row)
    with emulated(NEON, folder), pytest.raises(AssertionError, match="status"):
        check_product(ProductCase(NEON, "fp32", Product(64, 4096, activation="gelu_tanh"), ("rows",)), 13, "fp32")
