"""Find out how the harness itself is installed: its name on the registry, its version, and conflicting packages."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import harness
from harness.core.errors import HarnessError

DISTRIBUTION = "ondevice-harness"
"""The name on the registry, because ``harness`` is another project's. Import and command are ``harness``."""
IMPORT = "harness"
PACKAGED_WORKSPACE = "_rust"
"""The folder of the Rust workspace in a wheel, below the package (pyproject.toml)."""


class PackageMissing(HarnessError):
    """A Python package that a step needs is not installed."""


@dataclass(frozen=True)
class Installed:
    """Describe one distribution that contains a package ``harness``."""

    name: str
    version: str
    folder: Path

    def describe(self) -> str:
        return f"{self.name} {self.version} in {self.folder}"


def harness_folder() -> Path:
    """Return the folder of the running package."""
    return Path(harness.__file__).resolve().parent


def is_checkout() -> bool:
    """Return whether the package runs from a checkout, whose Rust workspace is next to it."""
    return not (harness_folder() / PACKAGED_WORKSPACE).is_dir()


def install_command(extra: str = "") -> str:
    """Return the command line that installs the harness, with ``extra`` if one is given."""
    return f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {DISTRIBUTION}"


def install_cure(extra: str = "") -> str:
    """Return the command that installs missing packages: ``make setup`` in a checkout, else pip."""
    return "make setup" if is_checkout() else install_command(extra)


def package_version(name: str, extra: str = "compile") -> str:
    """Return the version of an installed package that belongs to ``extra``; raises PackageMissing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise PackageMissing(f"the Python package {name} is not installed", cure=install_cure(extra)) from error


def providers() -> list[Installed]:
    """Return every distribution that contains a package ``harness``; the imported one comes first if it is found.

    More than one is a conflict: the files of one hide or overwrite those of the other.
    """
    found = {one.describe(): one for one in _providers()}
    return sorted(found.values(), key=lambda one: one.folder != harness_folder().parent)


def _providers() -> Iterator[Installed]:
    wanted = f"{IMPORT}/__init__.py"
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"] or ""
        ours = name.lower().replace("_", "-") == DISTRIBUTION
        # Making paths of an environment's sixty thousand files takes a second, and most lists do not name the file.
        listed = distribution.read_text("RECORD")
        named = listed is None or wanted in listed
        if ours or (named and any(file.as_posix() == wanted for file in distribution.files or [])):
            yield Installed(name, distribution.version, Path(str(distribution.locate_file(""))).resolve())
