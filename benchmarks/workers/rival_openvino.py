"""OpenVINO: ``python -m benchmarks.workers.rival_openvino``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers import rival_int8
from benchmarks.workers.rival_serving import Load, serve

FILE = "model.xml"


def convert(source: Path, folder: Path, precision: str) -> None:
    """Read the ONNX file. int8 is nncf's post-training quantization as it is by default, on the model's own input."""
    openvino: Any = importlib.import_module("openvino")  # not installed where types are checked
    model = openvino.convert_model(source / "model.onnx")
    if precision == "int8":
        model = rival_int8.openvino(source, model)
    openvino.save_model(model, folder / FILE, compress_to_fp16=False)


def prepare() -> Load:
    openvino: Any = importlib.import_module("openvino")

    class Compiled:
        def __init__(self, model: str, inputs: list[Any], threads: int) -> None:
            # On CPUs that have bfloat16, float32 is computed in it by default.
            options = {
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": "f32",
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,
            }
            compiled = openvino.Core().compile_model(Path(model) / FILE, "CPU", options)
            self.request = compiled.create_infer_request()
            self.inputs = [openvino.Tensor(np.ascontiguousarray(array)) for array in inputs]
            for at, tensor in enumerate(self.inputs):
                self.request.set_tensor(f"in{at}", tensor)
            self.count = len(compiled.outputs)
            self.facts = {"openvino": str(openvino.__version__).partition("-")[0]}

        def run(self) -> None:
            self.request.infer(share_inputs=True, share_outputs=True)

        def outputs(self) -> list[Any]:
            return [self.request.get_tensor(f"out{at}").data.copy() for at in range(self.count)]

    return Compiled


if __name__ == "__main__":
    serve(prepare, convert)
