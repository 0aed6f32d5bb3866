"""``pytest suites --baseline NAME``: a run's own runner beside a baseline's, judged as a night is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.conclude import conclude
from harness.devices import Device, Notify
from harness.errors import HarnessError, UsageError
from harness.journal import write_plan
from harness.maker import RunOptions
from harness.models.checkpoints import Checkpoint
from harness.native import Runner
from harness.night_plan import plan_night, run_candidate
from harness.nightly import Night, refuse_emulated
from harness.report.figures import DASH
from harness.report.night import causes, change, detectable, headline, interval
from harness.results.baselines import Baselines
from harness.results.nights import NIGHTS, NightRecord, Verdicts
from harness.results.schema import GateFacts, ModelFacts


class GateUndecided(HarnessError):
    """The night that a run was to be judged by has decided nothing."""

    cure = "the causes stand beside it; harness nightly --resume NIGHT goes on with what was not measured"


class GateWarning(UserWarning):
    """The gate saw something that it did not prove."""


def gated(options: RunOptions, models: Iterable[str]) -> list[str]:
    """What of a run is judged: its variant of G2P, and its models of tensors by name."""
    return [*([options.variant] if options.speaks else []), *models]


def check_baseline(
    options: RunOptions, device: Device, checkpoint: Checkpoint | None, models: Mapping[str, ModelFacts]
) -> None:
    """What a person could have got wrong: raises EmulatedDevice, BaselineNotFound, BaselineDamaged, UsageError."""
    if options.baseline is None:
        return
    refuse_emulated([device])
    baselines = Baselines(options.results_dir)
    kept = baselines.get(options.baseline)
    for which in gated(options, models):
        baselines.runner(options.baseline, which)
    known = kept.manifest.checkpoint
    if known is not None and checkpoint is not None and known.sha256 != checkpoint.sha256:
        raise UsageError(
            f"baseline {options.baseline} is of another model ({known.label}) than this run ({checkpoint.label})",
            cure="choose the baseline's --checkpoint, or a baseline of this one",
        )
    for name, facts in models.items():
        if kept.manifest.models[name].weights_sha256 != facts.weights_sha256:
            raise UsageError(
                f"baseline {options.baseline} is of another {name} than this run: its weights differ",
                cure="set a baseline from a run of this one: harness baseline set RUN --name NAME",
            )


def judge_run(
    run_id: str, options: RunOptions, device: Device, runner: Runner, models: Iterable[str], notify: Notify
) -> NightRecord:
    """Measure the run's runner beside its baseline's in a night of their own. Raises as :class:`Night` does."""
    assert options.baseline is not None
    plan = plan_night(
        options.results_dir,
        options.baseline,
        [device],
        run_candidate({options.variant: runner}),
        only=gated(options, models),
        run=run_id,
    )
    folder = options.results_dir / NIGHTS / plan.night_id
    write_plan(folder, plan)
    night = Night(
        folder, plan, {device.name: device}, notify=notify, cooldown=options.cooldown, deadline=options.deadline
    )
    return conclude(options.results_dir, folder, night.run())


def gate_facts(record: NightRecord) -> GateFacts:
    """For the run's manifest."""
    verdicts = judged(record)
    return GateFacts(
        night_id=verdicts.night_id, baseline=verdicts.baseline, verdict=verdicts.verdict, causes=_told(verdicts)
    )


def judged(record: NightRecord) -> Verdicts:
    assert record.verdicts is not None
    return record.verdicts


def gate_message(record: NightRecord) -> str:
    """Verdict and headline, then a line for each cell with its estimate, interval and minimum detectable effect."""
    verdicts = judged(record)
    lines = [f"{verdicts.verdict.upper()}: {headline(verdicts)} (harness nights {record.night_id})"]
    for unit in verdicts.units:
        for cell in unit.cells:
            figures = f"{change(cell)} [{interval(cell)}], would be found {detectable(cell)}"
            lines.append(
                f"  {unit.unit} {cell.metric}: {cell.verdict}, {figures if change(cell) != DASH else cell.cause}"
            )
    return "\n".join([*lines, *(f"  {cause}" for cause in _told(verdicts))])


def require_decided(record: NightRecord) -> None:
    """Raises GateUndecided."""
    if judged(record).verdict == "inconclusive":
        raise GateUndecided(gate_message(record))


def _told(verdicts: Verdicts) -> list[str]:
    return [f"{name}: {cause or verdict}" for name, verdict, cause in causes(verdicts)]
