"""A run's failing item once more: the same archive with taps on the device, beside PyTorch's own values."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.compiler import Archive
from harness.compiler.provenance import FILE_NAME as PROVENANCE
from harness.compiler.provenance import Provenance, read_provenance
from harness.devices import Device, RunResult
from harness.devices.workstation import versions
from harness.errors import HarnessError, UsageError
from harness.explain.schema import FOLDER, GIVEN, GIVEN_UP, Explanation, SiteRow
from harness.explain.taps import leaf_count
from harness.maker import RunOptions, TapMaker, Variant, app_options
from harness.models.checkpoints import Checkpoint
from harness.narration import NarratorLike
from harness.protocol import OrderModel, Probe, RecordOptions, TapsRecord, TapWindow, WorkItem, WorkOrder
from harness.results import ParityLine, ReferenceLine, Run
from harness.results.store import write_atomically
from harness.tensors import decode
from harness.validate import Verdict
from harness.validate.parity import first_divergence
from harness.worker import run_worker

WORKER = "harness.explain.worker"
MODEL = "g2p"
VARIANTS: tuple[Variant, ...] = ("cache", "cacheless")


class NothingToExplain(UsageError):
    """No word of the run failed, or the one that was named is not in it."""

    cure = "name any word's item with --item to see its kernels beside PyTorch; `harness show` lists the words"


class CannotExplain(HarnessError):
    """The run cannot be made again."""

    cure = "make a new run and explain that one"


@dataclass(frozen=True)
class Subject:
    """The word that is explained. ``before``: the run's words in front of it, which may have left something behind."""

    variant: Variant
    reference: ReferenceLine
    before: list[ReferenceLine]
    parity: ParityLine | None

    @property
    def last_step(self) -> int:
        """The step up to which both sides decoded the same tokens, and the one after."""
        if self.parity is not None and self.parity.step is not None:
            return self.parity.step
        return len(self.reference.token_ids) - 1

    def items(self, batch_size: int) -> list[WorkItem]:
        """What is run: words that may share a batch with others are run alone."""
        lines = [*(self.before if batch_size == 1 else []), self.reference]
        return [WorkItem(id=line.item, model=MODEL, language=line.language, word=line.word) for line in lines]


def explain(
    run: Run, *, item: str | None = None, maker: TapMaker, device: Device, narrator: NarratorLike
) -> Explanation:
    """Compile with taps, run on ``device``, compare with PyTorch node by node; kept in the run's folder.

    ``item``: None for the first that failed. Raises NothingToExplain, CannotExplain, BadTaps, IncompleteResult, and
    what making and running a runner raises.
    """
    subject = find_subject(run, item)
    options = options_of(run, device)
    checkpoint = _checkpoint(run, options, maker)
    seconds: dict[str, float] = {}
    with _timed(seconds, "compile"), narrator.stage(f"compiling {checkpoint.label} with taps") as stage:
        archive = maker.tapped_archive(options, checkpoint, subject.variant, stage.say)
    order = make_order(subject, archive, read_provenance(archive.folder))
    with _Comparison(subject, checkpoint, archive) as comparison:
        with _timed(seconds, "build"), narrator.stage("building the runner with taps") as stage:
            app = app_options(
                options,
                device.companion,
                lambda own: maker.tapped_archive(own, checkpoint, subject.variant, stage.say),
            )
            runner = maker.runner(archive, stage.say, app)
        title = f"running {subject.reference.word!r} on {device.name}"
        with _timed(seconds, "run"), narrator.stage(title) as stage, device.reserve(notify=stage.say):
            result = device.run(runner.path, order, deadline=options.deadline)
        stream = _stream(result)
        with _timed(seconds, "compare"), narrator.stage("comparing with PyTorch") as stage:
            rows = comparison.finish(stream, _said(result, subject), stage.say)
    found = _explanation(run, subject, options, device, archive, result, rows).model_copy(
        update={"seconds": seconds, "checkpoint_sha256": checkpoint.sha256}
    )
    _keep(run, found, order, stream, archive)
    return found


def find_subject(run: Run, item: str | None) -> Subject:
    """The item, or the first one that failed or was not reached, with what PyTorch said of it."""
    lines = list(run.parity())
    reference = list(run.reference())
    known = {line.item: at for at, line in enumerate(reference)}
    if not known:
        raise NothingToExplain(
            f"run {run.run_id} has no words",
            cure="explain a run of G2P: models of tensors are compared by their outputs",
        )
    if item is not None and item not in known:
        raise NothingToExplain(f"run {run.run_id} has no word {item!r}; its words are {', '.join(list(known)[:5])} …")
    mine = [line for line in lines if line.item in known and item in (None, line.item)]
    failing = [line for line in mine if line.verdict.fails] or [
        line for line in mine if line.verdict is Verdict.MISSING
    ]
    if item is None and not failing:
        raise NothingToExplain(f"no word of run {run.run_id} departs from PyTorch")
    line = next(iter(failing or mine), None)
    at = known[line.item if line is not None else str(item)]
    variant = VARIANTS[0] if line is None else _variant(line.comparison)
    return Subject(variant, reference[at], reference[:at], line)


def options_of(run: Run, device: Device | None = None) -> RunOptions:
    """The run's options; for another kind of device than the run's, compiled for that one. Raises CannotExplain."""
    stored = run.manifest().options
    names = {field.name for field in fields(RunOptions)}
    try:
        options = TypeAdapter(RunOptions).validate_python({k: v for k, v in stored.items() if k in names})
    except ValidationError as error:
        raise CannotExplain(f"the options of run {run.run_id} cannot be read: {error.errors()[0]['msg']}") from error
    if device is not None and device.kind != options.device.partition(":")[0]:
        return replace(options, device=device.kind, target=device.target, mcpu=None)
    return options


def make_order(subject: Subject, archive: Archive, provenance: Provenance) -> WorkOrder:
    """The run's words up to the subject, whose calls up to its last step give away what they compute."""
    counts = {function.name: leaf_count(function) for function in provenance.functions}
    decoder = counts.get("decoder_step") or counts.get("decoder", 0)
    calls = counts["encoder"] + counts.get("decoder_prefill", 0) + decoder * (subject.last_step + 1)
    model: OrderModel = archive.metadata.order_model(MODEL)
    return WorkOrder(
        order_id=f"explain-{subject.variant}-{secrets.token_hex(4)}",
        archive_sha256=archive.sha256,
        models=[model],
        items=subject.items(archive.metadata.batch_size),
        warmup=0,
        repetitions=0,
        probe=RecordOptions(margins=True, taps=TapWindow(item=subject.reference.item, first=0, last=calls)),
    )


def _variant(comparison: str) -> Variant:
    return "cacheless" if comparison.startswith("cacheless") else "cache"


def _checkpoint(run: Run, options: RunOptions, maker: TapMaker) -> Checkpoint:
    known = run.manifest().checkpoint
    found = maker.checkpoint(options)
    if known is not None and known.sha256 != found.sha256:
        raise CannotExplain(
            f"the checkpoint {known.label} is not the one of run {run.run_id} any more",
            cure="give the run's own checkpoint, or make a new run with this one",
        )
    return found


def _stream(result: RunResult) -> bytes:
    pieces = [decode(record.tensors)["taps"].tobytes() for record in result.records if isinstance(record, TapsRecord)]
    if not pieces:
        result.require_complete()
        raise CannotExplain("the runner gave nothing away", cure="`harness cache clear`, then explain again")
    return b"".join(pieces)


def _said(result: RunResult, subject: Subject) -> list[int] | None:
    """The archive's tokens for the subject; None where it ended with an error."""
    for record in result.records:
        if isinstance(record, Probe) and subject.reference.item in record.items:
            return record.outputs[record.items.index(subject.reference.item)].token_ids
    return None


class _Comparison:
    """The worker that asks PyTorch: it exports the graphs while the runner is built and run, then waits for taps."""

    def __init__(self, subject: Subject, checkpoint: Checkpoint, archive: Archive) -> None:
        self._subject = subject
        self._folder = tempfile.TemporaryDirectory(prefix="harness-explain-")
        self._say: Callable[[str], None] = lambda _text: None
        metadata = archive.metadata
        self._request: dict[str, Any] = {
            "checkpoint": str(checkpoint.folder),
            "precision": metadata.precision,
            "kv_cache": metadata.use_kv_cache,
            "shapes": {
                "batch_size": metadata.batch_size,
                "max_input_bytes": metadata.max_input_bytes,
                "max_output_len": metadata.max_output_len,
            },
            "language": subject.reference.language,
            "word": subject.reference.word,
            "prompt_space": metadata.prompt_space,
            "last_step": subject.last_step,
            "provenance": str(archive.folder / PROVENANCE),
            "folder": self._folder.name,
        }
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="harness explain")
        self._result: Future[dict[str, Any]] | None = None

    def __enter__(self) -> _Comparison:
        self._result = self._pool.submit(run_worker, WORKER, self._request, lambda text: self._say(text))
        return self

    def __exit__(self, *_: object) -> None:
        (Path(self._folder.name) / GIVEN_UP).touch()
        self._pool.shutdown()
        self._folder.cleanup()

    def finish(self, stream: bytes, said: list[int] | None, progress: Callable[[str], None]) -> list[SiteRow]:
        """Give the taps to the worker, and what the archive answered; its rows. Raises WorkerError, WorkerFailed."""
        assert self._result is not None, "the context comes first"
        self._say = progress
        folder = Path(self._folder.name)
        (folder / "taps").write_bytes(stream)
        tokens = self._subject.reference.token_ids if said is None else said
        partial = folder / f"{GIVEN}.partial"
        partial.write_text(json.dumps({"tokens": tokens}))
        partial.replace(folder / GIVEN)
        return [SiteRow.model_validate(row) for row in self._result.result()["rows"]]


def _explanation(
    run: Run,
    subject: Subject,
    options: RunOptions,
    device: Device,
    archive: Archive,
    result: RunResult,
    rows: list[SiteRow],
) -> Explanation:
    line, reference = subject.parity, subject.reference
    said = _said(result, subject)
    step = line.step if line is not None else None
    again = None if said is None else first_divergence(reference.token_ids, said)
    return Explanation(
        run_id=run.run_id,
        item=reference.item,
        language=reference.language,
        word=reference.word,
        variant=subject.variant,
        precision=archive.metadata.precision,
        device=device.name,
        verdict=None if line is None else str(line.verdict),
        step=step,
        expected_token=None if line is None else line.expected_token,
        got_token=None if line is None else line.got_token,
        expected_margin=None if line is None else line.expected_margin,
        got_margin=None if line is None else line.got_margin,
        tie=line is not None and line.verdict is Verdict.TIE,
        reproduced=None if said is None else again == step,
        error=None if result.failure is None else result.failure.message,
        rows=rows,
        archive_sha256=archive.sha256,
        versions=versions(),
    )


def file_name(item: str, suffix: str) -> str:
    """Of an item's files in the run folder's ``explain``."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', item)}{suffix}"


def _keep(run: Run, found: Explanation, order: WorkOrder, stream: bytes, archive: Archive) -> None:
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    write_atomically(folder / file_name(found.item, ".metadata.json"), archive.metadata)
    write_atomically(folder / file_name(found.item, ".provenance.json"), read_provenance(archive.folder))
    partial = folder / file_name(found.item, ".taps.partial")
    partial.write_bytes(stream)
    partial.replace(folder / file_name(found.item, ".taps"))
    write_atomically(folder / file_name(found.item, ".order.json"), order)
    write_atomically(folder / file_name(found.item, ".json"), found)


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[part] = round(time.monotonic() - began, 2)
