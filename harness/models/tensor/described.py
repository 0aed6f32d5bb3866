"""Describe a user's model without importing it: a worker makes the description, and the cache keeps it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from safetensors.numpy import load_file

from harness.core.cache import MANIFEST, Cache, content_key, hash_file
from harness.core.files import replacing
from harness.core.installation import package_version
from harness.core.progress import Progress
from harness.core.worker import run_worker
from harness.models.tensor.sources import BadModel, ModelSource
from harness.protocol.tensors import Array
from harness.validate import comparison
from harness.validate.comparison import Comparison

WORKER = "harness.models.tensor.worker"
DESCRIPTION = "description.json"
PACKAGES = ("torch", "transformers", "numpy")
SEPARATOR = "/"
"""Separates an item and its tensor in the files' keys; no item's name contains it."""


class _Described(BaseModel):
    model_config = ConfigDict(frozen=True)


class InputFacts(_Described):
    name: str
    dtype: str
    shape: list[int | str]
    """The shape of the example; a dynamic extent is the dimension's name."""


class OutputFacts(_Described):
    name: str
    dtype: str


class ModelDescription(_Described):
    """Describe a model by its file, and by PyTorch's results."""

    name: str
    prefix: str
    inputs: list[InputFacts]
    outputs: list[OutputFacts]
    items: list[str]
    compare: Comparison
    parameters: int
    weights_sha256: str
    """SHA-256 over all parameters and buffers, by name."""
    keep_wide: list[str] = []


class SourceDescription(_Described):
    """Describe all models of one source."""

    models: list[ModelDescription]
    dependencies: list[str]
    """The files on which the answers depend, with absolute paths, the source itself first."""


@dataclass(frozen=True)
class UserModel:
    """Hold a described model.

    ``key`` changes with everything on which its answers depend, and is the same on machines that have the same files
    in other places; ``folder`` is the cache's.
    """

    source: ModelSource
    facts: ModelDescription
    key: str
    folder: Path
    files: tuple[Path, ...] = ()
    """Its files, the source itself first."""

    @property
    def name(self) -> str:
        return self.facts.name

    def inputs(self) -> dict[str, dict[str, Array]]:
        """Return the inputs by item, in the order of the model's arguments."""
        return self._grouped("inputs", [one.name for one in self.facts.inputs])

    def expected(self) -> dict[str, dict[str, Array]]:
        """Return PyTorch's answers by item, in the order of the outputs."""
        return self._grouped("outputs", [one.name for one in self.facts.outputs])

    def _grouped(self, what: str, names: Sequence[str]) -> dict[str, dict[str, Array]]:
        arrays = load_file(self.folder / f"{self.name}.{what}.safetensors")
        return {item: {name: arrays[f"{item}{SEPARATOR}{name}"] for name in names} for item in self.facts.items}


def describe_models(sources: Sequence[ModelSource], *, cache: Cache, progress: Progress) -> list[UserModel]:
    """Return the models of all sources; raises BadModel, or what the worker raises."""
    return [model for source in sources for model in _described(source, cache, progress)]


def _described(source: ModelSource, cache: Cache, progress: Progress) -> list[UserModel]:
    """Return a source's models, from the cache if no file on which the answers depend has changed.

    These files are only known once they have been loaded, so an index remembers them for each source.
    """
    base = {"module": source.module, "attribute": source.attribute, "sources": _our_sources()}
    base |= {"argument": source.argument, **_libraries(source)}
    base |= {name: package_version(name) for name in PACKAGES}
    index = cache.root / "models" / "index" / f"{content_key(base | {'path': str(source.path)})}.json"
    asked: list[Path] = []

    def key_of(files: Sequence[Path]) -> str:
        return content_key(base | {"files": {str(path): _hash(path) for path in files}})

    def ask(folder: Path) -> None:
        request = {"folder": str(folder), **source_request(source)}
        (folder / DESCRIPTION).write_text(json.dumps(run_worker(WORKER, request, progress)) + "\n", encoding="utf-8")
        asked.append(folder)

    files = _remembered(index)
    if files:
        key = key_of(files)
        folder = cache.fetch("models", key, ask)
        described = _read(folder)
        if [Path(path) for path in described.dependencies] == files:
            return _models(source, described, _portable(base, source, files), folder)
    with tempfile.TemporaryDirectory(prefix="harness-models-") as temporary:
        # A cached answer may be older than a file that its key does not contain.
        fresh = folder if asked else Path(temporary)
        if not asked:
            ask(fresh)
        described = _read(fresh)
        files = [Path(path) for path in described.dependencies]
        _remember(index, files)
        key = key_of(files)
        folder = cache.fetch("models", key, lambda made: _copy(fresh, made))
    return _models(source, described, _portable(base, source, files), folder)


def model_folder(source: ModelSource) -> Path:
    """Return the folder below which a model's own files are."""
    if source.argument and Path(source.argument).is_absolute():
        place = Path(source.argument)
        return place if place.is_dir() else place.parent
    return source.path.parent


def _portable(base: Mapping[str, Any], source: ModelSource, files: Sequence[Path]) -> str:
    """Return a key of these files that is independent of their folder: by their places below the model's folder.

    Of a file elsewhere, as in an installed package, its folder's and its own name stand for its place.
    """
    folder = model_folder(source)

    def place(path: Path) -> str:
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else "/".join(path.parts[-2:])

    argument = Path(source.argument)
    named = argument.name if argument.is_absolute() else source.argument
    return content_key({**base, "argument": named, "files": sorted([place(path), _hash(path)] for path in files)})


def _read(folder: Path) -> SourceDescription:
    return SourceDescription.model_validate_json((folder / DESCRIPTION).read_bytes())


def _copy(fresh: Path, made: Path) -> None:
    for path in fresh.iterdir():
        if path.name != MANIFEST:
            shutil.copy2(path, made)


def _models(source: ModelSource, described: SourceDescription, key: str, folder: Path) -> list[UserModel]:
    def of(facts: ModelDescription) -> UserModel:
        files = tuple(Path(path) for path in described.dependencies)
        return UserModel(source, facts, content_key({"source": key, "model": facts.name}), folder, files)

    return [of(facts) for facts in described.models]


def source_request(source: ModelSource) -> dict[str, Any]:
    """Return the fields by which a worker loads a source."""
    own = {"module": source.module, "attribute": source.attribute, "argument": source.argument}
    return {"path": str(source.path), **own}


def _libraries(source: ModelSource) -> dict[str, str]:
    """Return the version of the library that a model is named after, if it is installed: models change with it."""
    library = source.label.partition(":")[0] if source.argument else ""
    try:
        return {library: importlib.metadata.version(library)} if library else {}
    except importlib.metadata.PackageNotFoundError:
        return {}


def _our_sources() -> list[str]:
    folder = Path(__file__).parent
    names = ("spec.py", "worker.py", "loading.py", "flat.py", "described.py")
    ours = [*(folder / name for name in names), *sorted((folder / "readers").glob("*.py"))]
    return [hash_file(path) for path in (Path(comparison.__file__), *ours)]


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise BadModel(f"cannot read {path}, which the model needs: {error.strerror}") from error


def _remembered(index: Path) -> list[Path]:
    try:
        files = [Path(path) for path in json.loads(index.read_bytes())]
    except (OSError, ValueError):
        return []
    return files if all(path.is_file() for path in files) else []


def _remember(index: Path, files: Sequence[Path]) -> None:
    index.parent.mkdir(parents=True, exist_ok=True)
    with replacing(index) as partial:
        partial.write_text(json.dumps([str(path) for path in files]) + "\n", encoding="utf-8")
