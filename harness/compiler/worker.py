"""Compile in a process of its own: ``python -m harness.compiler.worker`` (see :mod:`harness.core.worker`)."""

from __future__ import annotations

import logging
import os
import pkgutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.progress import Progress
from harness.core.worker import serve

if TYPE_CHECKING:
    from harness.models.functions import ModelFunctions


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    kind = request.pop("kind")
    if kind == "smoke":
        return compile_smoke(request, progress)
    return compile_model(request, progress, only_tune=kind == "tune")


def compile_model(request: dict[str, Any], progress: Progress, *, only_tune: bool = False) -> dict[str, Any]:
    """Compile one model's functions into ``folder``; return the model's share of the metadata.

    With ``only_tune``, only measure schedules and return the list of their records.
    """
    progress("loading PyTorch and TVM")
    from harness.compiler import fast_tvm  # noqa: F401
    from harness.compiler.functions import ArchiveJob, make_archive, search_schedules
    from harness.compiler.schedule.tuning import Tuning

    job = ArchiveJob.of(request, progress)
    model: ModelFunctions = pkgutil.resolve_name(request["load"])(request["request"], job.precision, progress)
    wanted = request.get("tuning")
    tuning = None if wanted is None else Tuning(Path(wanted["folder"]), wanted["trials"], progress)
    if only_tune:
        search_schedules(job, model, tuning)
        assert tuning is not None, "only_tune comes with tuning"
        return {"records": sorted(tuning.used.items()), "tuned_trials": tuning.tuned_trials}
    return model.metadata | make_archive(job, model, tuning)


def compile_smoke(request: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    """Compile the smallest possible archive: ``main(x float32[1]) = x + 1``."""
    from harness.compiler import fast_tvm  # noqa: F401
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
