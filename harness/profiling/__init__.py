"""Measure the time per operator and per module, from marks of the compiled code; see ``docs/profiling.md``."""

from __future__ import annotations

from harness.profiling.marks import BadMarks, Call, calls
from harness.results.schema.profile import (
    FunctionTime,
    Overhead,
    ProfileLine,
    ProfileSummary,
    SiteTime,
)

__all__ = ["BadMarks", "Call", "FunctionTime", "Overhead", "ProfileLine", "ProfileSummary", "SiteTime", "calls"]
