"""Find the suites of the package, and the arguments of a command line that name them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "suites"
NAME = "suites"
MODULE = "harness.suites"
ORDER = (
    "test_smoke.py",
    "test_parity.py",
    "test_latency.py",
    "test_pairs.py",
    "test_gate.py",
    "test_profile.py",
)
"""The order of the suites: a runner that does not even start should fail in the smallest test."""
NOT_PARALLEL = "the suites measure time and cannot share the machine: run without -n"
ON_REQUEST = {"test_gate.py": "harness_baseline", "test_profile.py": "harness_profile"}
"""Maps a file to the option that asks for it."""


def shipped_module(argument: str, folder: Path) -> str | None:
    """Return the module, with the test's name, if an argument given in ``folder`` names the shipped suites.

    ``suites`` and longer paths name them if no such path exists. A path into the installed package and the module's own
    name always name them.
    """
    path, separator, test = argument.partition("::")
    if path == MODULE or path.startswith(MODULE + "."):
        return argument
    given = Path(path)
    if _exists(folder / given):
        found = (folder / given).resolve()
    elif given.parts[:1] == (NAME,):
        found = FOLDER.joinpath(*given.parts[1:])
    else:
        return None
    if found == FOLDER:
        return MODULE + separator + test
    if found.parent == FOLDER and found.suffix == ".py":
        return f"{MODULE}.{found.stem}{separator}{test}"
    return None


def wanted_files(config: pytest.Config) -> list[str]:
    """Return the files that a run needs, without those that were not asked for."""
    # PyTorch runs on this machine, so it is timed only beside a runner on this machine.
    here = config.getoption("harness_device", None) in (None, "host")
    left_out = {name for name, option in ON_REQUEST.items() if not config.getoption(option, None)}
    if not here or config.getoption("harness_pair_seconds", 1.0) <= 0:
        left_out.add("test_pairs.py")
    return [name for name in ORDER if name not in left_out]


def choose_arguments(config: pytest.Config) -> None:
    """Make pytest collect the shipped suites if they are named, or if a device and no path is named.

    They are collected by their module's name, so that pytest looks into no folder above them, such as site-packages.
    Every other path becomes absolute, because it could be taken for a module's name. Raises UsageError for a path that
    does not exist, and if tests are to share the machine.
    """
    here = config.invocation_params.dir
    if config.args_source is config.ArgsSource.ARGS:
        if any(shipped_module(argument, here) for argument in config.args):
            _collect(config, [_chosen(config, argument, here) for argument in config.args])
    elif config.getoption("harness_device", None):
        base = config.inipath.parent if config.inipath else here
        _collect(config, [MODULE, *(_absolute(path, base) for path in config.getini("harness_testpaths"))])


def _collect(config: pytest.Config, arguments: Sequence[str]) -> None:
    if config.getoption("harness_device", None) and config.getoption("numprocesses", None):
        raise pytest.UsageError(NOT_PARALLEL)  # In pytest-xdist's workers an error has no message.
    config.args[:] = arguments
    config.args_source = config.ArgsSource.ARGS
    config.option.pyargs = True


def _chosen(config: pytest.Config, argument: str, folder: Path) -> str:
    module = shipped_module(argument, folder)
    if module is None:
        return argument if config.option.pyargs else _absolute(argument, folder)
    file = module.partition("::")[0].removeprefix(MODULE).removeprefix(".")
    if file and not (FOLDER / f"{file}.py").is_file():
        raise pytest.UsageError(f"file or directory not found: {argument}")
    return module


def _absolute(argument: str, folder: Path) -> str:
    if not _exists(folder / argument.partition("::")[0]):
        raise pytest.UsageError(f"file or directory not found: {argument}")
    return os.path.join(folder, argument)  # noqa: PTH118 -- a Path would change slashes in a test's parameters


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False
