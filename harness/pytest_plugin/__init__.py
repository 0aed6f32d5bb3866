"""Provide the harness as a pytest plugin: its options, its fixtures, and the suites of the package.

The plugin is installed into other people's environments, so it leaves their projects alone. It imports nothing heavy
until a suite runs, and it registers no option until a project asks for it (:mod:`harness.pytest_plugin.opt_in`). The
names below are the public ones; docs/fixtures.md documents them.
"""

from __future__ import annotations

from harness.pytest_plugin.api import HarnessDevice, HarnessModel, HarnessRun, ItemResult
from harness.pytest_plugin.collecting import pytest_collect_directory, pytest_collection_modifyitems
from harness.pytest_plugin.fixtures import harness_facts, harness_model, harness_run
from harness.pytest_plugin.opt_in import pytest_addoption, pytest_load_initial_conftests, pytest_report_header
from harness.pytest_plugin.options import add_options
from harness.pytest_plugin.replay import replay_benchmark
from harness.pytest_plugin.session import pytest_addhooks, pytest_configure

__all__ = [
    "HarnessDevice",
    "HarnessModel",
    "HarnessRun",
    "ItemResult",
    "add_options",
    "harness_facts",
    "harness_model",
    "harness_run",
    "pytest_addhooks",
    "pytest_addoption",
    "pytest_collect_directory",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_load_initial_conftests",
    "pytest_report_header",
    "replay_benchmark",
]
