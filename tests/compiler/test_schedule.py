"""ScheduleRest: a scheduled function says what the function with TVM's bare loops says, whatever its extents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import s_tir, te, tirx, topi

from harness.compiler.kernels import arithmetic
from harness.compiler.passes.p35_schedule_rest import ScheduleRest
from harness.compiler.schedule import rest
from harness.compiler.schedule.access import Block, Unproven
from harness.compiler.schedule.rest import scheduled
from harness.compiler.targets.profiles import AVX2, AVX512, NEON, Profile
from tests.compiler import schedules
from tests.compiler.kernels import host, normal

pytestmark = pytest.mark.compiler

PROFILES = [AVX2, AVX512, NEON]
each_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
few = settings(max_examples=8, deadline=None, derandomize=True)
"""Each example is two compilations."""
extents = st.integers(1, 70)
profiles = st.sampled_from(PROFILES)


def check(function: tirx.PrimFunc, profile: Profile, length: int | None = None, changes: bool | None = None) -> None:
    """Both functions on the same numbers; ``changes`` says whether there must be a schedule."""
    after = scheduled(function, profile, host())
    if changes is not None:
        assert bool((after.attrs or {}).get("tirx.is_scheduled", False)) is changes
    *given_shapes, result = schedules.shapes(function, length)
    inputs = [normal(*shape, seed=at) for at, shape in enumerate(given_shapes)]
    expected, ours = (schedules.run(each, *inputs, shape=result) for each in (function, after))
    scale = float(np.abs(expected).max(initial=1.0))
    np.testing.assert_allclose(ours, expected, atol=2e-6 * scale, rtol=2e-6)


@few
@given(st.lists(st.integers(1, 19), min_size=1, max_size=4), profiles)
def test_element_wise_steps(shape: list[int], profile: Profile) -> None:
    check(schedules.elementwise(tuple(shape), topi.tanh), profile)


@few
@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), profiles, st.data())
def test_reductions_over_any_axes(shape: list[int], profile: Profile, data: Any) -> None:
    axes = data.draw(st.sets(st.sampled_from(range(len(shape))), min_size=1))
    reduce = data.draw(st.sampled_from([topi.sum, topi.max]))
    check(schedules.reduction(tuple(shape), tuple(sorted(axes)), reduce), profile)


@few
@given(st.integers(1, 5), st.integers(1, 300), profiles)
def test_softmax(rows: int, columns: int, profile: Profile) -> None:
    check(schedules.softmax((rows, columns)), profile)


@few
@given(st.sampled_from([(), (3,)]), extents, extents, extents, profiles)
def test_products(batch: tuple[int, ...], rows: int, depth: int, columns: int, profile: Profile) -> None:
    check(schedules.product(batch, rows, depth, columns), profile)


@few
@given(
    st.tuples(st.integers(5, 17), st.integers(5, 17)),
    st.integers(1, 9),
    st.integers(1, 40),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 2),
    st.integers(1, 2),
    profiles,
)
def test_convolutions(
    size: tuple[int, int], channels: int, filters: int, kernel: int, stride: int, dilation: int, profile: Profile
) -> None:
    check(schedules.convolution(size, channels, filters, kernel, stride, dilation, 1), profile)


@few
@given(st.tuples(st.integers(5, 17), st.integers(5, 17)), st.integers(1, 7), st.sampled_from([1, 3]), profiles)
def test_convolutions_by_group(size: tuple[int, int], groups: int, each: int, profile: Profile) -> None:
    check(schedules.convolution(size, groups * each, groups * each * 2, 3, 1, 1, groups), profile)
    check(schedules.convolution(size, groups * each, groups * each, 3, 1, 1, groups * each), profile)


@few
@given(
    st.tuples(st.integers(5, 17), st.integers(5, 17)),
    st.integers(1, 40),
    st.sampled_from([2, 3]),
    st.sampled_from(["max", "avg"]),
    profiles,
)
def test_pools(size: tuple[int, int], channels: int, window: int, kind: str, profile: Profile) -> None:
    check(schedules.pool(size, channels, window, 2, kind), profile)


@pytest.mark.thorough(keep=["*-7-*"])
@each_profile
@pytest.mark.parametrize("length", [1, 7, 64])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_extents_that_are_known_only_at_run_time(profile: Profile, length: int, where: int) -> None:
    shape: list[Any] = [tirx.IntImm("int64", extent) for extent in (3, 5, 37)]
    shape[where] = tirx.Var("n", "int64")
    check(schedules.elementwise(tuple(shape), topi.sigmoid), profile, length)
    check(schedules.softmax(tuple(shape)), profile, length)
    check(schedules.reduction(tuple(shape), (1,)), profile, length)


@each_profile
def test_what_fits_is_scheduled(profile: Profile) -> None:
    check(schedules.elementwise((4, 64), topi.exp), profile, changes=True)
    check(schedules.product((), 17, 40, 72), profile, changes=True)
    check(schedules.convolution((14, 14), 16, 32, 3, 1, 1, 1), profile, changes=True)
    check(schedules.reduction((8, 256), (1,)), profile, changes=True)


def test_what_does_not_fit_keeps_its_loops() -> None:
    x = te.placeholder((24, 40), name="x")
    check(te.create_prim_func([x, topi.transpose(x)]), AVX2, changes=False)


@pytest.mark.parametrize("error", ["tvm", "tvm's own check", "ours"])
def test_a_schedule_that_fails_half_way_leaves_the_function_right(error: str) -> None:
    """What it had changed until then is gone with it. It is too small for threads."""
    function = schedules.product((), 5, 16, 24)
    reached = []

    def fails(schedule: s_tir.Schedule, block: Block, profile: Profile) -> None:
        rest.RULES[0](schedule, block, profile)
        reached.append(block.name)
        if error == "ours":
            raise Unproven("made to")
        if error == "tvm's own check":
            raise tvm.error.InternalError("made to")
        schedule.fuse(*reversed(schedule.get_loops(block.name)[:2]))

    after = scheduled(function, AVX2, host(), rules=(fails,))
    assert reached
    assert after.same_as(function)


def test_a_schedule_that_no_pass_behind_takes_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """TVM's own LoopPartition fails for these 64-bit indices, which are narrowed for that reason."""
    shape = [tirx.IntImm("int64", 3), tirx.Var("n", "int64"), tirx.IntImm("int64", 37)]
    function = schedules.reduction(tuple(shape), (2,))
    assert not scheduled(function, AVX2, host()).same_as(function)
    monkeypatch.setattr(rest, "_narrow", lambda wide: wide)
    assert scheduled(function, AVX2, host()).same_as(function)


def test_only_functions_without_a_schedule_are_taken() -> None:
    one, two = schedules.elementwise((4, 64), topi.exp), schedules.softmax((4, 64))
    module = tvm.IRModule({"one": one, "two": two, "three": two.with_attr("tirx.is_scheduled", True)})
    before = {name: str(module[name]) for name in ("one", "two", "three")}
    after = tvm.transform.Sequential([ScheduleRest(AVX2, host(), done={"one"})])(module)
    changed = [name for name, text in before.items() if str(after[name]) != text]
    assert changed == ["two"]


def test_the_same_function_gets_the_same_schedule() -> None:
    function = schedules.convolution((14, 14), 16, 37, 3, 1, 1, 1)
    assert str(scheduled(function, AVX2, host())) == str(scheduled(function, AVX2, host()))


SPECIAL = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-42, 88.7, -86.5, 89.0, -104.0]
EXACT = {"exp": np.exp, "tanh": np.tanh, "erf": scipy.special.erf, "sigmoid": scipy.special.expit}


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("name", sorted(arithmetic.POLYNOMIALS))
def test_polynomials_are_right_to_float32_rounding(name: str, lanes: int) -> None:
    arithmetic.install()
    drawn = [np.linspace(-90, 90, 40000), np.linspace(-3, 3, 20000), np.geomspace(1e-8, 1e-2, 2000)]
    x = np.concatenate([*drawn, SPECIAL, np.zeros(-(62000 + len(SPECIAL)) % 8)]).astype(np.float32)
    values = te.placeholder((len(x),), name="x")
    function = te.create_prim_func([values, te.compute((len(x),), lambda i: getattr(tirx, name)(values[i]))])
    if lanes > 1:
        function = scheduled(function, AVX2, host())
    ours = schedules.run(function, x, shape=x.shape)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64)).astype(np.float32)
    exact[np.abs(exact) < 2.5e-38] = 0.0
    ours[np.abs(ours) < 2.5e-38] = 0.0
    np.testing.assert_allclose(ours, exact, rtol=3e-7, atol=0)
