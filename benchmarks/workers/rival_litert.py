"""LiteRT: ``python -m benchmarks.workers.rival_litert``."""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers import rival_int8
from benchmarks.workers.rival_serving import Load, serve

FILE = "model.tflite"


def convert(source: Path, folder: Path, precision: str) -> None:
    """Convert the program. int8 is the quantizer's own recipe for weights and activations, on the model's own input."""
    import torch

    litert_torch: Any = importlib.import_module("litert_torch")  # not installed where types are checked
    with np.load(source / "inputs.npz") as kept:
        inputs = tuple(torch.from_numpy(kept[f"in{at}"]) for at in range(len(kept.files)))
    module = torch.export.load(source / "model.pt2").module()
    litert_torch.convert(module, inputs).export(str(folder / FILE))
    if precision == "int8":
        rival_int8.litert(source, folder / FILE)


def prepare() -> Load:
    interpreters: Any = importlib.import_module("ai_edge_litert.interpreter")

    class Interpreter:
        def __init__(self, model: str, inputs: list[Any], threads: int) -> None:
            self.interpreter = interpreters.Interpreter(str(Path(model) / FILE), num_threads=threads)
            self.interpreter.allocate_tensors()
            wanted = sorted(self.interpreter.get_input_details(), key=lambda one: one["name"])
            for detail, array in zip(wanted, inputs, strict=True):
                self.interpreter.set_tensor(detail["index"], array.astype(detail["dtype"]))
            self.facts = {"litert": importlib.metadata.version("ai-edge-litert")}

        def run(self) -> None:
            self.interpreter.invoke()

        def outputs(self) -> list[Any]:
            runner = self.interpreter.get_signature_runner()
            names = sorted(runner.get_output_details())
            details = runner.get_output_details()
            return [self.interpreter.get_tensor(details[name]["index"]) for name in names]

    return Interpreter


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    serve(prepare, convert)
