"""Get an archive: from the cache, or from worker processes that compile it. Imports neither PyTorch nor TVM.

Each model is compiled into a cached archive of its own. Several models are then merged into one (:mod:`bundle`).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
from harness.compiler.bundle import merged
from harness.compiler.errors import NoSuchLayer
from harness.compiler.extensions import IMPORTERS, OPERATORS, identity
from harness.compiler.metadata import FILE_NAME, Archive, ArchiveMetadata, read_metadata
from harness.compiler.observe.provenance import has_weights, read_provenance
from harness.compiler.targets import CompileTarget, resolve_target
from harness.compiler.targets.profiles import AVX2
from harness.core.cache import Cache, content_key, hash_file, hash_sources
from harness.core.errors import UsageError
from harness.core.files import replacing
from harness.core.installation import package_version
from harness.core.progress import Progress
from harness.core.worker import run_worker
from harness.models.kinds import check_clashes
from harness.models.workload import Compilable
from harness.protocol.schema import PRECISIONS, Precision

WORKER = "harness.compiler.worker"
MAX_THREADS = 64
"""The most threads that kernels are shared by; the pool of ``native/shims/harness/thread_pool.h`` has as many."""
MAX_TRIALS = 100_000
SMOKE_ARCHIVE = "libg2p_smoke_system_lib.a"

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class BadRequest(UsageError):
    """An option of the compile command has an impossible value."""


@dataclass(frozen=True)
class CompileRequest:
    """Hold the content of one archive, and for what it is compiled."""

    models: Sequence[Compilable]
    target: str = "llvm"
    mcpu: str | None = None
    """A name of ``harness.compiler.targets.cpus``; None means the oldest supported machine of the target."""
    precision: Precision = "fp32"
    profile: bool = False
    """Instruments the archive for profiling (``docs/profiling.md``)."""
    taps: bool = False
    """Instruments the archive, which has one model only, for tracing (``docs/explain.md``)."""
    tune: int = 0
    """Candidates that MetaSchedule measures for each function without a template."""
    keep_wide: Sequence[str] = ()
    """Patterns of layers that are stored one precision wider (``docs/performance.md``), besides the models' own. Each
    matches a layer of at least one model."""


def compile_models(request: CompileRequest, *, cache: Cache, progress: Progress) -> Archive:
    """Return the archive of the request, and compile what the cache does not have.

    Raises BadRequest, UnknownTarget or UnknownCpu for impossible requests, ModelsClash for models that cannot be in one
    archive, NoSuchLayer, CannotCompile if torch.export or TVM cannot take a model, and what the worker raises.
    """
    target = resolve_target(request.target, request.mcpu)
    _check(request, target)
    found = [_compiled(model, request, target, cache, progress) for model in request.models]
    _check_layers(request, found)
    if len(found) == 1 and request.models[0].kind == "generation":
        return found[0]
    return merged(found, target, cache=cache, progress=progress)


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


def archive_keys(request: CompileRequest) -> list[str]:
    """Return the cache's keys of the models' archives, which are the same on every machine. Nothing is tuned.

    Raises BadRequest, UnknownTarget, UnknownCpu and ModelsClash.
    """
    target = resolve_target(request.target, request.mcpu)
    _check(request, target)
    return [content_key(_key(model, request, target) | {"records": []}) for model in request.models]


def _key(model: Compilable, request: CompileRequest, target: CompileTarget) -> dict[str, Any]:
    """Return all that the bytes of one model's archive depend on, but for the records of tuning."""
    return {
        "model": {"name": model.name, "prefixes": model.prefixes, "metadata": dict(model.metadata), **model.identity},
        "target": [request.target, target.tvm],
        **{name: getattr(request, name) for name in ("precision", "profile", "taps", "tune")},
        "keep_wide": sorted({*model.keep_wide, *request.keep_wide}),
        **compiler_identity(),
    }


def _compiled(
    model: Compilable, request: CompileRequest, target: CompileTarget, cache: Cache, progress: Progress
) -> Archive:
    """Return the archive of one model alone, with its metadata."""
    patterns = sorted({*model.keep_wide, *request.keep_wide})
    archive_name = f"lib{model.prefix.rstrip('_')}_system_lib.a"
    order: dict[str, Any] = {
        "name": model.name,
        "load": model.load,
        "request": dict(model.request),
        "prefix": model.prefix,
        "prefixes": model.prefixes,
        "target": request.target,
        "mcpu": request.mcpu,
        "precision": request.precision,
        "profile": request.profile,
        "taps": request.taps,
        "keep_wide": patterns,
        "archive": archive_name,
    }
    key = _key(model, request, target)
    tuned: dict[str, Any] = {"records": [], "tuned_trials": 0}
    if request.tune:
        order["tuning"] = {"folder": str(tuning_folder(cache, target)), "trials": request.tune}
        tuned = _tune(order, content_key(key), progress)

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="harness-compile-") as workspace:
            work = {"kind": "compile", "folder": str(folder), "workspace": workspace}
            facts = run_worker(WORKER, order | work, progress)
        kept_wide = facts.pop("keep_wide")
        metadata = ArchiveMetadata.of(
            model,
            facts,
            archive=archive_name,
            target=request.target,
            mcpu=target.baseline.name,
            cpu_features=list(target.baseline.features),
            precision=request.precision,
            keep_wide=kept_wide,
            profiled=request.profile,
            tapped=request.taps,
            archive_sha256=hash_file(folder / archive_name),
            max_threads=MAX_THREADS,
            tvm_version=package_version("apache-tvm"),
            system_lib_target=target.tvm,
            tuned_trials=tuned["tuned_trials"],
        )
        for name, source in model.files.items():
            shutil.copyfile(source, folder / name)
        (folder / FILE_NAME).write_text(metadata.as_json(), encoding="utf-8")

    folder = cache.fetch("archives", content_key(key | {"records": tuned["records"]}), build)
    return Archive(folder, read_metadata(folder))


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
        with replacing(known) as partial:
            partial.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def _check_layers(request: CompileRequest, found: Sequence[Archive]) -> None:
    """Raise NoSuchLayer for a model's own pattern that matches none of its layers, or a request's that matches none."""
    for model, archive in zip(request.models, found, strict=True):
        for pattern in model.keep_wide:
            if pattern not in archive.metadata.keep_wide:
                raise _no_layer(f"keep_wide={pattern!r} of {model.name}", [archive])
    used = {pattern for archive in found for pattern in archive.metadata.keep_wide}
    for pattern in request.keep_wide:
        if pattern not in used:
            raise _no_layer(f"--keep-wide {pattern}", found)


def _no_layer(given: str, archives: Sequence[Archive]) -> NoSuchLayer:
    functions = [one for archive in archives for one in read_provenance(archive.folder).functions]
    layers = [f"{one.name}/{op.module or op.name}" for one in functions for op in one.operators if has_weights(op)]
    known = ", ".join(list(dict.fromkeys(layers))[:12])
    models = " or ".join(dict.fromkeys(one.model for one in functions))
    return NoSuchLayer(f"{given} matches no layer of {models}", cure=f"its layers are {known} …")


def _check(request: CompileRequest, target: CompileTarget) -> None:
    if not request.models:
        raise UsageError("no model is named", cure="give --models at least once")
    if request.profile and request.taps:
        raise BadRequest(
            "an archive is instrumented for profiling or for tracing, not for both", cure="compile one for each"
        )
    if request.precision not in PRECISIONS:
        raise BadRequest(f"unknown precision {request.precision!r}", cure=f"choose one of {', '.join(PRECISIONS)}")
    for model in request.models:
        check_prefix(model.prefix)
        if request.precision not in model.precisions:
            raise BadRequest(
                f"{model.name} has no {request.precision} form",
                cure=f"choose one of {', '.join(model.precisions)}; int4 is for language models",
            )
    generations = [model.name for model in request.models if model.kind == "generation"]
    if len(generations) > 1:
        raise BadRequest(f"an archive has one model that generates text, not {' and '.join(generations)}")
    check_clashes([(model.name, model.prefix) for model in request.models])
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


def check_prefix(prefix: str) -> None:
    if not _PREFIX.fullmatch(prefix):
        raise BadRequest(
            f"{prefix!r} cannot begin a C symbol", cure="use letters, digits and underscores, such as g2p_"
        )


def compiler_identity() -> dict[str, Any]:
    """Return versions and sources that an archive's bytes depend on, whatever the model."""
    root = Path(harness.__file__).parent
    sources = [*(root / "compiler").rglob("*.py"), root / "models/functions.py"]
    packages = ("apache-tvm", "apache-tvm-ffi", "torch", "transformers", "ziglang")
    versions = {name: package_version(name) for name in packages}
    added = {"operators": identity(OPERATORS), "importers": identity(IMPORTERS)}
    return {"sources": hash_sources(sources, root), **added, **versions}
