"""Compare int8 convolutions with ONNX Runtime's static quantization: same model, same calibration, alternating calls.

    python -m benchmarks.int8_images --models mobilenet-v2,resnet-18

Everything runs on one thread of one process. ONNX Runtime gets the model's QDQ form, made by its own tool with
calibration on the same input: as it is made by default, and with unsigned activations and weights of seven bits, which
its documentation advises for CPUs with AVX2. Errors are root mean squares over those of PyTorch's float32 results.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
import tvm
import typer
from onnxruntime import quantization
from onnxruntime.quantization import shape_inference
from tvm import relax

from benchmarks.rival_models import spec
from harness.compiler.importer.calibrating import calibrated
from harness.compiler.importer.exporting import exported
from harness.compiler.importer.given_grids import take_grids
from harness.compiler.importer.importing import import_function
from harness.compiler.kernels.rounding import Calibration
from harness.compiler.lower import lower, tvm_target
from harness.compiler.operators.operator import OpTable
from harness.compiler.operators.quality import Quality
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import resolve_target
from harness.models.functions import Call, ModelFunction, ModelFunctions
from harness.models.quantization import Observer
from harness.protocol.schema import Precision

Floats = npt.NDArray[np.float32]
PER_ROUND = 3
"""The calls of an engine, one after the other, before the next engine's."""


@dataclass
class Engine:
    """Hold a model that is ready: ``run`` computes its result."""

    name: str
    run: Callable[[], Floats]
    times: list[float] = field(default_factory=list)
    note: str = ""


def ours(
    function: ModelFunction, x: torch.Tensor, precision: Precision, observer: Observer, most_error: float
) -> tuple[Engine, Calibration]:
    """Compile a model for this machine."""
    program = exported(function)
    given, found = take_grids(program), Calibration()

    def calibrate(call: Call) -> None:
        call("main", (x,))

    if precision == "int8":
        model = ModelFunctions((function,), {}, calibrate, observer=observer, most_error=most_error)
        found = calibrated(model, {"main": program}, {"main": given})["main"]
    target, ops, quality = resolve_target("llvm"), OpTable(), Quality(precision, calibration=found)
    module = import_function(function, ops, program)
    recipe = Recipe(target.profile, precision, f"m{id(quality)}_", ops, quality=quality)
    main = relax.VirtualMachine(lower(module, tvm_target(target), recipe), tvm.cpu())["main"]
    tensor = tvm.runtime.tensor(x.numpy())
    note = f"{len(quality.byte_layers)} of {len(found.costs)} convolutions in int8" if precision == "int8" else ""
    return Engine(f"ours, {precision}", lambda: main(tensor).numpy(), note=note), found


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, x: Floats) -> None:
        self.left = [{"x": x}]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


def rivals(module: torch.nn.Module, x: torch.Tensor, folder: Path) -> list[Engine]:
    """Return ONNX Runtime's float32 and its two quantized forms."""
    whole, prepared = folder / "whole.onnx", folder / "prepared.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), str(whole), input_names=["x"], output_names=["y"], dynamo=False)
    shape_inference.quant_pre_process(str(whole), str(prepared))
    kind = quantization.QuantType
    forms: dict[str, dict[str, Any]] = {
        "ONNX Runtime, int8, as by default": {"per_channel": True},
        "ONNX Runtime, int8, unsigned, 7-bit weights": {
            "per_channel": True,
            "activation_type": kind.QUInt8,
            "weight_type": kind.QInt8,
            "reduce_range": True,
        },
    }
    found = [_session("ONNX Runtime, fp32", whole, x)]
    for at, (name, options) in enumerate(forms.items()):
        made = folder / f"int8_{at}.onnx"
        quantization.quantize_static(str(prepared), str(made), _Reader(x.numpy()), **options)
        found.append(_session(name, made, x))
    return found


def _session(name: str, path: Path, x: torch.Tensor) -> Engine:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {"x": x.numpy()}
    return Engine(name, lambda: session.run(None, inputs)[0])


def compare(name: str, rounds: int, observer: Observer, most_error: float, layers: bool) -> None:
    """Measure one model and print its table."""
    described = spec(name)
    module = described.build().eval()
    (x,) = described.example_inputs.values()
    function = ModelFunction("main", module, (x,), None)
    with torch.no_grad():
        exact = module(x).numpy()
    with tempfile.TemporaryDirectory() as folder:
        wide, _ = ours(function, x, "fp32", observer, most_error)
        eight, found = ours(function, x, "int8", observer, most_error)
        engines = [wide, eight, *rivals(module, x, Path(folder))]
        before = os.getloadavg()[0]
        for engine in engines:
            engine.run()
        for at in range(rounds):
            for engine in engines[at % len(engines) :] + engines[: at % len(engines)]:
                for _ in range(PER_ROUND):
                    start = time.thread_time()
                    engine.run()
                    engine.times.append(1e3 * (time.thread_time() - start))
    least = {engine.name: min(engine.times) for engine in engines}
    print(f"\n{name}: ms of one thread's CPU time, load average {before:.1f} before and {os.getloadavg()[0]:.1f} after")
    print("| engine | least | median | ours int8 / it, by the least | error | same best class |")
    print("|---|---|---|---|---|---|")
    for engine in engines:
        result = engine.run()
        error = float(np.sqrt(np.square(result - exact).mean() / np.square(exact).mean()))
        median = statistics.median(engine.times)
        ratio = least[eight.name] / least[engine.name]
        same = "yes" if int(result.argmax()) == int(exact.argmax()) else "no"
        print(f"| {engine.name} | {least[engine.name]:.3g} | {median:.3g} | {ratio:.3g} | {error:.2g} | {same} |")
    print(eight.note)
    if layers:
        print_layers(found)


def print_layers(found: Calibration) -> None:
    """Print what eight bits cost of each convolution, the most expensive first."""
    print("\n| convolution | error of its results | of the model's, alone | stays wide |\n|---|---|---|---|")
    for name, cost in sorted(found.costs.items(), key=lambda item: -item[1].whole):
        print(f"| {name} | {cost.own:.2g} | {cost.whole:.2g} | {'yes' if cost.kept else ''} |")


def main(
    models: Annotated[str, typer.Option(help="names of benchmarks/rival_models.py")] = "mobilenet-v2,resnet-18",
    rounds: Annotated[int, typer.Option(help="rounds of three calls of each engine")] = 12,
    observer: Annotated[str, typer.Option(help="min-max, percentile or mse")] = "mse",
    most_error: Annotated[float, typer.Option(help="above it the most expensive layers stay wide")] = 0.1,
    layers: Annotated[bool, typer.Option(help="print each convolution's cost")] = False,
) -> None:
    torch.set_num_threads(1)
    for name in models.split(","):
        compare(name, rounds, observer, most_error, layers)  # type: ignore[arg-type]


if __name__ == "__main__":
    typer.run(main)
