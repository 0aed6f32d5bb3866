"""Read a results folder or store for the page.

Its lists are kept for some seconds, its reports made when they are asked for.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from harness.cli.documents.lab import TrendsDocument, trends_document
from harness.cli.documents.nightly import NightlyRunsDocument, nightly_runs_document
from harness.cli.documents.runs import RunsDocument, runs_document
from harness.cli.report import named_results
from harness.core.store_errors import StoreFailed
from harness.results import Run, Store
from harness.results.journal import PLAN
from harness.results.nightly import NIGHTLY, VERDICTS, nightly_folders, read_nightly
from harness.results.store import MANIFEST, SUMMARY

KEPT_SECONDS = 15.0
FAR_SECONDS = 60.0
"""How long lists of a store are kept, whose reading asks it for a listing and for what has changed."""
MOST_NIGHTS, MOST_RUNS, MOST_POINTS = 14, 20, 60
MOST_PAGES = 4
"""A page with its pictures has some megabytes."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Lists:
    """Hold the lists of a results folder or store. ``trouble`` is why they are not those of now, if they are not."""

    nights: NightlyRunsDocument
    runs: RunsDocument
    trends: TrendsDocument
    trouble: str | None = None


class StoredResults:
    """Read one results folder or store. Any thread may ask; work is done by one at a time.

    ``opened`` returns the store of runs as it is now; ``kept`` is for how many seconds that is taken for the present.
    """

    def __init__(self, opened: Callable[[], Store], kept: float = KEPT_SECONDS) -> None:
        self._opened, self._kept = opened, kept
        self._lock = threading.Lock()
        self._store: tuple[float, Store] | None = None
        self._lists: tuple[float, Lists] | None = None
        self._pages: OrderedDict[tuple[str, str, tuple[float, ...]], bytes] = OrderedDict()

    def lists(self) -> Lists:
        """Return the latest nightly runs and runs, and how the cells moved.

        Where a store cannot be read these are the ones that were read last, or empty lists, with the reason.
        """
        with self._lock:
            if self._lists is None or time.monotonic() - self._lists[0] > self._kept:
                try:
                    found = self._read()
                except StoreFailed as error:
                    found = replace(self._lists[1] if self._lists else _nothing(), trouble=str(error))
                self._lists = (time.monotonic(), found)
            return self._lists[1]

    def _read(self) -> Lists:
        store = self._now()
        root = store.with_nightly_runs()
        return Lists(
            nightly_runs_document(store.place, nightly_folders(root), MOST_NIGHTS),
            runs_document(store.place, store.runs(), MOST_RUNS),
            trends_document(root, MOST_POINTS, store.place),
        )

    def _now(self) -> Store:
        if self._store is None or time.monotonic() - self._store[0] > self._kept:
            self._store = (time.monotonic(), self._opened())
        return self._store[1]

    def run_page(self, name: str) -> bytes | None:
        """Return the report of a run, None if there is none of this name; raises RunDamaged.

        The name is compared with those in the folder and never becomes a part of a path.
        """
        with self._lock:
            store = self._now()
            for run in store.runs():
                if run.run_id == name:
                    return self._page("run", run.folder, (MANIFEST, SUMMARY), lambda: _report_of_run(store, name))
        return None

    def night_page(self, name: str) -> bytes | None:
        """Return the report of a nightly run, None if there is none of this name; raises RunDamaged."""
        with self._lock:
            store = self._now()
            for folder in nightly_folders(store.with_nightly_runs()):
                if folder.name == name:
                    whole = store.with_nightly_runs(name) / NIGHTLY / name
                    return self._page("night", whole, (PLAN, VERDICTS), partial(_report, [], [whole]))
        return None

    def _page(self, kind: str, folder: Path, files: tuple[str, ...], make: Callable[[], str]) -> bytes:
        """Return a page that was made of the same files before, else make it."""
        key = (kind, folder.name, tuple(_changed(folder / one) for one in files))
        if key not in self._pages:
            self._pages[key] = make().encode()
            while len(self._pages) > MOST_PAGES:
                self._pages.popitem(last=False)
        self._pages.move_to_end(key)
        return self._pages[key]


def _nothing() -> Lists:
    return Lists(nightly_runs_document("", [], 0), runs_document("", [], 0), TrendsDocument(results_dir="", cells=[]))


def _report_of_run(store: Store, name: str) -> str:
    return _report(*named_results(store, [name], []))


def _report(runs: list[Run], folders: list[Path]) -> str:
    from harness.report.html import html_report

    return html_report(runs, [read_nightly(folder) for folder in dict.fromkeys(folders)])


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
