"""Find out whether a linked binary holds the models of an archive: their programs and weights, byte for byte.

Linking changes code, but neither the virtual machine's programs nor the weights, which hold no addresses. They can be
found in a binary without symbols, too.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from harness.native.inspection import REGISTRATION_SUFFIX
from harness.native.process import run_tool

EXTRACT_DEADLINE_SECONDS = 120.0
BEGINNING_BYTES = 256
WEIGHTS = "weights"
"""The symbol of an archive's weights, in an object of their own."""
SIZE = struct.Struct("<Q")


class Content(BaseModel):
    """Describe bytes of an archive that a linked binary has to hold as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    begins: str = Field(pattern=r"^([0-9a-f]{2}){1,256}$")
    """The first bytes, by which the rest is looked for."""

    @classmethod
    def of(cls, name: str, data: bytes) -> Content:
        digest = hashlib.sha256(data).hexdigest()
        return cls(name=name, size=len(data), sha256=digest, begins=data[:BEGINNING_BYTES].hex())

    def is_in(self, binary: bytes) -> bool:
        """Return whether the bytes are somewhere in a binary."""
        begins = bytes.fromhex(self.begins)
        at = binary.find(begins)
        while at >= 0:
            # A view: copying weights for each try would take longer than hashing them.
            if hashlib.sha256(memoryview(binary)[at : at + self.size]).hexdigest() == self.sha256:
                return True
            at = binary.find(begins, at + 1)
        return False


def archive_contents(archive: Path) -> list[Content]:
    """Return the programs and weights of an archive, in the order of its objects; raises ToolFailed."""
    import lief  # half a second, which commands that inspect nothing should not spend

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ziglang", "ar", "x", str(archive)]
        run_tool(command, deadline=EXTRACT_DEADLINE_SECONDS, folder=Path(folder))
        objects = sorted(Path(folder).iterdir())
        return [content for one in objects for content in _contents(lief.parse(one))]


def _contents(parsed: Any) -> Iterable[Content]:
    sections = list(parsed.sections)
    for symbol in parsed.symbols:
        # Mach-O puts an underscore before every C symbol, and calls the number of a symbol's section otherwise.
        elf = hasattr(symbol, "shndx")
        name = str(symbol.name) if elf else str(symbol.name).removeprefix("_")
        number = symbol.shndx if elf else symbol.numberof_sections - 1
        if (name != WEIGHTS and not name.endswith(REGISTRATION_SUFFIX)) or not 0 <= number < len(sections):
            continue
        section = sections[number]
        data = bytes(section.content)[symbol.value - section.virtual_address :]
        # A program begins with the size of the rest. Weights are alone in their section.
        size = len(data) if name == WEIGHTS else SIZE.size + SIZE.unpack_from(data)[0]
        yield Content.of(name.removesuffix(REGISTRATION_SUFFIX), data[:size])


def missing_contents(binary: bytes, contents: Iterable[Content]) -> list[str]:
    """Return the names of the contents that a binary lacks."""
    return [one.name for one in contents if not one.is_in(binary)]
