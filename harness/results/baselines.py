"""Keep baselines: the runner and archive of a run, so that they can be run again with a candidate.

``<results>/baselines/<name>.json`` describes a baseline. ``objects/<sha256>`` holds each file once, however many
baselines share it. Both appear by a rename, an object before the baseline that names it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from harness.core.cache import MANIFEST, Cache, CacheBusy, hash_file
from harness.core.errors import HarnessError, UsageError
from harness.core.files import replacing
from harness.core.text import quoted
from harness.protocol.schema import WorkOrder
from harness.results import v1
from harness.results.errors import writing
from harness.results.files import write_atomically
from harness.results.schema import SELF_TEST, Manifest
from harness.results.store import ORDERS, Run, now
from harness.validate.comparison import Comparison

FOLDER, OBJECTS = "baselines", "objects"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
LOCK_SECONDS = 60.0


class BaselineNotFound(UsageError):
    """No baseline has that name."""


class BaselineExists(UsageError):
    """Another run is kept under that name."""

    cure = "choose another --name, or remove it first: harness baseline rm NAME"


class BaselineUnusable(UsageError):
    """The run cannot become a baseline."""


class ArtifactGone(HarnessError):
    """The cache no longer holds the files with which the run was measured."""

    cure = (
        "check out the run's commit, run the suites again, and set the baseline from that run before clearing the cache"
    )


class BaselineDamaged(HarnessError):
    """A baseline's file is missing or has other contents."""

    cure = "restore the file, or remove the baseline (harness baseline rm NAME) and set it again"


class KeptWorkload(BaseModel):
    """Describe a timed workload: the kept files of its runner by their SHA-256, and the work order that timed it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    workload: str
    variant: str
    """The variant of the archive in the runner."""
    comparison: Comparison | None = None
    """How the answers of a tensor workload are judged; None for a generation."""
    runner_sha256: str
    runner_bytes: int
    archive_sha256: str
    archive_bytes: int
    target: str
    order: WorkOrder


class Baseline(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: int = 2
    name: str
    created: str
    manifest: Manifest
    """The manifest of the run from which it was made."""
    timed: dict[str, KeptWorkload]
    """The timed workloads by name: the timed variant, or the workload's name if it has no variants."""

    @property
    def by_workload(self) -> dict[str, list[str]]:
        """Return the kept names of each workload, by workload."""
        found: dict[str, list[str]] = {}
        for name, kept in self.timed.items():
            found.setdefault(kept.workload, []).append(name)
        return found

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, stored: Any) -> Any:
        return v1.baseline(stored) if isinstance(stored, dict) else stored


@dataclass(frozen=True)
class KeptRunner:
    """Describe the runner and the order that a device runs as A."""

    path: Path
    sha256: str
    size: int
    archive_bytes: int
    order: WorkOrder


class Baselines:
    """Manage all baselines below one results folder."""

    def __init__(self, results: Path) -> None:
        self.folder = results / FOLDER
        self._objects = self.folder / OBJECTS

    def set(self, run: Run, name: str | None = None, *, cache: Cache, emulated: bool = False) -> Baseline:
        """Keep the timed workloads of a run under ``name`` (the run's id by default).

        A run on an emulated device is only kept if ``emulated``: such a baseline serves emulated devices alone.
        The same run under the same name again changes nothing. Raises BaselineUnusable, BaselineExists, ArtifactGone,
        RunDamaged, StorageFull or StorageUnwritable.
        """
        manifest = run.manifest()
        name = _checked(run.run_id if name is None else name)
        if manifest.emulated and not emulated:
            raise BaselineUnusable(
                f"run {run.run_id} was made on an emulated device, whose times are compared with nothing",
                cure="use a run on a real device, or add --emulated for `harness nightly --emulated`",
            )
        if manifest.mode == SELF_TEST:
            raise BaselineUnusable(
                f"run {run.run_id} was made inside an app, which cannot be run again from here",
                cure="set the baseline from a run of the harness's own runner",
            )
        timed = _timed(run, manifest)
        with writing(self.folder):
            self._objects.mkdir(parents=True, exist_ok=True)
        with self._locked():
            path = self._path(name)
            if path.exists():
                known = self.get(name)
                if known.manifest.run_id != run.run_id:
                    raise BaselineExists(f"{name} is the baseline of run {known.manifest.run_id}")
                return known
            for kept in timed.values():
                self._keep("runners", kept.runner_sha256, cache, executable=True)
                self._keep("archives", kept.archive_sha256, cache, executable=False)
            baseline = Baseline(name=name, created=now(), manifest=manifest, timed=timed)
            write_atomically(path, baseline)
        return baseline

    def get(self, name: str) -> Baseline:
        """Return a baseline. Raises BaselineNotFound or BaselineDamaged."""
        path = self._path(_checked(name))
        try:
            return Baseline.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            names = ", ".join(self.names())
            raise BaselineNotFound(
                f"there is no baseline {name!r} in {self.folder}",
                cure=f"there are: {names}" if names else "set one: harness baseline set latest --name NAME",
            ) from error
        except (OSError, ValidationError) as error:
            raise BaselineDamaged(f"{path} cannot be read: {str(error).splitlines()[0]}") from error

    def names(self) -> list[str]:
        """Return the names of all baselines, damaged ones included, in alphabetical order."""
        return sorted(path.stem for path in self.folder.glob("*.json") if _NAME.fullmatch(path.stem))

    def remove(self, name: str) -> int:
        """Remove a baseline, and the files that no other one shares; return the bytes freed.

        A damaged baseline can be removed, too. Raises BaselineNotFound.
        """
        path = self._path(_checked(name))
        if not path.exists():
            self.get(name)
        with writing(self.folder), self._locked():
            path.unlink(missing_ok=True)
            try:
                used = {sha for other in self.names() for sha in objects_of(self.get(other))}
            except BaselineDamaged:
                # A baseline that cannot be read may share any file, so that all files stay.
                return 0
            freed = 0
            for kept in self._objects.iterdir():
                if kept.name not in used:
                    freed += kept.stat().st_size
                    kept.unlink()
        return freed

    def runner(self, name: str, which: str) -> KeptRunner:
        """Return the kept runner of a variant or workload, checked against its hash.
        Raises BaselineNotFound, BaselineUnusable, BaselineDamaged.
        """
        baseline = self.get(name)
        facts = baseline.timed.get(which)
        if facts is None:
            there = ", ".join(baseline.timed)
            raise BaselineUnusable(f"baseline {name} has no variant or workload {which!r}", cure=f"it has: {there}")
        path = self._objects / facts.runner_sha256
        if not path.is_file():
            raise BaselineDamaged(f"the runner of baseline {name} ({path}) is missing")
        if hash_file(path) != facts.runner_sha256:
            raise BaselineDamaged(f"the runner of baseline {name} ({path}) has other contents than when it was kept")
        return KeptRunner(path, facts.runner_sha256, facts.runner_bytes, facts.archive_bytes, facts.order)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with FileLock(self.folder / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout as error:
            raise CacheBusy(f"another process has been changing {self.folder} for {LOCK_SECONDS:.0f} s") from error

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _keep(self, kind: str, sha256: str, cache: Cache, *, executable: bool) -> None:
        kept = self._objects / sha256
        if kept.is_file() and hash_file(kept) == sha256:
            return
        source = find_in_cache(cache, kind, sha256)
        with writing(kept), replacing(kept) as partial:
            shutil.copyfile(source, partial)
            if hash_file(partial) != sha256:
                raise ArtifactGone(f"{source} is damaged")
            partial.chmod(0o755 if executable else 0o644)
            with partial.open("rb") as file:
                os.fsync(file.fileno())


def find_in_cache(cache: Cache, kind: str, sha256: str) -> Path:
    """Return the file with that hash in the manifests of the cache entries of ``kind``; raises ArtifactGone."""
    for entry in cache.entries():
        if entry.kind == kind:
            for name, known in _hashes(entry.folder).items():
                if known == sha256 and (entry.folder / name).is_file():
                    cache.use(entry.folder)
                    return entry.folder / name
    what = {"runners": "runner", "archives": "archive"}[kind]
    raise ArtifactGone(f"the {what} {sha256[:12]}… is no longer in the cache ({cache.root})")


def _hashes(folder: Path) -> dict[str, str]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {name: str(facts["sha256"]) for name, facts in manifest.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{quoted(name)} cannot name a baseline",
            cure="use up to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    return name


def objects_of(baseline: Baseline) -> set[str]:
    """Return the hashes of the files that a baseline keeps."""
    return {sha for facts in baseline.timed.values() for sha in (facts.runner_sha256, facts.archive_sha256)}


def _timed(run: Run, manifest: Manifest) -> dict[str, KeptWorkload]:
    """Return the workloads that the run timed to the end, with their orders. Raises BaselineUnusable."""
    found: dict[str, KeptWorkload] = {}
    for entry in manifest.orders:
        if entry.purpose != "latency" or not entry.complete:
            continue
        workload = manifest.workloads.get(entry.workload)
        # A workload without variants is in the runner of the timed variant, which is the first one of the run.
        variant = entry.variant or next(iter(manifest.variants), "")
        facts = manifest.variants.get(variant)
        if facts is None or not (_SHA256.fullmatch(facts.runner_sha256) and _SHA256.fullmatch(facts.archive_sha256)):
            continue
        # Older runs did not keep the comparison of a tensor workload.
        if workload is None or (workload.way.own_rule and workload.comparison is None):
            continue
        found[entry.name] = KeptWorkload(
            workload=entry.workload,
            variant=variant,
            comparison=workload.comparison,
            runner_sha256=facts.runner_sha256,
            runner_bytes=facts.runner_bytes,
            archive_sha256=facts.archive_sha256,
            archive_bytes=facts.archive_bytes,
            target=facts.target,
            order=_order(run, entry.order_id),
        )
    if not found:
        raise BaselineUnusable(
            f"run {run.run_id} timed no model to the end", cure="make one that does: pytest suites --device host"
        )
    return found


def _order(run: Run, order_id: str) -> WorkOrder:
    try:
        order = WorkOrder.model_validate_json((run.folder / ORDERS / f"{order_id}.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise BaselineUnusable(
            f"the order {order_id} of run {run.run_id} cannot be read: {str(error).splitlines()[0]}",
            cure="set the baseline from another run",
        ) from error
    if order.slowdown_percent:
        raise BaselineUnusable(
            f"run {run.run_id} was slowed down by {order.slowdown_percent:g} % on purpose",
            cure="set the baseline from another run",
        )
    return order
