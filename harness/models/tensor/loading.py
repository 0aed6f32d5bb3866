"""Run a user's file in a worker: load and check its specs, and find the files they came from."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.export import Dim

import harness
from harness.core.errors import HarnessError
from harness.models.generation import FUNCTIONS as VARIANTS
from harness.models.kinds import kinds_names
from harness.models.quantization import OBSERVERS
from harness.models.tensor.sources import BadModel
from harness.models.tensor.spec import ModelSpec
from harness.protocol.tensors import DTYPES, MOST_INPUT_BYTES
from harness.validate.comparison import ComparisonRule

MOST_INPUTS = 16
"""The most arguments of a call of the runner."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}_")
_ITEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.:-]{0,127}")

Items = dict[str, dict[str, Tensor]]


def load_specs(path: Path, module: str, attribute: str, argument: str = "") -> list[ModelSpec]:
    """Return the specs of a file, or the one of a module; raises BadModel with the failing line of the user's code.

    With an ``argument``, the attribute is a function that returns the spec for it.
    """
    with users_code(path, f"running {path.name}"):
        loaded = importlib.import_module(module) if module else _run(path)
        found: list[Any]
        if not module:
            found = [value for value in vars(loaded).values() if isinstance(value, ModelSpec)]
        else:
            offered = getattr(loaded, attribute, None)
            found = [offered(argument) if argument and callable(offered) else offered]
    if not found or not all(isinstance(spec, ModelSpec) for spec in found):
        what = f"{module}:{attribute} is no ModelSpec" if module else f"{path} has no ModelSpec in it"
        raise BadModel(what, cure="write MODEL = ModelSpec(...), as docs/your-model.md shows")
    return list({id(spec): spec for spec in found if spec is not None}.values())


def find_spec(request: Mapping[str, Any]) -> ModelSpec:
    """Return the spec that a worker's request names, which existed when the models were described."""
    specs = load_specs(Path(request["path"]), request["module"], request["attribute"], request["argument"])
    return next(spec for spec in specs if spec.name == request["model"])


def prefix_of(spec: ModelSpec) -> str:
    return spec.prefix or f"{spec.name.replace('-', '_')}_"


def checked_items(spec: ModelSpec, path: Path) -> Items:
    """Check everything about the spec that needs no model, and return its items. Raises BadModel."""
    if not _NAME.fullmatch(spec.name):
        raise BadModel(f"the name {spec.name!r} is not 1 to 64 letters, digits, - and _, with a letter first")
    if spec.name in (*kinds_names(), *VARIANTS):
        raise BadModel(
            f"a model cannot be named {spec.name!r}, which is the name of another model or of its variant",
            cure="give it another name",
        )
    if not _PREFIX.fullmatch(prefix_of(spec)):
        raise BadModel(
            f"the prefix {prefix_of(spec)!r} of {spec.name!r} cannot begin a C symbol and end in _, or is too long"
        )
    if isinstance(spec.keep_wide, str) or not all(isinstance(pattern, str) for pattern in spec.keep_wide):
        raise BadModel(f"keep_wide of {spec.name!r} is no list of patterns", cure='write keep_wide=["layers.0"]')
    _check_kinds(spec)
    if not 1 <= len(spec.example_inputs) <= MOST_INPUTS:
        raise BadModel(f"{spec.name!r} has {len(spec.example_inputs)} inputs; 1 to {MOST_INPUTS} can be")
    for name, tensor in spec.example_inputs.items():
        _check_tensor(f"example input {name!r} of {spec.name!r}", tensor)
    if spec.observer not in OBSERVERS:
        raise BadModel(
            f"the observer {spec.observer!r} of {spec.name!r} is not known", cure=f"use {', '.join(OBSERVERS)}"
        )
    unknown = set(spec.dynamic_shapes) - set(spec.example_inputs)
    if unknown:
        raise BadModel(f"dynamic_shapes of {spec.name!r} name {', '.join(sorted(unknown))}, which is not an input")
    for name in spec.dynamic_shapes:
        _check_dimensions(spec, name)
    made = _made(spec, "items", spec.items, path)
    for item in made:
        if not _ITEM.fullmatch(item):
            raise BadModel(f"the item {item!r} of {spec.name!r} is not 1 to 128 letters, digits, spaces and . : _ -")
    size = sum(tensor.nbytes for inputs in made.values() for tensor in inputs.values())
    if size > MOST_INPUT_BYTES:
        raise BadModel(f"the items of {spec.name!r} are {size} bytes, more than {MOST_INPUT_BYTES}", cure="give fewer")
    return {item: {name: inputs[name].contiguous() for name in spec.example_inputs} for item, inputs in made.items()}


def calibration_inputs(spec: ModelSpec, path: Path, items: Items) -> Items:
    """Return the inputs for which int8 is rounded: the spec's own, or its items. Raises BadModel."""
    return items if spec.calibration is None else _made(spec, "calibration", spec.calibration, path)


def _made(spec: ModelSpec, part: str, given: Any, path: Path) -> Items:
    """Return the inputs of a part of the spec, which may be a function that makes them; each is checked."""
    with users_code(path, f"making the {part} of {spec.name!r}"):
        items: Any = given() if callable(given) else given
    _check_mapping(f"{part} of {spec.name!r}", items, "inputs by the name of the item")
    for item, inputs in items.items():
        _check_mapping(f"item {item!r} of {spec.name!r}", inputs, "tensors by the name of the input")
    made = {str(item): dict(inputs) for item, inputs in items.items()}
    if not made:
        raise BadModel(f"{spec.name!r} has no {part} to run")
    for item, inputs in made.items():
        if set(inputs) != set(spec.example_inputs):
            wanted = ", ".join(spec.example_inputs)
            raise BadModel(f"item {item!r} of {spec.name!r} has the inputs {', '.join(inputs)} instead of {wanted}")
        for name in spec.example_inputs:
            _check_input(spec, item, name, inputs[name])
    return made


def check_comparison(spec: ModelSpec, outputs: Mapping[str, Tensor]) -> None:
    """That the model can be judged by what it returns. Raises BadModel."""
    described = {name: (list(tensor.shape), tensor.is_floating_point()) for name, tensor in outputs.items()}
    why = spec.compare.misfit(described)
    if why:
        raise BadModel(f"{spec.name!r} cannot be judged: {why}")


def dimensions(spec: ModelSpec, name: str) -> dict[int, Any]:
    """Return the named dimensions of an input by axis, from any of torch.export's forms."""
    given: Any = spec.dynamic_shapes.get(name) or {}
    pairs = given.items() if isinstance(given, Mapping) else enumerate(given)
    return {int(axis): dim for axis, dim in pairs if dim is not None}


def dependencies(path: Path, module: str, spec_files: list[Path]) -> list[str]:
    """Return the source, the imported Python files of its folder or package, and the files that specs name.

    The harness's own packages only add the files beside a shipped model; the caches' keys contain the rest.
    """
    folder = _package(path, module)
    beside = set()
    for loaded in list(sys.modules.values()):
        # Some of torch's modules name a file that does not exist.
        origin = Path(getattr(loaded, "__file__", None) or "")
        if origin.is_absolute() and origin.is_file() and origin.resolve().is_relative_to(folder):
            inside = origin.resolve().relative_to(folder)
            beside |= set() if "site-packages" in inside.parts else {str(folder / inside)}
    named = {str(file) for file in spec_files}
    return [str(path), *sorted((beside | named) - {str(path)})]


def _package(path: Path, module: str) -> Path:
    """Return the folder of a file, or of the whole package that contains a module."""
    above = module.count(".") - (path.name != "__init__.py")
    shipped = path.is_relative_to(Path(harness.__file__).resolve().parent)
    return path.parent if above < 0 or shipped else path.parents[above]


def spec_files(spec: ModelSpec, path: Path) -> list[Path]:
    """Return the spec's ``files`` as absolute paths; raises BadModel if one does not exist."""
    found = [(path.parent / Path(file).expanduser()).resolve() for file in spec.files]
    missing = next((file for file in found if not file.is_file()), None)
    if missing is not None:
        raise BadModel(f"{spec.name!r} names the file {missing}, which is not there")
    return found


@contextmanager
def users_code(path: Path, doing: str) -> Iterator[None]:
    """Turn everything that the user's code raises into a BadModel that names its last line in the user's own files."""
    try:
        yield
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if str(path.parent) in f.filename]
        at = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        if isinstance(error, SyntaxError):
            at = f" at line {error.lineno}"
        raise BadModel(f"{doing} failed{at}: {type(error).__name__}: {error}") from error


def _run(path: Path) -> Any:
    sys.path.insert(0, str(path.parent))
    name = f"harness_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _check_kinds(spec: ModelSpec) -> None:
    """Check that the parts have the types of :class:`ModelSpec`, which nothing has checked so far."""
    if isinstance(spec.build, nn.Module) or not callable(spec.build):
        kind = type(spec.build).__name__
        raise BadModel(f"build of {spec.name!r} is a {kind}, not a function", cure="give build=lambda: the module")
    _check_mapping(f"example_inputs of {spec.name!r}", spec.example_inputs, "tensors by forward's parameters")
    _check_mapping(f"dynamic_shapes of {spec.name!r}", spec.dynamic_shapes, "dimensions by the name of the input")
    if not isinstance(spec.compare, ComparisonRule):
        raise BadModel(f"compare of {spec.name!r} is {spec.compare!r}; it can be Tolerances(), TopK() or ExactTokens()")


def _check_mapping(what: str, given: Any, wanted: str) -> None:
    if not isinstance(given, Mapping):
        raise BadModel(f"{what}: a {type(given).__name__}, not a dictionary of {wanted}")


def _check_dimensions(spec: ModelSpec, name: str) -> None:
    given: Any = spec.dynamic_shapes[name]
    what = f"dynamic_shapes of {name!r} of {spec.name!r}"
    if not isinstance(given, (Mapping, Sequence, type(None))):
        raise BadModel(f"{what}: a {type(given).__name__}, not a dictionary of dimensions by axis")
    axes = spec.example_inputs[name].ndim
    for axis, dim in dimensions(spec, name).items():
        if not 0 <= axis < axes:
            raise BadModel(f"{what}: axis {axis} of an input with {axes} axes")
        if not isinstance(dim, Dim):
            raise BadModel(
                f"{what}: {dim} at axis {axis}", cure='name it and its bounds: Dim("tokens", min=1, max=128)'
            )


def _check_tensor(what: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        raise BadModel(f"{what} is a {type(tensor).__name__}, not a torch.Tensor")
    if tensor.device.type != "cpu":
        raise BadModel(f"{what} is on {tensor.device}", cure="move it with .cpu()")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        raise BadModel(f"{what} is {dtype}", cure=f"the runner takes {', '.join(DTYPES)}")


def _check_input(spec: ModelSpec, item: str, name: str, tensor: Any) -> None:
    what = f"input {name!r} of item {item!r} of {spec.name!r}"
    _check_tensor(what, tensor)
    example = spec.example_inputs[name]
    if tensor.dtype != example.dtype:
        raise BadModel(f"{what} is {tensor.dtype}, the example {example.dtype}")
    named = dimensions(spec, name)
    fits = tensor.ndim == example.ndim and all(
        _fits(int(extent), named.get(axis), int(example.shape[axis])) for axis, extent in enumerate(tensor.shape)
    )
    if not fits:
        wanted = ", ".join(_extent(named.get(axis), int(extent)) for axis, extent in enumerate(example.shape))
        raise BadModel(f"{what} has the shape {list(tensor.shape)}, the model takes [{wanted}]")


def _fits(extent: int, dim: Any, example: int) -> bool:
    if dim is None:
        return extent == example
    least, most = getattr(dim, "min", None) or 0, getattr(dim, "max", None)
    return extent >= least and (most is None or extent <= most)


def _extent(dim: Any, example: int) -> str:
    if dim is None:
        return str(example)
    return f"{dim.__name__} from {getattr(dim, 'min', 0)} to {getattr(dim, 'max', '?')}"
