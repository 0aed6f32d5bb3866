"""The main job as an object: compile, build, run, compare, measure, keep. No pytest in here.

Every step is done once, when it is first asked for; a step that failed fails again with the same error, so
that one cause is told once and costs its time once. A step may be asked for by a thread that works ahead
(:mod:`harness.ahead`): who asks second waits for the first.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import harness
from harness.compiler.targets import resolve_target
from harness.devices import AnyRecord, Device, RunnerDescription, RunResult
from harness.devices.workstation import git_state, versions
from harness.errors import HarnessError, UsageError
from harness.maker import Maker, RunOptions, Variant
from harness.models.reference import Reference
from harness.models.words import DEFAULT_WORDS, Word, check_words, read_words
from harness.narration import NarratorLike, StageLike
from harness.native import Runner
from harness.profiling.schema import ProfileLine, ProfileSummary
from harness.protocol import Header, Phase, Probe, RecordOptions, Sample, WorkItem, WorkOrder
from harness.results import (
    CheckpointFacts,
    Git,
    OrderEntry,
    ParityLine,
    ReferenceLine,
    Run,
    RunStatus,
    RunWriter,
    SampleLine,
    Store,
    Summary,
    VariantFacts,
    WordsFacts,
    now,
)
from harness.validate import Decoded, compare_word, decodings

HOST = "host"
MODEL = "g2p"
SMOKE_WORDS = 3
MB = 1_000_000
Purpose = Literal["smoke", "parity", "latency", "profile"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Latency:
    """The timed passes, in nanoseconds by item (or by batch), and what they said."""

    result: RunResult
    samples: dict[str, list[int]]
    parity: list[ParityLine]


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
        self._maker = maker
        self._command = command or []
        self._done: dict[str, object] = {}
        self._errors: dict[str, HarnessError] = {}
        self._writer: RunWriter | None = None
        self._reference_lines: list[ReferenceLine] = []

    def start(self) -> str:
        """Check everything a person could have got wrong, then make the run folder; returns the run id.

        Raises UsageError, CheckpointUnavailable, StorageFull or StorageUnwritable, with nothing left behind.
        """
        options = self.options
        if min(options.threads, options.repeat) < 1 or options.warmup < 0 or options.deadline <= 0:
            raise UsageError("threads and repeat have to be at least 1, warmup 0, deadline above 0")
        if not 0 < options.allowance.agreement <= 1 or options.allowance.per_change < 0:
            raise UsageError("--min-agreement has to be above 0 and at most 1, --max-per-change not below 0")
        if options.mcpu:
            resolve_target(options.target or self.device.target, options.mcpu)
        self.checkpoint = self._maker.checkpoint(options)
        source = options.words or DEFAULT_WORDS
        self.words = read_words(source, options.language)
        check_words(self.words, languages=self.checkpoint.languages, max_input_bytes=options.max_input_bytes)
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
            checkpoint=CheckpointFacts(label=self.checkpoint.label, sha256=self.checkpoint.sha256),
            words=_words_facts(self.words, "shipped" if options.words is None else source.name),
        )
        return self.run_id

    @property
    def writer(self) -> RunWriter:
        assert self._writer is not None, "start() comes first"
        return self._writer

    @property
    def run_id(self) -> str:
        return self.writer.run_id

    def runner(self, variant: Variant) -> Runner:
        """The runner with that variant linked in; raises UsageError for more threads than it can use."""
        return self._once(f"runner {variant}", lambda: self._make_runner(variant))

    def describe(self, variant: Variant) -> RunnerDescription:
        """Start the runner and let it say what it is."""
        runner = self.runner(variant)

        def describe() -> RunnerDescription:
            self._deploy(runner)
            return self.device.describe(runner.path)

        return self._once(f"describe {variant}", describe)

    def reference(self) -> Reference:
        """What PyTorch says of the words, and in which time."""
        return self._once("reference", self._make_reference)

    def reference_lines(self) -> list[ReferenceLine]:
        """The same as it is stored, with the gold pronunciations."""
        self.reference()
        return self._reference_lines

    def smoke(self, variant: Variant) -> RunResult:
        """The first few words, once."""
        return self._once(f"smoke {variant}", lambda: self._smoke(variant))

    def parity(self, variant: Variant) -> list[ParityLine]:
        """One line a word; the words an incomplete run did not reach are ``missing``."""
        return self._once(f"parity {variant}", lambda: self._parity(variant))

    def latency(self) -> Latency:
        """Timed passes of the chosen variant; an incomplete result holds what there is."""
        return self._once("latency", self._latency)

    def profile(self) -> ProfileSummary:
        """Time per operator of the chosen variant, from an archive of its own; nothing else is touched by it."""
        from harness.profiling.run import profile_run

        return self._once("profile", lambda: profile_run(self, self._maker, self._narrator, self._run))

    @property
    def profile_summary(self) -> ProfileSummary | None:
        """That of a profile that was made."""
        return cast("ProfileSummary | None", self._done.get("profile"))

    def order_reason(self, purpose: Purpose, variant: Variant) -> str | None:
        """Why that order is incomplete, if it ran and is."""
        for entry in self.writer.manifest.orders:
            if (entry.purpose, entry.variant) == (purpose, variant) and not entry.complete:
                return entry.reason
        return None

    def finish(self, interrupted: bool = False) -> Summary:
        """Sum up, end the run and return its summary."""
        from harness.results.summarize import summarize

        writer = self.writer
        incomplete = [entry for entry in writer.manifest.orders if not entry.complete]
        if interrupted:
            status, reason = RunStatus.INCOMPLETE, "interrupted"
        elif self._errors:
            first = next(iter(self._errors.values()))
            status, reason = RunStatus.FAILED, str(first).splitlines()[0]
        elif incomplete:
            entry = incomplete[0]
            status, reason = RunStatus.INCOMPLETE, f"the {entry.purpose} order of {entry.variant}: {entry.reason}"
        else:
            status, reason = RunStatus.COMPLETE, None
        run = Run(writer.folder)
        manifest = writer.manifest.model_copy(update={"status": status, "reason": reason})
        summary = summarize(manifest, run.reference(), run.samples(), run.parity())
        writer.summary(summary)
        writer.finish(status, reason)
        return summary

    def close(self) -> None:
        """Let go of the run's files without ending it, when ending it failed."""
        self.writer.close()

    def _once(self, key: str, make: Callable[[], _T]) -> _T:
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

    def _make_runner(self, variant: Variant) -> Runner:
        with self._narrator.stage(f"compiling {self.checkpoint.label} ({variant})") as stage:
            archive = self._maker.archive(self.options, self.checkpoint, variant, stage.say)
        metadata = archive.metadata
        if self.options.threads > metadata.max_threads:
            raise UsageError(
                f"{self.options.threads} threads were asked for, the compiled model can use {metadata.max_threads}",
                cure=f"use --threads {metadata.max_threads}",
            )
        with self._narrator.stage(f"building the runner ({variant})") as stage:
            runner = self._maker.runner(archive, stage.say)
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
        # PyTorch is timed where the runner is timed, or not at all: two machines' times have no ratio.
        options = self.options if self.device.kind == HOST else replace(self.options, repeat=0)
        with self._narrator.stage("asking PyTorch") as stage, self._alone(stage):
            found = self._maker.reference(options, self.checkpoint, self.words, metadata.prompt_space, stage.say)
        asked = [(word.language, word.word) for word in self.words]
        if [(item.language, item.word) for item in found.items] != asked:
            raise HarnessError("the reference is of other words than were asked for", cure="run `harness cache clear`")
        self.writer.update(reference={key: value for key, value in found.model_dump().items() if key != "items"})
        self._reference_lines = [
            ReferenceLine(
                item=item.id,
                language=word.language,
                word=word.word,
                pronunciations=list(word.pronunciations),
                token_ids=said.token_ids,
                text=said.text,
                margins=said.margins,
                latency_ns=said.latency_ns,
            )
            for item, word, said in zip(self.items, self.words, found.items, strict=True)
        ]
        self.writer.reference(self._reference_lines)
        return found

    def _alone(self, stage: StageLike) -> AbstractContextManager[None]:
        """This machine for PyTorch alone, where it is the device that is measured."""
        return self.device.reserve(notify=stage.say) if self.device.kind == HOST else nullcontext()

    def _smoke(self, variant: Variant) -> RunResult:
        return self._run("smoke", variant, self.items[:SMOKE_WORDS], warmup=0, repetitions=1, probe=None)

    def _parity(self, variant: Variant) -> list[ParityLine]:
        self.reference()
        probe = RecordOptions(margins=True)
        result = self._run("parity", variant, self.items, warmup=0, repetitions=0, probe=probe)
        return self._compare(variant, result)

    def _latency(self) -> Latency:
        self.reference()
        options = self.options
        result = self._run(
            "latency", options.variant, self.items, warmup=options.warmup, repetitions=options.repeat, probe=None
        )
        samples: dict[str, list[int]] = defaultdict(list)
        for record in result.records:
            if isinstance(record, Sample) and record.phase is Phase.TIMED:
                samples[" ".join(record.items)].append(record.total_ns)
        return Latency(result, dict(samples), self._compare(f"{options.variant}, timed", result))

    def _compare(self, comparison: str, result: RunResult) -> list[ParityLine]:
        from harness.results.summarize import parity_line

        observed = decodings(result.records)
        lines = []
        for item, said in zip(self.items, self.reference().items, strict=True):
            expected = Decoded(tuple(said.token_ids), said.text, tuple(said.margins))
            row = compare_word(
                item.id,
                item.language,
                item.word,
                expected,
                observed.get(item.id, []),
                tolerance=self.options.tolerance,
            )
            lines.append(parity_line(comparison, row))
        self.writer.parity(lines)
        return lines

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
        """One order on the device, kept line by line as its records arrive; ``runner`` in the variant's own's place."""
        runner = runner or self.runner(variant)
        metadata = runner.archive.metadata
        order = WorkOrder(
            order_id=f"{purpose}-{variant}-{secrets.token_hex(4)}",
            archive_sha256=runner.archive.sha256,
            models=[metadata.order_model(MODEL)],
            items=items,
            warmup=warmup,
            repetitions=repetitions,
            threads=self.options.threads,
            probe=probe,
        )
        self._deploy(runner)
        total = -(-len(items) // metadata.batch_size) * (warmup + repetitions + (probe is not None))
        with self._narrator.stage(f"running {purpose} ({variant})") as stage, self.device.reserve(notify=stage.say):
            if purpose in ("latency", "profile"):
                self.device.settle(wait_seconds=self.options.cooldown, notify=stage.say)
            arrived = 0

            def keep(record: AnyRecord) -> None:
                nonlocal arrived
                if purpose == "profile":
                    profiled = runner.archive.metadata.profiled
                    self.writer.profile(ProfileLine.of(order.order_id, profiled, record))
                else:
                    self.writer.sample(SampleLine(order=order.order_id, record=record))
                if isinstance(record, Header):
                    self._note_runner(variant, record.runner_version)
                elif isinstance(record, Sample | Probe):
                    arrived += 1
                    stage.advance(arrived, total)

            entry = OrderEntry(
                order_id=order.order_id,
                purpose=purpose,
                variant=variant,
                started=now(),
                conditions_before=self.device.conditions(),
                reason="has not ended",
            )
            self.writer.begin_order(entry, order)
            return self._follow(entry, runner, order, keep)

    def _deploy(self, runner: Runner) -> None:
        """Not once only: what was on the device may be gone, and looking costs milliseconds."""
        with self._narrator.stage(f"pushing the runner to {self.device.name}, MB") as stage:
            self.device.deploy(runner.path, on_push=lambda done, total: stage.advance(done // MB, total // MB))

    def _follow(
        self, entry: OrderEntry, runner: Runner, order: WorkOrder, keep: Callable[[AnyRecord], None]
    ) -> RunResult:
        ended: dict[str, Any] = {"reason": "interrupted"}
        try:
            result = self.device.run(runner.path, order, deadline=self.options.deadline, on_record=keep)
            ended = {
                "complete": result.complete,
                "reason": result.reason,
                "wall_seconds": result.wall_seconds,
                "resumed": result.resumed,
                "knobs": list(result.knobs),
                "observed": result.observed,
            }
        except HarnessError as error:
            ended = {"reason": str(error).splitlines()[0]}
            raise
        finally:
            after = {"ended": now(), "conditions_after": self.device.conditions()}
            self.writer.end_order(entry.model_copy(update={**ended, **after}))
        return result

    def _note_runner(self, variant: Variant, version: str) -> None:
        known = self.writer.manifest.variants
        if known[variant].runner_version != version:
            noted = known[variant].model_copy(update={"runner_version": version})
            self.writer.update(variants={**known, variant: noted})


def _words_facts(words: list[Word], source: str) -> WordsFacts:
    digest = hashlib.sha256()
    for word in words:
        digest.update("\t".join([word.language, word.word, *word.pronunciations]).encode() + b"\n")
    languages = sorted({word.language for word in words})
    return WordsFacts(count=len(words), languages=languages, sha256=digest.hexdigest(), source=source)
