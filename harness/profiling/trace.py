"""A profile as a trace in the format of Chrome, which Perfetto and speedscope open, too.

Format: "Trace Event Format" (Google, the JSON object form). One process, one thread; complete events (``X``) nest by
their times: a sample, in it the calls of functions, in them the kernels. Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from harness.compiler.provenance import Provenance, Site
from harness.profiling.marks import Call, calls
from harness.profiling.schema import ProfileLine
from harness.profiling.summary import site_time
from harness.protocol import Phase, ProfileRecord, Sample

PROCESS, THREAD = 1, 1
GAP_NS = 10_000
"""Between samples, whose distance nobody measured."""


def chrome_trace(
    lines: Iterable[ProfileLine], provenance: Provenance, words: Mapping[str, str], title: str
) -> dict[str, Any]:
    """The first timed pass over the items, each with its name of ``words``. Raises BadMarks."""
    events = [_named("process_name", title), _named("thread_name", "model")]
    leaves = {f.name: list(f.leaves()) for f in provenance.functions}
    start, sample, seen = 0, None, set()
    for line in lines:
        record = line.record
        if not line.profiled:
            continue
        if isinstance(record, Sample):
            sample = record
        if not isinstance(record, ProfileRecord) or sample is None or record.phase is not Phase.TIMED:
            continue
        items = " ".join(record.items)
        if items in seen:
            continue
        seen.add(items)
        made = list(calls(provenance, record))
        length = max([sample.total_ns, *(call.end for call in made)])
        name = " ".join(words.get(item, item) for item in record.items)
        events.append(_event(name, "sample", start, length, {"items": items}))
        events += _functions(made, provenance, leaves, start)
        start += length + GAP_NS
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _functions(
    made: Iterable[Call], provenance: Provenance, leaves: Mapping[str, list[Site]], start: int
) -> Iterator[dict[str, Any]]:
    functions = {function.name: function for function in provenance.functions}
    for (name, invocation), group in groupby(made, key=lambda call: (call.function, call.invocation)):
        kernels = list(group)
        begin = kernels[0].begin
        yield _event(name, "function", start + begin, kernels[-1].end - begin, {"call": invocation})
        for call in kernels:
            site = leaves[name][call.index]
            told = site_time(functions[name], call.index, site, [call])
            what = " ".join(told.operators) or site.kernel
            known = {"module": told.module, "kernel": site.kernel, "nodes": " ".join(told.nodes)}
            amounts = {key: value for key, value in (("bytes", call.bytes), ("flops", call.flops)) if value is not None}
            yield _event(what, "kernel", start + call.begin, call.end - call.begin, known | amounts)


def _event(name: str, category: str, begin: int, length: int, told: Mapping[str, Any]) -> dict[str, Any]:
    times = {"ts": begin / 1000, "dur": length / 1000}
    return {"name": name, "cat": category, "ph": "X", "pid": PROCESS, "tid": THREAD, **times, "args": dict(told)}


def _named(what: str, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": PROCESS, "tid": THREAD, "args": {"name": name}}
