"""Put several models into one archive. Each is compiled into a cached archive of its own; then all are merged.

Imports neither PyTorch nor TVM.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.compiler.front import (
    MAX_THREADS,
    WORKER,
    Archive,
    CompileRequest,
    compile_models,
    compiler_identity,
)
from harness.compiler.metadata import FILE_NAME, G2P_KEYS, ArchiveMetadata, ModelMetadata, read_metadata
from harness.compiler.observe.provenance import Provenance, read_provenance, write_provenance
from harness.compiler.targets import CompileTarget, ObjectFormat, resolve_target
from harness.core.cache import Cache, content_key, hash_file
from harness.core.errors import HarnessError, UsageError
from harness.core.installation import package_version
from harness.core.progress import Progress
from harness.core.worker import run_worker
from harness.models.tensor.described import UserModel
from harness.models.tensor.sources import G2P, check_clashes
from harness.protocol.schema import Precision

SINGLE, FACTS, BUNDLE = "model.a", "facts.json", "libmodels_system_lib.a"


class MergeFailed(HarnessError):
    """The archiver refused one of the archives."""

    cure = "`harness doctor` checks the ziglang package, whose archiver is used; `harness cache clear` starts afresh"


@dataclass(frozen=True)
class BundleRequest:
    """Hold the content of one archive. ``g2p`` has the same target and the same instrumentation as the other models."""

    models: Sequence[UserModel]
    g2p: CompileRequest | None = None
    target: str = "llvm"
    mcpu: str | None = None
    precision: Precision = "fp32"
    profile: bool = False
    """Instruments the archive for profiling (``docs/profiling.md``)."""
    taps: bool = False
    """Instruments the archive, which has one model only, for tracing (``docs/explain.md``)."""


def compile_bundle(request: BundleRequest, *, cache: Cache, progress: Progress) -> Archive:
    """Return one archive with all models and one metadata file.

    Raises ModelsClash before anything is compiled, CannotCompile if torch.export or TVM cannot take a model, and what
    :func:`compile_models` raises.
    """
    g2p = request.g2p
    if not request.models and g2p is None:
        raise UsageError("no model is named", cure="give --models at least once")
    taken = [] if g2p is None else [(G2P, g2p.prefix)]
    check_clashes([*taken, *((model.name, model.facts.prefix) for model in request.models)])
    target = resolve_target(request.target, request.mcpu)
    singles = [_single(model, request, target, cache, progress) for model in request.models]
    spoken = None if g2p is None else compile_models(g2p, cache=cache, progress=progress)
    archives = [*([spoken.path] if spoken else []), *(folder / SINGLE for folder in singles)]
    parts = [read_provenance(folder) for folder in [*([spoken.folder] if spoken else []), *singles]]
    provenance = Provenance(functions=[function for part in parts for function in part.functions])
    metadata = _metadata(request, target, spoken.metadata if spoken else None, singles)

    def build(folder: Path) -> None:
        progress("writing the archive")
        merge(folder / BUNDLE, archives, target.object_format)
        whole = metadata.model_copy(update={"archive_sha256": hash_file(folder / BUNDLE)})
        # Without a G2P model, its keys are left out.
        absent = set() if whole.kind == "g2p" else {*G2P_KEYS, "self_cache_dtype"}
        text = whole.model_dump_json(indent=2, exclude=absent)
        (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")
        write_provenance(folder, provenance)

    hashes = [hash_file(path) for path in archives]
    described = {"metadata": metadata.model_dump(mode="json"), "provenance": provenance.model_dump(mode="json")}
    key = content_key({"archives": hashes, **described})
    folder = cache.fetch("archives", key, build)
    return Archive(folder, read_metadata(folder))


def merge(path: Path, archives: Sequence[Path], object_format: ObjectFormat) -> None:
    """Write all objects of the archives into one, without times or owners. Raises MergeFailed."""
    layout = "darwin" if object_format == "macho" else "gnu"
    command = [sys.executable, "-m", "ziglang", "ar", f"--format={layout}", "qcsDL", str(path), *map(str, archives)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        raise MergeFailed(f"cannot write {path.name}: {done.stderr.strip() or done.stdout.strip()}")


def _single(model: UserModel, request: BundleRequest, target: CompileTarget, cache: Cache, progress: Progress) -> Path:
    """Return the folder with one model's own archive."""
    order = {
        "kind": "tensors",
        "model": model.name,
        "prefix": model.facts.prefix,
        "target": request.target,
        "mcpu": request.mcpu,
        "precision": request.precision,
        "profile": request.profile,
        "taps": request.taps,
        "archive": SINGLE,
        "path": str(model.source.path),
        "module": model.source.module,
        "attribute": model.source.attribute,
        "weights_sha256": model.facts.weights_sha256,
    }

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="harness-compile-") as workspace:
            facts = run_worker(WORKER, order | {"folder": str(folder), "workspace": workspace}, progress)
        (folder / FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")

    key = {"model": model.key, "prefix": model.facts.prefix, "tvm_target": target.tvm}
    asked = {"precision": request.precision, "profile": request.profile, "taps": request.taps}
    return cache.fetch("archives", content_key(key | asked | compiler_identity()), build)


def _metadata(
    request: BundleRequest, target: CompileTarget, spoken: ArchiveMetadata | None, singles: Sequence[Path]
) -> ArchiveMetadata:
    """Return the merged archive's metadata, without its hash."""
    facts = [json.loads((folder / FACTS).read_text(encoding="utf-8")) for folder in singles]
    models = [
        ModelMetadata(
            name=model.name,
            prefix=model.facts.prefix,
            inputs=model.facts.inputs,
            outputs=model.facts.outputs,
            weights_sha256=model.facts.weights_sha256,
            weights_bytes=found["weights_bytes"],
        )
        for model, found in zip(request.models, facts, strict=True)
    ]
    weights = sum(model.weights_bytes for model in models)
    if spoken is not None:
        return spoken.model_copy(
            update={
                "archive": BUNDLE,
                "archive_sha256": "",
                "models": models,
                "weights_bytes": spoken.weights_bytes + weights,
            }
        )
    return ArchiveMetadata(
        archive=BUNDLE,
        prefix_base=models[0].prefix,
        target=request.target,
        kind="tensors",
        models=models,
        archive_sha256="",
        precision=request.precision,
        profiled=request.profile,
        tapped=request.taps,
        weights_bytes=weights,
        mcpu=target.baseline.name,
        cpu_features=list(target.baseline.features),
        max_threads=MAX_THREADS,
        tvm_version=package_version("apache-tvm"),
        system_lib_target=target.tvm,
    )
