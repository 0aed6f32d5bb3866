"""Kernels compiled for arm64 and run by qemu, behind the interface that the host's have: the same tests serve both."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm

from harness.compiler.kernels.kernel import Kernel
from harness.compiler.lower import compile_kernel
from harness.compiler.objects import export_objects
from harness.native.compilers import package_folder

QEMU = "qemu-aarch64-static"
ZIG_TARGET = "aarch64-linux-musl"
ALIGNMENT = 64
DEADLINE = 120.0
_CODES = {"i": 0, "u": 1, "f": 2}
"""DLPack's type codes by numpy's kind."""

Array = npt.NDArray[Any]


class Emulator:
    """Builds programs of one kernel each in ``folder`` for one target; ``cpu`` is qemu's, which has what it needs."""

    def __init__(self, target: tvm.target.Target, folder: Path, cpu: str = "max") -> None:
        if shutil.which(QEMU) is None:
            raise AssertionError(f"{QEMU} was not found: apt-get install qemu-user-static (make test does it)")
        self.target, self.folder, self.cpu = target, folder, cpu

    def build(self, kernel: Kernel) -> Callable[..., None]:
        """The kernel as a function of ``tvm.runtime.Tensor`` and int arguments, which it writes into."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        objects = export_objects(compile_kernel(kernel, self.target), folder / "objects", "kernel")
        program = folder / "kernel"
        _zig("-static", str(_main_object(self.folder)), *map(str, objects), "-o", str(program))

        def call(*arguments: Any) -> None:
            file = folder / "tensors"
            arrays = [a.numpy() if isinstance(a, tvm.runtime.Tensor) else a for a in arguments]
            places = _write(file, arrays)
            done = subprocess.run(
                [QEMU, "-cpu", self.cpu, str(program), str(file)],
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            assert done.returncode == 0, f"{kernel.name}: status {done.returncode} {done.stderr}"
            written = file.read_bytes()
            for argument, array, place in zip(arguments, arrays, places, strict=True):
                if place is not None:
                    values = np.frombuffer(written, array.dtype, array.size, place).reshape(array.shape)
                    argument.copyfrom(values)

        return call


def _write(file: Path, arguments: list[Array | int]) -> list[int | None]:
    """The arguments as ``emulated_main.c`` reads them; where each tensor's elements begin, None for a number."""
    data = bytearray(struct.pack("<q", len(arguments)))
    places: list[int | None] = []
    for argument in arguments:
        if isinstance(argument, int):
            data += struct.pack("<qq", 0, argument)
            places.append(None)
            continue
        head = (argument.itemsize, _CODES[argument.dtype.kind], argument.ndim, *argument.shape)
        data += struct.pack(f"<{len(head)}q", *head)
        data += bytes(-len(data) % ALIGNMENT)
        places.append(len(data))
        data += argument.tobytes()
        data += bytes(-len(data) % 8)
    file.write_bytes(bytes(data))
    return places


@functools.cache
def _main_object(folder: Path) -> Path:
    made = folder / "main.o"
    source, headers = Path(__file__).with_name("emulated_main.c"), package_folder("tvm_ffi") / "include"
    _zig("-c", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{headers}", str(source), "-o", str(made))
    return made


def _zig(*arguments: str) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", "-target", ZIG_TARGET, "-fno-sanitize=all", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
