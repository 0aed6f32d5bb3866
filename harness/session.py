"""The main job as an object: compile, build, run, compare, measure, keep. No pytest in here.

Every step is done once, when it is first asked for; a step that failed fails again with the same error, so
that one cause is told once and costs its time once. A step may be asked for by a thread that works ahead
(:mod:`harness.ahead`): who asks second waits for the first.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import harness
from harness.compiler import Archive
from harness.compiler.provenance import read_provenance
from harness.compiler.targets import resolve_target
from harness.devices import AnyRecord, Device, RunnerDescription, RunResult
from harness.devices.workstation import git_state, versions
from harness.errors import HarnessError, UsageError
from harness.maker import Maker, RunOptions, Variant, app_options
from harness.model_runs import ModelRuns
from harness.models.checkpoints import Checkpoint
from harness.models.reference import Reference, ReferenceItem
from harness.models.words import DEFAULT_WORDS, Word, check_words, read_words
from harness.narration import NarratorLike, StageLike
from harness.native import Runner
from harness.orders import Orders, Purpose
from harness.pair_runs import PairedTimes, PairRuns
from harness.profiling.schema import ProfileSummary
from harness.protocol import RecordOptions, WorkItem, WorkOrder
from harness.results import (
    CheckpointFacts,
    Git,
    ParityLine,
    ReferenceLine,
    Run,
    RunWriter,
    Store,
    Summary,
    VariantFacts,
    ending,
    words_facts,
)
from harness.results.nights import NightRecord
from harness.sampling import spread_order
from harness.session_gate import check_baseline, gate_facts, judge_run
from harness.word_lines import Latency as Latency
from harness.word_lines import parity_lines, reference_lines

MODEL = "g2p"
SMOKE_WORDS = 3
_T = TypeVar("_T")


class RunSession:
    """One run in one run folder. Call :meth:`start` first and :meth:`finish` last, whatever happened between."""

    def __init__(
        self,
        options: RunOptions,
        device: Device,
        narrator: NarratorLike,
        *,
        maker: Maker,
        command: list[str] | None = None,
    ) -> None:
        self.options = replace(options, target=options.target or device.target)
        self.device = device
        self._lock = threading.RLock()
        self._narrator = narrator
        self.maker = maker
        self._command = command or []
        self._done: dict[str, object] = {}
        self._errors: dict[str, HarnessError] = {}
        self._writer: RunWriter | None = None
        self.checkpoint: Checkpoint | None = None
        """None without G2P, which then has no words either."""
        self.words: list[Word] = []
        self.models = ModelRuns(self, [])
        """The models of tensors."""
        self.turns = PairRuns(self)
        """Every model timed in turns with PyTorch."""
        self._reference_lines: list[ReferenceLine] = []

    def start(self) -> str:
        """Check everything a person could have got wrong, then make the run folder; returns the run id.

        Raises UsageError, CheckpointUnavailable, StorageFull or StorageUnwritable, with nothing left behind.
        """
        options = self.options
        options.check()
        if options.mcpu:
            resolve_target(options.target or self.device.target, options.mcpu)
        source = options.words or DEFAULT_WORDS
        shipped = 0
        if options.speaks:
            self.checkpoint = self.maker.checkpoint(options)
            self.words = read_words(source, options.language)
            shipped = len(self.words)
            if options.word_sample is not None:
                self.words = [self.words[at] for at in sorted(self.spread()[: options.word_sample])]
            check_words(self.words, languages=self.checkpoint.languages, max_input_bytes=options.max_input_bytes)
        if options.models:
            with self.stage("looking at the models") as stage:
                self.models = ModelRuns(self, self.maker.models(options, stage.say))
        check_baseline(options, self.device, self.checkpoint, self.models.facts())
        self.items = [
            WorkItem(id=f"w{at:05d}", model=MODEL, language=word.language, word=word.word)
            for at, word in enumerate(self.words)
        ]
        self.allowance = options.allowance
        git = git_state(Path(harness.__file__).parent)
        self._writer = Store(options.results_dir).create(
            git=Git(commit=git[0], dirty=git[1]) if git else None,
            versions=versions(),
            command=self._command,
            options={key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()},
            device={**self.device.facts(), "emulated": self.device.emulated},
            allowance=self.allowance,
            checkpoint=self.checkpoint and CheckpointFacts(label=self.checkpoint.label, sha256=self.checkpoint.sha256),
            words=words_facts(self.words, "shipped" if options.words is None else source.name, of=shipped),
            models=self.models.facts(),
        )
        return self.run_id

    @property
    def words_of(self) -> int | None:
        """How many words there were, where a sample of them is run."""
        facts = self.writer.manifest.words
        return facts.of if facts else None

    def stage(self, title: str) -> AbstractContextManager[StageLike]:
        """Tell a person of a piece of work."""
        return self._narrator.stage(title)

    @property
    def label(self) -> str:
        """What is run."""
        return ", ".join([*([self.checkpoint.label] if self.checkpoint else []), *self.models.names])

    @property
    def model_names(self) -> list[str]:
        """As work orders have them."""
        return [*([MODEL] if self.checkpoint else []), *self.models.names]

    @property
    def writer(self) -> RunWriter:
        assert self._writer is not None, "start() comes first"
        return self._writer

    @property
    def orders(self) -> Orders:
        """How an order gets to the device, and its records into the run's files."""
        options = self.options
        return Orders(self.device, self.writer, self.stage, cooldown=options.cooldown, deadline=options.deadline)

    @property
    def run_id(self) -> str:
        return self.writer.run_id

    def runner(self, variant: Variant, *, profile: bool = False) -> Runner:
        """The runner with that variant linked in, for profiles with marks; raises UsageError for more threads than it
        can use."""
        kind = f"{variant}, with marks" if profile else variant
        return self.once(f"runner {kind}", lambda: self._make_runner(variant, kind, profile))

    def describe(self, variant: Variant) -> RunnerDescription:
        """Start the runner and let it say what it is."""
        runner = self.runner(variant)

        def describe() -> RunnerDescription:
            self.orders.deploy(runner)
            return self.device.describe(runner.path)

        return self.once(f"describe {variant}", describe)

    def reference(self) -> Reference:
        """What PyTorch says of the words."""
        return self.once("reference", self._make_reference)

    def reference_lines(self) -> list[ReferenceLine]:
        """The same as it is stored, with the gold pronunciations."""
        self.reference()
        return self._reference_lines

    def smoke(self, variant: Variant) -> RunResult:
        """The first few words, once."""
        return self.once(f"smoke {variant}", lambda: self._smoke(variant))

    def parity(self, variant: Variant) -> list[ParityLine]:
        """One line a word; the words an incomplete run did not reach are ``missing``."""
        return self.once(f"parity {variant}", lambda: self._parity(variant))

    def latency(self) -> Latency:
        """Timed passes of the chosen variant; an incomplete result holds what there is."""
        return self.once("latency", self._latency)

    def pairs(self, model: str = MODEL) -> PairedTimes | None:
        """The runner and PyTorch timed in turns on the same items; None where this machine is not the device, or no
        time is given for it."""
        return self.turns.take(model)

    def gate(self) -> NightRecord:
        """The runner beside the baseline's in interleaved pairs, with the verdict (docs/measuring.md)."""
        return self.once("gate", self._gate)

    def profile(self, model: str = MODEL) -> ProfileSummary:
        """Time per operator of a model (of G2P the chosen variant), from an archive of its own; nothing else is touched
        by it."""
        return self.once(f"profile {model}", lambda: self._profile(model))

    @property
    def profiles(self) -> list[ProfileSummary]:
        """Those that were made."""
        found = (self._done.get(f"profile {name}") for name in self.model_names)
        return [cast(ProfileSummary, one) for one in found if one is not None]

    def order_reason(self, purpose: Purpose, variant: str) -> str | None:
        """Why that order is incomplete, if it ran and is."""
        for entry in self.writer.manifest.orders:
            if (entry.purpose, entry.variant) == (purpose, variant) and not entry.complete:
                return entry.reason
        return None

    def finish(self, interrupted: bool = False) -> Summary:
        """Sum up, end the run and return its summary."""
        from harness.results.summarize import summarize_files

        self.turns.close()
        writer = self.writer
        status, reason = ending(writer.manifest, list(self._errors.values()), interrupted)
        run = Run(writer.folder)
        manifest = writer.manifest.model_copy(update={"status": status, "reason": reason})
        summary = summarize_files(manifest, run)
        writer.summary(summary)
        writer.finish(status, reason)
        return summary

    def close(self) -> None:
        """Let go of the run's files without ending it, when ending it failed."""
        self.turns.close()
        self.writer.close()

    def once(self, key: str, make: Callable[[], _T]) -> _T:
        """What ``make`` gave when it was first asked for, or the error it raised then."""
        with self._lock:
            if key in self._errors:
                raise self._errors[key]
            if key not in self._done:
                try:
                    self._done[key] = make()
                except HarnessError as error:
                    self._errors[key] = error
                    raise
            return cast(_T, self._done[key])

    def _make_runner(self, variant: Variant, kind: str, profile: bool) -> Runner:
        with self.stage(f"compiling {self.label} ({kind})") as stage:

            def make(options: RunOptions) -> Archive:
                return self.maker.archive(options, self.checkpoint, variant, stage.say, profile=profile)

            archive = make(self.options)
            app = app_options(self.options, self.device.companion, make)
        metadata = archive.metadata
        if self.options.threads > metadata.max_threads:
            raise UsageError(
                f"{self.options.threads} threads were asked for, the compiled model can use {metadata.max_threads}",
                cure=f"use --threads {metadata.max_threads}",
            )
        with self.stage(f"building the runner ({kind})") as stage:
            runner = self.maker.runner(archive, stage.say, app)
        if profile:
            return runner
        facts = VariantFacts(
            archive_sha256=archive.sha256,
            archive_bytes=archive.path.stat().st_size,
            runner_sha256=runner.sha256,
            runner_bytes=runner.size,
            target=metadata.target,
        )
        self.writer.update(variants={**self.writer.manifest.variants, variant: facts})
        return runner

    def _make_reference(self) -> Reference:
        metadata = self.runner(self.options.variant).archive.metadata
        assert self.checkpoint is not None, "words are G2P's"
        with self.stage("asking PyTorch") as stage:
            found = self.maker.reference(self.options, self.checkpoint, self.words, metadata.prompt_space, stage.say)
        asked = [(word.language, word.word) for word in self.words]
        if [(item.language, item.word) for item in found.items] != asked:
            raise HarnessError("the reference is of other words than were asked for", cure="run `harness cache clear`")
        self.writer.update(reference={key: value for key, value in found.model_dump().items() if key != "items"})
        self._reference_lines = reference_lines(self.items, self.words, found)
        self.writer.reference(self._reference_lines)
        return found

    def _smoke(self, variant: Variant) -> RunResult:
        return self._run("smoke", variant, self.items[:SMOKE_WORDS], warmup=0, repetitions=1, probe=None)

    def _parity(self, variant: Variant) -> list[ParityLine]:
        self.reference()
        probe = RecordOptions(margins=True)
        result = self._run("parity", variant, self.items, warmup=0, repetitions=0, probe=probe)
        return self.compare(variant, self.items, result.records)

    def _latency(self) -> Latency:
        from harness.results.models import timed

        self.reference()
        self.turns.quiet()
        options, items = self.options, self._timed_items()
        result = self._run(
            "latency", options.variant, items, warmup=options.warmup, repetitions=options.repeat, probe=None
        )
        lines = self.compare(f"{options.variant}, timed", items, result.records)
        return Latency(result, timed(result.records), lines)

    def _timed_items(self) -> list[WorkItem]:
        return [self.items[at] for at in sorted(self.spread()[: self.options.timed_items])]

    def spread(self) -> list[int]:
        """The words' numbers in an order whose every beginning is spread over languages and lengths."""
        return spread_order([(word.language, len(word.word.encode())) for word in self.words])

    def _profile(self, model: str) -> ProfileSummary:
        from harness.profiling.run import profile_run

        self.turns.quiet()
        summary = profile_run(self, model)
        provenance = read_provenance(self.runner(self.options.variant, profile=True).archive.folder)
        self.writer.profiles([*self.profiles, summary], provenance)
        return summary

    def passes(self, purpose: Purpose, model: str, *, warmup: int, repetitions: int, runner: Runner) -> RunResult:
        """Passes of a runner over all that is timed of one of its models."""
        if model == MODEL:
            variant = self.options.variant
            return self._run(
                purpose, variant, self._timed_items(), warmup=warmup, repetitions=repetitions, probe=None, runner=runner
            )
        return self.models.passes(purpose, model, warmup=warmup, repetitions=repetitions, runner=runner)

    def _gate(self) -> NightRecord:
        runner = self.runner(self.options.variant)
        self.turns.quiet()
        with self._narrator.stage(f"measuring beside {self.options.baseline}") as stage:
            record = judge_run(self.run_id, self.options, self.device, runner, self.models.names, stage.say)
        self.writer.update(gate=gate_facts(record))
        return record

    def compare(self, comparison: str, items: list[WorkItem], records: Iterable[AnyRecord]) -> list[ParityLine]:
        """A line for each of the items, kept."""
        lines = parity_lines(comparison, items, self.answers(items), records, tolerance=self.options.tolerance)
        self.writer.parity(lines)
        return lines

    def answers(self, items: list[WorkItem]) -> list[ReferenceItem]:
        """PyTorch's, of these items."""
        by_item = {item.id: said for item, said in zip(self.items, self.reference().items, strict=True)}
        return [by_item[item.id] for item in items]

    def _run(
        self,
        purpose: Purpose,
        variant: Variant,
        items: list[WorkItem],
        *,
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None,
        runner: Runner | None = None,
    ) -> RunResult:
        """One order of words; ``runner`` in the place of the variant's own."""
        runner = runner or self.runner(variant)
        order = self.order(purpose, variant, runner, items, warmup=warmup, repetitions=repetitions, probe=probe)
        batches = -(-len(items) // runner.archive.metadata.batch_size)
        total = batches * (warmup + repetitions + (probe is not None))
        return self.orders.run(purpose, variant, runner, order, total)

    def order(
        self,
        purpose: str,
        variant: str,
        runner: Runner,
        items: list[WorkItem],
        *,
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None = None,
    ) -> WorkOrder:
        return WorkOrder(
            order_id=f"{purpose}-{variant}-{secrets.token_hex(4)}",
            archive_sha256=runner.archive.sha256,
            models=[runner.archive.metadata.order_model(MODEL)],
            items=items,
            warmup=warmup,
            repetitions=repetitions,
            threads=self.options.threads,
            probe=probe,
        )
