"""Have a run's items run inside a user's app, and keep the app's records as a run of their own (docs/apps.md).

The app gets the run's orders, under ids of their own, and writes the records that a device runner writes. Its file was
made by another program on another machine, so it is read with the same distrust as a device's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.core.errors import HarnessError, UsageError
from harness.core.progress import ProgressReporter
from harness.devices import AnyRecord
from harness.devices.collect import MAX_LINE_BYTES, ResultReader
from harness.devices.workstation import versions
from harness.models.workload import Expected, Workload
from harness.protocol.schema import Header, WorkOrder
from harness.results import (
    Manifest,
    OrderEntry,
    ParityLine,
    Run,
    RunWriter,
    SampleLine,
    Store,
    Summary,
    VariantFacts,
    ending,
)
from harness.results.schema import SELF_TEST
from harness.results.sources import sources
from harness.run.builder import Builder, RunOptions, stored_options
from harness.run.workloads import reference_lines

SUFFIX = "-app"
"""The end of an order's id, by which the device's own records are distinguished from the app's."""
PURPOSES = ("parity", "latency")


class NoSelfTest(UsageError):
    """A run has nothing that an app could run."""

    cure = "name a run that compared and timed its models: pytest suites --device …"


class UnreadableSelfTest(UsageError):
    """A file is not what an app's self-test writes."""

    cure = "copy the file from the app again; the app's call of the self-test names it"


class OtherModels(HarnessError):
    """The models are not those that the run measured any more."""

    cure = "make a new run of today's models, and test the app with its orders"


@dataclass(frozen=True)
class AppOrder:
    """Hold an order for an app, and the entry of the run's order that it repeats."""

    entry: OrderEntry
    order: WorkOrder


@dataclass(frozen=True)
class AppResult:
    """Hold an app's records of an order. ``reason`` states why they are not complete; None if they are."""

    of: AppOrder
    records: Sequence[AnyRecord]
    reason: str | None


def app_orders(run: Run) -> list[AppOrder]:
    """Return a run's orders for an app: what was compared and timed, in the timed variant. Raises NoSelfTest."""
    manifest = run.manifest()
    variant = _options(run, manifest).variant
    found = []
    for entry in manifest.orders:
        if entry.purpose not in PURPOSES or entry.variant not in ("", variant):
            continue
        order = run.order(entry.order_id)
        found.append(AppOrder(entry, order.model_copy(update={"order_id": order.order_id + SUFFIX})))
    if not found:
        raise NoSelfTest(f"run {run.run_id} compared and timed nothing")
    return found


def read_results(path: Path, orders: Sequence[AppOrder]) -> list[AppResult]:
    """Return the app's records of each order, as far as they can be believed; raises UnreadableSelfTest."""
    try:
        with path.open("rb") as file:
            lines = _lines(file)
            found = [_result(order, lines) for order in orders]
            rest = next(lines, None)
    except OSError as error:
        raise UnreadableSelfTest(f"cannot read {path}: {error.strerror}") from error
    if rest is not None and all(result.reason is None for result in found):
        last = found[-1]
        found[-1] = AppResult(last.of, last.records, "more records follow its end")
    return found


def keep_self_test(
    run: Run,
    results: Sequence[AppResult],
    *,
    device: str | None,
    emulated: bool,
    store: Store,
    builder: Builder,
    reporter: ProgressReporter,
    command: list[str],
) -> tuple[Run, Summary]:
    """Compare an app's answers with PyTorch's, and store them as a run. Raises OtherModels and what PyTorch raises."""
    from harness.results.summarize import summarize_files

    manifest = run.manifest()
    options = _options(run, manifest)
    with reporter.stage("looking at the models") as stage:
        workloads = {one.name: one for one in builder.workloads(options, stage.describe)}
    _check_same(run, manifest, workloads)
    variants = {name: facts for name, facts in manifest.variants.items() if name == options.variant}
    writer = store.create(
        git=sources(),
        versions=versions(),
        command=command,
        options=manifest.options,
        device=_device(run, results, device, emulated),
        policy=manifest.policy,
        workloads=manifest.workloads,
        # The app's file is not known here, so there is no runner.
        variants={name: _without_runner(facts) for name, facts in variants.items()},
        reference=manifest.reference,
    )
    with writer:
        for result in results:
            _keep(writer, result)
        for name, workload in workloads.items():
            with reporter.stage(f"asking PyTorch about {name}") as stage:
                expected = workload.expected(stage.describe)
            writer.reference(reference_lines(workload, expected))
            writer.parity(_compared(workload, expected, results))
        status, reason = ending(writer.manifest, [], interrupted=False)
        stored = Run(writer.folder)
        summary = summarize_files(writer.manifest.model_copy(update={"status": status, "reason": reason}), stored)
        writer.summary(summary)
        writer.finish(status, reason)
    return stored, summary


def _options(run: Run, manifest: Manifest) -> RunOptions:
    try:
        return stored_options(manifest.options)
    except ValidationError as error:
        raise NoSelfTest(f"the options of run {run.run_id} cannot be read: {error.errors()[0]['msg']}") from error


def _lines(file: Any) -> Iterator[bytes]:
    """Yield lines, each at most a little longer than a reader takes: a file without line ends fills no memory."""
    while line := file.readline(MAX_LINE_BYTES + 2):
        yield line


def _result(of: AppOrder, lines: Iterator[bytes]) -> AppResult:
    """Return the records of an order, whose end record is the last of them. Takes no line behind it."""
    reader = ResultReader(None, of.order)
    for line in lines:
        reader.feed(line)
        if reader.end is not None or reader.fault is not None:
            break
    return AppResult(of, tuple(reader.records), reader.missing())


def _check_same(run: Run, manifest: Manifest, workloads: Mapping[str, Workload[Any]]) -> None:
    for name, facts in manifest.workloads.items():
        workload = workloads.get(name)
        if workload is None:
            raise OtherModels(f"the model {name} of run {run.run_id} is not there any more")
        if workload.weights_sha256 != facts.weights_sha256:
            raise OtherModels(f"the model {name} has other weights than run {run.run_id} measured")
        if workload.items_sha256 != facts.items_sha256:
            raise OtherModels(f"the model {name} has other items than run {run.run_id} measured")


def _device(run: Run, results: Sequence[AppResult], name: str | None, emulated: bool) -> dict[str, Any]:
    header = next((record for result in results for record in result.records if isinstance(record, Header)), None)
    facts: dict[str, Any] = {"kind": SELF_TEST, "of_run": run.run_id, "emulated": emulated}
    if header is None:
        return {**facts, "name": name or "an app"}
    cpu = header.cpu
    known = {"os": header.os, "arch": header.arch, "cpu_model": cpu.model, "cores": cpu.cores}
    return {**facts, "name": name or f"an app on {header.os} {header.arch}", **known}


def _without_runner(facts: VariantFacts) -> VariantFacts:
    return facts.model_copy(update={"runner_sha256": "", "runner_bytes": 0, "runner_version": None})


def _keep(writer: RunWriter, result: AppResult) -> None:
    header = next((record for record in result.records if isinstance(record, Header)), None)
    began = writer.manifest.started
    if header is not None:
        began = datetime.fromtimestamp(header.started_unix_ns / 1e9, timezone.utc).isoformat(timespec="seconds")
    of = result.of
    entry = OrderEntry(
        order_id=of.order.order_id,
        purpose=of.entry.purpose,
        workload=of.entry.workload,
        variant=of.entry.variant,
        started=began,
        complete=result.reason is None,
        reason=result.reason,
    )
    writer.begin_order(entry, of.order)
    for record in result.records:
        writer.sample(SampleLine(order=entry.order_id, record=record))


def _compared(workload: Workload[Any], expected: Expected[Any], results: Sequence[AppResult]) -> Iterator[ParityLine]:
    """Yield a workload's comparisons: of the parity order, and of the timed passes."""
    own = {result.of.entry.purpose: result for result in results if result.of.entry.workload == workload.name}
    probed = own["parity"].records if "parity" in own else ()
    if "parity" in own:
        variant = own["parity"].of.entry.variant
        for row in workload.compare(workload.items, expected.answers, probed):
            yield ParityLine(**row.model_dump(), variant=variant)
    if "latency" in own:
        timed = own["latency"]
        for row in workload.compare(timed.of.order.items, expected.answers, probed, timed.records):
            yield ParityLine(**row.model_dump(), variant=timed.of.entry.variant, passes="timed")
