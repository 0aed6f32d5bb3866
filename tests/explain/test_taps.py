"""The stream of taps is read in the order that the archive's provenance says, and nothing else is believed."""

from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.observe.provenance import FunctionProvenance, Provenance, Site
from harness.explain.taps import HEAD, BadTaps, leaf_count, read_taps
from harness.protocol.tensors import DTYPES


def site(number: int, *parts: Site) -> Site:
    return Site(kernel=f"k{number}", operators=[], mark=number, parts=list(parts))


PROVENANCE = Provenance(
    functions=[
        FunctionProvenance(name="encoder", operators=[], sites=[site(0), site(1)]),
        FunctionProvenance(name="step", operators=[], sites=[site(2, site(3), site(4))]),
    ]
)


def tap(number: int, value: np.ndarray | None, at: int = 0) -> bytes:
    if value is None:
        return HEAD.pack(number, at, 0, 0, 0, *[0] * 6)
    extents = [*value.shape, *[0] * (6 - value.ndim)]
    return HEAD.pack(number, at, value.nbytes, DTYPES.index(str(value.dtype)), value.ndim, *extents) + value.tobytes()


ONE = np.arange(6, dtype=np.float32).reshape(2, 3)
TOKEN = np.array(7, dtype=np.int32)


def test_calls_have_their_function_and_their_tensors() -> None:
    stream = tap(0, ONE) + tap(0, TOKEN, 1) + tap(1, None) + (tap(3, ONE) + tap(4, TOKEN)) * 2
    found = read_taps(PROVENANCE, stream)
    assert [(one.function, one.call, one.index) for one in found] == [
        ("encoder", 0, 0),
        ("encoder", 0, 1),
        ("step", 0, 0),
        ("step", 0, 1),
        ("step", 1, 0),
        ("step", 1, 1),
    ]
    assert [len(one.outputs) for one in found] == [2, 0, 1, 1, 1, 1]
    np.testing.assert_array_equal(found[0].outputs[0], ONE)
    assert found[0].outputs[1] == TOKEN
    assert [leaf_count(function) for function in PROVENANCE.functions] == [2, 2]


def test_a_function_that_failed_may_be_cut_short() -> None:
    assert len(read_taps(PROVENANCE, tap(0, ONE) + tap(1, ONE) + tap(3, ONE))) == 3


@pytest.mark.parametrize(
    ("stream", "wrong"),
    [
        (tap(1, ONE), "no function begins with the kernel of number 1"),
        (tap(0, ONE) + tap(3, ONE), "encoder called number 3 where number 1 belongs"),
        (tap(0, ONE)[:20], "ends within a head"),
        (tap(0, ONE)[:-1], "cannot be"),
        (HEAD.pack(0, 0, 4, 99, 1, 1, 0, 0, 0, 0, 0) + b"0000", "type 99"),
        (HEAD.pack(0, 0, 4, 1, 1, 2, 0, 0, 0, 0, 0) + b"0000", r"no tensor of \[2\]"),
    ],
)
def test_what_cannot_be_is_refused(stream: bytes, wrong: str) -> None:
    with pytest.raises(BadTaps, match=wrong):
        read_taps(PROVENANCE, stream)
