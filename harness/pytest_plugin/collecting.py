"""Collect the shipped suites from their place of installation.

pytest's own collectors would put site-packages, the folder above the package, first on ``sys.path``. They would print
its paths as names of tests. They would also use the names of files and functions that a project configures for its own
tests.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from harness.pytest_plugin.shipped import FOLDER, MODULE, NAME, ORDER, wanted_files


class ShippedModule(pytest.Module):
    """Collect a file of the suites, imported under its own module name."""

    def _getobj(self) -> ModuleType:
        return importlib.import_module(f"{MODULE}.{self.path.stem}")

    def funcnamefilter(self, name: str) -> bool:
        return name.startswith("test_")

    def classnamefilter(self, name: str) -> bool:
        return False


class ShippedSuites(pytest.Directory):
    """Collect the folder of the suites: the files that this run needs, in their order."""

    def collect(self) -> Iterable[pytest.Collector]:
        wanted = wanted_files(self.config)
        for name in ORDER:
            path = FOLDER / name
            named = self.session.isinitpath(path)
            ignored = self.ihook.pytest_ignore_collect(collection_path=path, config=self.config)
            if named or (name in wanted and not ignored):
                yield ShippedModule.from_parent(self, path=path, nodeid=f"{NAME}/{name}")


class ShippedPackage(pytest.Directory):
    """Collect the package above the suites; only the suites in it are collected."""

    def collect(self) -> Iterable[pytest.Collector]:
        yield ShippedSuites.from_parent(self, path=FOLDER, nodeid=NAME)


@pytest.hookimpl(tryfirst=True)
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if path == FOLDER:
        return ShippedSuites.from_parent(parent, path=path, nodeid=NAME)
    if path == FOLDER.parent and isinstance(parent, pytest.Session):
        return ShippedPackage.from_parent(parent, path=path, nodeid=path.name)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the shipped suites first, in their order, whatever sorts or shuffles tests in this project."""
    place = {FOLDER / name: at for at, name in enumerate(ORDER)}
    if any(item.path in place for item in items):
        items.sort(key=lambda item: place.get(item.path, len(place)))
