"""Write docs/faults.md from the tests' markers: every fault that a test makes happen, and how it ends.

python tools/write_faults.py            # writes the table
python tools/write_faults.py --check    # exit status 1 if the committed one differs
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

TABLE = ROOT / "docs/faults.md"
TITLES = {"android": "Android", "ios": "iOS"}
"""Folders below tests/devices whose tests have such markers, in the order of the page."""

HEAD = """# Faults

This page lists the faults between a harness and a device, and how they end. Each line is a test that causes the fault.
It checks the outcome, that no process and no file of the run is left on the device once it can be reached, and that no
complete record is lost. `tools/write_faults.py` writes this page from the tests' markers.

An incomplete result is inconclusive, never a failure of the model; the error's cure names what to do.
"""


@dataclass(frozen=True)
class Row:
    folder: str
    what: str
    ends: str
    keeps: str

    def row(self) -> str:
        return f"| {self.what} | {self.ends} | {self.keeps} |".replace("\n", " ")


class Collector:
    """A pytest plugin that keeps the markers of what is collected."""

    def __init__(self) -> None:
        self.faults: list[Row] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        # Not before pytest rewrites its assertions.
        from harness.conformance.faults import fault_of

        for item in session.items:
            if (found := fault_of(item)) is None:
                continue
            fault = Row(item.path.parent.name, found.what, str(found.ends), found.keeps)
            # Variants of one fault are one line.
            if fault not in self.faults:
                self.faults.append(fault)


def page() -> str:
    """Return the whole page; raises SystemExit if the tests cannot be collected."""
    collector = Collector()
    folders = [f"tests/devices/{name}" for name in TITLES if (ROOT / "tests/devices" / name).is_dir()]
    arguments = ["--collect-only", "-qq", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    status = pytest.main([*arguments, *(str(ROOT / folder) for folder in folders)], plugins=[collector])
    if status != pytest.ExitCode.OK:
        raise SystemExit(f"write_faults: the tests cannot be collected ({status})")
    parts = [HEAD]
    for name, title in TITLES.items():
        rows = [fault.row() for fault in collector.faults if fault.folder == name]
        if rows:
            table = "\n".join(["| Fault | Ends in | Kept |", "|---|---|---|", *rows])
            parts.append(f"\n## {title}\n\n{len(rows)} faults.\n\n{table}\n")
    return "".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the table of faults.")
    parser.add_argument("--check", action="store_true", help="only compare it with the committed one")
    arguments = parser.parse_args()
    text = page()
    if not arguments.check:
        TABLE.write_text(text, encoding="utf-8")
    elif not TABLE.exists() or TABLE.read_text(encoding="utf-8") != text:
        sys.exit("docs/faults.md is not made from today's tests; run python tools/write_faults.py")


if __name__ == "__main__":
    main()
