"""`harness nightly` killed with SIGKILL at random moments: does each survive, and end with all its pairs?

    python benchmarks/kill_nightly.py                    # 50 kills
    python benchmarks/kill_nightly.py --kills 5 --seed 2

The real command in a process of its own, on runners that answer at once, so that it takes seconds. After every
kill the store has to be readable: the journal parses and has lost no pair, `harness query` answers and counts the
same pairs. Each nightly run is resumed until it ends, and has to end with every pair of both sessions and its verdict.
Exit status 1 if anything of this is not so.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.tables import terminal
from harness.core.cache import Cache
from harness.core.errors import ExitCode
from harness.measure import DEFAULT_RULE
from harness.results.baselines import Baselines
from harness.results.journal import JOURNAL, read_journal, read_plan
from harness.results.nightly import nightly_folders, read_nightly
from tests.results.kept import cached_run, noisy

REPOSITORY = Path(__file__).parents[1]
DEADLINE_SECONDS = 300.0
SLOWER = 1.08
"""So that every nightly run has two sessions, and one verdict to end with."""
UNIT = "host/cache"


@dataclass
class Tally:
    kills: int = 0
    before_the_plan: int = 0
    in_the_midst: int = 0
    torn_lines: int = 0
    ended_first: int = 0
    nightly_runs: int = 0
    faults: list[str] = field(default_factory=list)


class Scene:
    """A results folder with a baseline and a slower candidate, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.results, self._cache = folder / "results", folder / "cache"
        cache = Cache(self._cache)
        for name, level in (("main", 1e6), ("slower", SLOWER * 1e6)):
            Baselines(self.results).set(cached_run(self.results, cache, body=noisy(level)), name, cache=cache)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "harness.cli", *arguments, "--results-dir", str(self.results)]

    def environment(self) -> dict[str, str]:
        # Locks of devices lie in the temporary folder: nothing is measured here, so nobody has to wait for it.
        more = {
            "HARNESS_CACHE_DIR": str(self._cache),
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(self.results.parent),
        }
        return os.environ | more

    def nightly(self) -> list[str]:
        """Go on with the last nightly run, or begin one where it has ended."""
        if (folder := self.unfinished()) is not None:
            return self.command("nightly", "--resume", folder.name)
        return self.command("nightly", "--baseline", "main", "--candidate", "slower")

    def unfinished(self) -> Path | None:
        folders = nightly_folders(self.results)
        return folders[-1] if folders and read_nightly(folders[-1]).verdicts is None else None

    def pairs(self, folder: Path) -> int:
        journal = read_journal(folder)
        return sum(len(journal.pairs(UNIT, *session)) for session in journal.sessions(UNIT))

    def queried(self, folder: Path) -> int:
        """Return the same number as `harness query` has it."""
        sql = f"SELECT count(*) AS pairs FROM night_pairs WHERE metric = 'latency' AND night = '{folder.name}'"
        command = self.command("query", "--format", "json", sql)
        done = subprocess.run(
            command,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode:
            raise AssertionError(f"harness query: {done.stderr.strip()}")
        return int(json.loads(done.stdout)[0]["pairs"])


def kill_once(scene: Scene, seconds: float, tally: Tally) -> None:
    """Start or resume a nightly run, kill it after so long, and look at what is left."""
    before = scene.unfinished()
    had = scene.pairs(before) if before else 0
    with subprocess.Popen(
        scene.nightly(), env=scene.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(seconds)
        process.kill()
        status = process.wait(DEADLINE_SECONDS)
    if status != -signal.SIGKILL:
        tally.ended_first += 1
        return
    tally.kills += 1
    folder = scene.unfinished()
    if folder is None:
        tally.before_the_plan += 1
        return
    tally.in_the_midst += 1
    journal = folder / JOURNAL
    tally.torn_lines += journal.exists() and not journal.read_bytes().endswith(b"\n") and journal.stat().st_size > 0
    read_plan(folder)
    pairs, queried = scene.pairs(folder), scene.queried(folder)
    if pairs < had:
        tally.faults.append(f"kill {tally.kills}: {had} pairs became {pairs}")
    if queried != pairs:
        tally.faults.append(f"kill {tally.kills}: harness query counts {queried} pairs of {pairs}")


def end_and_check(scene: Scene, tally: Tally) -> None:
    """Resume the last nightly run to its end; then every nightly run must have all pairs and its verdict."""
    if scene.unfinished() is not None:
        subprocess.run(
            scene.nightly(), env=scene.environment(), capture_output=True, timeout=DEADLINE_SECONDS, check=False
        )
    for folder in nightly_folders(scene.results):
        tally.nightly_runs += 1
        journal, state = read_journal(folder), read_nightly(folder).state
        found = {stage: len(journal.pairs(UNIT, stage, 0)) for stage in ("first", "confirmation")}
        short = [
            stage for stage, count in found.items() if count not in (DEFAULT_RULE.pairs, DEFAULT_RULE.extended_pairs)
        ]
        if short or state != "fail":
            tally.faults.append(f"nightly run {folder.name} ended as {state} with {found}")


def run(kills: int, seed: int, folder: Path) -> Tally:
    scene, tally, rng = Scene(folder), Tally(), random.Random(seed)
    began = time.monotonic()
    subprocess.run(scene.nightly(), env=scene.environment(), capture_output=True, timeout=DEADLINE_SECONDS, check=False)
    # Any moment of a nightly run that nobody disturbs, its start and its end included.
    whole = time.monotonic() - began
    console = terminal()
    # Kills that all came before a plan would show nothing.
    while tally.kills < kills or (tally.in_the_midst == 0 and tally.kills < 10 * kills):
        kill_once(scene, rng.uniform(0, whole), tally)
        console.print(f"{tally.kills} of {kills} kills", end="\r" if console.is_terminal else "\n")
    end_and_check(scene, tally)
    return tally


def main(
    kills: Annotated[int, typer.Option(min=1, help="SIGKILLs")] = 50,
    seed: Annotated[int, typer.Option(help="of the moments")] = 1,
) -> None:
    """Kill nightly runs, resume them, and print what was left."""
    console = terminal()
    with tempfile.TemporaryDirectory() as folder:
        tally = run(kills, seed, Path(folder))
    console.print(
        f"{tally.kills} kills, {tally.before_the_plan} of them before the nightly run had a plan, {tally.in_the_midst} "
        f"in it, {tally.torn_lines} left a torn line; {tally.nightly_runs} nightly runs, all resumed to an end; "
        f"{tally.ended_first} processes ended before they were killed"
    )
    for fault in tally.faults:
        console.print(fault, style="red")
    if tally.faults:
        sys.exit(ExitCode.FAILURE)


if __name__ == "__main__":
    typer.run(main)
