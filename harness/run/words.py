"""Run the words of one run: PyTorch's answers, the comparisons with them, the timed passes, the turns."""

from __future__ import annotations

import hashlib
import secrets
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from harness.core.errors import HarnessError
from harness.devices import AnyRecord, RunResult
from harness.measure.sampling import spread_order
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.items import WORKLOAD, word_item
from harness.models.g2p.reference import Reference, ReferenceItem
from harness.models.g2p.word_list import DEFAULT_WORDS, Word, check_words, read_words
from harness.models.timing import TimedModel, timed_words
from harness.native import Runner
from harness.protocol.schema import RecordOptions, WorkItem, WorkOrder
from harness.results import ParityLine, ReferenceLine, WorkloadFacts
from harness.results.schema import Passes
from harness.run.builder import RunOptions, Variant
from harness.run.context import RunContext
from harness.run.kinds import WorkloadKind
from harness.run.orders import Purpose
from harness.run.turns import MOST_ITEMS, PairItem, Subject
from harness.run.workload import TimedPasses
from harness.validate import Decoded, Verdict, answerless, compare_word, decodings
from harness.validate.parity import first_divergence

MODEL = WORKLOAD
SMOKE_WORDS = 3
UNLIKE_ITSELF = (Verdict.UNSTABLE, Verdict.NO_ANSWER)


def reference_lines(items: list[WorkItem], words: list[Word], reference: Reference) -> list[ReferenceLine]:
    """Return PyTorch's answers as they are stored, with the gold pronunciations. All arguments have the same order."""
    return [
        ReferenceLine(
            workload=item.workload,
            item=item.id,
            subset=word.language,
            label=word.word,
            pronunciations=list(word.pronunciations),
            token_ids=said.token_ids,
            text=said.text,
            margins=said.margins,
        )
        for item, word, said in zip(items, words, reference.items, strict=True)
    ]


def parity_lines(
    variant: str,
    passes: Passes,
    items: list[WorkItem],
    answers: Sequence[ReferenceItem],
    records: Iterable[AnyRecord],
    *,
    tolerance: float,
) -> list[ParityLine]:
    """Return a comparison with PyTorch's ``answers`` for each item.
    Items that the records do not reach are ``missing``. ``tolerance``: see compare_word.
    """
    from harness.results.summarize import word_row

    records = list(records)
    observed, broken = decodings(records), answerless(records)
    lines = []
    for item, said in zip(items, answers, strict=True):
        expected = Decoded(tuple(said.token_ids), said.text, tuple(said.margins))
        row = compare_word(
            *(item.id, item.subset, item.label, expected, observed.get(item.id, [])),
            tolerance=tolerance,
            no_answer=broken.get(item.id),
        )
        lines.append(word_row(row, workload=item.workload, variant=variant, passes=passes))
    return lines


def departure(said: ReferenceItem, token_ids: Sequence[int], *, tolerance: float) -> str | None:
    """Return how new tokens of PyTorch differ from those that the runner is compared with; None if equal or tied."""
    step = first_divergence(said.token_ids, token_ids)
    if step is None or (step < len(said.margins) and said.margins[step] <= tolerance):
        return None
    return (
        f"{said.language} {said.word!r}: PyTorch gives another token at step {step} than when the words were compared"
    )


def spread_words(words: Sequence[Word]) -> list[int]:
    """Return the words' numbers in such an order that every prefix is spread over languages and lengths."""
    return spread_order([(word.language, len(word.word.encode())) for word in words])


class WordRun:
    """Run G2P's words (:class:`harness.run.workload.WorkloadRun`).
    They are compared in both variants, and timed in the chosen one.
    """

    name = source = MODEL

    def __init__(
        self, context: RunContext, checkpoint: Checkpoint, words: list[Word], *, source: str = "shipped", of: int = 0
    ) -> None:
        """Take the words. ``source`` names their origin, and ``of`` is the number from which they were chosen."""
        self._context = context
        self._checkpoint = checkpoint
        self._words_source, self._words_of = source, of
        self.words = words
        self.items = [word_item(f"w{at:05d}", word.language, word.word) for at, word in enumerate(words)]
        self._reference_lines: list[ReferenceLine] = []

    def facts(self) -> WorkloadFacts:
        """Return the workload's facts for the manifest."""
        digest = hashlib.sha256()
        for word in self.words:
            digest.update("\t".join([word.language, word.word, *word.pronunciations]).encode() + b"\n")
        return WorkloadFacts(
            kind="generation",
            source=self.source,
            label=self._checkpoint.label,
            weights_sha256=self._checkpoint.sha256,
            items=len(self.words),
            unit="word",
            items_of=self._words_of if self._words_of > len(self.words) else None,
            items_source=self._words_source,
            items_sha256=digest.hexdigest(),
            subsets=sorted({word.language for word in self.words}),
            compare=f"tokens, ties within {self._context.options.tolerance:g}",
        )

    def reference(self) -> Reference:
        """Return PyTorch's answers for the words."""
        return self._context.once("reference", self._make_reference)

    def reference_lines(self) -> list[ReferenceLine]:
        """Return PyTorch's answers as they are stored, with the gold pronunciations."""
        self.reference()
        return self._reference_lines

    @property
    def compared_as(self) -> str:
        return self._context.options.variant

    def label(self, items: str) -> str:
        words = {item.id: f"{item.subset} {item.label}" for item in self.items}
        return ", ".join(words[item] for item in items.split())

    def smoke(self, variant: Variant | None = None) -> RunResult:
        """Run the first few words once."""
        chosen = variant or self._context.options.variant
        return self._context.once(f"smoke {chosen}", lambda: self._smoke(chosen))

    def parity(self, variant: Variant | None = None) -> list[ParityLine]:
        """Return one line for each word; words that an incomplete run did not reach are ``missing``."""
        chosen = variant or self._context.options.variant
        return self._context.once(f"parity {chosen}", lambda: self._parity(chosen))

    def times(self) -> TimedPasses[ParityLine]:
        """Run the timed passes of the chosen variant; an incomplete result holds what was measured."""
        return self._context.once("latency", self._times)

    def passes(self, purpose: Purpose, *, warmup: int, repetitions: int, runner: Runner) -> RunResult:
        """Run passes of a runner over all timed words."""
        variant = self._context.options.variant
        items = self._timed_items()
        return self._run(purpose, variant, items, warmup=warmup, repetitions=repetitions, probe=None, runner=runner)

    def subject(self) -> Subject:
        """Return the words that are timed in turns with PyTorch, spread over languages and lengths."""
        times, runner = self.times(), self._context.runner(self._context.options.variant)
        times.result.require_complete()
        usual = statistics.median(taken[0] for taken in times.samples.values()) if times.samples else 0.0
        items = [self.items[at] for at in self.spread()[:MOST_ITEMS]]
        pairs = [self._pair_item(item, times.samples.get(item.id, [usual]), runner) for item in items]
        return Subject(MODEL, pairs, len(self.items), runner)

    def timed_models(self) -> list[TimedModel]:
        """Return the models that PyTorch's process loads for timing."""
        return [timed_words(MODEL, self._checkpoint)]

    def _make_reference(self) -> Reference:
        metadata = self._context.runner(self._context.options.variant).archive.metadata
        with self._context.stage("asking PyTorch") as stage:
            context = self._context
            found = context.builder.reference(
                context.options, self._checkpoint, self.words, metadata.prompt_space, stage.say
            )
        asked = [(word.language, word.word) for word in self.words]
        if [(item.language, item.word) for item in found.items] != asked:
            raise HarnessError("the reference is of other words than were asked for", cure="run `harness cache clear`")
        self._context.writer.update(reference=found.model_dump(exclude={"items"}))
        self._reference_lines = reference_lines(self.items, self.words, found)
        self._context.writer.reference(self._reference_lines)
        return found

    def _smoke(self, variant: Variant) -> RunResult:
        return self._run("smoke", variant, self.items[:SMOKE_WORDS], warmup=0, repetitions=1, probe=None)

    def _parity(self, variant: Variant) -> list[ParityLine]:
        self.reference()
        probe = RecordOptions(margins=True)
        result = self._run("parity", variant, self.items, warmup=0, repetitions=0, probe=probe)
        return self.compare(variant, "parity", self.items, result.records)

    def _times(self) -> TimedPasses[ParityLine]:
        from harness.results.summarize import timed

        self.reference()
        self._context.quiet()
        options, items = self._context.options, self._timed_items()
        result = self._run(
            "latency", options.variant, items, warmup=options.warmup, repetitions=options.repeat, probe=None
        )
        lines = self.compare(options.variant, "timed", items, result.records)
        return TimedPasses(result, timed(result.records), lines)

    def _timed_items(self) -> list[WorkItem]:
        return [self.items[at] for at in sorted(self.spread()[: self._context.options.timed_items])]

    def spread(self) -> list[int]:
        """Return the words' numbers in such an order that every prefix is spread over languages and lengths."""
        return spread_words(self.words)

    def compare(
        self, variant: str, passes: Passes, items: list[WorkItem], records: Iterable[AnyRecord]
    ) -> list[ParityLine]:
        """Compare each of the items with PyTorch; keep and return the lines."""
        tolerance = self._context.options.tolerance
        lines = parity_lines(variant, passes, items, self.answers(items), records, tolerance=tolerance)
        self._context.writer.parity(lines)
        return lines

    def answers(self, items: list[WorkItem]) -> list[ReferenceItem]:
        """Return PyTorch's answers for these items."""
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
        """Run one order of words; ``runner`` replaces the variant's own."""
        runner = runner or self._context.runner(variant)
        order = self.order(purpose, variant, runner, items, warmup=warmup, repetitions=repetitions, probe=probe)
        batches = -(-len(items) // runner.archive.metadata.batch_size)
        total = batches * (warmup + repetitions + (probe is not None))
        return self._context.orders.run(purpose, self.name, variant, runner, order, total)

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
            workloads=[runner.archive.metadata.generation(MODEL)],
            items=items,
            warmup=warmup,
            repetitions=repetitions,
            threads=self._context.options.threads,
            probe=probe,
        )

    def _pair_item(self, item: WorkItem, taken: Sequence[float], runner: Runner) -> PairItem:
        from harness.results.summarize import describe

        variant, metadata = self._context.options.variant, runner.archive.metadata
        [said] = self.answers([item])
        timed = [record for record in self.times().result.records if item.id in getattr(record, "items", ())]

        def departs(answer: dict[str, Any]) -> str | None:
            return departure(said, answer["token_ids"], tolerance=self._context.options.tolerance)

        def wrong(records: Sequence[AnyRecord]) -> str | None:
            # A lossy precision may depart from PyTorch, but not from itself: timed answers must equal compared ones.
            seen = [*timed, *records]
            tolerance = self._context.options.tolerance
            lines = parity_lines(variant, "paired", [item], [said], seen, tolerance=tolerance)
            failed = [describe(line) for line in lines if line.verdict in UNLIKE_ITSELF]
            if failed:
                self._context.writer.parity(lines)
            return failed[0] if failed else None

        return PairItem(
            item.id,
            {
                "item": item.id,
                "language": item.subset,
                "word": item.label,
                "prompt_space": metadata.prompt_space,
                "max_output_len": metadata.max_output_len,
            },
            statistics.median(taken),
            lambda warmup, repetitions: self.order(
                "pairs", variant, runner, [item], warmup=warmup, repetitions=repetitions
            ),
            departs,
            wrong,
        )


def words_asked(context: RunContext, options: RunOptions) -> dict[str, WordRun]:
    """Return G2P with its words if the options ask for it. Raises UsageError, CheckpointUnavailable."""
    if options.models and MODEL not in options.models:
        return {}
    checkpoint = context.builder.checkpoint(options)
    source = options.words or DEFAULT_WORDS
    words = read_words(source, options.language)
    there = len(words)
    if options.word_sample is not None:
        words = [words[at] for at in sorted(spread_words(words)[: options.word_sample])]
    check_words(words, languages=checkpoint.languages, max_input_bytes=options.max_input_bytes)
    shipped = "shipped" if options.words is None else source.name
    return {MODEL: WordRun(context, checkpoint, words, source=shipped, of=there)}


GENERATION = WorkloadKind("generation", words_asked)
