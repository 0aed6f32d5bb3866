"""Make an SDK of stubs, which contains what the linker needs of iOS's libraries: their names and symbols.

Apple's SDK is not available on Linux. Linking against these lists proves that every symbol is either ours or in the
list of iOS's symbols. Only a phone can prove that the lists are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.core.cache import Cache, content_key

MINIMUM_OS = "14.0"
SDK_VERSION = "17.0"
"""The SDK version in the apps: UIKit treats them as it treats apps of that year."""
FOLDER = Path(__file__).parent / "stubs"
TARGETS = "[ arm64-ios, arm64-ios-simulator ]"
LIBRARY_ALIASES = {"libSystem": ("libc", "libm"), "libc++": ("libc++abi",)}
"""Further names by which rustc asks for the same library."""
EMPTY_LIBRARIES = {"libiconv": "/usr/lib/libiconv.2.dylib"}
"""Libraries that Rust's libc crate links but does not use."""


@dataclass(frozen=True)
class Stub:
    """Describe one dynamic library: its place in iOS, and the symbols that we use, with the leading underscore."""

    name: str
    install_name: str
    symbols: tuple[str, ...]

    @property
    def path(self) -> str:
        """Return the library's place in the SDK."""
        if self.install_name.startswith("/System"):
            return f"{self.install_name.removeprefix('/')}.tbd"
        return f"usr/lib/{self.name}.tbd"


def stubs() -> list[Stub]:
    """Return the stubs from the lists below ``stubs/``: a comment with the install name first, then a symbol a line."""
    found = [Stub(name, install_name, ()) for name, install_name in EMPTY_LIBRARIES.items()]
    for path in sorted(FOLDER.glob("*.txt")):
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        symbols = tuple(line for line in lines if line and not line.startswith("#"))
        found.append(Stub(path.stem, first.removeprefix("# "), symbols))
    return found


def known_symbols() -> frozenset[str]:
    """Return every symbol of every list."""
    return frozenset(symbol for stub in stubs() for symbol in stub.symbols)


def stub_sdk(cache: Cache) -> Path:
    """Return a folder that a linker accepts as an SDK (``-syslibroot``), from the cache or written now."""
    key = content_key({"lists": lists_hash(), "targets": TARGETS})
    return cache.fetch("ios-sdk", key, _write)


def lists_hash() -> str:
    """Return a hash that changes if the lists change, whatever their comments are."""
    return content_key({stub.name: [stub.install_name, *stub.symbols] for stub in stubs()})


def _write(folder: Path) -> None:
    for stub in stubs():
        names = (stub.name, *LIBRARY_ALIASES.get(stub.name, ()))
        for name in names:
            path = folder / stub.path.replace(stub.name, name) if name != stub.name else folder / stub.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(tbd(stub), encoding="utf-8")


def tbd(stub: Stub) -> str:
    """Return the library as a text-based stub, version 4."""
    exports = ""
    if stub.symbols:
        symbols = ", ".join(f"'{symbol}'" for symbol in stub.symbols)
        exports = f"exports:\n  - targets: {TARGETS}\n    symbols: [ {symbols} ]\n"
    return (
        f"--- !tapi-tbd\ntbd-version: 4\ntargets: {TARGETS}\ninstall-name: '{stub.install_name}'\n"
        f"current-version: 1\n{exports}...\n"
    )
