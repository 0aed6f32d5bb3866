"""The command that kills nightly runs, with few kills: what it checks has to hold, and it finds what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import kill_nightly
from harness.results.nightly import nightly_folders, read_nightly

pytestmark = pytest.mark.programs


@pytest.mark.thorough
def test_nightly_runs_survive_kills_at_random_moments(tmp_path: Path) -> None:
    tally = kill_nightly.run(3, 2, tmp_path)
    assert tally.faults == []
    assert tally.kills >= 3
    assert tally.in_the_midst >= 1
    assert all(read_nightly(folder).state == "fail" for folder in nightly_folders(tmp_path / "results"))
    # A journal that lost what it had is found.
    for folder in nightly_folders(tmp_path / "results"):
        (folder / "journal.jsonl").write_text("")
    scene = object.__new__(kill_nightly.Scene)
    scene.results = tmp_path / "results"
    again = kill_nightly.Tally()
    kill_nightly.end_and_check(scene, again)
    assert len(again.faults) == len(nightly_folders(tmp_path / "results"))
