"""ExecuTorch with XNNPACK: ``python -m benchmarks.workers.rival_executorch``."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from pathlib import Path
from typing import Any

from benchmarks.workers import rival_int8
from benchmarks.workers.rival_serving import Load, serve

FILE = "model.pte"


def convert(source: Path, folder: Path, precision: str) -> None:
    """Lower the program. int8 is what XNNPACK's quantizer does by default, on the model's own input."""
    import torch

    # Not installed where types are checked.
    exir: Any = importlib.import_module("executorch.exir")
    partition: Any = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    program = torch.export.load(source / "model.pt2")
    if precision == "int8":
        program = rival_int8.executorch(source, program)
    lowered = exir.to_edge_transform_and_lower(program, partitioner=[partition.XnnpackPartitioner()])
    with (folder / FILE).open("wb") as file:
        lowered.to_executorch().write_to_file(file)


def prepare() -> Load:
    import torch

    runtimes: Any = importlib.import_module("executorch.runtime")
    library: Any = importlib.import_module("executorch.extension.pybindings.portable_lib")

    class Method:
        def __init__(self, model: str, inputs: list[Any], threads: int) -> None:
            library._unsafe_reset_threadpool(threads)
            self.program = runtimes.Runtime.get().load_program(Path(model) / FILE)
            self.method = self.program.load_method("forward")
            self.inputs = tuple(torch.from_numpy(array) for array in inputs)
            self.answer: Any = None
            count = library._threadpool_get_thread_count()
            self.facts = {"executorch": importlib.metadata.version("executorch"), "threads": str(count)}

        def run(self) -> None:
            self.answer = self.method.execute(self.inputs)

        def outputs(self) -> list[Any]:
            return [tensor.numpy() for tensor in self.answer]

    return Method


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    serve(prepare, convert)
