"""Read a program that ``torch.export.save`` wrote (``.pt2``). Nothing in the file is executed while it is read.

``torch.export.load`` unpickles, evaluates size expressions as Python, and looks functions up by any name in ``torch``.
So everything in the file that could run code is looked at first, and refused: pickled weights and constants, compiled
libraries, expressions that are not arithmetic, and functions that are not torch's operators.
"""

from __future__ import annotations

import ast
import importlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from harness.models.tensor.readers.made import name_of, noise
from harness.models.tensor.sources import TRUSTED, BadModel
from harness.models.tensor.spec import ModelSpec
from harness.validate.comparison import Tolerances

if TYPE_CHECKING:
    from typing_extensions import Self

SAVE_AGAIN = (
    "save it again with torch.export.save from this version of PyTorch, from tensors and torch's operators only"
)
QUANTIZED_OPERATORS = "torch.ao.quantization.fx._decomposed"
"""Importing it registers the operators of programs that torch's tools quantized."""
QUANTIZED = Tolerances(relative=0.1)
"""How such programs are compared: a byte that is rounded to its neighbour changes all that comes after it."""
MOST_MEMBERS = 100_000
MOST_JSON_BYTES = 256_000_000
_HARMLESS = re.compile(
    r"models/[^/]+\.json|data/(weights|constants)/(weight|tensor)_\d+|data/(weights|constants)/[^/]+_config\.json"
    r"|data/sample_inputs/[^/]+\.pt|archive_format|archive_version|byteorder|version|\.data/[a-z_]+|extra/.+"
)
_OPERATOR = re.compile(r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed|torchvision)(\.(?!__)\w+){1,2}")
_PYTHON = re.compile(r"(_operator|math)\.(?!_)[a-z_]+")
_ARITHMETIC = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Constant, ast.Name, ast.Call, ast.Load, ast.keyword),
    *(ast.operator, ast.unaryop, ast.cmpop, ast.BoolOp, ast.boolop),
)
_CALLED = re.compile(
    r"Symbol|Integer|Rational|Float|Max|Min|Abs|Mod|Add|Mul|Pow|floor|ceiling|FloorDiv|CleanDiv|CeilDiv|ModularIndexing"
    r"|PythonMod|PowByNatural|IntTrueDiv|FloatTrueDiv|ToFloat|TruncToInt|CeilToInt|FloorToInt|RoundToInt|Identity|Where"
    r"|LShift|RShift|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not"
)
"""The functions of sympy and torch that sizes are written with."""
_SYMBOL = re.compile(r"[su]\d+|oo|int_oo|zoo")


def spec(argument: str) -> ModelSpec:
    """Return the spec of a ``.pt2`` file. Its items are the inputs that it was exported with, and noise of their size.

    Pickles in it are read if ``:trusted`` follows the path, as ``--allow-pickle`` has it. Raises BadModel.
    """
    trusted = argument.endswith(TRUSTED)
    path = Path(argument.removesuffix(TRUSTED))
    load = load_trusted if trusted else load_safely
    program = load(path)
    inputs = _inputs(program, path)
    items = {"example": inputs}
    if all(tensor.is_floating_point() for tensor in inputs.values()):
        made = {name: noise(tuple(one.shape), at).to(one.dtype) for at, (name, one) in enumerate(inputs.items())}
        items["noise"] = made
    return ModelSpec(
        name=name_of(path.stem),
        build=lambda: Program(load(path), tuple(inputs)),
        example_inputs=inputs,
        items=items,
        dynamic_shapes=_dynamic(program, tuple(inputs)),
        files=[path],
        compare=QUANTIZED if _is_quantized(program) else Tolerances(),
    )


def _is_quantized(program: ExportedProgram) -> bool:
    return any(str(node.target).startswith("quantized_decomposed.quantize") for node in program.graph.nodes)


def load_safely(path: Path) -> ExportedProgram:
    """Return the program, after a look at everything in the file that could run code. Raises BadModel."""
    try:
        with zipfile.ZipFile(path) as archive:
            refused = next(_refused(archive), None)
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, RecursionError, RuntimeError) as error:
        raise BadModel(f"{path.name} is no exported program: {error}", cure=SAVE_AGAIN) from error
    if refused:
        raise BadModel(f"{path.name} {refused}", cure=f"{SAVE_AGAIN}; --allow-pickle reads a file that you trust")
    return load_trusted(path)


def load_trusted(path: Path) -> ExportedProgram:
    """Return the program. Reading a file can run any program that is in it. Raises BadModel."""
    importlib.import_module(QUANTIZED_OPERATORS)
    try:
        return torch.export.load(path)
    except Exception as error:  # Whatever torch raises for a file that it cannot read.
        raise BadModel(f"torch.export.load cannot read {path.name}: {error}", cure=SAVE_AGAIN) from error


class Program(nn.Module):
    """Call an exported program by the names of its inputs."""

    def __init__(self, program: ExportedProgram, names: tuple[str, ...]) -> None:
        super().__init__()
        self.program, self.names, self.form = program.module(), names, program.call_spec.in_spec

    def forward(self, **inputs: Tensor) -> Any:
        arguments, by_name = pytree.tree_unflatten([inputs[name] for name in self.names], self.form)
        return self.program(*arguments, **by_name)

    def train(self, _mode: bool = True) -> Self:
        """Change nothing: the mode of an exported program is fixed."""
        return self


def _refused(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield what must not be loaded."""
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        yield f"has {len(members)} members"
        return
    names = {str(PurePosixPath(*PurePosixPath(one.filename).parts[1:])): one for one in members}
    if len(names) != len(members):
        yield "has a member twice"
    for name, member in names.items():
        if not _HARMLESS.fullmatch(name):
            yield f"contains {name}, which is not read"
        if member.file_size > MOST_JSON_BYTES and name.endswith(".json"):
            yield f"has a description of {member.file_size} bytes"
    for name, member in names.items():
        if name.endswith("_config.json"):
            entries = json.loads(archive.read(member))["config"]
            pickled = next((key for key, entry in entries.items() if entry["use_pickle"] is not False), None)
            if pickled is not None:
                yield f"holds {pickled} as a pickle, which may run anything"
        elif name.startswith("models/"):
            yield from _refused_in_graph(json.loads(archive.read(member)))
        elif name.startswith("data/sample_inputs/") and member.file_size:
            try:
                torch.load(io.BytesIO(archive.read(member)), weights_only=True)
            except Exception:  # torch raises several kinds for what is more than tensors.
                yield "has example inputs that are more than tensors, in a pickle that may run anything"


def _refused_in_graph(node: Any) -> Iterator[str]:
    """Yield the expressions and functions of a graph's description that are not torch's."""
    pending = [node]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            target, expression = one.get("target"), one.get("expr_str")
            if isinstance(target, str) and not (_OPERATOR.fullmatch(target) or _PYTHON.fullmatch(target)):
                # Inputs' and weights' targets are names of tensors and stand in other fields.
                yield f"calls {target}, which is not an operator of torch"
            if isinstance(expression, str) and not _is_arithmetic(expression):
                yield f"has the size {expression}, which is not arithmetic"
            pending += one.values()
        elif isinstance(one, list):
            pending += one


def _is_arithmetic(expression: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return all(isinstance(node, _ARITHMETIC) and _is_harmless(node, id(node) in called) for node in nodes)


def _is_harmless(node: ast.AST, called: bool) -> bool:
    """Return whether a name is a symbol, or that of a function if it is called; and a text the name of a symbol."""
    if isinstance(node, ast.Name):
        return (_CALLED if called else _SYMBOL).fullmatch(node.id) is not None
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name)
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
        return isinstance(node.value, str) and _SYMBOL.fullmatch(node.value) is not None
    return True


def _inputs(program: ExportedProgram, path: Path) -> dict[str, Tensor]:
    if program.example_inputs is None:
        raise BadModel(f"{path.name} was saved without example inputs", cure=SAVE_AGAIN)
    leaves = pytree.tree_leaves(program.example_inputs)
    names = program.graph_signature.user_inputs
    fixed = next((str(leaf) for leaf in leaves if not isinstance(leaf, Tensor)), None)
    if fixed is not None or len(leaves) != len(names):
        raise BadModel(
            f"{path.name} takes {fixed or 'something'} in addition to tensors",
            cure="export a module whose forward takes tensors only",
        )
    return {str(name): leaf.detach() for name, leaf in zip(names, leaves, strict=True)}


def _dynamic(program: ExportedProgram, names: tuple[str, ...]) -> dict[str, dict[int, Any]]:
    """Return the dimensions that were dynamic when it was exported, by input and axis; raises BadModel."""
    shapes = {node.name: node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder"}
    dims: dict[str, Any] = {}
    found: dict[str, dict[int, Any]] = {}
    for name in names:
        for axis, extent in enumerate(shapes[name]):
            if not isinstance(extent, torch.SymInt):
                continue
            symbol = extent.node.expr
            if not symbol.is_symbol:
                raise BadModel(
                    f"axis {axis} of {name} is {symbol}: a size that depends on another",
                    cure="export it with a Dim of its own for that axis, or with a fixed size",
                )
            bounds = program.range_constraints[symbol]
            most = {} if bounds.upper > 2**31 else {"max": int(bounds.upper)}
            dims.setdefault(str(symbol), Dim(f"dim_{len(dims)}", min=int(bounds.lower), **most))
            found.setdefault(name, {})[axis] = dims[str(symbol)]
    return found
