"""Time a run's models alternately with PyTorch: decide when PyTorch is loaded and when it is closed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.errors import HarnessError
from harness.core.worker import WorkerError, WorkerFailed
from harness.devices import DeviceError, IncompleteResult
from harness.models.timing import TimedPyTorch
from harness.results import PairingFacts, PairLine, now
from harness.run.context import RunContext
from harness.run.turns import Turns
from harness.run.workloads import WorkloadRun

if TYPE_CHECKING:
    from harness.results.schema import RatioSummary

HOST = "host"


@dataclass(frozen=True)
class PairedTimes:
    """Hold the times of a model timed alternately with PyTorch; ``ratio`` is None if no round is whole."""

    facts: PairingFacts
    lines: list[PairLine]
    ratio: RatioSummary | None
    error: HarnessError | None = None
    """The error that ended it early."""

    def round_figures(self, side: str) -> list[float]:
        """Return the geometric mean over the items for each whole round of a side, in nanoseconds."""
        from harness.measure import run_figure
        from harness.results.pairs import whole_rounds

        table = whole_rounds(self.lines, self.facts)
        rounds = zip(*table.values(), strict=True)
        return [
            run_figure({line.item: line.artifact_ns if side == "artifact" else line.pytorch_ns for line in lines})
            for lines in rounds
        ]


class PairRuns:
    """Keep one process of PyTorch at a time, with the models of one source in it.
    Two sources in one process could disturb each other by what they set or import.
    """

    def __init__(self, context: RunContext, workloads: Mapping[str, WorkloadRun]) -> None:
        self._context = context
        self._workloads = workloads
        self._pytorch: TimedPyTorch | None = None
        self._loaded: list[str] = []
        self._taken: set[str] = set()

    @property
    def possible(self) -> bool:
        """Return whether PyTorch can be timed where the runner is timed: times of two machines have no ratio."""
        return self._context.device.kind == HOST and self._context.options.pair_seconds > 0

    def expect(self) -> None:
        """Begin to load the first model in PyTorch while untimed steps run."""
        if self.possible and self._workloads and self._pytorch is None:
            self._load(next(iter(self._workloads)))

    def quiet(self) -> None:
        """Wait until all loading has ended, before something is timed.
        A model that cannot be loaded fails later, where it is needed.
        """
        if self._pytorch is None:
            return
        try:
            with self._context.stage("loading PyTorch") as stage:
                self._pytorch.settle(stage.describe)
        except HarnessError:
            self.close()

    def take(self, model: str) -> PairedTimes | None:
        """Time a model alternately; see :meth:`RunSession.pairs`."""
        return self._context.once(f"pairs {model}", lambda: self._take(model)) if self.possible else None

    def close(self) -> None:
        if self._pytorch is not None:
            self._pytorch.close()
        self._pytorch, self._loaded = None, []

    def _take(self, model: str) -> PairedTimes:
        from harness.results.pairs import in_turns

        run, lines, error = self._context, list[PairLine](), None
        try:
            self._take_turns(model, lines)
        except (WorkerError, WorkerFailed, IncompleteResult, DeviceError) as failed:
            # The comparisons of the run stand without the ratio; a caller that asks for the ratio gets the error.
            error = failed
            self.close()
            known = run.writer.manifest.pairing.get(model) or PairingFacts(started=now(), items=0, of=0)
            run.writer.end_pairs(model, known.model_copy(update={"reason": str(failed).splitlines()[0]}))
        finally:
            self._taken.add(model)
            if set(self._loaded) <= self._taken:
                self.close()
        facts = run.writer.manifest.pairing[model]
        return PairedTimes(facts, lines, in_turns(facts, lines), error)

    def _take_turns(self, model: str, lines: list[PairLine]) -> None:
        run = self._context
        subject = self._workloads[model].subject()
        if model not in self._loaded:
            self.close()
            self._load(model)
        assert self._pytorch is not None

        def keep(line: PairLine) -> None:
            run.writer.pair(line)
            lines.append(line)

        with run.stage(f"timing {model} alternately with PyTorch") as stage:
            self._pytorch.settle(stage.describe)
            with run.device.reserve(notify=stage.describe):
                options = run.options
                turns = Turns(
                    subject,
                    run.device,
                    self._pytorch,
                    keep,
                    options.pair_seconds,
                    options.deadline,
                    options.threads,
                    stage,
                )
                turns.take(lambda facts: run.writer.end_pairs(model, facts))

    def _load(self, model: str) -> None:
        source = self._workloads[model].source
        models = [one.workload.timed_model() for one in self._workloads.values() if one.source == source]
        self._pytorch = self._context.builder.pytorch(self._context.options, models)
        self._loaded = [one.name for one in models]
