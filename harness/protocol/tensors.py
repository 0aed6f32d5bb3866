"""Encode and decode arrays for the runner's orders and records: safetensors with a checked size and hash."""

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
"""The dtypes that the runner accepts and returns."""
MOST_OUTPUT_BYTES = 12_000_000
"""The most bytes of outputs of one item. Its record is a line, and the harness reads lines up to 16 MiB."""
MOST_INPUT_BYTES = 64_000_000
"""The most bytes of inputs of one order."""


class DamagedTensors(HarnessError):
    """Tensors of a record do not match their own description."""

    cure = "run again; if it stays, look at the cable and the device's storage"


def encode(arrays: Mapping[str, Array]) -> Tensors:
    """Return the arrays as an order or a record carries them."""
    data = safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    return Tensors(size=len(data), sha256=hashlib.sha256(data).hexdigest(), data=base64.b64encode(data).decode("ascii"))


def decode(tensors: Tensors) -> dict[str, Array]:
    """Return the arrays by name; raises DamagedTensors if the bytes have changed or are no safetensors."""
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
    """Return the runner's ``output_sha256``: the SHA-256 over the bytes of all arrays, in their order."""
    found = hashlib.sha256()
    for array in arrays.values():
        found.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()
