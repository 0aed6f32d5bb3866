"""Instrument for profiling: kernels report when they begin and end, and the work of a call that depends on the call.

A kernel calls ``mark`` with its number when it begins and with the number's complement when it ends. A part of a merged
kernel begins where the part before it ends. A call of ``work`` reports the bytes and FLOPs that are known only when the
kernel runs. The C functions read the processor's counter and keep the events in memory of their own.

An archive that is instrumented for profiling also has packed functions for the runner, in the system library under the
prefix ``<base>profile_``: ``take`` and ``ticks`` return the events and the counter; ``read``, ``multiply_add`` and
``dot`` do one thing as fast as the processor can, for the roofline, on tensors of the sizes that ``shapes`` returns.
An archive of several models has one set for each model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm.tirx.script import builder as T

from harness.compiler.kernels.cost import Cost
from harness.compiler.kernels.instrument import Instrumentation
from harness.compiler.objects import compile_c, export_objects
from harness.compiler.observe.machine import CHAINS, DOTS, STREAMS, emit_dot, emit_multiply_add, emit_read, function
from harness.compiler.targets import CompileTarget

UNCOUNTED = -1
"""The FLOPs of a call that counts none."""
CAPACITY = 1 << 18
"""The number of events kept until they are taken, of two 64-bit numbers each. Pages that are not written cost
nothing."""
BYTES = "INT64_MIN"
FLOPS = "INT64_MIN + 1"
"""The numbers of events with a call's work. No kernel has them; see ``harness/profiling/marks.py``."""

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


class Marks(Instrumentation):
    """Make the calls of a kernel that is instrumented for profiling."""

    def begin(self, name: str, cost: Cost) -> Iterator[Any]:
        yield self._call("mark", self.of(name))
        if not cost.is_known:
            yield self._call("work", cost.bytes, UNCOUNTED if cost.flops is None else cost.flops)

    def end(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        yield self._call("mark", ~self.of(name))

    def end_part(self, name: str, outputs: Sequence[Any]) -> Iterator[Any]:
        yield from ()

    def end_merged(self, name: str) -> Iterator[Any]:
        yield from self.end(name, ())


def profile_prefix(base: str) -> str:
    """Return the prefix of a model's profiling functions, from the model's own prefix."""
    return f"{base}profile_"


def profiling_objects(prefix: str, folder: Path, target: CompileTarget) -> list[Path]:
    """Write the objects of the profiling functions into ``folder``. Raises ArchiveFailed."""
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
    """Emit ``take``: (events int32 [n, 4], counts int32 [2]).

    An event is number and value, lower halves first. The counts are how many there are and how many were lost.
    """
    events = T.arg("events", T.Buffer((tvm.tirx.Var("n", "int64"), 4), "int32"))
    counts = T.arg("counts", T.Buffer((2,), "int32"))
    T.evaluate(T.call_extern("int32", f"{prefix}take_events", events.data, events.shape[0], counts.data))


def _emit_ticks(prefix: str) -> None:
    """Emit ``ticks``: (value int32 [2]: the counter, the lower half first)."""
    value = T.arg("value", T.Buffer((2,), "int32"))
    T.evaluate(T.call_extern("int32", f"{prefix}ticks_now", value.data))


def _emit_shapes(sizes: Sequence[int]) -> None:
    """Emit ``shapes``: (sizes int32 [4]).

    The sizes are the floats in a row of ``read``, lanes and sums of the others, and products a lane of ``dot`` or 0.
    """
    to = T.arg("sizes", T.Buffer((len(sizes),), "int32"))
    for at, size in enumerate(sizes):
        T.buffer_store(to, T.int32(size), [at])
