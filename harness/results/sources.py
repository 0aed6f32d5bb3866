"""What a run or a night keeps of the sources it was made from."""

from __future__ import annotations

from pathlib import Path

import harness
from harness.devices.workstation import git_state, repository
from harness.results.schema import Git


def sources() -> Git | None:
    """The checkout that this package runs from; None outside of one."""
    folder = Path(harness.__file__).parent
    state = git_state(folder)
    return Git(commit=state[0], dirty=state[1], repository=repository(folder)) if state else None
