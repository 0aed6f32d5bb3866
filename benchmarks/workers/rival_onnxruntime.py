"""ONNX Runtime: ``python -m benchmarks.workers.rival_onnxruntime``."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers import rival_int8
from benchmarks.workers.rival_serving import Load, serve

FILE = "model.onnx"


def convert(source: Path, folder: Path, precision: str) -> None:
    """Export the program. int8 is quantized as ONNX Runtime does it by default, on the model's own input."""
    import torch

    program = torch.export.load(source / "model.pt2")
    with np.load(source / "expected.npz") as kept:
        outputs = len(kept.files)
    inputs = len(program.graph_signature.user_inputs)
    torch.onnx.export(
        program,
        (),
        folder / FILE,
        input_names=[f"in{at}" for at in range(inputs)],
        output_names=[f"out{at}" for at in range(outputs)],
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    if precision == "int8":
        rival_int8.onnxruntime(source, folder / FILE)


def prepare() -> Load:
    onnxruntime: Any = importlib.import_module("onnxruntime")

    class Runtime:
        def __init__(self, model: str, inputs: list[Any], threads: int) -> None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(
                str(Path(model) / FILE), options, providers=["CPUExecutionProvider"]
            )
            self.binding = self.session.io_binding()
            for at, array in enumerate(inputs):
                self.binding.bind_cpu_input(f"in{at}", array)
            for output in self.session.get_outputs():
                self.binding.bind_output(output.name)
            self.facts = {"onnxruntime": onnxruntime.__version__}

        def run(self) -> None:
            self.session.run_with_iobinding(self.binding)

        def outputs(self) -> list[Any]:
            return list(self.binding.copy_outputs_to_cpu())

    return Runtime


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    serve(prepare, convert)
