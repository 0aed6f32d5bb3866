"""ncnn: ``python -m benchmarks.workers.rival_ncnn``.

ncnn has no axis for the batch: its converter takes the first one away where it is 1.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers.rival_serving import Load, serve

PARAM, WEIGHTS = "model.ncnn.param", "model.ncnn.bin"
OUTPUTS = "outputs"
KINDS = {"float32": "f32", "int64": "i64", "int32": "i32"}


def convert(source: Path, folder: Path, precision: str) -> None:
    if precision != "fp32":
        raise ValueError("ncnn's package has no tool for post-training quantization")
    with np.load(source / "inputs.npz") as kept:
        arrays = [kept[f"in{at}"] for at in range(len(kept.files))]
    shapes = ",".join(f"[{','.join(map(str, one.shape))}]{KINDS[str(one.dtype)]}" for one in arrays)
    work = folder / "work"
    work.mkdir()
    others = ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnpy")
    # The package's command only starts this program, but imports PyTorch first.
    package = importlib.util.find_spec("pnnx")
    if package is None or package.origin is None:
        raise ValueError("pnnx is not installed")
    program = Path(package.origin).with_name("pnnx")
    command = [str(program), str(source / "model.pt"), f"inputshape={shapes}", "fp16=0"]
    command += [f"ncnnparam={folder / PARAM}", f"ncnnbin={folder / WEIGHTS}"]
    done = subprocess.run(
        [*command, *(f"{name}={work / name}" for name in others)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    for path in work.iterdir():
        path.unlink()
    work.rmdir()
    if done.returncode != 0 or not (folder / PARAM).is_file():
        print(done.stdout[-1500:], done.stderr[-1500:])
        raise ValueError(f"pnnx ended with status {done.returncode}")
    unknown = [line.split()[0] for line in (folder / PARAM).read_text(encoding="utf-8").splitlines()[2:] if line]
    foreign = sorted({kind for kind in unknown if "." in kind or "::" in kind})
    if foreign:
        raise ValueError(f"ncnn has no layer for {', '.join(foreign)}")
    with np.load(source / "expected.npz") as kept:
        (folder / OUTPUTS).write_text(str(len(kept.files)), encoding="utf-8")


def prepare() -> Load:
    ncnn: Any = importlib.import_module("ncnn")  # not installed where types are checked

    class Net:
        def __init__(self, model: str, inputs: list[Any], threads: int) -> None:
            self.net = ncnn.Net()
            self.net.opt.num_threads = threads
            self.net.opt.use_vulkan_compute = False
            # float32 is asked for; on CPUs with float16 it is computed in it by default.
            for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
                setattr(self.net.opt, option, False)
            folder = Path(model)
            if self.net.load_param(str(folder / PARAM)) or self.net.load_model(str(folder / WEIGHTS)):
                raise ValueError("the model cannot be loaded")
            arrays = [one[0] if one.shape[:1] == (1,) and one.ndim > 1 else one for one in inputs]
            self.arrays = [
                np.ascontiguousarray(one.astype(np.int32) if one.dtype == np.int64 else one) for one in arrays
            ]
            self.inputs = [ncnn.Mat(one) for one in self.arrays]
            self.count = int((folder / OUTPUTS).read_text(encoding="utf-8"))
            self.found: list[Any] = []
            self.facts = {"ncnn": ncnn.__version__}

        def run(self) -> None:
            extractor = self.net.create_extractor()
            for at, mat in enumerate(self.inputs):
                extractor.input(f"in{at}", mat)
            self.found = []
            for at in range(self.count):
                status, mat = extractor.extract(f"out{at}")
                if status:
                    raise ValueError(f"output {at} cannot be computed: status {status}")
                self.found.append(mat)

        def outputs(self) -> list[Any]:
            return [np.array(mat) for mat in self.found]

    return Net


if __name__ == "__main__":
    serve(prepare, convert)
