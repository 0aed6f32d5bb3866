"""Inspect a finished binary before it is deployed: its models' registrations, and the libraries it loads.

Without whole-archive linking a model's registration is dropped silently, and the fault shows only on the phone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import ExitCode, HarnessError

PAGE_BYTES = 16384
"""The page size of the newest phones; older ones have 4 KiB, which divides it."""
REGISTRATION_SUFFIX = "__tvm_ffi__library_bin"


class MissingRegistration(HarnessError):
    """A binary lacks the registration of a model in its archive."""

    cure = "link the archive with +whole-archive (force_load on Apple systems); see docs/rust.md"
    exit_code = ExitCode.FAILURE


class UnsuitableBinary(HarnessError):
    """A binary is for another processor than its device's, or needs something that the device lacks."""

    cure = "`harness cache clear`, then build again; if it stays, this is a defect of the harness"
    exit_code = ExitCode.FAILURE


class UnreadableBinary(HarnessError):
    """A file is neither ELF nor Mach-O."""

    cure = "build the runner again; `harness cache clear` removes damaged ones"


@dataclass(frozen=True)
class BinaryFacts:
    """Hold facts of a binary.

    ``registrations``: prefixes of the models inside; ``libraries``: dynamic dependencies by name; ``interpreter``: the
    loader that ELF asks for; ``alignment``: the least alignment of the loaded segments, in bytes.
    """

    format: str
    architecture: str
    registrations: tuple[str, ...]
    libraries: tuple[str, ...]
    interpreter: str | None
    alignment: int
    size: int


def inspect(path: Path) -> BinaryFacts:
    """Return facts of an ELF or Mach-O file; raises UnreadableBinary."""
    import lief  # half a second, which commands that inspect nothing should not spend

    binary = lief.parse(path)
    if not isinstance(binary, (lief.ELF.Binary, lief.MachO.Binary)):
        raise UnreadableBinary(f"{path} is neither ELF nor Mach-O")
    # Mach-O puts an underscore before every C symbol.
    leading = "_" if isinstance(binary, lief.MachO.Binary) else ""
    names = {str(symbol.name).removeprefix(leading) for symbol in binary.symbols}
    prefixes = sorted(name.removesuffix(REGISTRATION_SUFFIX) for name in names if name.endswith(REGISTRATION_SUFFIX))
    libraries = tuple(str(getattr(library, "name", library)) for library in binary.libraries)
    if isinstance(binary, lief.MachO.Binary):
        architecture, interpreter, alignment = binary.header.cpu_type.name, None, 1 << 14
    else:
        architecture = binary.header.machine_type.name
        interpreter = binary.interpreter if binary.has_interpreter else None
        loaded = [segment.alignment for segment in binary.segments if segment.type == lief.ELF.Segment.TYPE.LOAD]
        alignment = min(loaded, default=0)
    return BinaryFacts(
        format=binary.format.name,
        architecture=architecture,
        registrations=tuple(prefixes),
        libraries=libraries,
        interpreter=interpreter,
        alignment=alignment,
        size=path.stat().st_size,
    )


def check_registrations(path: Path, prefixes: Iterable[str]) -> BinaryFacts:
    """Check that every prefix is registered, and return the binary's facts; raises MissingRegistration."""
    facts = inspect(path)
    # A registration symbol is named <prefix>_ + suffix or <prefix> + suffix, depending on the prefix's own end.
    present = {name.rstrip("_") for name in facts.registrations}
    missing = [prefix for prefix in prefixes if prefix.rstrip("_") not in present]
    if missing:
        found = ", ".join(facts.registrations) or "none"
        raise MissingRegistration(f"{path.name} has no registration of {', '.join(missing)} (found: {found})")
    return facts


def check_platform(path: Path, facts: BinaryFacts, architecture: str, libraries: frozenset[str]) -> None:
    """Check that a binary is for the processor and loads nothing but ``libraries``; raises UnsuitableBinary.

    A program that loads nothing must not ask for a loader, either.
    """
    faults = []
    if facts.architecture != architecture:
        faults.append(f"it is for {facts.architecture} instead of {architecture}")
    if foreign := sorted(set(facts.libraries) - libraries):
        faults.append(f"it loads {', '.join(foreign)}")
    if facts.interpreter and not libraries:
        faults.append(f"it asks for the loader {facts.interpreter}")
    # x86-64 has pages of 4 KiB, and zig aligns to no more there.
    if facts.format == "ELF" and facts.architecture == "AARCH64" and facts.alignment < PAGE_BYTES:
        faults.append(f"its segments are aligned to {facts.alignment} bytes, and pages can have {PAGE_BYTES}")
    if faults:
        raise UnsuitableBinary(f"{path.name} does not suit the device: {'; '.join(faults)}")
