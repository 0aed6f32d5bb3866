"""Find the commit of a run or a nightly run."""

from __future__ import annotations

from harness.core.installation import sources_folder
from harness.devices.workstation import git_state, repository
from harness.results.schema import Git


def sources() -> Git | None:
    """Return the commit of the harness's checkout, or of the project that uses the harness; None without one."""
    folder = sources_folder()
    state = git_state(folder)
    return Git(commit=state[0], dirty=state[1], repository=repository(folder)) if state else None
