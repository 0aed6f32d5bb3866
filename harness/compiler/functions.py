"""Compile a model's functions into one archive: import, lower and export each, with the weights that they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
from safetensors.numpy import save_file

from harness.compiler.graph.graph import Array
from harness.compiler.importer.calibrating import calibrated
from harness.compiler.importer.exporting import exported
from harness.compiler.importer.given_grids import take_grids
from harness.compiler.importer.importing import import_function
from harness.compiler.kernels.instrument import Instrumentation
from harness.compiler.kernels.rounding import Calibration
from harness.compiler.lower import lower, search, tvm_target
from harness.compiler.objects import WeightFile, export_objects, weights_object, write_archive
from harness.compiler.observe.profiling import Marks, profile_prefix, profiling_objects
from harness.compiler.observe.provenance import (
    STORED,
    FunctionProvenance,
    Provenance,
    stored_key,
    write_provenance,
)
from harness.compiler.observe.tracing import Taps, taps_prefix, tracing_objects
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.quality import Quality
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.schedule.tuning import Tuning
from harness.compiler.targets import CompileTarget, resolve_target
from harness.core.progress import Progress
from harness.models.functions import ModelFunction, ModelFunctions
from harness.protocol.schema import Precision


@dataclass(frozen=True)
class ArchiveJob:
    """Define how to make an archive.

    ``prefix`` begins all symbols in it, ``prefixes`` those of each function. ``model`` is the model's name in orders.
    """

    model: str
    target: CompileTarget
    precision: Precision
    profile: bool
    taps: bool
    keep_wide: tuple[str, ...]
    prefix: str
    prefixes: Mapping[str, str]
    path: Path
    workspace: Path
    progress: Progress

    @classmethod
    def of(cls, request: Mapping[str, Any], progress: Progress) -> ArchiveJob:
        """Read a worker's request."""
        return cls(
            model=request["name"],
            target=resolve_target(request["target"], request["mcpu"]),
            precision=request["precision"],
            profile=request["profile"],
            taps=request["taps"],
            keep_wide=tuple(request["keep_wide"]),
            prefix=request["prefix"],
            prefixes=request["prefixes"],
            path=Path(request["folder"]) / request["archive"],
            workspace=Path(request["workspace"]),
            progress=progress,
        )

    @property
    def instrumentation(self) -> Instrumentation | None:
        """Return the kernels' instrumentation; None for an archive without any."""
        if self.taps:
            return Taps(taps_prefix(self.prefix))
        return Marks(profile_prefix(self.prefix)) if self.profile else None

    @property
    def weights(self) -> tuple[Path, str]:
        """Return the file of the weights, and the C function that returns their addresses."""
        symbol = f"{self.prefix}weights"
        return self.workspace / f"{symbol}.bin", symbol


def make_archive(job: ArchiveJob, model: ModelFunctions, tuning: Tuning | None = None) -> dict[str, Any]:
    """Write the archive and its provenance; return what the metadata have to contain of it.

    With taps the weights are written, too, as they are stored. Raises CannotCompile, UnsupportedOperator, TuningBusy
    and ArchiveFailed.
    """
    objects: list[Path] = []
    used: set[str] = set()
    traced: list[FunctionProvenance] = []
    kept: dict[str, Array] = {}
    with _weights(job) as weights:
        for function, module, recipe in _recipes(job, model, weights):
            executable = lower(module, tvm_target(job.target), recipe, tuning)
            quality = recipe.quality
            assert quality is not None
            used |= quality.used
            if job.taps:
                kept |= {
                    stored_key(one.precision, one.steps, function.name, one.layers): one.weight
                    for one in quality.stored
                }
            stem = recipe.prefix.rstrip("_")
            objects += export_objects(executable, job.workspace / stem, stem)
            operators = recipe.ops.origins.operators
            rounding = quality.described(operators)
            traced.append(
                FunctionProvenance(
                    model=job.model, name=function.name, operators=operators, sites=recipe.sites, rounding=rounding
                )
            )
    if weights.size:
        objects.append(weights_object(*job.weights, job.target))
    if job.instrumentation is not None:
        make = tracing_objects if job.taps else profiling_objects
        objects += make(job.instrumentation.prefix, job.workspace / "instruments", job.target)
    write_provenance(job.path.parent, Provenance(functions=traced))
    if job.taps:
        save_file(kept, job.path.parent / STORED)
    job.progress("writing the archive")
    write_archive(job.path, objects, job.target.object_format)
    return {"weights_bytes": weights.size, "keep_wide": sorted(used)}


def search_schedules(job: ArchiveJob, model: ModelFunctions, tuning: Tuning | None) -> None:
    """Measure the schedules that ``tuning`` lacks for the functions; write nothing else. Raises TuningBusy."""
    with _weights(job) as weights:
        for _, module, recipe in _recipes(job, model, weights):
            search(module, tvm_target(job.target), recipe, tuning)


@contextmanager
def _weights(job: ArchiveJob) -> Iterator[WeightFile]:
    path, symbol = job.weights
    with path.open("wb") as stream:
        yield WeightFile(symbol, stream)


def _recipes(
    job: ArchiveJob, model: ModelFunctions, weights: WeightFile
) -> Iterator[tuple[ModelFunction, tvm.IRModule, Recipe]]:
    """Yield each function, its imported module and the pipeline's recipe for it."""
    instrumentation = job.instrumentation
    programs = {function.name: exported(function) for function in model.functions}
    given = {name: take_grids(program) for name, program in programs.items()}
    calibrations = {name: Calibration(grids=one.grids, scales=one.scales) for name, one in given.items()}
    if job.precision == "int8":
        job.progress("running the model for int8's rounding")
        calibrations = calibrated(model, programs, given, job.progress)
    for function in model.functions:
        job.progress(f"compiling {function.name} for {job.target.name}")
        ops = OpTable()
        module = import_function(function, ops, programs[function.name])
        calibration = calibrations.get(function.name, Calibration())
        prefix = job.prefixes[function.name]
        yield (
            function,
            module,
            Recipe(
                job.target.profile,
                job.precision,
                prefix,
                ops,
                function.results,
                weights,
                instrumentation=instrumentation,
                shared_panels=function.shared_panels,
                quality=Quality(
                    job.precision,
                    function.name,
                    job.keep_wide,
                    calibration,
                    keep_weights=job.taps,
                    heads=function.heads,
                    int4_group=model.int4_group,
                ),
            ),
        )
