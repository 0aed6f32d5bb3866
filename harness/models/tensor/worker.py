"""Ask PyTorch about a user's model in a process of its own: ``python -m harness.models.tensor.worker``."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

from harness.core.progress import Progress
from harness.core.worker import serve


def handle(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    progress("loading PyTorch")
    return describe(request, progress)


def describe(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Describe all models of the source, and write every item's inputs and answers into ``folder``."""
    from harness.models.tensor.loading import dependencies, load_specs, spec_files

    path, folder = Path(request["path"]), Path(request["folder"])
    specs = load_specs(path, request["module"], request["attribute"], request["argument"])
    files = [file for spec in specs for file in spec_files(spec, path)]
    models = [describe_one(spec, path, folder, progress) for spec in specs]
    return {"models": models, "dependencies": dependencies(path, request["module"], files)}


def describe_one(spec: Any, path: Path, folder: Path, progress: Progress) -> dict[str, Any]:
    import torch
    from safetensors.torch import save_file

    from harness.models.tensor.described import SEPARATOR
    from harness.models.tensor.flat import answered, flattened, same, weights_digest
    from harness.models.tensor.loading import (
        calibration_inputs,
        check_comparison,
        checked_items,
        dimensions,
        prefix_of,
        users_code,
    )
    from harness.models.tensor.sources import BadModel
    from harness.protocol.tensors import DTYPES, MOST_OUTPUT_BYTES

    torch.set_num_threads(1)
    items = checked_items(spec, path)
    calibration_inputs(spec, path, items)
    progress(f"building {spec.name}")
    with users_code(path, f"building {spec.name!r}"):
        module = flattened(spec)
    names = tuple(spec.output_names)
    given: dict[str, torch.Tensor] = {}
    answers: dict[str, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}
    for at, (item, inputs) in enumerate(items.items()):
        with users_code(path, f"running {spec.name!r} on item {item!r}"):
            outputs = answered(module, tuple(inputs.values()), names)
            again = {} if at else answered(module, tuple(inputs.values()), names)
        other = next((name for name, one in again.items() if not same(one, outputs[name])), None)
        if other is not None:
            raise BadModel(
                f"{spec.name!r} gives another {other} for item {item!r} each time",
                cure="what is random has to be an input, or left out; dropout has to know of evaluation mode",
            )
        size = sum(output.nbytes for output in outputs.values())
        if size > MOST_OUTPUT_BYTES:
            raise BadModel(
                f"the outputs of item {item!r} of {spec.name!r} are {size} bytes, more than {MOST_OUTPUT_BYTES}",
                cure="return less, such as the best hundred",
            )
        given |= {f"{item}{SEPARATOR}{name}": tensor for name, tensor in inputs.items()}
        answers |= {f"{item}{SEPARATOR}{name}": output.contiguous().clone() for name, output in outputs.items()}
        progress(f"PyTorch runs {spec.name}: {at + 1} of {len(items)} items")
    kinds = {name: str(output.dtype).removeprefix("torch.") for name, output in outputs.items()}
    odd = next((f"{name} is {kind}" for name, kind in kinds.items() if kind not in DTYPES), None)
    if odd is not None:
        raise BadModel(f"the output {odd} of {spec.name!r}, which no record can hold", cure=f"use {', '.join(DTYPES)}")
    check_comparison(spec, outputs)
    save_file({key: tensor.clone() for key, tensor in given.items()}, folder / f"{spec.name}.inputs.safetensors")
    save_file(answers, folder / f"{spec.name}.outputs.safetensors")
    return {
        "name": spec.name,
        "prefix": prefix_of(spec),
        "inputs": [
            {
                "name": name,
                "dtype": str(tensor.dtype).removeprefix("torch."),
                "shape": [_extent(dimensions(spec, name).get(axis), size) for axis, size in enumerate(tensor.shape)],
            }
            for name, tensor in spec.example_inputs.items()
        ],
        "outputs": [{"name": name, "dtype": kind} for name, kind in kinds.items()],
        "items": list(items),
        "compare": spec.compare.model_dump(),
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "weights_sha256": weights_digest(module),
        "keep_wide": list(spec.keep_wide),
    }


def _extent(dim: Any, size: int) -> int | str:
    return size if dim is None else str(dim.__name__)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    serve(handle)
