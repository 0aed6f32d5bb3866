"""Time per operator and per module, from marks that compiled code makes while it runs; see ``docs/profiling.md``."""

from __future__ import annotations

from harness.profiling.marks import BadMarks, Call, calls
from harness.results.profile_schema import (
    FunctionTime,
    Overhead,
    ProfileLine,
    ProfileSummary,
    SiteTime,
)

__all__ = ["BadMarks", "Call", "FunctionTime", "Overhead", "ProfileLine", "ProfileSummary", "SiteTime", "calls"]
