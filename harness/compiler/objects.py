"""Write object files of several functions, and make a static library of them, reproducibly."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from harness.compiler.targets import CompileTarget, ObjectFormat
from harness.compiler.targets.profiles import ALIGNMENT
from harness.core.commands import run_command
from harness.core.errors import HarnessError


class ArchiveFailed(HarnessError):
    """The archiver refused the objects."""

    cure = "`harness doctor` checks the ziglang package, whose archiver is used"


class WeightFile:
    """Collect the bytes of an archive's weights. Equal arrays are stored once.

    ``symbol`` is the C function that returns the address of a byte.
    """

    def __init__(self, symbol: str, stream: BinaryIO) -> None:
        self.symbol, self._stream = symbol, stream
        self._offsets: dict[bytes, int] = {}
        self.size = 0

    def add(self, array: npt.NDArray[Any]) -> int:
        """Store the array and return its offset."""
        data = np.ascontiguousarray(array).tobytes()
        key = hashlib.sha256(data).digest()
        if key not in self._offsets:
            padding = -self.size % ALIGNMENT
            self._stream.write(b"\0" * padding + data)
            self._offsets[key] = self.size + padding
            self.size += padding + len(data)
        return self._offsets[key]


def export_objects(executable: Any, folder: Path, stem: str) -> list[Path]:
    """Write an executable's objects (code, and the VM's bytecode with the weights) as ``<stem>_<n>.o``."""
    folder.mkdir(parents=True)
    exported: list[str] = []

    def keep(_library: str, objects: list[str], **_options: Any) -> None:
        exported.extend(objects)

    executable.export_library(str(folder / "unused.a"), fcompile=keep, workspace_dir=str(folder))
    return [Path(path).rename(folder / f"{stem}_{index}.o") for index, path in enumerate(exported)]


def weights_object(data: Path, symbol: str, target: CompileTarget) -> Path:
    """Compile an object beside ``data`` with its bytes and the C function ``symbol``, which returns a byte's address.

    Only the function is exported, so the data's symbol cannot clash with another.
    """
    source = data.with_suffix(".c")
    source.write_text(
        f"static const unsigned char weights[] __attribute__((aligned({ALIGNMENT}))) = {{\n"
        f'#embed "{data.name}"\n}};\n'
        f"const void *{symbol}(long long offset) {{ return weights + offset; }}\n",
        encoding="utf-8",
    )
    return compile_c(source, target)


def compile_c(source: Path, target: CompileTarget) -> Path:
    """Compile a C file to an object next to it. Raises ArchiveFailed."""
    made = source.with_suffix(".o")
    command = [sys.executable, "-m", "ziglang", "cc", "-c", "-std=c23", "-O1", "-g0", "-fPIC", "-fno-sanitize=all"]
    if target.zig != "native":
        command += ["-target", target.zig]
    done = run_command([*command, source.name, "-o", made.name], cwd=source.parent)
    if done.returncode != 0:
        raise ArchiveFailed(f"cannot compile {source.name}: {done.stderr.strip()}")
    return made


def write_archive(path: Path, objects: list[Path], object_format: ObjectFormat) -> None:
    """Write a static library with a symbol index and neither times nor owners: equal objects give equal bytes."""
    layout = "darwin" if object_format == "macho" else "gnu"
    command = [sys.executable, "-m", "ziglang", "ar", f"--format={layout}", "rcsD", str(path), *map(str, objects)]
    done = run_command(command)
    if done.returncode != 0:
        raise ArchiveFailed(f"cannot write {path.name}: {done.stderr.strip() or done.stdout.strip()}")
