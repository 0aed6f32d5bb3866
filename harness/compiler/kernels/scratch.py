"""Take memory for intermediate values of kernels, in one allocation.

TVM takes every buffer from the runtime's pool. There are dozens in a decoder's step, each about as expensive as a norm.
Here a kernel takes its buffers from one area, used as a stack: at its end :func:`scope` releases the buffers that were
taken inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.sym import Analyzer
from tvm.tirx.script import builder as T

from harness.compiler.kernels.vector import BYTES, F32, quotient
from harness.compiler.targets.profiles import ALIGNMENT


@dataclass
class _Area:
    """Hold an area.

    ``used`` and ``most`` are bytes: ints, or expressions if an extent is known only when the kernel runs. Without
    ``data`` in an area :func:`apart`, each buffer is an allocation of its own.
    """

    data: Any
    used: Any = 0
    most: Any = 0
    apart: bool = False


_current: ContextVar[_Area] = ContextVar("area")
_analyzer = Analyzer()


def scratch(shape: tuple[Any, ...], dtype: str = F32) -> Any:
    """Return a buffer that lives as long as the :func:`scope` around it. Its memory is not initialised."""
    area = _current.get()
    start, size = area.used, BYTES[dtype]
    for extent in shape:
        size = size * extent
    if area.apart:
        return T.decl_buffer(shape, dtype, data=_address(T.alloc_buffer((size,), "int8")))
    area.used = _plus(start, _aligned(size))
    area.most = _larger(area.most, area.used)
    return T.decl_buffer(shape, dtype, data=area.data, elem_offset=quotient(start, BYTES[dtype]))


@contextmanager
def scope() -> Iterator[None]:
    """Release the buffers that are taken inside, at the end."""
    area = _current.get()
    before = area.used
    yield
    area.used = before


@contextmanager
def apart() -> Iterator[None]:
    """Take the buffers inside from the thread that runs the statements, which is one of several."""
    with _installed(_Area(None, apart=True)):
        yield


def emit_with_scratch(emit: Callable[[], None], size: Any) -> None:
    """Emit a function's statements after the allocation of all their :func:`scratch` memory, ``size`` bytes."""
    if isinstance(size, int) and size == 0:
        with _installed(_Area(None)):
            emit()
        return
    with _installed(_Area(_address(T.alloc_buffer((size,), "int8")))):
        emit()


def measure_scratch(emit: Callable[[], None]) -> Any:
    """Return the bytes that the statements take at most: emit them into a function that is dropped.

    An int, or an expression in the buffers' own variables if an extent is known only when the kernel runs.
    """
    with IRBuilder(), T.prim_func():
        area = _Area(_address(T.alloc_buffer((1,), "int8")))
        with _installed(area):
            emit()
    return area.most


def _address(memory: Any) -> Any:
    """Return the memory's address as a value of its own.

    Through the buffer's own variable, LLVM would assume that different ranges of its elements are different memory.
    That is wrong if one range holds values of several types, one after another.
    """
    pointer = tvm.ir.PointerType(tvm.ir.PrimType("int8"))
    return T.bind(T.call_intrin(pointer, "tirx.reinterpret", memory.data))


@contextmanager
def _installed(area: _Area) -> Iterator[None]:
    token = _current.set(area)
    try:
        yield
    finally:
        _current.reset(token)


def _aligned(size: Any) -> Any:
    if isinstance(size, int):
        return -(-size // ALIGNMENT) * ALIGNMENT
    return _analyzer.simplify(tvm.tirx.truncdiv(size + (ALIGNMENT - 1), ALIGNMENT) * ALIGNMENT)


def _plus(a: Any, b: Any) -> Any:
    return a + b if isinstance(a, int) and isinstance(b, int) else _analyzer.simplify(a + b)


def _larger(a: Any, b: Any) -> Any:
    if isinstance(a, int) and a == 0:
        return b
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return _analyzer.simplify(tvm.tirx.max(a, b))
