"""Find the models that ``--models`` names: a file, a folder, a shipped model, or a library's. Imports none."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.plugins import entries
from harness.models.kinds import ModelsClash, kinds_names

GROUP = "harness.models"
"""The entry point group: ``NAME = "package.module:MODEL"``."""
SHIPPED = {
    "bert": "harness.models.examples.bert:MODEL",
    "detector": "harness.models.examples.detector:MODEL",
}
_READERS = "harness.models.tensor.readers"
SCHEMES = {
    "hf": f"{_READERS}.pretrained:hub_spec",
    "timm": f"{_READERS}.vision:timm_spec",
    "torchvision": f"{_READERS}.vision:torchvision_spec",
}
"""What reads a model that is named ``scheme:NAME``."""
FILES = "a Python file with a ModelSpec in it, a .pt2 or .onnx file, or the folder of a Hugging Face model"
PRETRAINED = f"{_READERS}.pretrained:spec"
READERS = {".pt2": f"{_READERS}.exported:spec", ".onnx": f"{_READERS}.onnx:spec"}
"""What reads a file, by the end of its name."""


class UnknownModel(UsageError):
    """``--models`` names no file and no installed model."""


class BadModel(UsageError):
    """A model's file cannot be used: its code fails, or its description of the model is wrong."""

    cure = "docs/your-model.md shows a whole file"


@dataclass(frozen=True)
class ModelSource:
    """Describe where a model is. ``attribute`` is empty for a file; then every ModelSpec of the file is taken.

    With an ``argument``, the attribute is a function that returns the ModelSpec for it.
    """

    label: str
    path: Path
    module: str = ""
    attribute: str = ""
    argument: str = ""


def resolve_model(name: str) -> ModelSource:
    """Return the source of one name; raises UnknownModel with the known names."""
    scheme, _, rest = name.partition(":")
    if scheme in SCHEMES and rest:
        return _read_by(SCHEMES[scheme], name, rest)
    if name.endswith((".py", *READERS)) or ".onnx:" in name or "/" in name:
        file, sizes, rest = name.partition(".onnx:")
        path = Path(f"{file}.onnx" if sizes else name).expanduser()
        if (path / "config.json").is_file():
            return _read_by(PRETRAINED, name, str(path.resolve()))
        if path.is_file() and path.suffix in READERS:
            return _read_by(READERS[path.suffix], name, f"{path.resolve()}{sizes and ':'}{rest}")
        if not path.is_file():
            raise UnknownModel(f"there is no file {name}", cure=f"give the path of {FILES}")
        return ModelSource(name, path.resolve())
    known = offered()
    if name not in known:
        names = ", ".join(sorted({*kinds_names(), *known}))
        raise UnknownModel(
            f"there is no model {name!r}",
            cure=f"known are {names}; or give {FILES}, {', '.join(f'{one}:NAME' for one in SCHEMES)}",
        )
    if len(known[name]) > 1:
        raise ModelsClash(
            f"{name!r} is the name of several models: {', '.join(known[name])}",
            cure="give the Python file of the one that is meant",
        )
    return _of_module(known[name][0], name)


def _read_by(reader: str, name: str, argument: str) -> ModelSource:
    module, _, attribute = reader.partition(":")
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return ModelSource(name, Path(found.origin).resolve(), module, attribute, argument)


def _of_module(place: str, name: str) -> ModelSource:
    module, _, attribute = place.partition(":")
    try:
        found = importlib.util.find_spec(module)
    except ImportError as error:
        raise UnknownModel(f"the model {name!r} is in {module}, which cannot be imported: {error}") from error
    if found is None or found.origin is None:
        raise UnknownModel(f"the model {name!r} is in {module}, which is not there", cure="install its package again")
    return ModelSource(name, Path(found.origin).resolve(), module, attribute or "MODEL")


def offered() -> dict[str, list[str]]:
    """Return the shipped models and those of installed packages, by name: one place, or several that clash."""
    found = {name: [value] for name, value in SHIPPED.items()}
    for entry in entries(GROUP):
        found.setdefault(entry.name, []).append(entry.value)
    return {name: list(dict.fromkeys(places)) for name, places in found.items()}
