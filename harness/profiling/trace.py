"""Write a run's profiles as a trace in Chrome's format, which Perfetto and speedscope open, too.

Format: "Trace Event Format" (Google, the JSON object form). A process for each model, with one thread; complete events
(``X``) nest by their times: a sample, in it the calls of functions, in them the kernels. Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from harness.compiler.observe.provenance import Provenance
from harness.profiling.marks import Call, calls
from harness.profiling.summary import site_time
from harness.protocol.schema import Phase, ProfileRecord, Sample
from harness.results.schema.profile import ProfileLine

THREAD = 1
GAP_NS = 10_000
"""The drawn distance between samples; the real one is not measured."""


class _Track:
    """Describe a model's process in the trace."""

    def __init__(self, number: int, provenance: Provenance) -> None:
        self.number, self.provenance = number, provenance
        self._functions = {function.name: function for function in provenance.functions}
        self._leaves = {function.name: list(function.leaves()) for function in provenance.functions}

    def names(self, title: str, model: str) -> list[dict[str, Any]]:
        return [self._named("process_name", f"{title}, {model}"), self._named("thread_name", model)]

    def functions(self, made: Iterable[Call], start: int) -> Iterator[dict[str, Any]]:
        for (name, invocation), group in groupby(made, key=lambda call: (call.function, call.invocation)):
            kernels = list(group)
            begin = kernels[0].begin
            yield self.event(name, "function", start + begin, kernels[-1].end - begin, {"call": invocation})
            for call in kernels:
                site = self._leaves[name][call.index]
                details = site_time(self._functions[name], call.index, site, [call])
                what = " ".join(details.operators) or site.kernel
                known = {"module": details.module, "kernel": site.kernel, "nodes": " ".join(details.nodes)}
                amounts = {
                    key: value for key, value in (("bytes", call.bytes), ("flops", call.flops)) if value is not None
                }
                yield self.event(what, "kernel", start + call.begin, call.end - call.begin, known | amounts)

    def event(self, name: str, category: str, begin: int, length: int, details: Mapping[str, Any]) -> dict[str, Any]:
        times = {"ts": begin / 1000, "dur": length / 1000}
        return {"name": name, "cat": category, "ph": "X", **self._place, **times, "args": dict(details)}

    def _named(self, what: str, name: str) -> dict[str, Any]:
        return {"name": what, "ph": "M", **self._place, "args": {"name": name}}

    @property
    def _place(self) -> dict[str, int]:
        return {"pid": self.number, "tid": THREAD}


def chrome_trace(
    lines: Iterable[ProfileLine], provenance: Provenance, words: Mapping[str, str], title: str
) -> dict[str, Any]:
    """Return a trace of the first timed pass over each model's items; ``words`` contains the items' names.

    Raises BadMarks.
    """
    events: list[dict[str, Any]] = []
    tracks: dict[str, _Track] = {}
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
        if (record.workload, items) in seen:
            continue
        seen.add((record.workload, items))
        if record.workload not in tracks:
            tracks[record.workload] = _Track(len(tracks) + 1, provenance.of(record.workload))
            events += tracks[record.workload].names(title, record.workload)
        track = tracks[record.workload]
        made = list(calls(track.provenance, record))
        length = max([sample.total_ns, *(call.end for call in made)])
        name = " ".join(words.get(item, item) for item in record.items)
        events.append(track.event(name, "sample", start, length, {"items": items}))
        events += track.functions(made, start)
        start += length + GAP_NS
    return {"traceEvents": events, "displayTimeUnit": "ns"}
