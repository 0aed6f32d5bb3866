"""Explain a parity failure: find the first operation that diverges from PyTorch; see ``docs/explain.md``."""

from __future__ import annotations

from harness.explain.run import explain, options_of
from harness.explain.schema import Error, Explanation, SiteRow
from harness.explain.subject import CannotExplain, NothingToExplain

__all__ = ["CannotExplain", "Error", "Explanation", "NothingToExplain", "SiteRow", "explain", "options_of"]
