"""Hold the lock files to known faults and to the licences that are allowed: cargo-deny and pip-audit.

python tools/audit.py             # everything
python tools/audit.py --offline   # what needs no network: licences, sources and duplicates of the crates

A check that cannot run, because its program is not installed or its database cannot be reached, is named. Exit status:
0 everything was checked and nothing was found, 1 something was found, 3 something could not be checked.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_SECONDS = 600
NO_DENY = "cargo-deny is not installed: cargo install cargo-deny --locked"
NO_PIP_AUDIT = "pip-audit is not installed: uv tool install pip-audit"
UNREACHABLE = "its database of known faults cannot be reached"


@dataclass(frozen=True)
class Outcome:
    """``found`` is what is wrong; ``unchecked`` why nothing is known. Neither: it was checked and is fine."""

    found: str | None = None
    unchecked: str | None = None


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
        encoding="utf-8",
        errors="replace",
    )


def deny(*checks: str, offline: bool) -> Outcome:
    """cargo-deny with the rules of deny.toml."""
    if shutil.which("cargo-deny") is None:
        return Outcome(unchecked=NO_DENY)
    done = run(["cargo-deny", *(["--offline"] if offline else []), "--locked", "check", *checks])
    if done.returncode == 0:
        return Outcome()
    if "advisory database" in done.stderr and "failed to" in done.stderr:
        return Outcome(unchecked=UNREACHABLE)
    if "--offline was specified" in done.stderr:
        return Outcome(unchecked="not all crates are downloaded: cargo fetch --locked")
    return Outcome(found=(done.stdout + done.stderr).strip())


def pip_audit() -> Outcome:
    """Look up each package of requirements.lock in PyPI's database of known faults."""
    beside = Path(sys.executable).with_name("pip-audit")
    program = str(beside) if beside.is_file() else shutil.which("pip-audit")
    if program is None:
        return Outcome(unchecked=NO_PIP_AUDIT)
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    done = run([program, "--requirement", "requirements.lock", *options])
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        return Outcome(unchecked=(done.stderr.strip().splitlines() or [UNREACHABLE])[-1])
    faults = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version'}"
        for one in packages
        for fault in one.get("vulns", [])
    ]
    if faults:
        return Outcome(found="\n".join(faults))
    unknown = [one["name"] for one in packages if "skip_reason" in one]
    # A mirror of PyPI has the packages and not the database: then every package is unknown to it.
    if unknown:
        return Outcome(
            unchecked=f"nothing is known of {len(unknown)} of {len(packages)} packages, such as {unknown[0]}"
        )
    return Outcome() if packages and done.returncode == 0 else Outcome(unchecked=UNREACHABLE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--offline", action="store_true", help="only what needs no network")
    arguments = parser.parse_args()
    outcomes = {"licences, sources and duplicates of crates": deny("licenses", "bans", "sources", offline=True)}
    if not arguments.offline:
        outcomes["known faults of crates"] = deny("advisories", offline=False)
        outcomes["known faults of Python packages"] = pip_audit()
    for what, outcome in outcomes.items():
        if outcome.found is not None:
            print(f"audit: {what}: FOUND\n{outcome.found}")
        else:
            print(f"audit: {what}: {'ok' if outcome.unchecked is None else 'not checked, ' + outcome.unchecked}")
    if any(outcome.found is not None for outcome in outcomes.values()):
        return 1
    return 3 if any(outcome.unchecked is not None for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
