"""Arrays as the runner's orders and records carry them: safetensors whose size and hash are checked."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from harness.core.errors import HarnessError
from harness.protocol.schema import Tensors

Array = npt.NDArray[Any]

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""What the runner can take and give."""
MOST_OUTPUT_BYTES = 12_000_000
"""Of one item: its record is a line, and the harness reads lines up to 16 MiB."""
MOST_INPUT_BYTES = 64_000_000
"""Of one order."""


class DamagedTensors(HarnessError):
    """Tensors of a record are not what their own description says."""

    cure = "run again; if it stays, look at the cable and the device's storage"


def encode(arrays: Mapping[str, Array]) -> Tensors:
    """The arrays as they travel."""
    data = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    return Tensors(size=len(data), sha256=hashlib.sha256(data).hexdigest(), data=base64.b64encode(data).decode("ascii"))


def decode(tensors: Tensors) -> dict[str, Array]:
    """The arrays by name; raises DamagedTensors if the bytes are not those that were sent, or no tensors."""
    try:
        data = base64.b64decode(tensors.data, validate=True)
    except binascii.Error as error:
        raise DamagedTensors(f"the tensors are no base64: {error}") from error
    if len(data) != tensors.size:
        raise DamagedTensors(f"{len(data)} bytes of tensors arrived of {tensors.size}")
    if hashlib.sha256(data).hexdigest() != tensors.sha256:
        raise DamagedTensors("the tensors' bytes are not those that were sent (SHA-256)")
    try:
        return safetensors.numpy.load(data)
    except (SafetensorError, KeyError) as error:
        raise DamagedTensors(f"the tensors are no safetensors: {error}") from error


def digest(arrays: Mapping[str, Array]) -> str:
    """What the runner writes as ``output_sha256``: over the bytes of all arrays, in their order."""
    found = hashlib.sha256()
    for array in arrays.values():
        found.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()
