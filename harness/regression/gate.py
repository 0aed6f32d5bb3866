"""Implement ``pytest suites --baseline NAME``: compare a run's runner with a baseline's as a nightly run does."""

from __future__ import annotations

from collections.abc import Mapping

from harness.core.errors import UsageError
from harness.devices import Device, Notify
from harness.native import Runner
from harness.regression.nightly import NightlyRun, refuse_emulated
from harness.regression.plan import plan_nightly, refuse_unlike, run_candidate
from harness.regression.verdicts import judge_nightly
from harness.results.baselines import Baselines
from harness.results.journal import write_plan
from harness.results.nightly import NIGHTLY, NightlyRecord
from harness.results.schema import WorkloadFacts
from harness.results.shared.borrowing import borrow_baseline, nightly_runs_of_all
from harness.run.builder import RunOptions


def gated(options: RunOptions, workloads: Mapping[str, WorkloadFacts]) -> list[str]:
    """Return the names that the gate judges: the timed variant, or the workload that has none."""
    return [options.variant if facts.way.variants else name for name, facts in workloads.items()]


class BaselineGate:
    """Compare a run with a baseline in a nightly run of its own; see :class:`harness.run.session.Gate`.

    With a results store, a baseline that is not here comes from there, and drift is looked for there, too.
    """

    def __init__(self, results_url: str | None = None) -> None:
        self._url = results_url

    def check(self, options: RunOptions, device: Device, workloads: Mapping[str, WorkloadFacts]) -> None:
        """Check what a person could have got wrong.
        Raises EmulatedDevice, BaselineNotFound, BaselineDamaged, UsageError.
        """
        assert options.baseline is not None
        refuse_emulated([device])
        if self._url is not None:
            borrow_baseline(self._url, options.baseline, options.results_dir, lambda _: None)
        baselines = Baselines(options.results_dir)
        kept = baselines.get(options.baseline)
        refuse_unlike(kept, [device])
        threads = kept.manifest.options.get("threads", options.threads)
        if threads != options.threads:
            # Both sides run the baseline's orders.
            raise UsageError(
                f"baseline {options.baseline} was measured with --threads {threads}, this run has {options.threads}",
                cure=f"use --threads {threads}, or set a baseline from a run like this one",
            )
        for which in gated(options, workloads):
            baselines.runner(options.baseline, which)
        for name, facts in workloads.items():
            known = kept.manifest.workloads.get(name)
            if known is None or known.weights_sha256 == facts.weights_sha256:
                continue
            if known.label != facts.label:
                raise UsageError(
                    f"baseline {options.baseline} is of another model ({known.label}) than this run ({facts.label})",
                    cure="choose the baseline's --checkpoint, or a baseline of this one",
                )
            raise UsageError(
                f"baseline {options.baseline} is of another {name} than this run: its weights differ",
                cure="set a baseline from a run of this one: harness baseline set RUN --name NAME",
            )

    def judge(
        self,
        run_id: str,
        options: RunOptions,
        device: Device,
        runner: Runner,
        workloads: Mapping[str, WorkloadFacts],
        notify: Notify,
    ) -> NightlyRecord:
        """Measure the run's runner and its baseline's in a nightly run of its own. Raises as :class:`NightlyRun`."""
        assert options.baseline is not None
        plan = plan_nightly(
            options.results_dir,
            options.baseline,
            [device],
            run_candidate({options.variant: runner}),
            only=gated(options, workloads),
            run=run_id,
        )
        folder = options.results_dir / NIGHTLY / plan.night_id
        write_plan(folder, plan)
        nightly = NightlyRun(
            folder, plan, {device.name: device}, notify=notify, cooldown=options.cooldown, deadline=options.deadline
        )
        result = nightly.run()
        return judge_nightly(options.results_dir, folder, result, nightly_runs_of_all(self._url, notify))
