"""Read facts of a Mach-O executable and its bundle: what a phone checks before it runs it, and what we promise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.native.inspection import UnreadableBinary, UnsuitableBinary
from harness.native.ios.app import COMPANION, read_info
from harness.native.ios.errors import NotAnApp
from harness.native.ios.stubs import MINIMUM_OS, known_symbols, stubs
from harness.native.ios.tools import Slice

PLATFORMS = {"IOS": "device", "IOS_SIMULATOR": "simulator"}
"""Maps lief's names for the platforms of LC_BUILD_VERSION to ours."""

N_STAB, N_TYPE, N_UNDF, N_EXT = 0xE0, 0x0E, 0x00, 0x01
"""Constants of mach-o/nlist.h. The loader binds more symbols than the undefined ones: it binds our weak symbols again
if other libraries have them."""


@dataclass(frozen=True)
class MachFacts:
    """Hold facts of a Mach-O file.

    ``platform``: device, simulator, or lief's name for another; ``minimum_os``: ``14.0``; ``undefined``: symbols that
    the loader must find in ``libraries``; ``initializers``: bytes of __mod_init_func; ``signature``: bytes of the code
    signature, 0 without one.
    """

    platform: str
    architecture: str
    minimum_os: str
    libraries: tuple[str, ...]
    undefined: tuple[str, ...]
    initializers: int
    signature: int
    size: int


@dataclass(frozen=True)
class AppFacts:
    """Hold facts of a bundle. ``companion`` is this machine's build of the same runner, if there is one."""

    bundle_id: str
    executable: Path
    minimum_os: str
    platform: str
    architecture: str
    signed: bool
    companion: Path | None


def mach_facts(path: Path) -> MachFacts:
    """Return facts of a Mach-O file for one processor; raises UnreadableBinary."""
    import lief  # half a second, which commands that inspect nothing should not spend

    binary = lief.parse(path)
    if not isinstance(binary, lief.MachO.Binary):
        raise UnreadableBinary(f"{path} is no Mach-O file of one processor")
    build = binary.build_version
    minimum = binary.version_min.version if build is None and binary.version_min else build.minos if build else [0]
    sections = {section.name: section.size for section in binary.sections}
    return MachFacts(
        platform=PLATFORMS.get(build.platform.name, build.platform.name) if build else "unknown",
        architecture=binary.header.cpu_type.name,
        minimum_os=".".join(str(part) for part in minimum[:2]),
        libraries=tuple(library.name for library in binary.libraries),
        undefined=tuple(sorted(str(symbol.name) for symbol in binary.symbols if _is_undefined(symbol.raw_type))),
        initializers=sections.get("__mod_init_func", 0),
        signature=binary.code_signature.data_size if binary.code_signature else 0,
        size=path.stat().st_size,
    )


def _is_undefined(kind: int) -> bool:
    """Return whether an nlist entry is undefined: no debugging entry, external, and of no section."""
    return not kind & N_STAB and bool(kind & N_EXT) and kind & N_TYPE == N_UNDF


def app_facts(app: Path) -> AppFacts:
    """Return facts of a bundle; raises NotAnApp or UnreadableBinary."""
    info = read_info(app)
    executable = app / info["CFBundleExecutable"]
    if not executable.is_file():
        raise NotAnApp(f"{app} has no executable {executable.name}")
    facts = mach_facts(executable)
    companion = app / COMPANION
    return AppFacts(
        bundle_id=str(info.get("CFBundleIdentifier", "")),
        executable=executable,
        minimum_os=str(info.get("MinimumOSVersion", facts.minimum_os)),
        platform=facts.platform,
        architecture=facts.architecture,
        signed=facts.signature > 0,
        companion=companion if companion.is_file() else None,
    )


def check_executable(path: Path, which: Slice, *, stubbed: bool = True) -> MachFacts:
    """Check that a phone takes an executable of ours: its slice, and its models' registration on load.

    ``stubbed``: LLVM's linker linked it against our stubs. Then it must be signed and must use nothing outside the
    stubs' lists. Apple's linker has better lists than ours. Raises UnsuitableBinary or UnreadableBinary.
    """
    facts = mach_facts(path)
    faults = []
    if (facts.platform, facts.architecture) != (which, "ARM64"):
        faults.append(f"it is for {facts.platform} on {facts.architecture} instead of {which} on ARM64")
    if facts.minimum_os != MINIMUM_OS:
        faults.append(f"it asks for iOS {facts.minimum_os} instead of {MINIMUM_OS}")
    if not facts.initializers:
        faults.append("it registers no model when it loads (no __mod_init_func)")
    if stubbed and not facts.signature:
        faults.append("it has no code signature")
    if stubbed and (foreign := sorted(set(facts.libraries) - {stub.install_name for stub in stubs()})):
        faults.append(f"it loads {', '.join(foreign)}")
    if stubbed and (strange := sorted(set(facts.undefined) - known_symbols())):
        faults.append(f"it takes {', '.join(strange[:5])} from iOS, which the lists do not have")
    if faults:
        raise UnsuitableBinary(f"{path.name} does not suit an iPhone: {'; '.join(faults)}")
    return facts
