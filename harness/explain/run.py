"""Run a run's failing item once more, on an instrumented archive, and compare with PyTorch's values."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.compiler import Archive
from harness.compiler.observe.provenance import FILE_NAME as PROVENANCE
from harness.compiler.observe.provenance import read_provenance
from harness.core.files import replacing
from harness.core.progress import ProgressReporter
from harness.core.worker import run_worker
from harness.devices import Device, RunResult
from harness.devices.workstation import versions
from harness.explain.choice import find_subject
from harness.explain.schema import FOLDER, GIVEN, GIVEN_UP, Explanation
from harness.explain.subject import CannotExplain, Subject, subject_of
from harness.protocol.schema import TapsRecord, WorkOrder
from harness.protocol.tensors import decode
from harness.results import Run
from harness.results.files import write_atomically
from harness.run.builder import Builder, RunOptions, app_options, stored_options

WORKER = "harness.explain.worker"


def explain(
    run: Run,
    *,
    item: str | None = None,
    builder: Builder,
    device: Device,
    reporter: ProgressReporter,
    command: Callable[[str], Sequence[str]] | None = None,
) -> Explanation:
    """Compile an archive instrumented for tracing, run it on ``device``, and compare with PyTorch node by node.

    The run's folder keeps the result.

    ``item`` is a word's id or ``MODEL/ITEM``; None means the first that failed. ``command`` returns the command that
    explains the item that it is given; the explanation keeps it. Raises NothingToExplain, CannotExplain,
    BadTaps, IncompleteResult, and what making and running a runner raises.
    """
    chosen = find_subject(run, item)
    options = options_of(run, device)
    seconds: dict[str, float] = {}
    with reporter.stage("looking at what is explained") as stage:
        subject = subject_of(run, chosen, options, builder, stage.describe)
    with _timed(seconds, "compile"), reporter.stage(f"compiling {subject.label}, instrumented for tracing") as stage:
        archive = subject.archive(options, stage.describe)
    order = subject.order(archive, read_provenance(archive.folder))
    with _Comparison(subject, archive) as comparison:
        with _timed(seconds, "build"), reporter.stage("building the runner, instrumented for tracing") as stage:
            app = app_options(options, device.companion, lambda own: subject.archive(own, stage.describe))
            runner = builder.runner(archive, stage.describe, app)
        title = f"running {subject.title} on {device.name}"
        with _timed(seconds, "run"), reporter.stage(title) as stage, device.reserve(notify=stage.describe):
            result = device.run(runner.path, order, deadline=options.deadline)
        stream = _stream(result)
        with _timed(seconds, "compare"), reporter.stage("comparing with PyTorch") as stage:
            compared = comparison.finish(stream, subject.fed(result), stage.describe)
    found = Explanation(
        run_id=run.run_id,
        precision=archive.metadata.precision,
        device=device.name,
        error=None if result.failure is None else result.failure.message,
        **compared,
        archive_sha256=archive.sha256,
        checkpoint_sha256=subject.workload.weights_sha256,
        versions=versions(),
        seconds=seconds,
        **subject.facts(result),
    )
    if command is not None:
        found = found.model_copy(update={"command": [*command(found.name)]})
    _keep(run, found, order, stream, archive)
    return found


def options_of(run: Run, device: Device | None = None) -> RunOptions:
    """Return the run's options; for a device of another kind, with that device as the target. Raises CannotExplain."""
    try:
        options = stored_options(run.manifest().options)
    except ValidationError as error:
        raise CannotExplain(f"the options of run {run.run_id} cannot be read: {error.errors()[0]['msg']}") from error
    if device is not None and device.kind != options.device.partition(":")[0]:
        return replace(options, device=device.kind, target=device.target, mcpu=None)
    return options


def _stream(result: RunResult) -> bytes:
    pieces = [decode(record.tensors)["taps"].tobytes() for record in result.records if isinstance(record, TapsRecord)]
    if not pieces:
        result.require_complete()
        raise CannotExplain("the runner gave nothing away", cure="`harness cache clear`, then explain again")
    return b"".join(pieces)


class _Comparison:
    """Run the worker that asks PyTorch.

    It exports the graphs while the runner is built and run, then waits for taps.
    """

    def __init__(self, subject: Subject[Any], archive: Archive) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="harness-explain-")
        self._say: Callable[[str], None] = lambda _text: None
        self._request = subject.whole_request(archive, Path(self._folder.name)) | {
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

    def finish(self, stream: bytes, fed: list[int], progress: Callable[[str], None]) -> dict[str, Any]:
        """Give the worker the taps and the tokens that were fed; return its fields of the explanation.
        Raises WorkerError, WorkerFailed.
        """
        assert self._result is not None, "the context comes first"
        self._say = progress
        folder = Path(self._folder.name)
        (folder / "taps").write_bytes(stream)
        with replacing(folder / GIVEN) as partial:
            partial.write_text(json.dumps({"tokens": fed}), encoding="utf-8")
        return self._result.result()


def file_name(name: str, suffix: str) -> str:
    """Return the name of an item's file in the run folder's ``explain``."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}{suffix}"


def _keep(run: Run, found: Explanation, order: WorkOrder, stream: bytes, archive: Archive) -> None:
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    write_atomically(folder / file_name(found.name, ".metadata.json"), archive.metadata)
    write_atomically(folder / file_name(found.name, ".provenance.json"), read_provenance(archive.folder))
    with replacing(folder / file_name(found.name, ".taps")) as partial:
        partial.write_bytes(stream)
    write_atomically(folder / file_name(found.name, ".order.json"), order)
    write_atomically(folder / file_name(found.name, ".json"), found)


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[part] = round(time.monotonic() - began, 2)
