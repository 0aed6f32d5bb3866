"""Instrument for tracing: kernels copy out their results, so that they can be compared with PyTorch's.

A kernel, or a part of a merged one, calls ``tap`` when it ends, with its number and its output's address, type and
extents. LLVM has to assume that the call reads the memory, so the values are there. The C function copies them into
memory that grows, each value behind a header, as one stream of bytes.

An archive that is instrumented for tracing also has packed functions for the runner, in the system library under the
prefix ``<base>taps_``: ``keep`` drops what was kept and sets which calls to keep from now on; ``take`` returns the
stream piece by piece. ``harness/explain/taps.py`` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.cost import Cost, elements, integer, size
from harness.compiler.kernels.instrument import Instrumentation
from harness.compiler.objects import compile_c, export_objects
from harness.compiler.observe.machine import function
from harness.compiler.targets import CompileTarget

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""A type's number is its index here."""
MOST_AXES = 6
"""The most axes of a value in the stream; a value with more is flattened."""
LIMIT = 160 << 20
"""The most bytes kept. As base64 they still fit into a result."""

SOURCE = """
#include <stddef.h>
#include <stdint.h>

/* The C library's; for iOS its headers may be missing. */
void *realloc(void *, size_t);
void free(void *);
void *memcpy(void *, const void *, size_t);

struct head {{ int64_t number, at, bytes, dtype, axes, extents[{axes}]; }};

static unsigned char *kept;
static int64_t used, room, taken, calls, first, last, lost;

static int make_room(int64_t bytes) {{
    int64_t wanted = room ? room : 1 << 20;
    while (wanted - used < bytes)
        wanted *= 2;
    if (wanted == room)
        return 1;
    void *larger = wanted > 2 * (int64_t){limit} ? 0 : realloc(kept, (size_t)wanted);
    if (!larger)
        return 0;
    kept = larger;
    room = wanted;
    return 1;
}}

int {prefix}tap(int64_t number, int64_t at, const void *data, int64_t bytes, int64_t dtype, int64_t axes,
{declared}) {{
    if (at == 0)
        calls++;
    if (calls <= first || calls > last)
        return 0;
    struct head head = {{number, at, bytes, dtype, axes, {{{extents}}}}};
    int64_t whole = (int64_t)sizeof head + bytes;
    if (lost || used + whole > (int64_t){limit} || !make_room(whole)) {{
        lost++;
        return 0;
    }}
    memcpy(kept + used, &head, sizeof head);
    if (bytes)
        memcpy(kept + used + sizeof head, data, (size_t)bytes);
    used += whole;
    return 0;
}}

int {prefix}keep_calls(const int32_t *window) {{
    free(kept);
    kept = 0;
    used = room = taken = calls = lost = 0;
    first = window[0];
    last = window[1];
    return 0;
}}

int {prefix}take_bytes(unsigned char *to, int64_t size, int32_t *counts) {{
    int64_t count = used - taken < size ? used - taken : size;
    if (count)
        memcpy(to, kept + taken, (size_t)count);
    taken += count;
    counts[0] = (int32_t)count;
    counts[1] = (int32_t)lost;
    return 0;
}}
"""


class Taps(Instrumentation):
    """Make the calls of a kernel that is instrumented for tracing."""

    def begin(self, name: str, cost: Cost) -> Iterator[Any]:
        yield from ()

    def end(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        number = self.of(name)
        for at, buffer in enumerate(outputs):
            dtype, extents = str(buffer.dtype), [integer(extent) for extent in buffer.shape]
            if len(extents) > MOST_AXES:
                extents = [elements(buffer)]
            padded = [*extents, *[0] * (MOST_AXES - len(extents))]
            address = tvm.tirx.address_of(buffer)
            yield self._call("tap", number, at, address, size(buffer), DTYPES.index(dtype), len(extents), *padded)
        if not outputs:
            null = tvm.tirx.reinterpret("handle", tvm.tirx.IntImm("uint64", 0))
            yield self._call("tap", number, 0, null, 0, 0, 0, *[0] * MOST_AXES)

    def end_part(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        yield from self.end(name, outputs)

    def end_merged(self, name: str) -> Iterator[Any]:
        yield from ()


def taps_prefix(base: str) -> str:
    """Return the prefix of a model's tracing functions, from the model's own prefix."""
    return f"{base}taps_"


def source(prefix: str) -> str:
    """Return the text of the C file."""
    names = [f"e{axis}" for axis in range(MOST_AXES)]
    declared = ", ".join(f"int64_t {name}" for name in names)
    return SOURCE.format(prefix=prefix, axes=MOST_AXES, limit=LIMIT, declared=declared, extents=", ".join(names))


def tracing_objects(prefix: str, folder: Path, target: CompileTarget) -> list[Path]:
    """Write the objects of the tracing functions into ``folder``. Raises ArchiveFailed."""
    emitted = {"keep": lambda: _emit_keep(prefix), "take": lambda: _emit_take(prefix)}
    functions = {f"{prefix}{name}": function(f"{prefix}{name}", emit) for name, emit in emitted.items()}
    module = tvm.IRModule(functions).with_attr("system_lib_prefix", prefix)
    objects = export_objects(tvm.compile(module, tvm.target.Target(target.tvm)), folder, "taps")
    written = folder / "taps_kept.c"
    written.write_text(source(prefix), encoding="utf-8")
    return [*objects, compile_c(written, target)]


def _emit_keep(prefix: str) -> None:
    """Emit ``keep``: (window int32 [2]).

    The window is the first call to keep, counted from 0, and the first call after it not to keep.
    """
    window = T.arg("window", T.Buffer((2,), "int32"))
    T.evaluate(T.call_extern("int32", f"{prefix}keep_calls", window.data))


def _emit_take(prefix: str) -> None:
    """Emit ``take``: (to uint8 [n], counts int32 [2]: bytes written, calls without room)."""
    to = T.arg("to", T.Buffer((tvm.tirx.Var("n", "int64"),), "uint8"))
    counts = T.arg("counts", T.Buffer((2,), "int32"))
    T.evaluate(T.call_extern("int32", f"{prefix}take_bytes", to.data, to.shape[0], counts.data))
