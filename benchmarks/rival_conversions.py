"""Make what each engine of rivals.py runs: once, kept in the cache. A process for each engine converts all models."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environments import REQUIREMENTS, environment
from benchmarks.processes import PeerProcess
from benchmarks.rival_names import PYTORCH
from harness.core.cache import Cache, content_key, hash_file
from harness.core.installation import package_version

MODELS = Path(__file__).with_name("rival_models.py")
BESIDE = (MODELS, MODELS.with_name("torch_models.py"))
LIBRARIES = ("torch", "torchvision", "timm", "transformers")
FROM_ONNX = ("openvino", "mnn")
"""Engines that read the file that ONNX Runtime's environment writes."""
ONNX = "onnxruntime"
ONNX_FILE = "model.onnx"

Progress = Callable[[str], None]


class Conversions:
    """Hold the processes that convert. Close it, or use :func:`conversions`."""

    def __init__(self, cache: Cache, cores: tuple[int, ...], deadline: float, progress: Progress) -> None:
        self.cache, self.progress = cache, progress
        self._cores, self._deadline = cores, deadline
        self._processes: dict[str, PeerProcess] = {}

    def python(self, engine: str) -> Path:
        """Return the Python of the engine's environment, which is made now if it does not exist."""
        if engine == PYTORCH:
            return Path(sys.executable)
        return environment(f"rival-{engine}", cache=self.cache, progress=self.progress)

    def exported(self, model: str) -> Path:
        """Return the folder of the model as PyTorch has it."""
        return self.cache.fetch("rival-models", self._exported_key(model), self._exporting(model))

    def converted(self, engine: str, model: str, precision: str) -> Path:
        """Return the folder with the engine's own model; raises HarnessError with the engine's reason."""
        if engine == PYTORCH:
            return self.exported(model)
        key = {
            "engine": engine,
            "exported": self._exported_key(model),
            "requirements": hash_file(REQUIREMENTS / f"rival-{engine}.txt"),
            "worker": hash_file(worker_file(engine)),
            "precision": precision,
        }
        if precision != "fp32":
            key["quantization"] = hash_file(worker_file("int8"))
        if engine in FROM_ONNX:
            key["onnx"] = hash_file(worker_file(ONNX))

        def build(folder: Path) -> None:
            source = self.exported(model)
            if engine not in FROM_ONNX:
                self._convert(engine, source, folder, precision, model)
                return
            onnx = self.converted(ONNX, model, "fp32")
            with tempfile.TemporaryDirectory(prefix="harness-rivals-") as temporary:
                both = Path(temporary)
                for path in (*source.glob("*.npz"), onnx / ONNX_FILE):
                    (both / path.name).symlink_to(path)
                self._convert(engine, both, folder, precision, model)

        return self.cache.fetch("rival-models", content_key(key), build)

    def close(self) -> None:
        for process in self._processes.values():
            process.close()
        self._processes.clear()

    def _exported_key(self, model: str) -> str:
        fields = {"model": model, "sources": [hash_file(path) for path in (*BESIDE, worker_file(PYTORCH))]}
        return content_key(fields | {name: package_version(name) for name in LIBRARIES})

    def _exporting(self, model: str) -> Callable[[Path], None]:
        return lambda folder: self._convert(PYTORCH, Path(model), folder, "fp32", model)

    def _convert(self, engine: str, source: Path, folder: Path, precision: str, model: str) -> None:
        what = "exporting" if engine == PYTORCH else f"converting for {engine}:"
        self.progress(f"{what} {model}{'' if precision == 'fp32' else f' in {precision}'}")
        process = self._processes.get(engine)
        if process is None:
            process = start(engine, self.python(engine), self._cores, len(self._cores))
            self._processes[engine] = process
        request = {"do": "convert", "source": str(source), "folder": str(folder), "precision": precision}
        try:
            process.ask(request, self._deadline)
        except BaseException:
            # What failed may have left the process in any state.
            self._processes.pop(engine).close()
            raise


def worker_file(engine: str) -> Path:
    return REQUIREMENTS / f"rival_{engine}.py"


def start(engine: str, python: Path, cores: tuple[int, ...], threads: int) -> PeerProcess:
    command = [str(python), "-m", f"benchmarks.workers.rival_{engine}"]
    return PeerProcess(engine, command, cores=cores, threads=threads)


@contextmanager
def conversions(cache: Cache, cores: tuple[int, ...], deadline: float, progress: Progress) -> Iterator[Conversions]:
    found = Conversions(cache, cores, deadline, progress)
    try:
        yield found
    finally:
        found.close()


def size_of(folder: Path) -> int:
    """Return the bytes of a model's files, without the cache's own."""
    own = ("manifest.json", "outputs", "outputs.json")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name not in own)
