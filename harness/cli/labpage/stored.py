"""Read a results folder for the page: its lists are kept for some seconds, its reports made when they are asked for."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.cli.documents.lab import TrendsDocument, trends_document
from harness.cli.documents.nightly import NightlyRunsDocument, nightly_runs_document
from harness.cli.documents.runs import RunsDocument, runs_document
from harness.cli.report import named_results
from harness.results import Run, Store
from harness.results.journal import PLAN
from harness.results.nightly import VERDICTS, nightly_folders, read_nightly
from harness.results.store import MANIFEST, SUMMARY

KEPT_SECONDS = 15.0
MOST_NIGHTS, MOST_RUNS, MOST_POINTS = 14, 20, 60
MOST_PAGES = 4
"""A page with its pictures has some megabytes."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Lists:
    """Hold the lists of a results folder."""

    nights: NightlyRunsDocument
    runs: RunsDocument
    trends: TrendsDocument


class StoredResults:
    """Read one results folder. Any thread may ask; work is done by one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._lists: tuple[float, Lists] | None = None
        self._pages: OrderedDict[tuple[str, str, tuple[float, ...]], bytes] = OrderedDict()

    def lists(self) -> Lists:
        """Return the latest nightly runs and runs, and how the cells moved."""
        with self._lock:
            if self._lists is None or time.monotonic() - self._lists[0] > KEPT_SECONDS:
                found = Lists(
                    nightly_runs_document(str(self.folder), nightly_folders(self.folder), MOST_NIGHTS),
                    runs_document(str(self.folder), Store(self.folder).runs(), MOST_RUNS),
                    trends_document(self.folder, MOST_POINTS),
                )
                self._lists = (time.monotonic(), found)
            return self._lists[1]

    def run_page(self, name: str) -> bytes | None:
        """Return the report of a run, None if there is none of this name; raises RunDamaged.

        The name is compared with those in the folder and never becomes a part of a path.
        """
        for run in Store(self.folder).runs():
            if run.run_id == name:
                return self._page("run", run.folder, (MANIFEST, SUMMARY), lambda: self._report_of_run(name))
        return None

    def night_page(self, name: str) -> bytes | None:
        """Return the report of a nightly run, None if there is none of this name; raises RunDamaged."""
        for folder in nightly_folders(self.folder):
            if folder.name == name:
                return self._page("night", folder, (PLAN, VERDICTS), lambda folder=folder: _report([], [folder]))  # type: ignore[misc]
        return None

    def _report_of_run(self, name: str) -> str:
        runs, folders = named_results(Store(self.folder), [name], [])
        return _report(runs, folders)

    def _page(self, kind: str, folder: Path, files: tuple[str, ...], make: Callable[[], str]) -> bytes:
        """Return a page that was made of the same files before, else make it."""
        with self._lock:
            key = (kind, folder.name, tuple(_changed(folder / one) for one in files))
            if key not in self._pages:
                self._pages[key] = make().encode()
                while len(self._pages) > MOST_PAGES:
                    self._pages.popitem(last=False)
            self._pages.move_to_end(key)
            return self._pages[key]


def _report(runs: list[Run], folders: list[Path]) -> str:
    from harness.report.html import html_report

    return html_report(runs, [read_nightly(folder) for folder in dict.fromkeys(folders)])


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
