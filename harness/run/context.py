"""Hold what the steps of one run share: the device, the run's files and the runners. Every step is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from harness.compiler import Archive
from harness.compiler.observe.provenance import LayerError, read_provenance
from harness.core.errors import HarnessError, UsageError
from harness.core.progress import ProgressReporter, ProgressStage
from harness.devices import Device, RunnerDescription
from harness.models.workload import Workload
from harness.native import Runner
from harness.results import RunWriter, VariantFacts
from harness.run.builder import Builder, RunOptions, app_options
from harness.run.orders import Orders

_T = TypeVar("_T")
MOST_LAYERS = 20
"""How many layers of a model are kept with their errors."""


class RunContext:
    """Share the state of one run between its steps. :class:`harness.run.session.RunSession` makes it and fills it in.

    A step that failed fails again with the same error, so that one cause is reported once and costs its time once. A
    prefetching thread may ask for a step too (:mod:`harness.run.prefetch`): the second caller waits for the first.
    """

    def __init__(self, options: RunOptions, device: Device, reporter: ProgressReporter, builder: Builder) -> None:
        self.options = options
        self.device = device
        self.builder = builder
        self.workloads: Sequence[Workload[Any]] = ()
        """Every workload, in the order in which they run."""
        self.quiet: Callable[[], None] = lambda: None
        """Waits until all loading has ended, before something is timed."""
        self.done: dict[str, object] = {}
        self.errors: dict[str, HarnessError] = {}
        self._reporter = reporter
        self._lock = threading.RLock()
        self._writer: RunWriter | None = None

    @property
    def writer(self) -> RunWriter:
        assert self._writer is not None, "start() comes first"
        return self._writer

    @writer.setter
    def writer(self, writer: RunWriter) -> None:
        self._writer = writer

    @property
    def orders(self) -> Orders:
        """Return the object that brings orders to the device, and their records into the run's files."""
        options = self.options
        return Orders(self.device, self.writer, self.stage, cooldown=options.cooldown, deadline=options.deadline)

    @property
    def label(self) -> str:
        """Return a person's name for what is run."""
        return ", ".join(one.label for one in self.workloads)

    def stage(self, title: str) -> AbstractContextManager[ProgressStage]:
        """Show a piece of work to a person."""
        return self._reporter.stage(title)

    def once(self, key: str, make: Callable[[], _T]) -> _T:
        """Return the result of the first call of ``make`` for this key, or raise the error that it raised then."""
        with self._lock:
            if key in self.errors:
                raise self.errors[key]
            if key not in self.done:
                try:
                    self.done[key] = make()
                except HarnessError as error:
                    self.errors[key] = error
                    raise
            return cast(_T, self.done[key])

    def runner(self, variant: str, *, profile: bool = False) -> Runner:
        """Return the runner with that variant linked in; with ``profile`` its archive is instrumented.

        Raises UsageError for more threads than it can use, and what compiling and building raise.
        """
        kind = f"{variant}, instrumented for profiling" if profile else variant
        return self.once(f"runner {kind}", lambda: self._make_runner(variant, kind, profile))

    def describe(self, variant: str) -> RunnerDescription:
        """Deploy and start the runner, and return its description of itself."""
        runner = self.runner(variant)

        def describe() -> RunnerDescription:
            self.orders.deploy(runner)
            return self.device.describe(runner.path)

        return self.once(f"describe {variant}", describe)

    def _make_runner(self, variant: str, kind: str, profile: bool) -> Runner:
        with self.stage(f"compiling {self.label} ({kind})") as stage:

            def make(options: RunOptions) -> Archive:
                return self.builder.archive(options, self.workloads, variant, stage.describe, profile=profile)

            archive = make(self.options)
            app = app_options(self.options, self.device.companion, make)
        metadata = archive.metadata
        if self.options.threads > metadata.max_threads:
            raise UsageError(
                f"{self.options.threads} threads were asked for, the compiled model can use {metadata.max_threads}",
                cure=f"use --threads {metadata.max_threads}",
            )
        with self.stage(f"building the runner ({kind})") as stage:
            runner = self.builder.runner(archive, stage.describe, app)
        if profile:
            return runner
        facts = VariantFacts(
            archive_sha256=archive.sha256,
            archive_bytes=archive.path.stat().st_size,
            runner_sha256=runner.sha256,
            runner_bytes=runner.size,
            target=metadata.target,
            rounding=_rounding(archive),
        )
        self.writer.update(variants={**self.writer.manifest.variants, variant: facts})
        return runner


def _rounding(archive: Archive) -> dict[str, list[LayerError]]:
    """Return the layers that stay wide for their errors, and those with the largest errors, by workload."""
    if archive.metadata.precision == "fp32":
        return {}
    found: dict[str, list[LayerError]] = {}
    for function in read_provenance(archive.folder).functions:
        found.setdefault(function.model, []).extend(function.rounding)
    return {model: sorted(layers, key=_rank)[:MOST_LAYERS] for model, layers in found.items()}


def _rank(one: LayerError) -> tuple[bool, float]:
    return not one.kept, -(one.error if one.whole is None else one.whole)
