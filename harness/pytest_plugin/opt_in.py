"""Register the harness's options only if a project asks for them.

A project asks by the key ``harness_models`` of its pytest configuration, by ``-p harness`` on the command line or in
``addopts``, by naming the shipped suites, or by a ``conftest.py`` with ``from harness.pytest_plugin import add_options
as pytest_addoption``. Options are registered after the project's own ``conftest.py`` was loaded. So a name that the
project or another plugin has taken stays theirs.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from harness.pytest_plugin.options import (
    LONG_PREFIX,
    TAKEN_OPTIONS,
    add_models_key,
    add_options,
    option_names,
    options_with_a_value,
)
from harness.pytest_plugin.shipped import FOLDER, shipped_module

PLUGIN_NAME = "harness"
"""The name of the entry point, for ``-p``."""
HINT = (
    "{name} is an option of the harness, which this project does not use yet. For the suites that come with it: "
    "pytest suites {name} …; to set the project up: harness init"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the keys of the configuration file, whose names are clearly ours; options are registered later."""
    add_models_key(parser)
    parser.addini(
        "harness_testpaths",
        "tests of your own that run in addition to the shipped suites when a device and no path is named",
        type="linelist",
        default=[],
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    here = early_config.invocation_params.dir
    _leave_out_other_tests(early_config.known_args_namespace.file_or_dir, args, here)
    yield
    try:
        known, unknown = parser.parse_known_and_unknown_args(args, namespace=copy.copy(early_config.option))
    except pytest.UsageError:
        return  # pytest raises and prints it again.
    asked = (
        early_config.getini("harness_models")
        or PLUGIN_NAME in early_config.known_args_namespace.plugins
        or any(shipped_module(path, here) for path in known.file_or_dir)
    )
    if asked:
        early_config.stash[TAKEN_OPTIONS] = add_options(parser)
    elif ours := [name for name in (word.partition("=")[0] for word in unknown) if _is_ours(name)]:
        parser.extra_info["harness"] = HINT.format(name=ours[0])


def _leave_out_other_tests(paths: list[str], args: Sequence[str], here: Path) -> None:
    """Load the folder's own ``conftest.py`` for the shipped suites, but none of the tests' folders.

    pytest looks for both if a path does not exist. The set-up of a project's tests is not meant for the suites, but the
    project's own ``conftest.py`` may register their options.
    """
    if not any(shipped_module(path, here) for path in paths):
        return
    own = here / "conftest.py"
    # Before our options are registered, pytest takes their values for paths, too.
    ours = options_with_a_value()
    values = {value for name, value in pairwise(args) if name in ours}
    others = [path for path in paths if path not in values and not shipped_module(path, here)]
    paths[:] = [str(FOLDER), *([str(own)] if own.is_file() else []), *others]


def _is_ours(name: str) -> bool:
    return name.startswith(LONG_PREFIX) or name in option_names()


def pytest_report_header(config: pytest.Config) -> list[str]:
    taken = config.stash.get(TAKEN_OPTIONS, [])
    if not taken:
        return []
    ours = [LONG_PREFIX + name.removeprefix("--") for name in taken]
    return [f"harness: {', '.join(taken)} belong to another plugin here; of the harness: {', '.join(ours)}"]
