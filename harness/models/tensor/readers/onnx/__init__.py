"""Read a file of ONNX as a torch module, and hold its answers against ONNX Runtime's.

TVM has an importer of ONNX, too. It makes a graph without PyTorch's modules and operators in it, by which a wrong
answer is explained and weights are quantized; so the file becomes a torch module, and takes the way of all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.core.installation import install_cure
from harness.models.tensor.readers.exported import Program
from harness.models.tensor.readers.made import name_of, noise, tokens
from harness.models.tensor.sources import BadModel
from harness.models.tensor.spec import ModelSpec

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

PICTURE, LENGTH = 224, 16
"""The sizes that open axes get: height and width of a picture, and any other but the first, which is 1."""
VOCABULARY = 2
"""Integers below it are given to an input that looks up in no table."""
LARGEST, RELATIVE, ABSOLUTE = 1e-4, 1e-3, 1e-5
"""How far an answer may be from ONNX Runtime's: of the largest element, of its own, and at all events."""
SIZES = (
    "give sizes of inputs, with a bound for whole numbers, or the value of an input without axes: "
    "MODEL.onnx:x=1x3x48x320,ids=1x64%30522,rate=16000"
)


def spec(argument: str) -> ModelSpec:
    """Return the spec of ``FILE.onnx`` or ``FILE.onnx:NAME=SIZE,…``, whose items are made for its inputs.

    Axes that have no size get one: the first 1, a picture's height and width 224, all others 16. ``x=1x3x48x320`` gives
    an input's, ``ids=1x64%30522`` also the bound of its whole numbers; ``rate=16000`` the value of an input without
    axes, which becomes a constant. Raises BadModel for what is no model, for operators that are not read, and where
    ONNX Runtime answers otherwise.
    """
    file, _, given = argument.partition(".onnx:")
    path = Path(argument if not given else f"{file}.onnx")
    sizes, bounds, values = _given(_loaded(path), given)
    model = _loaded(path, values)
    inputs = {_label(one.name): one for one in _inputs(model)}
    if not inputs:
        raise BadModel(f"{path.name} takes no inputs", cure="export a model that takes at least one tensor")
    items = {
        f"seed {seed}": {
            label: _made(model, one, sizes.get(one.name), bounds.get(one.name), seed) for label, one in inputs.items()
        }
        for seed in (1, 2)
    }
    names = {label: one.name for label, one in inputs.items()}
    _compare(path, OnnxProgram(model, names).eval(), items, names, values)
    return ModelSpec(
        name=name_of(path.stem),
        build=lambda: _as_program(OnnxProgram(_loaded(path, values), names), items["seed 1"]),
        example_inputs=items["seed 1"],
        items=items,
        files=[path, *_external(path)],
    )


def _given(model: ModelProto, text: str) -> tuple[dict[str, tuple[int, ...]], dict[str, int], dict[str, Any]]:
    """Return what a name gives, by the inputs' names: sizes, bounds of whole numbers, and values; raises BadModel."""
    from harness.models.tensor.readers.onnx.elementwise import TYPES

    known = {one.name: one.type.tensor_type for one in _inputs(model)}
    sizes: dict[str, tuple[int, ...]] = {}
    bounds: dict[str, int] = {}
    values: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        name, _, wanted = part.partition("=")
        if name not in known:
            raise BadModel(f"the model has no input {name!r}", cure=f"its inputs are {', '.join(known)}")
        try:
            if known[name].shape.dim:
                extents, _, bound = wanted.partition("%")
                sizes[name] = tuple(int(one) for one in extents.split("x"))
                bounds |= {name: int(bound)} if bound else {}
                right = len(sizes[name]) == len(known[name].shape.dim) and min(*sizes[name], bounds.get(name, 1), 1) > 0
            else:
                kind = str(TYPES[known[name].elem_type]).removeprefix("torch.")
                values[name], right = np.array(float(wanted)).astype(kind), True
        except (ValueError, KeyError, TypeError):
            right = False
        if not right:
            raise BadModel(f"{part!r} is neither a size nor a value that {name!r} can have", cure=SIZES)
    return sizes, bounds, values


def _as_program(module: OnnxProgram, inputs: Mapping[str, Tensor]) -> Program:
    """Return the module as the program of PyTorch's operators that it is for inputs of these sizes.

    Reading the nodes takes longer than running them, and PyTorch's time shall be that of its operators.
    """
    return Program(torch.export.export(module.eval(), (), dict(inputs)), tuple(inputs))


class OnnxProgram(nn.Module):
    """Call a model of ONNX by labels that are good names of inputs and outputs."""

    def __init__(self, model: ModelProto, names: Mapping[str, str]) -> None:
        from harness.models.tensor.readers.onnx.graph import OnnxModule

        super().__init__()
        self.nodes, self.names = OnnxModule(model), dict(names)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        found = self.nodes(**{self.names[label]: one for label, one in inputs.items()})
        return {_label(name): one for name, one in found.items()}


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise BadModel(f"models of ONNX need a package: {error}", cure=install_cure("onnx")) from error
    return onnx, onnxruntime


def _loaded(path: Path, values: Mapping[str, Any] | None = None) -> ModelProto:
    """Return the model with its external weights, ``values`` for inputs as constants, and no functions."""
    onnx, _ = _libraries()
    from onnx import inliner

    from harness.models.tensor.readers.onnx.call import OPERATORS
    from harness.models.tensor.readers.onnx.graph import MODULES

    assert MODULES
    cure = "export it again; python -m onnx.checker shows what is wrong with it"
    try:
        onnx.checker.check_model(str(path))
        model = onnx.load(str(path))
        ours = [("", name) for name in OPERATORS]
        written: ModelProto = inliner.inline_selected_functions(model, ours, exclude=True, inline_schema_functions=True)
    except Exception as error:  # protobuf, the checker and the inliner raise kinds of their own
        raise BadModel(f"{path.name} is no model of ONNX: {_first_line(error)}", cure=cure) from error
    written.graph.initializer.extend(onnx.numpy_helper.from_array(one, name) for name, one in (values or {}).items())
    return written


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _label(name: str) -> str:
    return name_of(name) if name[:1].isalpha() else name_of(f"of_{name}")


def _external(path: Path) -> Iterator[Path]:
    """Yield the files next to the model that hold its weights."""
    yield from sorted(
        {
            path.parent / entry.value
            for tensor in _unloaded(path).graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def _unloaded(path: Path) -> ModelProto:
    onnx, _ = _libraries()
    loaded: ModelProto = onnx.load(str(path), load_external_data=False)
    return loaded


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    constants = {one.name for one in model.graph.initializer}
    return [one for one in model.graph.input if one.name not in constants]


def _made(
    model: ModelProto, value: ValueInfoProto, size: tuple[int, ...] | None, bound: int | None, seed: int
) -> Tensor:
    """Return a seeded input: noise, or integers that the model's tables have; masks let everything through."""
    from harness.models.tensor.readers.onnx.elementwise import TYPES

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type not in TYPES:
        raise BadModel(f"the input {value.name!r} is no tensor of numbers that PyTorch has")
    dtype, shape = TYPES[kind.elem_type], size or _shape(model, value)
    name = value.name.lower()
    if bound is not None and not dtype.is_floating_point:
        return tokens(math.prod(shape), bound, seed).reshape(shape).to(dtype)
    if dtype == torch.bool or "mask" in name:
        return torch.ones(shape, dtype=dtype)
    if dtype.is_floating_point:
        return noise(shape, seed).to(dtype)
    if "type" in name or "segment" in name:
        return torch.zeros(shape, dtype=dtype)
    if "position" in name and shape:
        return torch.arange(shape[-1], dtype=dtype).expand(shape).contiguous()
    return tokens(math.prod(shape), _vocabulary(model, value.name), seed).reshape(shape).to(dtype)


def _shape(model: ModelProto, value: ValueInfoProto) -> tuple[int, ...]:
    axes = list(value.type.tensor_type.shape.dim)
    firsts = [next(iter(one.type.tensor_type.shape.dim), None) for one in _inputs(model)]
    batch = {one.dim_param for one in firsts if one is not None and one.dim_param}
    floating = value.type.tensor_type.elem_type in (1, 10, 11, 16)
    found = []
    for at, axis in enumerate(axes):
        if axis.HasField("dim_value") and axis.dim_value > 0:
            found.append(int(axis.dim_value))
        elif at == 0 or axis.dim_param in batch or "batch" in axis.dim_param.lower():
            found.append(1)
        elif floating and len(axes) == 4:
            found.append(3 if at == 1 else PICTURE)
        else:
            found.append(LENGTH)
    return tuple(found)


def _vocabulary(model: ModelProto, name: str) -> int:
    """Return the rows of the smallest table that an input looks up in, perhaps after a change of its type."""
    tables = {one.name: one.dims[0] for one in model.graph.initializer if one.dims}
    same, rows = {name}, []
    for node in model.graph.node:
        if node.op_type in ("Cast", "Identity") and node.input[0] in same:
            same.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in same and node.input[0] in tables:
            rows.append(tables[node.input[0]])
    return min(rows, default=VOCABULARY)


def _compare(
    path: Path,
    program: OnnxProgram,
    items: Mapping[str, Mapping[str, Tensor]],
    names: Mapping[str, str],
    values: Mapping[str, Any],
) -> None:
    """Run all items here and by ONNX Runtime; raises BadModel if one answer differs."""
    _, runtime = _libraries()
    options, quiet = runtime.SessionOptions(), runtime.RunOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = quiet.log_severity_level = 4
    # Each operator as it stands: what is fused rounds otherwise.
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds
        raise BadModel(f"ONNX Runtime cannot load {path.name}: {_first_line(error)}") from error
    for item, inputs in items.items():
        shapes = ", ".join(f"{names[label]}={'x'.join(map(str, one.shape))}" for label, one in inputs.items())
        try:
            with torch.inference_mode():
                ours = program(**inputs)
        except RuntimeError as error:  # PyTorch's own, for sizes that do not fit
            raise BadModel(f"{path.name} does not take {shapes}: {_first_line(error)}", cure=SIZES) from error
        given = {names[label]: one.numpy() for label, one in inputs.items()} | dict(values)
        try:
            theirs = session.run(None, given, quiet)
        except Exception as error:
            raise BadModel(
                f"ONNX Runtime cannot run {path.name} with {shapes}: {_first_line(error)}", cure=SIZES
            ) from error
        for name, expected in zip(ours, theirs, strict=True):
            _hold_against(path, item, name, ours[name].numpy(), expected)


def _hold_against(path: Path, item: str, name: str, found: Any, expected: Any) -> None:
    expected = np.asarray(expected)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise BadModel(
            f"the output {name!r} of {path.name} is {found.dtype}{list(found.shape)} here and "
            f"{expected.dtype}{list(expected.shape)} by ONNX Runtime"
        )
    largest = float(np.abs(expected, dtype=np.float64).max(initial=0.0)) if expected.dtype != bool else 1.0
    loose = 20 if expected.dtype == np.float16 else 1
    bound = (LARGEST * largest + ABSOLUTE) * loose
    near = np.isclose(found, expected, rtol=RELATIVE * loose, atol=bound, equal_nan=True)
    if not near.all():
        raise BadModel(
            f"the output {name!r} of {path.name}, {item}: {int((~near).sum())} of {near.size} elements are other than "
            "ONNX Runtime's",
            cure="see whether other inputs are better (docs/your-model.md); else report it with the file, and "
            "give the torch module itself in a Python file meanwhile",
        )
