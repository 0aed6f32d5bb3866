"""Find the commit of a run or a nightly run."""

from __future__ import annotations

from pathlib import Path

from harness.devices.workstation import git_state, repository
from harness.results.schema import Git


def sources() -> Git | None:
    """Return the commit of the checkout that contains the working folder; None outside of one.

    This is the project under test. With an editable install the harness has a checkout of its own, whose commit is not
    that of the project's models.
    """
    folder = Path.cwd()
    state = git_state(folder)
    return Git(commit=state[0], dirty=state[1], repository=repository(folder)) if state else None
