"""Read GGUF files, llama.cpp's form of models: their metadata, and their weights as float32.

The form is that of ggml's specification of GGUF, versions 2 and 3, in little-endian order. The file is mapped, and a
weight is unpacked when it is asked for. Whatever the file states is checked against its size. Imports no PyTorch.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.models.errors import BadCheckpoint

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_ENTRIES, MOST_AXES, MOST_NAME, MOST_ELEMENTS = 1 << 17, 4, 1 << 10, 1 << 22
"""More of them are in no model."""
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""The types of metadata that are numbers, as ``struct`` names them."""
STRING, ARRAY = 8, 9
ALIGNMENT = "general.alignment"


def _halves(blocks: Bytes, begin: int) -> Floats:
    """Return a float16 of each block as a column: [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, begin : begin + 2]).view(np.float16).astype(np.float32)


def _f32(blocks: Bytes) -> Floats:
    return np.ascontiguousarray(blocks).view(np.float32)


def _f16(blocks: Bytes) -> Floats:
    return np.ascontiguousarray(blocks).view(np.float16).astype(np.float32)


def _bf16(blocks: Bytes) -> Floats:
    return (np.ascontiguousarray(blocks).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """Return the low halves of bytes [..., n], then the high ones: [..., 2 n]."""
    return np.concatenate([packed & 0xF, packed >> 4], axis=-1)


def _q8_0(blocks: Bytes) -> Floats:
    """A scale, and 32 int8."""
    return _halves(blocks, 0) * np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32)


def _q4_0(blocks: Bytes) -> Floats:
    """A scale, and 32 nibbles that are 8 where a weight is 0."""
    return _halves(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8)


def _q4_k(blocks: Bytes) -> Floats:
    """A scale of scales and one of minima, eight of each in six bits, and 256 nibbles in eight groups."""
    packed = blocks[:, 4:16]
    low, middle, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([low & 63, (high & 0xF) | ((low >> 6) << 4)], axis=1).astype(np.float32)
    minima = np.concatenate([middle & 63, (high >> 4) | ((middle >> 6) << 4)], axis=1).astype(np.float32)
    steps, offsets = _halves(blocks, 0) * scales, _halves(blocks, 2) * minima
    nibbles = _nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32).astype(np.float32)
    return (steps[:, :, None] * nibbles - offsets[:, :, None]).reshape(len(blocks), 256)


def _q6_k(blocks: Bytes) -> Floats:
    """256 numbers of six bits, four and two of them apart, int8 scales of 16 each, and a scale of these."""
    low = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts) & 3
    numbers = (low | (high << 4)).astype(np.float32) - 32
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    steps = _halves(blocks, 208) * scales
    return (numbers.reshape(-1, 16, 16) * steps[:, :, None]).reshape(len(blocks), 256)


@dataclass(frozen=True)
class Type:
    """Describe a type of weights: blocks of so many elements, in so many bytes, and how they are unpacked."""

    name: str
    elements: int
    size: int
    unpack: Callable[[Bytes], Floats]


TYPES: Mapping[int, Type] = {
    0: Type("F32", 1, 4, _f32),
    1: Type("F16", 1, 2, _f16),
    2: Type("Q4_0", 32, 18, _q4_0),
    8: Type("Q8_0", 32, 34, _q8_0),
    12: Type("Q4_K", 256, 144, _q4_k),
    14: Type("Q6_K", 256, 210, _q6_k),
    30: Type("BF16", 1, 2, _bf16),
}
"""The types that are read, by ggml's numbers."""


@dataclass(frozen=True)
class Stored:
    """State where a weight is: its shape with the longest-striding axis first, its type, and its first byte."""

    shape: tuple[int, ...]
    type: int
    offset: int


class Gguf:
    """Hold the metadata and the weights' places of one file. Raises BadCheckpoint for a file that is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._bytes: Bytes = np.memmap(path, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise BadCheckpoint(f"{path} cannot be read: {error}") from error
        self._at = 0
        if self._raw(4) != MAGIC:
            raise BadCheckpoint(f"{path} is no GGUF file")
        version = self._number("I")
        if version not in VERSIONS:
            raise BadCheckpoint(f"{path} is GGUF of version {version}", cure="versions 2 and 3 are read")
        tensors, entries = self._count(MOST_ENTRIES), self._count(MOST_ENTRIES)
        self.metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self._string(MOST_NAME)
            self.metadata[key] = self._value(self._number("I"))
        found = [(self._string(MOST_NAME), self._stored()) for _ in range(tensors)]
        alignment = self.metadata.get(ALIGNMENT, 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 16:
            raise BadCheckpoint(f"{path} has the alignment {alignment!r}")
        self._data = -(-self._at // alignment) * alignment
        self.tensors: dict[str, Stored] = dict(found)

    def weight(self, name: str) -> Floats:
        """Return a weight as float32. Raises BadCheckpoint if it is not there, or of a type that is not read."""
        stored = self.tensors.get(name)
        if stored is None:
            raise BadCheckpoint(f"{self.path} has no weight {name}")
        kind = TYPES.get(stored.type)
        if kind is None:
            known = ", ".join(one.name for one in TYPES.values())
            raise BadCheckpoint(
                f"{self.path}: {name} is of ggml's type {stored.type}, and read are {known}",
                cure="quantise the model to Q8_0, Q4_0 or Q4_K",
            )
        count = math.prod(stored.shape)
        if not stored.shape or stored.shape[-1] % kind.elements:
            raise BadCheckpoint(f"{self.path}: {name} of {list(stored.shape)} cannot be {kind.name}")
        begin, size = self._data + stored.offset, count // kind.elements * kind.size
        if begin + size > len(self._bytes):
            raise BadCheckpoint(f"{self.path} ends within the weight {name}", cure="download it again")
        return kind.unpack(self._bytes[begin : begin + size].reshape(-1, kind.size)).reshape(stored.shape)

    def _raw(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._bytes):
            raise BadCheckpoint(f"{self.path} ends within its description", cure="download it again")
        self._at += count
        return self._bytes[self._at - count : self._at].tobytes()

    def _number(self, kind: str) -> Any:
        return struct.unpack(f"<{kind}", self._raw(struct.calcsize(f"<{kind}")))[0]

    def _count(self, most: int) -> int:
        count = int(self._number("Q"))
        if count > most:
            raise BadCheckpoint(f"{self.path} has a count of {count}, and {most} is the most")
        return count

    def _string(self, most: int) -> str:
        return self._raw(self._count(most)).decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind in NUMBERS:
            return self._number(NUMBERS[kind])
        if kind == STRING:
            return self._string(MOST_ELEMENTS)
        if kind != ARRAY:
            raise BadCheckpoint(f"{self.path} has metadata of the type {kind}")
        kind, count = self._number("I"), self._count(MOST_ELEMENTS)
        if kind in NUMBERS:
            size = struct.calcsize(f"<{NUMBERS[kind]}")
            return list(struct.unpack(f"<{count}{NUMBERS[kind]}", self._raw(count * size)))
        if kind != STRING:
            raise BadCheckpoint(f"{self.path} has a list of the type {kind}")
        return [self._string(MOST_ELEMENTS) for _ in range(count)]

    def _stored(self) -> Stored:
        axes = self._number("I")
        if axes > MOST_AXES:
            raise BadCheckpoint(f"{self.path} has a weight of {axes} axes")
        # The first extent is that of neighbours.
        shape = tuple(int(self._number("Q")) for _ in range(axes))[::-1]
        return Stored(shape, self._number("I"), int(self._number("Q")))
