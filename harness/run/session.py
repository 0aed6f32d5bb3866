"""Do the main job: compile, build, run, compare, measure, keep. This module does not use pytest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

from harness.compiler.observe.provenance import read_provenance
from harness.compiler.targets import resolve_target
from harness.core.progress import ProgressReporter
from harness.devices import Device, Notify, RunnerDescription, RunResult
from harness.devices.workstation import versions
from harness.native import Runner
from harness.results import Run, RunWriter, Store, Summary, WorkloadFacts, ending
from harness.results.nightly import NightlyRecord, gate_facts
from harness.results.schema.profile import ProfileSummary
from harness.results.sources import sources
from harness.run.builder import Builder, RunOptions, stored_form
from harness.run.context import RunContext
from harness.run.orders import Purpose
from harness.run.pairs import PairedTimes, PairRuns
from harness.run.workloads import WorkloadRun


class Gate(Protocol):
    """Compare a run with a baseline; :class:`harness.regression.gate.BaselineGate` is the real gate."""

    def check(self, options: RunOptions, device: Device, workloads: Mapping[str, WorkloadFacts]) -> None:
        """Raise errors for what a person could have got wrong, before anything is compiled."""
        ...

    def judge(
        self,
        run_id: str,
        options: RunOptions,
        device: Device,
        runner: Runner,
        workloads: Mapping[str, WorkloadFacts],
        notify: Notify,
    ) -> NightlyRecord:
        """Return the nightly run that measured the runner and the baseline's."""
        ...


class RunSession:
    """Make one run in one run folder. Call :meth:`start` first and :meth:`finish` last, whatever happened between."""

    def __init__(
        self,
        options: RunOptions,
        device: Device,
        reporter: ProgressReporter,
        *,
        builder: Builder,
        gate: Gate | None = None,
        command: list[str] | None = None,
    ) -> None:
        options = replace(options, target=options.target or device.target)
        self.context = RunContext(options, device, reporter, builder)
        self.options = options
        self.device = device
        self.policy = options.policy
        self._gate = gate
        self._command = command or []
        self.workloads: dict[str, WorkloadRun] = {}
        """All workloads, in the order in which they run."""
        self.turns = PairRuns(self.context, self.workloads)
        """Times every workload alternately with PyTorch."""

    def start(self) -> str:
        """Check everything a person could have got wrong, then make the run folder; return the run id.

        Raises UsageError, CheckpointUnavailable, StorageFull or StorageUnwritable, with nothing left behind.
        """
        options, context = self.options, self.context
        options.check()
        if options.mcpu:
            resolve_target(options.target or self.device.target, options.mcpu)
        with context.stage("looking at the models") as stage:
            context.workloads = context.builder.workloads(options, stage.describe)
        for workload in context.workloads:
            workload.check()
            self.workloads[workload.name] = WorkloadRun(context, workload)
        facts = {name: one.facts() for name, one in self.workloads.items()}
        context.quiet = self.turns.quiet
        if options.baseline is not None:
            assert self._gate is not None, "a run with a baseline is given its gate"
            self._gate.check(options, self.device, facts)
        context.writer = Store(options.results_dir).create(
            git=sources(),
            versions=versions(),
            command=self._command,
            options=stored_form(options),
            device={**self.device.facts(), "emulated": self.device.emulated},
            policy=self.policy,
            workloads=facts,
        )
        return self.run_id

    @property
    def label(self) -> str:
        """Return a person's name for what is run."""
        return self.context.label

    @property
    def model_names(self) -> list[str]:
        """Return the models' names as work orders contain them."""
        return list(self.workloads)

    @property
    def writer(self) -> RunWriter:
        return self.context.writer

    @property
    def run_id(self) -> str:
        return self.writer.run_id

    @property
    def folder(self) -> Path:
        return self.writer.folder

    def runner(self, variant: str, *, profile: bool = False) -> Runner:
        """Return a variant's runner; see :meth:`RunContext.runner`."""
        return self.context.runner(variant, profile=profile)

    def describe(self, variant: str) -> RunnerDescription:
        """Return a variant's description; see :meth:`RunContext.describe`."""
        return self.context.describe(variant)

    def of(self, source: str) -> list[str]:
        """Return the names of the workloads from one source of ``--models``."""
        return [name for name, one in self.workloads.items() if one.source == source]

    def functions(self, name: str) -> list[str]:
        """Return the names of the functions that the timed variant of a workload has in its archive."""
        kind = self.workloads[name].workload.kind
        described = self.runner(self.options.variant).archive.metadata.workload(name, kind)
        return [] if described is None else list(described.functions)

    def pairs(self, model: str) -> PairedTimes | None:
        """Time the runner and PyTorch alternately on the same items.
        Returns None if this machine is not the device, or if the options give no time for it.
        """
        return self.turns.take(model)

    def gate(self) -> NightlyRecord:
        """Measure the runner and the baseline's in interleaved pairs, and judge (docs/measuring.md)."""
        return self.context.once("gate", self._judge)

    def profile(self, model: str) -> ProfileSummary:
        """Measure the time per operator of a model, in the timed variant if it has several.
        The profile uses an archive of its own, so that it affects nothing else.
        """
        return self.context.once(f"profile {model}", lambda: self._profile(model))

    @property
    def profiles(self) -> list[ProfileSummary]:
        """Return the profiles that were made."""
        found = (self.context.done.get(f"profile {name}") for name in self.model_names)
        return [cast(ProfileSummary, one) for one in found if one is not None]

    def order_reason(self, purpose: Purpose, name: str) -> str | None:
        """Return why the order of a variant, or of a workload without variants, is incomplete; None if it is not."""
        for entry in self.writer.manifest.orders:
            if (entry.purpose, entry.name) == (purpose, name) and not entry.complete:
                return entry.reason
        return None

    def finish(self, interrupted: bool = False) -> Summary:
        """Sum up, end the run and return its summary."""
        from harness.results.summarize import summarize_files

        self.turns.close()
        writer = self.writer
        status, reason = ending(writer.manifest, list(self.context.errors.values()), interrupted)
        run = Run(writer.folder)
        manifest = writer.manifest.model_copy(update={"status": status, "reason": reason})
        summary = summarize_files(manifest, run)
        writer.summary(summary)
        writer.finish(status, reason)
        return summary

    def close(self) -> None:
        """Close the run's files without ending the run, for use when ending it failed."""
        self.turns.close()
        self.writer.close()

    def _profile(self, model: str) -> ProfileSummary:
        from harness.run.profile import profile_run

        self.turns.quiet()
        workload = self.workloads[model]

        def passes(warmup: int, repetitions: int, runner: Runner) -> RunResult:
            return workload.passes("profile", warmup=warmup, repetitions=repetitions, runner=runner)

        summary = profile_run(self.context, model, passes)
        provenance = read_provenance(self.runner(self.options.variant, profile=True).archive.folder)
        self.writer.profiles([*self.profiles, summary], provenance)
        return summary

    def _judge(self) -> NightlyRecord:
        assert self._gate is not None, "a run with a baseline is given its gate"
        runner = self.runner(self.options.variant)
        self.turns.quiet()
        with self.context.stage(f"measuring against {self.options.baseline}") as stage:
            record = self._gate.judge(
                self.run_id, self.options, self.device, runner, self.writer.manifest.workloads, stage.describe
            )
        self.writer.update(gate=gate_facts(record))
        return record
