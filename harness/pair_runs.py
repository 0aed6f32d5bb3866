"""A run's models timed in turns with PyTorch: when PyTorch is loaded, and when it is let go of again."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.devices import AnyRecord, DeviceError, IncompleteResult
from harness.errors import HarnessError
from harness.models.timing import TimedModel, TimedPyTorch, timed_words
from harness.native import Runner
from harness.pairing import MOST_ITEMS, PairItem, Subject, Turns
from harness.protocol import WorkItem
from harness.results import PairingFacts, PairLine, now
from harness.validate import Verdict
from harness.word_lines import departure, parity_lines
from harness.worker import WorkerError, WorkerFailed

if TYPE_CHECKING:
    from harness.results.schema import RatioSummary
    from harness.session import RunSession

HOST = "host"
UNLIKE_ITSELF = (Verdict.UNSTABLE, Verdict.NO_ANSWER)


@dataclass(frozen=True)
class PairedTimes:
    """A model timed in turns with PyTorch; ``ratio`` is None where no round is whole."""

    facts: PairingFacts
    lines: list[PairLine]
    ratio: RatioSummary | None
    error: HarnessError | None = None
    """What ended it early."""

    def round_figures(self, side: str) -> list[float]:
        """Of a side, each whole round's geometric mean over the items, in nanoseconds."""
        from harness.measure import run_figure
        from harness.results.pairs import whole_rounds

        table = whole_rounds(self.lines, self.facts)
        rounds = zip(*table.values(), strict=True)
        return [
            run_figure({line.item: line.artifact_ns if side == "artifact" else line.pytorch_ns for line in lines})
            for lines in rounds
        ]


class PairRuns:
    """Made by :class:`RunSession`. One process of PyTorch at a time, with the models of one source in it: two sources
    could disturb each other by what they set or import."""

    def __init__(self, run: RunSession) -> None:
        self._run = run
        self._pytorch: TimedPyTorch | None = None
        self._loaded: list[str] = []
        self._taken: set[str] = set()

    @property
    def possible(self) -> bool:
        """PyTorch is timed where the runner is timed, or not at all: two machines' times have no ratio."""
        return self._run.device.kind == HOST and self._run.options.pair_seconds > 0

    def expect(self) -> None:
        """Begin to load the first model's PyTorch while what is not timed is done."""
        if self.possible and self._run.model_names and self._pytorch is None:
            self._load(self._run.model_names[0])

    def quiet(self) -> None:
        """Wait until nothing is loaded any more, before something is timed. What cannot be loaded fails later, where
        it is needed."""
        if self._pytorch is None:
            return
        try:
            with self._run.stage("loading PyTorch") as stage:
                self._pytorch.settle(stage.say)
        except HarnessError:
            self.close()

    def take(self, model: str) -> PairedTimes | None:
        """See :meth:`RunSession.pairs`."""
        return self._run.once(f"pairs {model}", lambda: self._take(model)) if self.possible else None

    def close(self) -> None:
        if self._pytorch is not None:
            self._pytorch.close()
        self._pytorch, self._loaded = None, []

    def _take(self, model: str) -> PairedTimes:
        from harness.results.pairs import in_turns

        run, lines, error = self._run, list[PairLine](), None
        try:
            self._take_turns(model, lines)
        except (WorkerError, WorkerFailed, IncompleteResult, DeviceError) as failed:
            # The comparisons of the run stand without it; who asks for the ratio is told.
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
        run = self._run
        subject = run.models.subject(model) if model in run.models.names else words_subject(run, model)
        if model not in self._loaded:
            self.close()
            self._load(model)
        assert self._pytorch is not None

        def keep(line: PairLine) -> None:
            run.writer.pair(line)
            lines.append(line)

        with run.stage(f"timing {model} in turns with PyTorch") as stage:
            self._pytorch.settle(stage.say)
            with run.device.reserve(notify=stage.say):
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
        run = self._run
        models: list[TimedModel]
        if model in run.models.names:
            models = run.models.timed_models(model)
        else:
            assert run.checkpoint is not None
            models = [timed_words(model, run.checkpoint)]
        self._pytorch = run.maker.pytorch(run.options, models)
        self._loaded = [one.name for one in models]


def words_subject(run: RunSession, model: str) -> Subject:
    """G2P's words, spread over languages and lengths."""
    latency, runner = run.latency(), run.runner(run.options.variant)
    latency.result.require_complete()
    usual = statistics.median(taken[0] for taken in latency.samples.values()) if latency.samples else 0.0
    items = [run.items[at] for at in run.spread()[:MOST_ITEMS]]
    return Subject(
        model,
        [_pair_word(run, item, latency.samples.get(item.id, [usual]), runner) for item in items],
        len(run.items),
        runner,
    )


def _pair_word(run: RunSession, item: WorkItem, taken: Sequence[float], runner: Runner) -> PairItem:
    from harness.results.summarize import word_parity

    variant, metadata = run.options.variant, runner.archive.metadata
    [said] = run.answers([item])
    timed = [record for record in run.latency().result.records if item.id in getattr(record, "items", ())]

    def departs(answer: dict[str, Any]) -> str | None:
        return departure(said, answer["token_ids"], tolerance=run.options.tolerance)

    def wrong(records: Sequence[AnyRecord]) -> str | None:
        # A lossy precision may depart from PyTorch, but not from itself: what was timed is what was compared.
        seen = [*timed, *records]
        lines = parity_lines(f"{variant}, paired", [item], [said], seen, tolerance=run.options.tolerance)
        failed = [word_parity(line).describe() for line in lines if line.verdict in UNLIKE_ITSELF]
        if failed:
            run.writer.parity(lines)
        return failed[0] if failed else None

    return PairItem(
        item.id,
        {
            "item": item.id,
            "language": item.language,
            "word": item.word,
            "prompt_space": metadata.prompt_space,
            "max_output_len": metadata.max_output_len,
        },
        statistics.median(taken),
        lambda warmup, repetitions: run.order("pairs", variant, runner, [item], warmup=warmup, repetitions=repetitions),
        departs,
        wrong,
    )
