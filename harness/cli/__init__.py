"""Provide the ``harness`` command: arguments and output only.

``app`` takes further command groups, ``main`` runs it.
"""

from __future__ import annotations

from harness.cli.app import app, main

__all__ = ["app", "main"]
