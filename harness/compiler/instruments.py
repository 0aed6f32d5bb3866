"""What an archive that is built for profiles holds besides its model; one of several models has them for each.

The C functions that its kernels' marks call, which keep what was said in memory of their own; and packed functions,
which the runner finds in the system library under the prefix ``<base>profile_``: ``take`` and ``ticks`` read what was
kept and the counter; ``read``, ``multiply_add`` and ``dot`` do one thing as fast as the processor can, for the
roofline, on tensors whose sizes ``shapes`` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.archive import compile_c, export_objects
from harness.compiler.kernels.machine import CHAINS, DOTS, STREAMS, emit_dot, emit_multiply_add, emit_read, function
from harness.compiler.targets import CompileTarget

CAPACITY = 1 << 18
"""Events kept until they are taken; each is two numbers of 64 bits. Pages that are not written cost nothing."""
BYTES = "INT64_MIN"
FLOPS = "INT64_MIN + 1"
"""The numbers of events that tell a call's work, told from every kernel's; see ``harness/profiling/marks.py``."""

SOURCE = """
#include <stdint.h>

static struct event {{ int64_t number, value; }} events[{capacity}];
static int64_t count, lost;

static inline int64_t now(void) {{
#if defined(__x86_64__)
    return (int64_t)__builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    int64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
#error "no counter is known for this processor"
#endif
}}

static void keep(int64_t number, int64_t value) {{
    if (count == {capacity}) {{
        lost++;
        return;
    }}
    events[count].number = number;
    events[count++].value = value;
}}

int {prefix}mark(int64_t number) {{
    keep(number, now());
    return 0;
}}

int {prefix}work(int64_t bytes, int64_t flops) {{
    keep({bytes}, bytes);
    keep({flops}, flops);
    return 0;
}}

int {prefix}ticks_now(int64_t *to) {{
    *to = now();
    return 0;
}}

int {prefix}take_events(struct event *to, int64_t room, int32_t *counts) {{
    int64_t taken = count < room ? count : room;
    for (int64_t at = 0; at < taken; at++)
        to[at] = events[at];
    counts[0] = (int32_t)taken;
    counts[1] = (int32_t)(lost + count - taken);
    count = lost = 0;
    return 0;
}}
"""


def profile_prefix(base: str) -> str:
    """Of a model's instruments, from the model's own prefix."""
    return f"{base}profile_"


def instrument_objects(prefix: str, folder: Path, target: CompileTarget) -> list[Path]:
    """The objects, made in ``folder``. Raises ArchiveFailed."""
    lanes = target.profile.lanes
    dot = DOTS.get((target.profile.integer, lanes)) or DOTS.get(("pairs", lanes))
    emitted: dict[str, Callable[[], None]] = {
        "take": lambda: _emit_take(prefix),
        "ticks": lambda: _emit_ticks(prefix),
        "shapes": lambda: _emit_shapes([STREAMS * lanes, lanes, CHAINS, dot.per_lane if dot else 0]),
        "read": lambda: emit_read(lanes),
        "multiply_add": lambda: emit_multiply_add(lanes),
    }
    if dot is not None:
        emitted["dot"] = lambda: emit_dot(lanes, dot)
    functions = {f"{prefix}{name}": function(f"{prefix}{name}", emit) for name, emit in emitted.items()}
    module = tvm.IRModule(functions).with_attr("system_lib_prefix", prefix)
    stem = prefix.rstrip("_")
    objects = export_objects(tvm.compile(module, tvm.target.Target(target.tvm)), folder, stem)
    source = folder / f"{stem}_marks.c"
    source.write_text(SOURCE.format(prefix=prefix, capacity=CAPACITY, bytes=BYTES, flops=FLOPS), encoding="utf-8")
    return [*objects, compile_c(source, target)]


def _emit_take(prefix: str) -> None:
    """(events int32 [n, 4]: number and value, lower halves first; counts int32 [2]: how many, how many were lost)."""
    events = T.arg("events", T.Buffer((tvm.tirx.Var("n", "int64"), 4), "int32"))
    counts = T.arg("counts", T.Buffer((2,), "int32"))
    T.evaluate(T.call_extern("int32", f"{prefix}take_events", events.data, events.shape[0], counts.data))


def _emit_ticks(prefix: str) -> None:
    """(value int32 [2]: the counter, the lower half first)."""
    value = T.arg("value", T.Buffer((2,), "int32"))
    T.evaluate(T.call_extern("int32", f"{prefix}ticks_now", value.data))


def _emit_shapes(sizes: Sequence[int]) -> None:
    """(sizes int32 [4]: floats in a row of ``read``, lanes and sums of the others, products a lane of ``dot`` or 0)."""
    to = T.arg("sizes", T.Buffer((len(sizes),), "int32"))
    for at, size in enumerate(sizes):
        T.buffer_store(to, T.int32(size), [at])
