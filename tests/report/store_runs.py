"""Make the stored runs of ``golden/`` that come from real commands: a profile, an explanation, a nightly run, a gate.

    python -m tests.report.store_runs

runs the commands below in the checkout, which takes some minutes, and keeps what they stored: without orders, whose
tensors are large, and without paths of this machine. Then ``python -m tests.report.formats`` writes what is shown.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from harness.core.cache import cache_root
from harness.results import Store
from harness.results.nightly import nightly_runs
from tests.report.formats import EXPLANATION, GOLDEN

REPOSITORY = Path(__file__).parents[2]
RESULTS = "build/golden"
MODEL = "tests/explain/small_model.py"
SUITES = f"pytest suites --device host --models {MODEL} --repeat 2 --warmup 1 --pair-seconds 0 --results-dir {RESULTS}"
COMMANDS = (
    f"{SUITES} --profile",
    f"harness explain latest --item small/first --results-dir {RESULTS}",
    f"harness baseline set latest --name main --results-dir {RESULTS}",
    f"harness nightly --baseline main --results-dir {RESULTS}",
    f"{SUITES} --baseline main",
)


def run_commands() -> None:
    shutil.rmtree(REPOSITORY / RESULTS, ignore_errors=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in COMMANDS:
        print(command, flush=True)
        done = subprocess.run(shlex.split(command), cwd=REPOSITORY, env=os.environ | {"PATH": path}, check=False)
        # On a busy machine a nightly run or a gate may be undecided, which is as good to show.
        assert done.returncode in (0, 1, 3), command


def keep_all() -> None:
    results = REPOSITORY / RESULTS
    for kind in ("profiled", "nightly", "gated"):
        shutil.rmtree(GOLDEN / kind / "runs", ignore_errors=True)
    profiled, gated = Store(results).runs()
    night, of_gate = nightly_runs(results)
    keep(profiled.folder, "profiled")
    keep(night.folder, "nightly")
    keep(gated.folder, "gated")
    keep(of_gate.folder, "gated")
    [explanation] = (profiled.folder / "explain").glob("*_first.json")
    (GOLDEN / "explained").mkdir(exist_ok=True)
    shutil.copyfile(explanation, GOLDEN / "explained" / EXPLANATION)


def keep(folder: Path, kind: str) -> None:
    """Copy a folder of the results into those of a kind."""
    results = REPOSITORY / RESULTS
    to = GOLDEN / kind / "runs" / folder.relative_to(results)
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("orders", "explain", "*.lock"))
    for file in to.iterdir():
        text = file.read_text(encoding="utf-8")
        for path in (REPOSITORY, cache_root()):
            text = text.replace(f"{path}/", "")
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run_commands()
    keep_all()
