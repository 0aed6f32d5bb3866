"""Arrays as the runner's orders and records carry them, and arrays in files: bytes whose size and hash are checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.protocol import TensorData

Array = npt.NDArray[Any]

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""What the runner can take and give."""
MOST_OUTPUT_BYTES = 12_000_000
"""Of one item: its record is a line, and the harness reads lines up to 16 MiB."""
MOST_INPUT_BYTES = 64_000_000
"""Of one order."""


class DamagedTensor(HarnessError):
    """A tensor of a record is not what its own description says."""

    cure = "run again; if it stays, look at the cable and the device's storage"


def encode(name: str, array: Array) -> TensorData:
    """The array as it travels."""
    data = little_endian(array)
    return TensorData(
        name=name,
        dtype=array.dtype.name,
        shape=list(array.shape),
        sha256=hashlib.sha256(data).hexdigest(),
        data=base64.b64encode(data).decode("ascii"),
    )


def decode(tensor: TensorData) -> Array:
    """The array; raises DamagedTensor if its bytes are not as many as its shape says, or not those that were sent."""
    if tensor.dtype not in DTYPES or any(extent < 0 for extent in tensor.shape):
        raise DamagedTensor(f"tensor {tensor.name!r} is a {tensor.dtype} of shape {tensor.shape}, which none can be")
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    try:
        data = base64.b64decode(tensor.data, validate=True)
    except binascii.Error as error:
        raise DamagedTensor(f"tensor {tensor.name!r} is no base64: {error}") from error
    if len(data) != math.prod(tensor.shape) * dtype.itemsize:
        raise DamagedTensor(f"tensor {tensor.name!r} of shape {tensor.shape} does not have {len(data)} bytes")
    if hashlib.sha256(data).hexdigest() != tensor.sha256:
        raise DamagedTensor(f"the bytes of tensor {tensor.name!r} are not those that were sent (SHA-256)")
    return np.frombuffer(data, dtype).reshape(tensor.shape)


def decoded(tensors: Iterable[TensorData]) -> dict[str, Array]:
    return {tensor.name: decode(tensor) for tensor in tensors}


def digest(arrays: Mapping[str, Array]) -> str:
    """What the runner writes as ``output_sha256``: over the bytes of all arrays, in their order."""
    found = hashlib.sha256()
    for array in arrays.values():
        found.update(little_endian(array))
    return found.hexdigest()


def little_endian(array: Array) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
