"""PyTorch in eager mode, and the files that others convert: ``python -m benchmarks.workers.rival_pytorch``.

Runs in the environment of this project, and builds the models of ``benchmarks.rival_models``.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers.rival_serving import Load, serve


def write(source: Path, folder: Path, _precision: str) -> None:
    """Write the model that ``source`` names.

    ``model.pt2`` is the exported program, ``model.pt`` a trace of the same module. ``inputs.npz`` and ``expected.npz``
    are what it takes and what PyTorch answers, in the order of the arguments and results.
    """
    import torch

    from benchmarks.rival_models import spec
    from harness.models.tensor.flat import flattened

    torch.set_num_threads(1)
    model = spec(source.name)
    module, inputs = flattened(model), tuple(model.example_inputs.values())
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with torch.inference_mode():
        answer = module(*inputs)
    answers = answer if isinstance(answer, tuple) else (answer,)
    keep: Any = np.savez  # its type takes no arrays by name
    keep(folder / "inputs.npz", **{f"in{at}": tensor.numpy() for at, tensor in enumerate(inputs)})
    keep(folder / "expected.npz", **{f"out{at}": tensor.numpy() for at, tensor in enumerate(answers)})
    with torch.no_grad():
        torch.export.save(torch.export.export(module, inputs, strict=False), folder / "model.pt2")
        trace: Any = torch.jit.trace  # untyped
        torch.jit.save(trace(module, inputs, check_trace=False, strict=False), folder / "model.pt")


def prepare() -> Load:
    import torch

    from benchmarks.rival_models import spec
    from harness.models.tensor.flat import flattened

    class Eager:
        def __init__(self, model: str, inputs: list[Any], threads: int) -> None:
            torch.set_num_threads(threads)
            self.module = flattened(spec(Path(model).name))
            self.inputs = tuple(torch.from_numpy(array) for array in inputs)
            self.facts = {"torch": str(torch.__version__)}
            self.answer: Any = None

        def run(self) -> None:
            with torch.inference_mode():
                self.answer = self.module(*self.inputs)

        def outputs(self) -> list[Any]:
            answers = self.answer if isinstance(self.answer, tuple) else (self.answer,)
            return [tensor.numpy() for tensor in answers]

    return Eager


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    serve(prepare, write)
