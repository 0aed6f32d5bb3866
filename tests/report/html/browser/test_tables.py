"""The page's tables in a real browser: filtered, sorted, and their data saved."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from harness.protocol.schema import Sample
from harness.results import Run
from tests.report.html.browsers import opened

pytestmark = pytest.mark.programs


def test_filters_narrow_the_cells(page: Page) -> None:
    rows = page.locator("#cells-table tbody tr")
    shown = page.locator("#cells-table tbody tr:visible")
    count = page.locator("[data-count='cells-table']")
    total = rows.count()
    assert count.text_content() == f"{total} of {total}"
    page.get_by_label("Filter").last.fill("p95")
    assert 0 < shown.count() < total
    assert all("p95" in text for text in shown.all_text_contents())
    page.locator("select[data-column='0']").select_option("B")
    page.locator("select[data-column='2']").select_option("cache")
    assert shown.count() == 1
    assert count.text_content() == f"1 of {total}"
    page.get_by_label("Filter").last.fill("no such cell")
    assert shown.count() == 0
    page.get_by_label("Filter").last.fill("")
    page.locator("select[data-column='0']").select_option("")
    page.locator("select[data-column='2']").select_option("")
    assert shown.count() == total


def test_cells_are_sorted_as_numbers_both_ways(page: Page) -> None:
    head = page.locator("#cells-table thead th", has_text="value")
    values = page.locator("#cells-table tbody td:nth-child(5)")

    def listed() -> list[float]:
        return [float(value) for value in values.evaluate_all("(all) => all.map((one) => one.dataset.value)")]

    before = listed()
    assert before != sorted(before)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert listed() == sorted(before)
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert listed() == sorted(before, reverse=True)
    page.locator("#cells-table thead th", has_text="metric").get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None


def saved(page: Page, selector: str) -> tuple[str, str]:
    with page.expect_download() as waiting:
        page.locator(selector).first.click()
    return waiting.value.suggested_filename, waiting.value.path().read_text(encoding="utf-8")


def test_raw_samples_are_saved_as_they_were_measured(page: Page, runs: list[Run]) -> None:
    name, text = saved(page, "[data-raw='samples-B-cache']")
    assert name == "samples-B-cache.csv"
    rows = list(csv.DictReader(io.StringIO(text)))
    words = {line.item: (line.subset, line.label) for line in runs[1].reference()}
    records = [line.record for line in runs[1].samples() if isinstance(line.record, Sample)]
    assert [
        (row["language"], row["word"], row["phase"], int(row["total_ns"]), int(row["encoder_ns"]), int(row["steps_ns"]))
        for row in rows
    ] == [
        (
            *words[record.items[0]],
            record.phase.value,
            record.total_ns,
            record.part_ns("encoder"),
            record.part_ns("step"),
        )
        for record in records
    ]
    assert {row["run"] for row in rows} == {runs[1].run_id}


def test_documents_are_saved_whole(page: Page, runs: list[Run]) -> None:
    name, text = saved(page, "[data-document='manifest-B']")
    assert name == "manifest-B.json"
    assert json.loads(text) == runs[1].manifest().model_dump(mode="json")
    assert json.loads(saved(page, "[data-document='parity-A']")[1])[0]["verdict"] == "mismatch"


@pytest.mark.thorough
def test_every_pictures_data_is_a_click_away(browser: Browser, file: Path) -> None:
    first = opened(browser, file, drawn=False).page
    names = [button.get_attribute("data-figure-csv") for button in first.locator("[data-figure-csv]").all()]
    assert len(names) == first.locator("[data-figure]").count()
    first.close()
    # Chromium stops a page that saves more than ten files in a row without asking.
    for at in range(0, len(names), 8):
        page = opened(browser, file, drawn=False).page
        for identity in names[at : at + 8]:
            name, text = saved(page, f"[data-figure-csv='{identity}']")
            rows = list(csv.reader(io.StringIO(text)))
            assert name == f"{identity}.csv"
            assert len(rows) > 1
            assert {len(row) for row in rows} == {len(rows[0])}
        page.close()


def test_a_tables_data_are_the_rows_in_sight(page: Page) -> None:
    everything = list(csv.reader(io.StringIO(saved(page, "[data-table-csv='cells-table']")[1])))
    assert len(everything) == page.locator("#cells-table tr").count()
    page.get_by_label("Filter").last.fill("p95")
    some = list(csv.reader(io.StringIO(saved(page, "[data-table-csv='cells-table']")[1])))
    assert some == [everything[0], *(row for row in everything[1:] if row[3] == "p95")]


def test_nightly_cells_are_filtered_by_verdict_and_their_data_saved(browser: Browser, nightly_runs: Path) -> None:
    page = opened(browser, nightly_runs, drawn=False).page
    page.locator("select[data-column='8']").select_option("fail")
    shown = page.locator("#cells-table tbody tr:visible")
    assert shown.count() >= 3
    assert {row.locator("td").nth(8).text_content() for row in shown.all()} == {"fail"}
    table = list(csv.reader(io.StringIO(saved(page, "[data-table-csv='table-N1-1']")[1])))
    assert table[0][:3] == ["cell", "verdict", "change"]
    assert table[1][:2] == ["phone/cache latency", "fail"]
    name, text = saved(page, "[data-raw='passes-N1-1']")
    assert name == "passes-N1-1.csv"
    rows = list(csv.DictReader(io.StringIO(text)))
    journal = json.loads(saved(page, "[data-document='journal-N1']")[1])
    assert len(rows) == 6 * len(journal)
    assert {row["side"] for row in rows} == {"baseline", "candidate"}
    assert all(
        int(row["encoder_ns"]) + int(row["prefill_ns"]) + int(row["steps_ns"]) < int(row["total_ns"]) for row in rows
    )
    assert json.loads(saved(page, "[data-document='verdicts-N1']")[1])["verdict"] == "fail"
    page.close()
