"""MNN: ``python -m benchmarks.workers.rival_mnn``."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers.rival_serving import Load, serve

FILE, OUTPUTS = "model.mnn", "outputs.json"


def convert(source: Path, folder: Path, precision: str) -> None:
    """Read the ONNX file. int8 is the converter's own: weights of 8 bits, activations quantized as they run."""
    # Not installed where types are checked. This is what the package's command calls. The command itself installs a
    # package and sends figures to its makers, so it is not used.
    converter: Any = importlib.import_module("_tools")
    command = ["mnnconvert", "-f", "ONNX", "--modelFile", str(source / "model.onnx"), "--MNNModel", str(folder / FILE)]
    command += ["--bizCode", "rivals", "--keepInputFormat=1"]
    with printed() as lines:
        converter.mnnconvert(command + (["--weightQuantBits", "8"] if precision == "int8" else []))
    if not (folder / FILE).is_file():
        reasons = [line for line in lines if "Not Support" in line]
        raise ValueError((reasons or lines or ["the converter wrote nothing"])[-1])
    with np.load(source / "expected.npz") as kept:
        facts = {"shapes": [kept[f"out{at}"].shape for at in range(len(kept.files))], "precision": precision}
    (folder / OUTPUTS).write_text(json.dumps(facts), encoding="utf-8")


@contextmanager
def printed() -> Iterator[list[str]]:
    """Collect the lines that compiled code prints meanwhile: its only reasons."""
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        before = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            yield lines
        finally:
            os.dup2(before, 1)
            os.close(before)
            file.seek(0)
            lines += [line for line in file.read().decode("utf-8", errors="replace").splitlines() if line.strip()]


def prepare() -> Load:
    mnn: Any = importlib.import_module("MNN")  # not installed where types are checked

    class Session:
        def __init__(self, model: str, inputs: list[Any], threads: int) -> None:
            folder = Path(model)
            facts = json.loads((folder / OUTPUTS).read_text(encoding="utf-8"))
            self.shapes = facts["shapes"]
            # Weights of 8 bits are multiplied as such where little memory is asked for; else they are widened.
            memory = "low" if facts["precision"] == "int8" else "normal"
            options = {"backend": "CPU", "precision": "high", "memory": memory, "numThread": threads}
            self.interpreter = mnn.Interpreter(str(folder / FILE))
            self.session = self.interpreter.createSession(options)
            for at, array in enumerate(inputs):
                tensor = self.interpreter.getSessionInput(self.session, f"in{at}")
                tensor.copyFrom(self._host(mnn.Halide_Type_Int if array.dtype == np.int64 else None, array))
            self.facts = {"mnn": importlib.metadata.version("MNN")}

        @staticmethod
        def _host(kind: Any, array: Any) -> Any:
            given = np.ascontiguousarray(array.astype(np.float32 if kind is None else np.int32))
            kind = mnn.Halide_Type_Float if kind is None else kind
            return mnn.Tensor(given.shape, kind, given, mnn.Tensor_DimensionType_Caffe)

        def run(self) -> None:
            if self.interpreter.runSession(self.session) != 0:
                raise ValueError("the session cannot be run")

        def outputs(self) -> list[Any]:
            found = []
            for at, shape in enumerate(self.shapes):
                room = np.zeros(shape, np.float32)
                host = mnn.Tensor(tuple(shape), mnn.Halide_Type_Float, room, mnn.Tensor_DimensionType_Caffe)
                self.interpreter.getSessionOutput(self.session, f"out{at}").copyToHostTensor(host)
                found.append(np.array(host.getNumpyData()).reshape(shape))
            return found

    return Session


if __name__ == "__main__":
    serve(prepare, convert)
