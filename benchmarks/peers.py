"""Our artifact beside other engines, word by word, alternating in one run.

    python benchmarks/peers.py                                       # the embedded model, every engine
    python benchmarks/peers.py --checkpoint random:tiny-8 --forced-tokens 20
    python benchmarks/peers.py --quick --engines ours-fp32,ctranslate2-float32 --json peers.json

``docs/benchmarks.md`` describes what is measured and how to read it. Exit status 3 if an engine could not be compiled,
installed or run to the end, 1 if an engine diverges from PyTorch further than its precision
explains, 2 for wrong usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import comparison
from benchmarks.comparison import Agreement, Answer, Row, Samples
from benchmarks.engines import BASELINES, ENGINES, Engine, Setup, least_agreement, open_engine
from benchmarks.pinning import choose_cores, describe
from benchmarks.tables import terminal
from harness.core.cache import Cache
from harness.core.errors import ExitCode, HarnessError, UsageError
from harness.devices import HostDevice
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.reference import ReferenceOptions, cpu_name, reference_outputs
from harness.models.g2p.word_list import HELD_OUT_WORDS, Word, check_words, default_words, read_words

MAX_INPUT_BYTES = 64
DEFAULT_AGREEMENT_WORDS = 260
SHORT = {"ctranslate2-float32": "ct2 f32", "ctranslate2-int8": "ct2 int8"}
"""Names that fit above a column."""


@dataclass
class Comparison:
    """The engines that still run, what they gave, and why others do not."""

    console: Console
    setup: Setup
    names: list[str]
    engines: dict[str, Engine] = field(default_factory=dict)
    samples: dict[str, Samples] = field(default_factory=dict)
    quality: dict[str, tuple[Agreement, float | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)

    def open(self) -> None:
        for name in self.names:
            self._open(name)

    def _open(self, name: str) -> None:
        try:
            self.engines[name] = open_engine(name, self.setup)
        except HarnessError as error:
            self._fail(name, error)
        else:
            self.facts[name] = self.engines[name].facts

    def judge(self, words: Sequence[Word]) -> None:
        """Agreement with float32 PyTorch and PER, once, outside the timing."""
        batches = comparison.batches_of(words, self.setup.batch_size)
        asked = [word for batch in batches for word in batch]
        options = ReferenceOptions(max_output_len=self.setup.max_tokens)
        reference = reference_outputs(
            self.setup.checkpoint, asked, options, cache=self.setup.cache, progress=self.console.print
        )
        expected = [Answer(tuple(item.token_ids), item.text) for item in reference.items]
        for name in track(list(self.engines), description="agreement", console=self.console):
            if results := self._measure(name, batches):
                answers = [answer for result in results for answer in result.answers]
                per = comparison.phoneme_error_rate(answers, asked)
                self.quality[name] = (comparison.agreement(answers, expected), per)

    def time(self, batches: Sequence[Sequence[Word]], rounds: int) -> None:
        for index in track(range(rounds), description="rounds", console=self.console):
            for name in comparison.round_order(list(self.engines), index):
                if results := self._measure(name, batches):
                    self.samples.setdefault(name, Samples()).add(results)

    def close(self) -> None:
        for engine in self.engines.values():
            engine.close()

    def rows(self) -> list[Row]:
        return comparison.rows(self.names, self.samples, self.setup.batch_size, BASELINES, self.quality, self.failures)

    def _measure(self, name: str, batches: Sequence[Sequence[Word]]) -> list[comparison.BatchTime] | None:
        try:
            return self.engines[name].measure(batches)
        except HarnessError as error:
            self._fail(name, error)
            self.engines.pop(name).close()
            return None

    def _fail(self, name: str, error: HarnessError) -> None:
        self.failures[name] = Exception.__str__(error)
        self.console.print(f"[red]{name} cannot take part:[/red]", end=" ")
        self.console.print(str(error), markup=False)


def main(
    checkpoint: Annotated[str, typer.Option(help="embedded, random:tiny-8, or a folder")] = "embedded",
    words: Annotated[int, typer.Option(min=1, help="how many of the shipped words are timed")] = 130,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    forced_tokens: Annotated[
        int | None, typer.Option(min=1, max=1024, help="every word gets exactly so many tokens")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=64, help="words of similar length at once")] = 1,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    core: Annotated[int, typer.Option(min=0, help="the first of the cores all engines are pinned to")] = 0,
    engines: Annotated[str, typer.Option(help="comma-separated")] = ",".join(ENGINES),
    agreement_words: Annotated[
        str, typer.Option(help="a words file, or how many of the held-out words; 0 for none")
    ] = str(DEFAULT_AGREEMENT_WORDS),
    deadline: Annotated[float, typer.Option(min=0.1, help="seconds for one pass of one engine")] = 600.0,
    quick: Annotated[bool, typer.Option(help="13 words, 2 rounds, 26 words for the agreement")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="write all samples and the table here")] = None,
) -> None:
    """Compare the compiled artifact with transformers, ONNX Runtime and CTranslate2."""
    console = terminal()
    if quick:
        words, rounds, agreement_words = 13, 2, "26"
    try:
        status = compare(
            console,
            json_path,
            checkpoint=checkpoint,
            words=words,
            rounds=rounds,
            forced_tokens=forced_tokens,
            batch=batch,
            threads=threads,
            core=core,
            engines=engines,
            agreement_words=agreement_words,
            deadline=deadline,
        )
    except HarnessError as error:
        console.print(str(error), markup=False, style="red")
        sys.exit(error.exit_code)
    sys.exit(status)


def compare(console: Console, json_path: Path | None, **options: Any) -> ExitCode:
    cache = Cache(notice=console.print)
    device = HostDevice()
    setup = Setup(
        checkpoint=resolve_checkpoint(options["checkpoint"], cache=cache),
        device=device,
        cores=choose_cores(options["core"], options["threads"]),
        threads=options["threads"],
        batch_size=options["batch"],
        forced_tokens=options["forced_tokens"],
        deadline=options["deadline"],
        cache=cache,
        progress=console.print,
    )
    names = engine_names(options["engines"])
    batches = comparison.batches_of(timed_words(options["words"]), setup.batch_size)
    judged = quality_words(options["agreement_words"])
    if not batches:
        raise UsageError(
            f"{options['words']} words do not fill a batch of {setup.batch_size}", cure="give more --words"
        )
    for listed in (judged, [word for batch in batches for word in batch]):
        check_words(listed, languages=setup.checkpoint.languages, max_input_bytes=MAX_INPUT_BYTES)
    run = Comparison(console, setup, names)
    try:
        run.open()
        with device.reserve(notify=console.print):
            if judged:
                run.judge(judged)
            run.time(batches, options["rounds"])
    finally:
        run.close()
    table = run.rows()
    show(run, table, options)
    if json_path:
        json_path.write_text(
            json.dumps(document(run, table, batches, options), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    if run.failures:
        return ExitCode.INFRASTRUCTURE
    return ExitCode.FAILURE if suspects(table, setup) else ExitCode.OK


def suspects(table: Sequence[Row], setup: Setup) -> list[str]:
    """Return the engines that answer something else than PyTorch more often than their precision explains."""
    forced = setup.forced_tokens is not None
    return [row.engine for row in table if comparison.suspect(row, least_agreement(row.engine, forced=forced))]


def engine_names(text: str) -> list[str]:
    """Raises UsageError for an unknown one, or none."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in ENGINES]:
        raise UsageError(f"unknown engine {unknown[0]!r}", cure=f"known are {', '.join(ENGINES)}")
    if not names:
        raise UsageError("no engine was named", cure=f"known are {', '.join(ENGINES)}")
    return names


def timed_words(count: int) -> list[Word]:
    """Return the shipped words at even distances, the held-out ones when more are asked for."""
    shipped = default_words()
    return comparison.spread(shipped if count <= len(shipped) else read_words(HELD_OUT_WORDS), count)


def quality_words(text: str) -> list[Word]:
    """``--agreement-words``: a file, or a number of held-out words at even distances."""
    return (
        comparison.spread(read_words(HELD_OUT_WORDS), int(text))
        if text.isdigit() and int(text)
        else ([] if text.isdigit() else read_words(Path(text)))
    )


def show(run: Comparison, table: Sequence[Row], options: dict[str, Any]) -> None:
    console, setup = run.console, run.setup
    words = sum(len(samples.ns) for samples in list(run.samples.values())[:1]) * setup.batch_size
    length = f"{setup.forced_tokens} forced tokens" if setup.forced_tokens else "natural length"
    title = (
        f"{setup.checkpoint.label}, {length}, batch {setup.batch_size}: median over {words} words of the median of "
        f"{options['rounds']} alternating rounds; {setup.threads} thread(s), {describe(setup.cores)}, {cpu_name()}"
    )
    shown = Table(title=title, caption="ratios: time over that engine's time, below 1 is faster")
    for column in (
        "engine",
        "ms per word",
        *(f"of {SHORT.get(name, name)}" for name in BASELINES),
        "tokens",
        "agreement",
        "PER",
    ):
        shown.add_column(column, justify="left" if column == "engine" else "right")
    for row in table:
        if row.ms_per_word is None:
            shown.add_row(row.engine, "failed")
            continue
        agreed = row.agreement
        shown.add_row(
            row.engine + (" (failed later)" if row.failure else ""),
            f"{row.ms_per_word:.3f}",
            *(f"{row.ratios[name]:.3f}" if name in row.ratios else "–" for name in BASELINES),
            "–" if row.tokens_per_word is None else f"{row.tokens_per_word:.1f}",
            "–" if agreed is None else f"{agreed.equal}/{agreed.words}",
            "–" if row.per is None else f"{row.per:.4f}",
        )
    console.print(shown)
    for name, facts in run.facts.items():
        console.print(f"{name}: {', '.join(f'{key} {value}' for key, value in facts.items())}", highlight=False)
    lengths = {row.tokens_per_word for row in table if row.tokens_per_word is not None}
    if setup.forced_tokens and len(lengths) > 1:
        console.print("[yellow]the engines generated different numbers of tokens: the times do not compare[/yellow]")
    for name in suspects(table, setup):
        console.print(f"[red]{name} diverges from PyTorch too often: its times are another model's[/red]")
    for name, reason in run.failures.items():
        console.print(f"{name} failed: {reason.splitlines()[0]}", markup=False, style="red")


def document(
    run: Comparison, table: Sequence[Row], batches: Sequence[Sequence[Word]], options: dict[str, Any]
) -> dict[str, Any]:
    """Everything that was measured, for ``--json``; ``samples_ns`` is [batch][round] for each engine."""
    return {
        "options": options,
        "checkpoint_sha256": run.setup.checkpoint.sha256,
        "cpu": cpu_name(),
        "pinning": describe(run.setup.cores),
        "engines": run.facts,
        "failures": run.failures,
        "batches": [[{"language": word.language, "word": word.word} for word in batch] for batch in batches],
        "samples_ns": {name: samples.ns for name, samples in run.samples.items()},
        "token_ids": {name: [list(a.token_ids) for a in samples.answers] for name, samples in run.samples.items()},
        "table": [asdict(row) | {"agreement_share": row.agreement.share if row.agreement else None} for row in table],
    }


if __name__ == "__main__":
    typer.run(main)
