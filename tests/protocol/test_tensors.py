"""Arrays as orders and records carry them keep their shapes, also that of a single number."""

from __future__ import annotations

import numpy as np
import pytest

from harness.protocol.tensors import DTYPES, Array, decode, encode


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3)])
def test_what_travels_arrives(dtype: str, shape: tuple[int, ...]) -> None:
    array: Array = np.ones(shape, dtype)
    arrived = decode(encode({"x": array}))["x"]
    assert (arrived.shape, arrived.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(arrived, array)


def test_a_view_travels_as_what_is_seen_of_it() -> None:
    whole = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(decode(encode({"x": whole.T}))["x"], whole.T)
