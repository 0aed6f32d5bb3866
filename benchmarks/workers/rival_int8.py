"""Quantize a model after training as each engine's own tool does by default, calibrated on the model's own input."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np


def inputs_of(source: Path) -> list[Any]:
    with np.load(source / "inputs.npz") as kept:
        return [kept[f"in{at}"] for at in range(len(kept.files))]


def onnxruntime(source: Path, whole: Path) -> None:
    """Replace the ONNX file by a quantized one."""
    # Not installed where types are checked, as everything that is imported here.
    tool: Any = importlib.import_module("onnxruntime.quantization")
    shapes: Any = importlib.import_module("onnxruntime.quantization.shape_inference")
    inputs = {f"in{at}": array for at, array in enumerate(inputs_of(source))}

    class Reader(tool.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [inputs]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    prepared = whole.with_name("prepared.onnx")
    shapes.quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
    tool.quantize_static(str(prepared), str(whole), Reader(), per_channel=True)
    prepared.unlink()


def openvino(source: Path, model: Any) -> Any:
    """Return the quantized model."""
    nncf: Any = importlib.import_module("nncf")
    inputs = {f"in{at}": array for at, array in enumerate(inputs_of(source))}
    return nncf.quantize(model, nncf.Dataset([inputs]))


def litert(source: Path, whole: Path) -> None:
    """Replace the file by a quantized one, which takes and gives float32 as the others do."""
    quantizers: Any = importlib.import_module("ai_edge_quantizer.quantizer")
    recipes: Any = importlib.import_module("ai_edge_quantizer.recipe")
    interpreters: Any = importlib.import_module("ai_edge_litert.interpreter")
    (signature, names), *_ = interpreters.Interpreter(str(whole)).get_signature_list().items()
    arrays = [one.astype(np.int32) if one.dtype == np.int64 else one for one in inputs_of(source)]
    data = {signature: [dict(zip(sorted(names["inputs"]), arrays, strict=True))]}
    ends: list[Any] = [
        {"regex": ".*", "operation": place, "algorithm_key": "no_quantize", "op_config": {}}
        for place in ("INPUT", "OUTPUT")
    ]
    tool = quantizers.Quantizer(str(whole), [*recipes.static_wi8_ai8(), *ends])
    whole.write_bytes(bytes(tool.quantize(tool.calibrate(data)).quantized_model))


def executorch(source: Path, program: Any) -> Any:
    """Return the quantized program, exported again."""
    import torch

    tool: Any = importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    quantizers: Any = importlib.import_module("executorch.backends.xnnpack.quantizer.xnnpack_quantizer")
    inputs = tuple(torch.from_numpy(array) for array in inputs_of(source))
    quantizer = quantizers.XNNPACKQuantizer()
    quantizer.set_global(quantizers.get_symmetric_quantization_config(is_per_channel=True))
    prepared = tool.prepare_pt2e(program.module(), quantizer)
    prepared(*inputs)
    return torch.export.export(tool.convert_pt2e(prepared), inputs)
