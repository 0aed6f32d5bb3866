"""Compile in a process of its own: ``python -m harness.compiler.worker`` (see :mod:`harness.core.worker`)."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

from harness.core.progress import Progress
from harness.core.worker import serve
from harness.models.tensor.sources import G2P


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    kind = request.pop("kind")
    if kind == "smoke":
        return compile_smoke(request, progress)
    if kind == "tensors":
        return compile_tensors(request, progress)
    return compile_g2p(request, progress, only_tune=kind == "tune")


def compile_g2p(request: dict[str, Any], progress: Progress, *, only_tune: bool = False) -> dict[str, Any]:
    """Compile one checkpoint's functions into ``folder``; return the model's share of the metadata.

    With ``only_tune``, only measure schedules and return the list of their records.
    """
    progress("loading PyTorch and TVM")
    import torch

    from harness.compiler.functions import ArchiveJob, make_archive, search_schedules
    from harness.compiler.schedule.tuning import Tuning
    from harness.models.g2p.functions import G2PShapes, g2p_spec
    from harness.models.g2p.loading import load_checkpoint

    job = ArchiveJob.of(request, G2P, request["prefixes"], progress)
    progress("loading the checkpoint")
    t5 = load_checkpoint(Path(request["checkpoint"]))
    cache_dtype = torch.float32 if job.precision == "fp32" else torch.float16
    spec = g2p_spec(t5, G2PShapes(**request["shapes"]), kv_cache=request["kv_cache"], cache_dtype=cache_dtype)
    wanted = request.get("tuning")
    tuning = None if wanted is None else Tuning(Path(wanted["folder"]), wanted["trials"], progress)
    if only_tune:
        search_schedules(job, spec.functions, tuning)
        assert tuning is not None, "only_tune comes with tuning"
        return {"records": sorted(tuning.used.items()), "tuned_trials": tuning.tuned_trials}
    return spec.metadata | {"weights_bytes": make_archive(job, spec.functions, tuning)}


def compile_tensors(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Compile a tensor workload's function into ``folder``."""
    progress("loading PyTorch and TVM")
    from harness.compiler.functions import ArchiveJob, make_archive
    from harness.models.tensor.flat import compiled_function, flattened, weights_digest
    from harness.models.tensor.loading import find_spec, users_code
    from harness.models.tensor.sources import BadModel

    path, name = Path(request["path"]), request["model"]
    job = ArchiveJob.of(request, name, {name: request["prefix"]}, progress)
    spec = find_spec(path, request["module"], request["attribute"], name)
    with users_code(path, f"building {name!r}"):
        module = flattened(spec)
    if weights_digest(module) != request["weights_sha256"]:
        raise BadModel(
            f"build of {name!r} gives other weights each time",
            cure="load them from a file, or begin build with torch.manual_seed(0)",
        )
    return {"weights_bytes": make_archive(job, [compiled_function(spec, module)])}


def compile_smoke(request: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    """Compile the smallest possible archive: ``main(x float32[1]) = x + 1``."""
    from harness.compiler.lower import lower, tvm_target
    from harness.compiler.objects import export_objects, write_archive
    from harness.compiler.operators.operator import OpTable
    from harness.compiler.passes.pipeline import Recipe
    from harness.compiler.smoke import Smoke
    from harness.compiler.targets import resolve_target

    target = resolve_target(request["target"])
    executable = lower(Smoke, tvm_target(target), Recipe(target.profile, "fp32", request["prefix"], OpTable()))
    objects = export_objects(executable, Path(request["workspace"]) / "smoke", "smoke")
    write_archive(Path(request["folder"]) / request["archive"], objects, target.object_format)
    return {}


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(handle)
