"""Get an archive: from the cache, or from a worker process that compiles it. Imports neither PyTorch nor TVM."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import harness
from harness.compiler.extensions import IMPORTERS, OPERATORS, identity
from harness.compiler.metadata import FILE_NAME, ArchiveMetadata, read_metadata
from harness.compiler.targets import CompileTarget, resolve_target
from harness.compiler.targets.profiles import AVX2
from harness.core.cache import Cache, content_key, hash_file, hash_sources
from harness.core.errors import UsageError
from harness.core.installation import package_version
from harness.core.progress import Progress
from harness.core.worker import run_worker
from harness.models.checkpoints import Checkpoint
from harness.protocol.schema import PRECISIONS, Precision

WORKER = "harness.compiler.worker"
MAX_THREADS = 1
"""The kernels run on one thread; the runner refuses more."""
MAX_TRIALS = 100_000

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BadRequest(UsageError):
    """An option of the compile command has an impossible value."""


@dataclass(frozen=True)
class CompileRequest:
    """Hold the options of ``harness compile``."""

    checkpoint: Checkpoint
    target: str = "llvm"
    mcpu: str | None = None
    """A name of ``harness.compiler.targets.cpus``; None means the oldest supported machine of the target."""
    prefix: str = "g2p_"
    precision: Precision = "fp32"
    kv_cache: bool = True
    batch_size: int = 1
    max_input_bytes: int = 64
    max_output_len: int = 128
    prompt_space: bool = True
    profile: bool = False
    """Instruments the archive for profiling (``docs/profiling.md``)."""
    taps: bool = False
    """Instruments the archive for tracing (``docs/explain.md``)."""
    tune: int = 0
    """Candidates that MetaSchedule measures for each function without a template."""


@dataclass(frozen=True)
class Archive:
    """Hold a compiled archive in ``folder`` with its metadata beside it."""

    folder: Path
    metadata: ArchiveMetadata

    @property
    def path(self) -> Path:
        return self.folder / self.metadata.archive

    @property
    def sha256(self) -> str:
        return self.metadata.archive_sha256


def compile_models(request: CompileRequest, *, cache: Cache, progress: Progress) -> Archive:
    """Return the archive of the request, and compile it unless the cache has it.

    Raises BadRequest, UnknownTarget or UnknownCpu for impossible requests, and what the worker raises.
    """
    target = resolve_target(request.target, request.mcpu)
    _check(request)
    _check_tuning(request, target)
    names = ("encoder", "decoder_prefill", "decoder_step") if request.kv_cache else ("encoder", "decoder")
    prefixes = {name: f"{request.prefix}{name}_" for name in names}
    archive_name = f"lib{request.prefix.rstrip('_')}_system_lib.a"
    order: dict[str, Any] = {
        "target": request.target,
        "mcpu": request.mcpu,
        "checkpoint": str(request.checkpoint.folder),
        "kv_cache": request.kv_cache,
        "precision": request.precision,
        "profile": request.profile,
        "taps": request.taps,
        "prefix": request.prefix,
        "prefixes": prefixes,
        "archive": archive_name,
        "shapes": {
            "batch_size": request.batch_size,
            "max_input_bytes": request.max_input_bytes,
            "max_output_len": request.max_output_len,
        },
    }
    tuned: dict[str, Any] = {"records": [], "tuned_trials": 0}
    if request.tune:
        order["tuning"] = {"folder": str(tuning_folder(cache, target)), "trials": request.tune}
        tuned = _tune(order, content_key({"request": _key(request, target, [])}), progress)

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="harness-compile-") as workspace:
            work = {"kind": "g2p", "folder": str(folder), "workspace": workspace}
            facts = run_worker(WORKER, order | work, progress)
        metadata = ArchiveMetadata(
            archive=archive_name,
            prefix_base=request.prefix,
            prefixes=prefixes,
            checkpoint=request.checkpoint.label,
            batch_size=request.batch_size,
            max_input_bytes=request.max_input_bytes,
            max_output_len=request.max_output_len,
            target=request.target,
            mcpu=target.baseline.name,
            cpu_features=list(target.baseline.features),
            use_kv_cache=request.kv_cache,
            precision=request.precision,
            profiled=request.profile,
            tapped=request.taps,
            archive_sha256=hash_file(folder / archive_name),
            checkpoint_sha256=request.checkpoint.sha256,
            prompt_space=request.prompt_space,
            languages=None if request.checkpoint.languages is None else list(request.checkpoint.languages),
            max_threads=MAX_THREADS,
            tvm_version=package_version("apache-tvm"),
            system_lib_target=target.tvm,
            tuned_trials=tuned["tuned_trials"],
            **facts,
        )
        (folder / FILE_NAME).write_text(metadata.model_dump_json(indent=2) + "\n", encoding="utf-8")

    folder = cache.fetch("archives", _key(request, target, tuned["records"]), build)
    return Archive(folder, read_metadata(folder))


def compile_smoke(prefix: str, target_name: str, *, cache: Cache, progress: Progress) -> Path:
    """Return a folder with ``libg2p_smoke_system_lib.a``, whose ``main`` adds one to a float32[1]."""
    target = resolve_target(target_name)
    check_prefix(prefix)
    fields = {"kind": "smoke", "prefix": prefix, "target": target.tvm, **compiler_identity()}

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="harness-compile-") as workspace:
            request = {"kind": "smoke", "prefix": prefix, "target": target_name, "workspace": workspace}
            run_worker(WORKER, request | {"folder": str(folder), "archive": SMOKE_ARCHIVE}, progress)

    return cache.fetch("archives", content_key(fields), build)


SMOKE_ARCHIVE = "libg2p_smoke_system_lib.a"


def tuning_folder(cache: Cache, target: CompileTarget) -> Path:
    """Return the folder of a target's tuning records, which hold for one version of TVM on one machine."""
    versions = {"tvm": package_version("apache-tvm"), "target": target.tvm}
    return cache.root / "tuning" / content_key(versions)


def _tune(order: dict[str, Any], request_key: str, progress: Progress) -> dict[str, Any]:
    """Return the records of the request's functions. A worker measures them unless this request was tuned before."""
    known = Path(order["tuning"]["folder"]) / "requests" / f"{request_key}.json"
    try:
        found: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        with tempfile.TemporaryDirectory(prefix="harness-tune-") as workspace:
            found = run_worker(WORKER, order | {"kind": "tune", "folder": workspace, "workspace": workspace}, progress)
        known.parent.mkdir(parents=True, exist_ok=True)
        partial = known.with_suffix(".partial")
        partial.write_text(json.dumps(found) + "\n", encoding="utf-8")
        partial.replace(known)
    return found


def _check_tuning(request: CompileRequest, target: CompileTarget) -> None:
    if not 0 <= request.tune <= MAX_TRIALS:
        raise BadRequest(f"--tune is {request.tune}", cure=f"give a number from 0 to {MAX_TRIALS}")
    host = resolve_target("llvm")
    # Every supported x86 host has AVX2.
    runs_here = target.triple == host.triple and (target.tvm == host.tvm or target.profile is AVX2)
    if request.tune and not runs_here:
        raise BadRequest(
            f"--tune measures on this machine, which cannot run code for {request.target}",
            cure="tune on a machine of that kind with --target llvm, or leave --tune out",
        )


def _check(request: CompileRequest) -> None:
    check_prefix(request.prefix)
    if request.profile and request.taps:
        raise BadRequest(
            "an archive is instrumented for profiling or for tracing, not for both", cure="compile one for each"
        )
    if request.precision not in PRECISIONS:
        raise BadRequest(f"unknown precision {request.precision!r}", cure=f"choose one of {', '.join(PRECISIONS)}")
    for name, value, most in (
        ("--batch-size", request.batch_size, 64),
        ("--max-input-bytes", request.max_input_bytes, 1024),
        ("--max-output-len", request.max_output_len, 1024),
    ):
        if not 1 <= value <= most:
            raise BadRequest(f"{name} is {value}", cure=f"give a number from 1 to {most}")


def check_prefix(prefix: str) -> None:
    if not _PREFIX.fullmatch(prefix):
        raise BadRequest(
            f"{prefix!r} cannot begin a C symbol", cure="use letters, digits and underscores, such as g2p_"
        )


def _key(request: CompileRequest, target: CompileTarget, records: list[Any]) -> str:
    options = {k: v for k, v in asdict(request).items() if k != "checkpoint"}
    checkpoint = {"label": request.checkpoint.label, "sha256": request.checkpoint.sha256}
    return content_key(
        {"checkpoint": checkpoint, "tvm_target": target.tvm, "records": records, **options, **compiler_identity()}
    )


def compiler_identity() -> dict[str, Any]:
    """Return versions and sources that an archive's bytes depend on."""
    root = Path(harness.__file__).parent
    graph = ("network.py", "ops.py", "spec.py", "loading.py")
    sources = [
        *(root / "compiler").rglob("*.py"),
        root / "models/functions.py",
        *(root / "models/g2p" / n for n in graph),
    ]
    packages = ("apache-tvm", "apache-tvm-ffi", "torch", "transformers", "ziglang")
    versions = {name: package_version(name) for name in packages}
    added = {"operators": identity(OPERATORS), "importers": identity(IMPORTERS)}
    return {"sources": hash_sources(sources, root), **added, **versions}
