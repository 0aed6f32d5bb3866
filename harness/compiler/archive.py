"""Objects of several functions into one static library, reproducibly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.compiler.passes.link import ALIGNMENT
from harness.compiler.targets import CompileTarget, ObjectFormat
from harness.errors import HarnessError


class ArchiveFailed(HarnessError):
    """The archiver did not accept the objects."""

    cure = "`harness doctor` checks the ziglang package, whose archiver is used"


def export_objects(executable: Any, folder: Path, stem: str) -> list[Path]:
    """Write an executable's objects (code, and the VM's bytecode with the weights) as ``<stem>_<n>.o``."""
    folder.mkdir(parents=True)
    exported: list[str] = []

    def keep(_library: str, objects: list[str], **_options: Any) -> None:
        exported.extend(objects)

    executable.export_library(str(folder / "unused.a"), fcompile=keep, workspace_dir=str(folder))
    return [Path(path).rename(folder / f"{stem}_{index}.o") for index, path in enumerate(exported)]


def weights_object(data: Path, symbol: str, target: CompileTarget) -> Path:
    """An object beside ``data`` that holds its bytes, and the C function ``symbol`` that gives the address of one.

    The function is all that is exported, so that the data's symbol can clash with nothing.
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
    """The object of a C file, beside it. Raises ArchiveFailed."""
    made = source.with_suffix(".o")
    command = [sys.executable, "-m", "ziglang", "cc", "-c", "-std=c23", "-O1", "-g0", "-fPIC", "-fno-sanitize=all"]
    if target.zig != "native":
        command += ["-target", target.zig]
    done = subprocess.run(
        [*command, source.name, "-o", made.name],
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        raise ArchiveFailed(f"cannot compile {source.name}: {done.stderr.strip()}")
    return made


def write_archive(path: Path, objects: list[Path], object_format: ObjectFormat) -> None:
    """A static library with a symbol index and neither times nor owners, so equal objects give equal bytes."""
    layout = "darwin" if object_format == "macho" else "gnu"
    command = [sys.executable, "-m", "ziglang", "ar", f"--format={layout}", "rcsD", str(path), *map(str, objects)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8", errors="replace")
    if done.returncode != 0:
        raise ArchiveFailed(f"cannot write {path.name}: {done.stderr.strip() or done.stdout.strip()}")
