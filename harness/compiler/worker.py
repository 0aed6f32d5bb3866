"""The process that compiles: ``python -m harness.compiler.worker`` (see :mod:`harness.worker`)."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

from harness.worker import Progress, serve


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    kind = request.pop("kind")
    if kind == "smoke":
        return compile_smoke(request, progress)
    if kind == "tensors":
        return compile_tensors(request, progress)
    return compile_g2p(request, progress, only_tune=kind == "tune")


def compile_g2p(request: dict[str, Any], progress: Progress, *, only_tune: bool = False) -> dict[str, Any]:
    """Compile one checkpoint's functions into ``folder``; the result is the model's share of the metadata.

    With ``only_tune`` nothing is written but records of measurements, and the result says which there are.
    """
    progress("loading PyTorch and TVM")
    import torch

    from harness.compiler.archive import export_objects, weights_object, write_archive
    from harness.compiler.instruments import instrument_objects, profile_prefix
    from harness.compiler.kernels.marks import Marks, Sayings
    from harness.compiler.kernels.taps import Taps
    from harness.compiler.lower import import_function, lower, search, tvm_target
    from harness.compiler.passes.fused import OpTable
    from harness.compiler.passes.link import WeightFile
    from harness.compiler.passes.pipeline import Recipe
    from harness.compiler.provenance import FunctionProvenance, Provenance, write_provenance
    from harness.compiler.tapping import tap_objects, taps_prefix
    from harness.compiler.targets import resolve_target
    from harness.compiler.tuning import Tuning
    from harness.models.g2p.loading import load_checkpoint
    from harness.models.g2p.spec import G2PShapes, g2p_spec

    target = resolve_target(request["target"], request["mcpu"])
    folder = Path(request["folder"])
    progress("loading the checkpoint")
    t5 = load_checkpoint(Path(request["checkpoint"]))
    precision = request["precision"]
    cache_dtype = torch.float32 if precision == "fp32" else torch.float16
    spec = g2p_spec(t5, G2PShapes(**request["shapes"]), kv_cache=request["kv_cache"], cache_dtype=cache_dtype)
    wanted = request.get("tuning")
    tuning = None if wanted is None else Tuning(Path(wanted["folder"]), wanted["trials"], progress)
    objects: list[Path] = []
    marks: Sayings | None = Marks(profile_prefix(request["prefix"])) if request["profile"] else None
    if request["taps"]:
        marks = Taps(taps_prefix(request["prefix"]))
    traced: list[FunctionProvenance] = []
    data, symbol = Path(request["workspace"]) / "weights.bin", f"{request['prefix']}weights"
    with data.open("wb") as stream:
        weights = WeightFile(symbol, stream)
        for function in spec.functions:
            progress(f"compiling {function.name} for {target.name}")
            ops = OpTable()
            module = import_function(function, ops)
            prefix = request["prefixes"][function.name]
            recipe = Recipe(target.profile, precision, prefix, ops, function.results, weights, marks=marks)
            if only_tune:
                search(module, tvm_target(target), recipe, tuning)
                continue
            executable = lower(module, tvm_target(target), recipe, tuning)
            objects += export_objects(executable, Path(request["workspace"]) / function.name, function.name)
            traced.append(FunctionProvenance(name=function.name, operators=ops.origins.operators, sites=recipe.sites))
    if only_tune and tuning is not None:
        return {"records": sorted(tuning.used.items()), "tuned_trials": tuning.tuned_trials}
    objects.append(weights_object(data, symbol, target))
    if marks is not None:
        make = tap_objects if request["taps"] else instrument_objects
        objects += make(marks.prefix, Path(request["workspace"]) / "instruments", target)
    write_provenance(folder, Provenance(functions=traced))
    progress("writing the archive")
    write_archive(folder / request["archive"], objects, target.object_format)
    return spec.metadata | {"weights_bytes": weights.size}


def compile_tensors(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Compile a user's model, as a function of tensors, into ``folder``."""
    progress("loading PyTorch and TVM")
    from harness.compiler.archive import export_objects, weights_object, write_archive
    from harness.compiler.lower import import_function, lower, tvm_target
    from harness.compiler.passes.fused import OpTable
    from harness.compiler.passes.link import WeightFile
    from harness.compiler.passes.pipeline import Recipe
    from harness.compiler.targets import resolve_target
    from harness.models.flat import compiled_function, flattened, weights_digest
    from harness.models.sources import BadModel
    from harness.models.user_loading import find_spec, users_code

    target = resolve_target(request["target"], request["mcpu"])
    path, name, prefix = Path(request["path"]), request["model"], request["prefix"]
    spec = find_spec(path, request["module"], request["attribute"], name)
    with users_code(path, f"building {name!r}"):
        module = flattened(spec)
    if weights_digest(module) != request["weights_sha256"]:
        raise BadModel(
            f"build of {name!r} gives other weights each time",
            cure="load them from a file, or begin build with torch.manual_seed(0)",
        )
    progress(f"compiling {name} for {target.name}")
    ops = OpTable()
    imported = import_function(compiled_function(spec, module), ops)
    workspace = Path(request["workspace"])
    data, symbol = workspace / "weights.bin", f"{prefix}weights"
    with data.open("wb") as stream:
        weights = WeightFile(symbol, stream)
        recipe = Recipe(target.profile, request["precision"], prefix, ops, (), weights)
        executable = lower(imported, tvm_target(target), recipe)
    objects = export_objects(executable, workspace / "objects", prefix.rstrip("_"))
    if weights.size:
        objects.append(weights_object(data, symbol, target).rename(workspace / f"{symbol}.o"))
    write_archive(Path(request["folder"]) / request["archive"], objects, target.object_format)
    return {"weights_bytes": weights.size}


def compile_smoke(request: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    """The smallest archive there is: ``main(x float32[1]) = x + 1``."""
    from harness.compiler.archive import export_objects, write_archive
    from harness.compiler.lower import lower, tvm_target
    from harness.compiler.passes.fused import OpTable
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
