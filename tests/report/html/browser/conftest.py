"""Pages of stored runs and nightly runs, and the browser in which tests look at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from harness.report.html import html_report
from harness.results import Run
from tests.report.html.browsers import opened
from tests.report.html.nightly import cool, hot, seen, two_nightly_runs
from tests.report.html.pages import page_of, three_runs, write
from tests.results.samples import make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return three_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def file(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(runs, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def nightly_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a nightly run on a phone that throttled and of a run on one, with all the nightly runs before."""
    root = tmp_path_factory.mktemp("nightly_runs")
    run = make_run(root / "runs", before=cool(), after=hot(), observed=seen(throttled=True))
    return write(html_report([run], two_nightly_runs(root)), tmp_path_factory.mktemp("nightly page"))


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    found = opened(browser, file, drawn=False)
    yield found.page
    found.page.close()
