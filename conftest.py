"""Registers the suites' options (``--device`` …); the plugin itself comes with the installed package."""

from __future__ import annotations

from harness.pytest_plugin import add_options as pytest_addoption

__all__ = ["pytest_addoption"]
