"""Check that a record fits its order and the records before it.

The order determines all contents of its result: how many records of each kind, for which items, and how long their
lists are. So the order bounds what is kept of a result, whatever the runner writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.core.errors import UsageError
from harness.devices.base import AnyRecord
from harness.protocol.schema import (
    End,
    GenerationWorkload,
    Header,
    LanguageWorkload,
    Load,
    Machine,
    Memory,
    Output,
    Probe,
    ProfileRecord,
    Sample,
    TapsRecord,
    TensorWorkload,
    Thermal,
    Workload,
    WorkOrder,
)
from harness.protocol.tensors import DamagedTensors, decode

MAX_RECORDS = 500_000
"""The most records of one order; each takes about two kilobytes of memory."""
MAX_THERMAL = 10_000
MAX_NANOSECONDS = 10**15
"""Eleven days, longer than any order runs."""
MAX_UNIX_NANOSECONDS = 2**63 - 1
MAX_BYTES = 2**53
MAX_COUNT = 2**31 - 1
_INT64 = 2**63

LOG_ROUNDING = 1e-3
"""How far above zero rounding may put the logarithm of a probability."""


class Breaches:
    """Check the records of one process of an order, in their order; ``before`` are an earlier process's."""

    def __init__(self, order: WorkOrder, before: Sequence[AnyRecord] = ()) -> None:
        self.samples = 0
        """The samples of both processes."""
        self._order = order
        self._passes = order.warmup + order.repetitions
        self._workloads = {workload.name: workload for workload in order.workloads}
        self._items = {item.id: item.workload for item in order.items}
        self._functions = sum(len(workload.functions) for workload in order.workloads)
        self._sampled: Counter[str] = Counter()
        self._probed: Counter[str] = Counter()
        self._ended = False
        for record in before:
            self._count(record)
        self.has_header = any(isinstance(record, Header) for record in before)
        self._kinds: Counter[type[AnyRecord]] = Counter()
        self._total = len(before)
        least = (1 + (order.probe is not None)) * len(self._items) * min(1, self._passes)
        most_at_once = max((workload.batch_size for workload in order.workloads), default=1)
        least = max(least, -(-len(self._items) * self._passes // most_at_once))
        if least > MAX_RECORDS:
            raise UsageError(
                f"the order asks for {least} records at least, a result holds {MAX_RECORDS} at most",
                cure="measure fewer words or fewer repetitions",
            )

    def of(self, record: AnyRecord) -> str | None:
        """Return what is wrong with the next record, or None."""
        found = self._breach(record) or _out_of_range(record)
        if found is None:
            self._total += 1
            self._kinds[type(record)] += 1
            self.has_header |= isinstance(record, Header)
            self._ended = isinstance(record, End)
            self._count(record)
        return found

    def uncovered(self, end: End) -> str | None:
        """Return what the order asked for and did not get, or None."""
        if not self.has_header:
            return "no header"
        if end.samples != self.samples:
            return f"the end record counts {end.samples} samples, {self.samples} arrived"
        for item in self._items:
            if self._sampled[item] != self._passes:
                return f"item {item!r} has {self._sampled[item]} samples of {self._passes}"
            if self._order.probe is not None and self._probed[item] != 1:
                return f"item {item!r} has {self._probed[item]} probes instead of one"
        return None

    def _count(self, record: AnyRecord) -> None:
        if isinstance(record, Sample):
            self.samples += 1
            for item in record.items:
                self._sampled[item] += 1
        elif isinstance(record, Probe):
            for item in record.items:
                self._probed[item] += 1

    def _breach(self, record: AnyRecord) -> str | None:
        if self._ended:
            return f"a {record.record} record after the end record"
        if isinstance(record, Header):
            return self._breach_of_header(record)
        if isinstance(record, End):
            # An order that the runner could not read has no header and possibly no id of its own.
            if record.order_id != self._order.order_id:
                return f"the end record is of order {record.order_id!r}, not {self._order.order_id!r}"
            return None
        if not self._kinds[Header]:
            return f"a {record.record} record before the header"
        if self._total >= MAX_RECORDS:
            return f"more than {MAX_RECORDS} records"
        if isinstance(record, Memory | Machine | Thermal):
            most = MAX_THERMAL if isinstance(record, Thermal) else 1
            return f"more than {most} {record.record} records" if self._kinds[type(record)] >= most else None
        if record.workload not in self._workloads:
            return f"unknown workload {record.workload!r}"
        if isinstance(record, Load):
            return "more loads than functions" if self._kinds[Load] >= self._functions else None
        if isinstance(record, Sample | Probe):
            return self._breach_of_answer(record)
        if isinstance(record, TapsRecord):
            return self._breach_of_taps(record)
        if self._kinds[ProfileRecord] >= self._kinds[Sample]:
            return "a profile without a sample before it"
        if len(record.numbers) != len(record.values):
            return f"a profile of {len(record.numbers)} marks has {len(record.values)} values"
        return None

    def _breach_of_header(self, header: Header) -> str | None:
        if self._kinds[Header]:
            return "a second header"
        if header.order_id != self._order.order_id:
            return f"the result is of order {header.order_id!r}, not {self._order.order_id!r}"
        if header.archive_sha256 != self._order.archive_sha256:
            return f"the runner holds archive {header.archive_sha256[:12]}, not {self._order.archive_sha256[:12]}"
        if header.slowdown_percent != self._order.slowdown_percent:
            return f"the runner slows itself down by {header.slowdown_percent:g} %, which was not asked for"
        return None

    def _breach_of_answer(self, record: Sample | Probe) -> str | None:
        if isinstance(record, Probe) and self._order.probe is None:
            return "a probe that was not asked for"
        workload = self._workloads[record.workload]
        if isinstance(workload, TensorWorkload):
            found = self._breach_of_tensors(record, workload.outputs)
        else:
            found = self._breach_of_generation(record, workload)
        if found:
            return found
        counted, most = (self._sampled, self._passes) if isinstance(record, Sample) else (self._probed, 1)
        if len(set(record.items)) < len(record.items):
            return f"an item stands twice in {record.items!r}"
        for item in record.items:
            if counted[item] >= most:
                return f"item {item!r} has {counted[item] + 1} {record.record}s of {most}"
        return _breach_of_times(record, workload) if isinstance(record, Sample) else None

    def _breach_of_tensors(self, record: Sample | Probe, outputs: list[str]) -> str | None:
        if len(record.items) != 1 or self._items.get(record.items[0]) != record.workload:
            return f"items {record.items!r} are not one of workload {record.workload!r} in this order"
        if record.outputs:
            return f"item {record.items[0]!r} has words as outputs"
        if isinstance(record, Sample):
            return None if record.output_sha256 else "a sample of tensors without the hash of its outputs"
        try:
            found = set() if record.tensors is None else set(decode(record.tensors))
        except DamagedTensors as error:
            return f"item {record.items[0]!r}: {error.args[0]}"
        return None if found == set(outputs) else f"item {record.items[0]!r} has other outputs than {outputs}"

    def _breach_of_taps(self, record: TapsRecord) -> str | None:
        window = None if self._order.probe is None else self._order.probe.taps
        if window is None or window.item not in record.items:
            return "taps that were not asked for"
        before = self._kinds[TapsRecord]
        if record.part != before:
            return f"part {record.part} of the taps where part {before} belongs"
        try:
            found = decode(record.tensors)
        except DamagedTensors as error:
            return f"taps: {error.args[0]}"
        return None if set(found) == {"taps"} else "taps of another name"

    def _breach_of_generation(self, record: Sample | Probe, model: GenerationWorkload | LanguageWorkload) -> str | None:
        most = model.new_tokens if isinstance(model, LanguageWorkload) else model.max_output_len
        if len(record.outputs) != len(record.items) or not record.items:
            return f"{len(record.outputs)} outputs for {len(record.items)} items"
        for item, output in zip(record.items, record.outputs, strict=True):
            if self._items.get(item) != record.workload:
                return f"item {item!r} is not of workload {record.workload!r} in this order"
            if any(not 0 <= token < model.vocab_size for token in output.token_ids):
                return f"a token id of item {item!r} is outside the vocabulary of {model.vocab_size}"
            if len(output.token_ids) > most + 1:
                return f"item {item!r} has {len(output.token_ids)} tokens, the model gives {most}"
            found = self._breach_of_numbers(output, model.vocab_size) or _breach_of_end(output, model)
            if found:
                return f"item {item!r} has {found}"
        return None

    def _breach_of_numbers(self, output: Output, vocabulary: int) -> str | None:
        steps = len(output.token_ids)
        if output.margins is not None and len(output.margins) > steps:
            return f"{len(output.margins)} margins for {steps} tokens"
        if output.log_probabilities is not None:
            if len(output.log_probabilities) != steps:
                return f"{len(output.log_probabilities)} probabilities for {steps} tokens"
            if max(output.log_probabilities, default=0.0) > LOG_ROUNDING:
                return "a probability above one"
        if output.divergences is not None:
            if len(output.divergences) != steps:
                return f"{len(output.divergences)} divergences for {steps} tokens"
            if min(output.divergences, default=0.0) < 0:
                return "a divergence below zero"
        if output.logits:
            asked = set() if self._order.probe is None else set(self._order.probe.logit_steps)
            if not set(output.logits) <= asked:
                return "logits of a step that was not asked for"
            if any(len(logits) != vocabulary for logits in output.logits.values()):
                return f"logits for another vocabulary than of {vocabulary}"
        return None


def _breach_of_end(output: Output, model: GenerationWorkload | LanguageWorkload) -> str | None:
    if output.ended is None:
        return None
    if not isinstance(model, LanguageWorkload):
        return "a reason for its end, which only language models give"
    if output.ended == "stop_token" and output.token_ids[-1:] not in [[token] for token in model.stop_tokens]:
        return "ended at a stop token, and its last token is none"
    return None


def _breach_of_times(sample: Sample, workload: Workload) -> str | None:
    most = workload.capacity if isinstance(workload, LanguageWorkload) else 0
    if sample.prompt_tokens is not None and not 0 < sample.prompt_tokens <= most:
        return f"a prompt of {sample.prompt_tokens} tokens, which workload {workload.name!r} does not take"
    if isinstance(workload, LanguageWorkload) and len(sample.parts.get("step", ())) > workload.new_tokens:
        return f"more steps than the {workload.new_tokens} tokens of workload {workload.name!r}"
    unknown = next((name for name in sample.parts if name not in workload.parts), None)
    if unknown is not None:
        return f"times of {unknown[:20]!r}, which is not a part of workload {workload.name!r}"
    calls = [taken for part in sample.parts.values() for taken in part]
    if min(calls, default=0) < 0 or sample.total_ns < 0:
        return "a negative time"
    return "the parts take longer than the whole" if sum(calls) > sample.total_ns else None


def _out_of_range(record: AnyRecord) -> str | None:
    # Most records are valid samples, so this is checked first.
    if isinstance(record, Sample) and 0 <= record.repetition <= MAX_COUNT and record.total_ns <= MAX_NANOSECONDS:
        return None
    for name, value, least, most in _numbers(record):
        if value is not None and not least <= value <= most:
            return f"{name} is {value:.6g}, out of the range from {least} to {most}"
    return None


def _numbers(record: AnyRecord) -> Iterator[tuple[str, float | None, int, int]]:
    """Yield a record's numbers with the range of each, unless :meth:`Breaches.of` checks a narrower one."""
    if isinstance(record, Header):
        yield "threads", record.threads, 0, MAX_COUNT
        yield "pid", record.pid, 0, 2 * MAX_COUNT
        yield "cpu.cores", record.cpu.cores, 0, MAX_COUNT
        yield "started_unix_ns", record.started_unix_ns, 0, MAX_UNIX_NANOSECONDS
    elif isinstance(record, Load):
        yield "load_ns", record.load_ns, 0, MAX_NANOSECONDS
    elif isinstance(record, Sample):
        yield "repetition", record.repetition, 0, MAX_COUNT
        # The parts are checked elsewhere: they are not negative, and together not more than this.
        yield "total_ns", record.total_ns, 0, MAX_NANOSECONDS
    elif isinstance(record, Thermal):
        yield "at_unix_ns", record.at_unix_ns, 0, MAX_UNIX_NANOSECONDS
    elif isinstance(record, Memory):
        yield "peak_bytes", record.peak_bytes, 0, MAX_BYTES
    elif isinstance(record, ProfileRecord):
        yield "repetition", record.repetition, 0, MAX_COUNT
        for name, values in (("numbers", record.numbers), ("values", record.values)):
            yield name, min(values, default=0), -_INT64, _INT64 - 1
            yield name, max(values, default=0), -_INT64, _INT64 - 1
    elif isinstance(record, Machine):
        for size, rate in record.bandwidth.items():
            yield "bandwidth", size, 0, MAX_BYTES
            yield "bandwidth", rate, 0, 10**18
        for name, rate in record.flops.items():
            yield f"flops.{name[:20]}", rate, 0, 10**21
    elif isinstance(record, End):
        yield "samples", record.samples, 0, MAX_COUNT
