"""A made-up tensor workload: its files as a worker leaves them, and a runner that answers as asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from harness.compiler import Archive, ArchiveMetadata
from harness.compiler.metadata import ModelMetadata
from harness.core.cache import hash_file
from harness.core.progress import Progress
from harness.models.options import ModelOptions
from harness.models.tensor.described import InputFacts, ModelDescription, OutputFacts, UserModel
from harness.models.tensor.sources import ModelSource
from harness.models.tensor.workload import TensorModel
from harness.models.timing import TimedPyTorch
from harness.models.workload import TimedModel, Workload
from harness.native import AppOptions, Runner
from harness.protocol.tensors import Array, encode
from harness.run.builder import RunOptions
from harness.validate.comparison import TopK
from tests.fake_pytorch import FakePyTorch

ARCHIVE = "cd" * 32
ITEMS = {"first": np.array([1.0, 3.0, 2.0], np.float32), "second": np.array([5.0, 4.0, 5.5], np.float32)}

RUNNER = """#!{python}
import array, base64, hashlib, json, os, sys, time

class Vector(tuple):
    "What bodies ask of an array of float32. It is started dozens of times, and numpy would take longer than the rest."

    def __mul__(self, factor):
        return Vector(one * factor for one in self)

    def __getitem__(self, at):
        assert isinstance(at, slice)
        return Vector(tuple.__getitem__(self, at))

    def tobytes(self):
        return array.array("f", list(self)).tobytes()

class np:
    float32 = float

    def zeros(count):
        return Vector([0.0] * count)

def decode(tensors):
    data = base64.b64decode(tensors["data"])
    size = int.from_bytes(data[:8], "little")
    [(name, facts)] = [one for one in json.loads(data[8:8 + size]).items() if one[0] != "__metadata__"]
    first, last = facts["data_offsets"]
    assert facts["dtype"] == "F32" and facts["shape"] == [(last - first) // 4]
    return {{name: Vector(array.array("f", data[8 + size:][first:last]))}}

def encode(arrays):
    [(name, vector)] = arrays.items()
    facts = {{"dtype": "F32", "shape": [len(vector)], "data_offsets": [0, 4 * len(vector)]}}
    header = json.dumps({{name: facts}}).encode()
    data = len(header).to_bytes(8, "little") + header + vector.tobytes()
    return {{"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "data": base64.b64encode(data).decode()}}

def digest(arrays):
    return hashlib.sha256(b"".join(vector.tobytes() for vector in arrays.values())).hexdigest()

order = json.load(open(sys.argv[sys.argv.index("--order") + 1]))
result = open(sys.argv[sys.argv.index("--result") + 1], "w")

def put(**record):
    result.write(json.dumps(record) + "\\n")
    result.flush()

put(record="header", schema_version=2, order_id=order["order_id"], runner_version="0.1",
    archive_sha256=order["archive_sha256"], os="linux", arch="x86_64", threads=1, pid=os.getpid(),
    cpu={{"model": "fake", "cores": 1, "features": []}}, started_unix_ns=time.time_ns())
for workload in order["workloads"]:
    put(record="load", workload=workload["name"], function="main", load_ns=1000)
calls = 0

def answer(item):
    global calls
    calls += 1
    x = decode(item["input"])["x"]
    return {{"y": {body}}}

samples = 0
for phase, count in (("warmup", order["warmup"]), ("timed", order["repetitions"])):
    for repetition in range(count):
        for item in order["items"]:
            tensors = answer(item)
            samples += 1
            put(record="sample", workload=item["workload"], items=[item["id"]],
                phase="first" if samples == 1 else phase, repetition=repetition,
                total_ns={ns} + samples, output_sha256=digest(tensors))
put(record="memory", peak_bytes=4096)
for item in order["items"] if order["probe"] else []:
    tensors = encode(answer(item))
    {damage}
    put(record="probe", workload=item["workload"], items=[item["id"]], tensors=tensors)
put(record="end", order_id=order["order_id"], status="ok", samples=samples)
"""


class FakeModels:
    """A builder of runs of one model ``fake``, whose PyTorch doubles what it is given. ``body`` is what the runner
    answers for ``x``, ``damage`` what is done to a probe's ``tensors``, ``ns`` what a call takes."""

    def __init__(self, folder: Path, body: str = "x * 2", damage: str = "pass", ns: int = 5000) -> None:
        self.folder, self.body, self.damage, self.ns = folder, body, damage, ns

    def workloads(self, options: ModelOptions, progress: Progress) -> Sequence[Workload[Any]]:
        return [TensorModel(self.model())]

    def model(self) -> UserModel:
        self._save("inputs", "x", ITEMS)
        self._save("outputs", "y", {item: array * 2 for item, array in ITEMS.items()})
        facts = ModelDescription(
            name="fake",
            prefix="fake_",
            inputs=[InputFacts(name="x", dtype="float32", shape=[3])],
            outputs=[OutputFacts(name="y", dtype="float32")],
            items=list(ITEMS),
            compare=TopK(k=2),
            parameters=7,
            weights_sha256="1" * 64,
        )
        return UserModel(ModelSource("fake.py", self.folder / "fake.py"), facts, "key", self.folder)

    def _save(self, what: str, name: str, arrays: dict[str, Array]) -> None:
        save_file({f"{item}/{name}": array for item, array in arrays.items()}, self.folder / f"fake.{what}.safetensors")

    def archive(
        self,
        options: RunOptions,
        workloads: Sequence[Workload[Any]],
        variant: str,
        progress: Progress,
        *,
        profile: bool = False,
        taps: bool = False,
    ) -> Archive:
        assert not profile, "the script has no marks"
        (self.folder / "lib.a").write_bytes(b"archive")
        model = self.model()
        metadata = ArchiveMetadata(
            archive="lib.a",
            prefix_base="fake_",
            target="llvm",
            kind="tensors",
            models=[
                ModelMetadata(
                    name="fake",
                    prefix="fake_",
                    inputs=model.facts.inputs,
                    outputs=model.facts.outputs,
                    weights_sha256="1" * 64,
                    weights_bytes=0,
                )
            ],
            archive_sha256=ARCHIVE,
            max_threads=1,
            tvm_version="0",
            system_lib_target={},
        )
        return Archive(self.folder, metadata)

    def runner(self, archive: Archive, progress: Progress, app: AppOptions | None = None) -> Runner:
        path = self.folder / "runner"
        behaviour = {"body": self.body, "damage": self.damage, "ns": self.ns}
        path.write_text(RUNNER.format(python=sys.executable, **behaviour))
        path.chmod(0o755)
        return Runner(path, archive, hash_file(path), path.stat().st_size)

    def pytorch(self, options: RunOptions, models: list[TimedModel]) -> TimedPyTorch:
        def answers(_model: str, item: dict[str, Any]) -> dict[str, Any]:
            return {"tensors": encode({"y": ITEMS[item["item"]] * 2}).model_dump()}

        return FakePyTorch(models, answers)
