"""What an archive with taps holds besides its models: the C function that its kernels call, and ways to what it kept.

The kernels' values are copied into memory that grows, behind a head of their own each, as one stream of bytes. Packed
functions, which the runner finds in the system library under the prefix ``<base>taps_``: ``keep`` forgets what was
kept and says which calls to keep from now on; ``take`` gives the stream piece by piece. ``harness/explain/taps.py``
reads it.
"""

from __future__ import annotations

from pathlib import Path

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.archive import compile_c, export_objects
from harness.compiler.kernels.machine import function
from harness.compiler.kernels.taps import MOST_AXES
from harness.compiler.targets import CompileTarget

LIMIT = 160 << 20
"""Bytes kept at most: with base64 they still fit into a result."""

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


def taps_prefix(base: str) -> str:
    """Of an archive's taps, from the base of its models' prefixes."""
    return f"{base}taps_"


def source(prefix: str) -> str:
    """The C file."""
    names = [f"e{axis}" for axis in range(MOST_AXES)]
    declared = ", ".join(f"int64_t {name}" for name in names)
    return SOURCE.format(prefix=prefix, axes=MOST_AXES, limit=LIMIT, declared=declared, extents=", ".join(names))


def tap_objects(prefix: str, folder: Path, target: CompileTarget) -> list[Path]:
    """The objects, made in ``folder``. Raises ArchiveFailed."""
    emitted = {"keep": lambda: _emit_keep(prefix), "take": lambda: _emit_take(prefix)}
    functions = {f"{prefix}{name}": function(f"{prefix}{name}", emit) for name, emit in emitted.items()}
    module = tvm.IRModule(functions).with_attr("system_lib_prefix", prefix)
    objects = export_objects(tvm.compile(module, tvm.target.Target(target.tvm)), folder, "taps")
    written = folder / "taps_kept.c"
    written.write_text(source(prefix), encoding="utf-8")
    return [*objects, compile_c(written, target)]


def _emit_keep(prefix: str) -> None:
    """(window int32 [2]: the first call to keep, counted from 0, and the first behind it not to keep)."""
    window = T.arg("window", T.Buffer((2,), "int32"))
    T.evaluate(T.call_extern("int32", f"{prefix}keep_calls", window.data))


def _emit_take(prefix: str) -> None:
    """(to uint8 [n], counts int32 [2]: bytes written, calls that had no room)."""
    to = T.arg("to", T.Buffer((tvm.tirx.Var("n", "int64"),), "uint8"))
    counts = T.arg("counts", T.Buffer((2,), "int32"))
    T.evaluate(T.call_extern("int32", f"{prefix}take_bytes", to.data, to.shape[0], counts.data))
