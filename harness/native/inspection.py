"""Look into a finished binary before it is deployed: are all its models registered, what does it load?

Without whole-archive linking a model's registration is dropped silently and the fault shows on the phone only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ExitCode, HarnessError

REGISTRATION_SUFFIX = "__tvm_ffi__library_bin"


class MissingRegistration(HarnessError):
    """A binary lacks the registration of a model that its archive holds."""

    cure = "link the archive with +whole-archive (force_load on Apple systems); see docs/rust.md"
    exit_code = ExitCode.FAILURE


class UnreadableBinary(HarnessError):
    """A file is neither ELF nor Mach-O."""

    cure = "build the runner again; `harness cache clear` removes damaged ones"


@dataclass(frozen=True)
class BinaryFacts:
    """``registrations``: prefixes of the models inside; ``libraries``: dynamic dependencies by name."""

    format: str
    registrations: tuple[str, ...]
    libraries: tuple[str, ...]
    size: int


def inspect(path: Path) -> BinaryFacts:
    """Facts of an ELF or Mach-O file; raises UnreadableBinary."""
    import lief  # half a second, which commands that inspect nothing should not spend

    binary = lief.parse(path)
    if not isinstance(binary, (lief.ELF.Binary, lief.MachO.Binary)):
        raise UnreadableBinary(f"{path} is neither ELF nor Mach-O")
    # Mach-O puts an underscore before every C symbol.
    leading = "_" if isinstance(binary, lief.MachO.Binary) else ""
    names = {str(symbol.name).removeprefix(leading) for symbol in binary.symbols}
    prefixes = sorted(name.removesuffix(REGISTRATION_SUFFIX) for name in names if name.endswith(REGISTRATION_SUFFIX))
    libraries = tuple(str(getattr(library, "name", library)) for library in binary.libraries)
    return BinaryFacts(binary.format.name, tuple(prefixes), libraries, path.stat().st_size)


def check_registrations(path: Path, prefixes: Iterable[str]) -> BinaryFacts:
    """The binary's facts, after making sure that every prefix is registered; raises MissingRegistration."""
    facts = inspect(path)
    # A registration symbol is named <prefix>_ + suffix or <prefix> + suffix, depending on the prefix's own end.
    present = {name.rstrip("_") for name in facts.registrations}
    missing = [prefix for prefix in prefixes if prefix.rstrip("_") not in present]
    if missing:
        found = ", ".join(facts.registrations) or "none"
        raise MissingRegistration(f"{path.name} has no registration of {', '.join(missing)} (found: {found})")
    return facts
