"""Store run folders: they are made atomically, appended to line by line, and read without trust.

A killed run is always readable. The manifest and the summary are written under another name and renamed. The other
files are only appended to, one whole line in one write, so at most the last line can be torn.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from harness.compiler.observe.provenance import Provenance
from harness.core.text import quoted
from harness.protocol.schema import WorkOrder
from harness.results import v1
from harness.results.errors import RunDamaged, RunNotFound, StorageUnwritable, writing
from harness.results.files import Appender, FolderLock, write_atomically
from harness.results.schema import (
    SCHEMA_VERSION,
    Manifest,
    OrderEntry,
    PairingFacts,
    PairLine,
    ParityLine,
    ReferenceLine,
    RunStatus,
    SampleLine,
    Summary,
)
from harness.results.schema import profile as profile_files
from harness.results.schema.profile import ProfileLine, Profiles, ProfileSummary

MANIFEST, SAMPLES, REFERENCE, PARITY, SUMMARY = (
    "manifest.json",
    "samples.jsonl",
    "reference.jsonl",
    "parity.jsonl",
    "summary.json",
)
PAIRS = "pairs.jsonl"
ORDERS = "orders"
RUN_ID = re.compile(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{4}")
_LATEST = re.compile(r"latest(?:~([0-9]{1,9}))?")
_Line = TypeVar("_Line", bound=BaseModel)


def now() -> str:
    """Return the time as the schema writes it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def new_run_id() -> str:
    """Return a new id. Ids sort by time to the millisecond; a suffix separates runs of the same millisecond."""
    time = datetime.now(timezone.utc)
    return f"{time:%Y%m%d-%H%M%S}-{time.microsecond // 1000:03d}-{secrets.token_hex(2)}"


class RunWriter:
    """Write one run; a run has only one writer.
    As a context manager it ends the run as incomplete or failed unless :meth:`finish` was called.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._lock = FolderLock(folder)
        self._samples = Appender(folder / SAMPLES)
        self._reference = Appender(folder / REFERENCE)
        self._parity = Appender(folder / PARITY)
        self._pairs = Appender(folder / PAIRS)
        self._profile = Appender(folder / profile_files.LINES)

    @property
    def run_id(self) -> str:
        return self.manifest.run_id

    def update(self, **changes: object) -> None:
        """Change fields of the manifest."""
        self.manifest = self.manifest.model_copy(update=changes)
        write_atomically(self.folder / MANIFEST, self.manifest)

    def begin_order(self, entry: OrderEntry, order: WorkOrder) -> None:
        """Begin an order, and keep the order itself, so that anyone can give it to the runner again."""
        with writing(self.folder / ORDERS):
            (self.folder / ORDERS).mkdir(exist_ok=True)
        write_atomically(self.folder / ORDERS / f"{order.order_id}.json", order)
        self.update(orders=[*self.manifest.orders, entry])

    def end_order(self, entry: OrderEntry) -> None:
        self._samples.sync()
        self._profile.sync()
        self.update(orders=[entry if old.order_id == entry.order_id else old for old in self.manifest.orders])

    def sample(self, line: SampleLine) -> None:
        self._samples.append(line)

    def profile(self, line: ProfileLine) -> None:
        self._profile.append(line)

    def profiles(self, summaries: list[ProfileSummary], provenance: Provenance) -> None:
        """Write the profiles of all workloads so far. The provenance is that of the archive that contains them."""
        write_atomically(self.folder / profile_files.PROVENANCE, provenance)
        write_atomically(self.folder / profile_files.SUMMARY, Profiles(workloads=summaries))

    def reference(self, lines: Iterable[ReferenceLine]) -> None:
        for line in lines:
            self._reference.append(line)

    def parity(self, lines: Iterable[ParityLine]) -> None:
        for line in lines:
            self._parity.append(line)

    def pair(self, line: PairLine) -> None:
        self._pairs.append(line)

    def end_pairs(self, workload: str, facts: PairingFacts) -> None:
        """Record how a workload's pairs were taken, once all of them are written."""
        self._pairs.sync()
        self.update(pairing={**self.manifest.pairing, workload: facts})

    def summary(self, summary: Summary) -> None:
        write_atomically(self.folder / SUMMARY, summary)

    def finish(self, status: RunStatus, reason: str | None = None) -> None:
        """Mark the run as ended; after this nothing may be written."""
        self.close()
        self.update(status=status, reason=reason, ended=now())

    def close(self) -> None:
        for appender in (self._samples, self._reference, self._parity, self._pairs, self._profile):
            appender.close()
        self._lock.release()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.manifest.ended is None:
            interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
            reason = "interrupted" if interrupted else f"ended early: {error}" if error else "ended early"
            status = RunStatus.INCOMPLETE if error is None or interrupted else RunStatus.FAILED
            # The error under way matters more than a second one from a full disk.
            with contextlib.suppress(Exception):
                self.finish(status, reason)


class Run:
    """Read a stored run lazily. Raises RunDamaged if a file is damaged in a way that no interruption explains."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def run_id(self) -> str:
        return self.folder.name

    def path(self, name: str) -> Path:
        """Return where a file of the run is, if the run has it."""
        return self.folder / name

    def manifest(self) -> Manifest:
        manifest = _read(self.path(MANIFEST), Manifest)
        if manifest is None:
            raise RunDamaged(f"run {self.run_id} has no {MANIFEST}")
        if manifest.schema_version > SCHEMA_VERSION:
            raise RunDamaged(
                f"run {self.run_id} has schema version {manifest.schema_version}, this harness reads {SCHEMA_VERSION}",
                cure="update the harness",
            )
        return manifest

    def summary(self) -> Summary | None:
        """Return the summary; None if the run ended before it was made."""
        return _read(self.path(SUMMARY), Summary)

    def order(self, order_id: str) -> WorkOrder:
        """Return an order of the run as the runner got it; raises RunDamaged if it is gone."""
        order = _read(self.path(f"{ORDERS}/{order_id}.json"), WorkOrder)
        if order is None:
            raise RunDamaged(f"run {self.run_id} has lost its order {order_id}")
        return order

    def samples(self) -> Iterator[SampleLine]:
        return _lines(self.path(SAMPLES), SampleLine)

    def reference(self) -> Iterator[ReferenceLine]:
        yield from _lines(self.path(REFERENCE), ReferenceLine)
        yield from _lines(self.path(v1.MODEL_REFERENCE), ReferenceLine)

    def parity(self) -> Iterator[ParityLine]:
        yield from _lines(self.path(PARITY), ParityLine)
        yield from _lines(self.path(v1.MODEL_PARITY), ParityLine)

    def pairs(self) -> Iterator[PairLine]:
        return _lines(self.path(PAIRS), PairLine)

    def profiles(self) -> list[ProfileSummary]:
        """Return one profile for each workload that was profiled."""
        found = _read(self.path(profile_files.SUMMARY), Profiles)
        return [] if found is None else found.workloads

    def profile_lines(self) -> Iterator[ProfileLine]:
        return _lines(self.path(profile_files.LINES), ProfileLine)

    def provenance(self) -> Provenance | None:
        """Return the provenance of the archive that was profiled."""
        return _read(self.path(profile_files.PROVENANCE), Provenance)


def _read(path: Path, schema: type[_Line]) -> _Line | None:
    try:
        return schema.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise RunDamaged(f"{path} cannot be read: {_first(error)}") from error


def _lines(path: Path, schema: type[_Line]) -> Iterator[_Line]:
    """Yield the whole lines. A kill may have torn the last line, which is then left out."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _line(line, schema)
            except ValidationError as error:
                raise RunDamaged(f"{path}, line {number}: {_first(error)}") from error


def _line(line: bytes, schema: type[_Line]) -> _Line:
    """Return a line's value. Earlier harnesses wrote null for numbers that were not finite; these are left out."""
    try:
        return schema.model_validate_json(line)
    except ValidationError as error:
        try:
            stored = json.loads(line)
        except ValueError:
            raise error from None
        upgraded = v1.sample_line(stored) if isinstance(stored, dict) else stored
        if not _drop_missing(upgraded) and upgraded is stored:
            raise
        return schema.model_validate(upgraded)


def _drop_missing(stored: object) -> bool:
    """Remove the fields of a stored record that contain null among their numbers; return whether there were any."""
    record = stored.get("record") if isinstance(stored, dict) else None
    if not isinstance(record, dict):
        return False
    dropped = False
    for output in record.get("outputs") or []:
        for name in ("margins", "logits"):
            numbers = output.get(name)
            lists = numbers.values() if isinstance(numbers, dict) else [numbers or []]
            if any(None in one for one in lists):
                output[name] = None
                dropped = True
    for name in ("bandwidth", "flops"):
        rates = record.get(name)
        if isinstance(rates, dict) and None in rates.values():
            record[name] = {key: rate for key, rate in rates.items() if rate is not None}
            dropped = True
    return dropped


def _first(error: ValidationError | OSError) -> str:
    return error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)


class Store:
    """Manage the folder of all runs, ``results/`` by default. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def place(self) -> str:
        """Return what messages call the place of the runs."""
        return str(self.root)

    def with_nightly_runs(self, name: str | None = None) -> Path:
        """Return the folder with all nightly runs, and read one in full."""
        return self.root

    def with_baselines(self, name: str | None = None) -> Path:
        """Return the folder with all baselines, one of them for use."""
        return self.root

    def create(self, **facts: object) -> RunWriter:
        """Start a run whose manifest contains ``facts``; raises StorageFull or StorageUnwritable.

        A rename makes the folder appear with its manifest in it, and fails if the name is taken.
        """
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        for _ in range(100):
            manifest = Manifest.model_validate({"run_id": new_run_id(), "started": now(), **facts})
            folder, partial = self.root / manifest.run_id, self.root / f".{manifest.run_id}.{os.getpid()}"
            with writing(partial):
                partial.mkdir()
            try:
                write_atomically(partial / MANIFEST, manifest)
                partial.rename(folder)
            except OSError:
                continue
            finally:
                _remove_partial(partial)
            return RunWriter(folder, manifest)
        raise StorageUnwritable(f"cannot make a run folder in {self.root}")

    def runs(self) -> list[Run]:
        """Return all runs, the oldest first."""
        if not self.root.is_dir():
            return []
        return [Run(folder) for folder in sorted(self.root.iterdir()) if RUN_ID.fullmatch(folder.name)]

    def find(self, name: str) -> Run:
        """Return a run by id, unique prefix, ``latest`` or ``latest~1``; raises RunNotFound with a list of runs."""
        runs = self.runs()
        if not runs:
            raise RunNotFound(f"there are no runs in {self.place}", cure="make one: pytest suites --device host")
        if latest := _LATEST.fullmatch(name):
            back = int(latest[1] or 0)
            if back < len(runs):
                return runs[-1 - back]
            raise RunNotFound(f"there is no {name[:80]}: {self.place} holds {len(runs)} runs", cure=_listed(runs))
        matches = [run for run in runs if run.run_id == name] or [run for run in runs if run.run_id.startswith(name)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise RunNotFound(f"{quoted(name)} is the beginning of {len(matches)} runs", cure=_listed(matches))
        raise RunNotFound(f"there is no run {quoted(name)} in {self.place}", cure=_listed(runs))


def _listed(runs: list[Run], most: int = 10) -> str:
    shown = ", ".join(run.run_id for run in reversed(runs[-most:]))
    return f"the latest are {shown}" if len(runs) > most else f"there are {shown}"


def _remove_partial(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / MANIFEST).unlink(missing_ok=True)
        folder.rmdir()
