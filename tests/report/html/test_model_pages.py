"""What the page shows of tensor workloads beside the golden texts: nightly runs, runs in order, raw data."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.devices.host import HostDevice
from harness.regression.nightly import NightlyRun
from harness.regression.plan import new_plan
from harness.regression.verdicts import judge_nightly
from harness.report.html import html_report
from harness.results.journal import UnitPlan, write_plan
from harness.results.nightly import read_nightly
from harness.validate.comparison import TopK
from tests.regression.test_model_nightly import fake_side, quiet
from tests.report.formats import page_lines
from tests.results.made_models import BERT, DETECTOR
from tests.results.samples import make_run


@pytest.fixture(scope="module")
def nightly(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a nightly run in which a model of two items became slower."""
    root = tmp_path_factory.mktemp("night")
    a, b = fake_side(root / "a"), fake_side(root / "b", ns=6000)
    unit = UnitPlan(name="host/fake", device="host", model="fake", variant="fake", a=a, b=b, comparison=TopK(k=2))
    plan = new_plan("main", [unit], repetitions=3, warmup=1)
    folder = root / "results" / "nightly" / plan.night_id
    write_plan(folder, plan)
    device = HostDevice(lock_folder=root / "locks")
    judge_nightly(root / "results", folder, NightlyRun(folder, plan, {"host": device}, notify=quiet, cooldown=0).run())
    return html_report([], [read_nightly(folder)])


def raw_columns(page: str, name: str) -> dict[str, list[str] | None]:
    found = re.search(r'id="raw-tables">(.*?)</script>', page)
    assert found is not None
    table: dict[str, Any] = json.loads(found[1])[name]
    return {column["name"]: column["labels"] for column in table["columns"]}


def test_a_nightly_run_of_a_model_has_a_row_for_each_item_and_mentions_no_word(nightly: str) -> None:
    lines = list(page_lines(nightly))
    at = lines.index("Candidate against baseline, every timed pass")
    assert lines[at + 2 : at + 4] == ["    x: ms per call (logarithmic)", "    rows: second, first"]
    text = "\n".join(lines).lower()
    assert not re.findall(r"\bwords?\b|choose the parts|parts count", text)
    assert raw_columns(nightly, "passes-N1-1")["item"] == ["first", "second"]


def test_the_samples_of_an_item_are_saved_under_its_whole_name(tmp_path: Path) -> None:
    page = html_report([make_run(tmp_path, models=(BERT,))])
    columns = raw_columns(page, "samples-A-bert")
    assert columns["item"] == ["7 tokens", "101 tokens"]
    assert not {"language", "word", "encoder_ns"} & set(columns)
    assert raw_columns(page, "samples-A-cache")["word"] == ["cat", "dog", "chat"]


def test_runs_of_a_model_stand_in_order(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, generation=False, models=(BERT, DETECTOR), seed=seed) for seed in (1, 2, 3)]
    titles = [line for line in page_lines(html_report(runs)) if line.startswith("host · ")]
    assert titles[-2:] == ["host · bert, detector: bert", "host · bert, detector: detector"]


def test_the_files_of_models_are_in_the_page(tmp_path: Path) -> None:
    page = html_report([make_run(tmp_path, generation=False, models=(BERT,))])
    packed = re.search(r'id="documents">([^<]*)<', page)
    assert packed is not None
    documents = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert {"parity-A", "reference-A", "pairs-A"} < set(documents)
    # What the run does not have has no button that saves nothing.
    assert "profiles-A" not in documents
    assert set(re.findall(r'data-document="([^"]+)"', page)) == set(documents)


def test_a_tie_is_named_with_its_step_and_is_not_green(tmp_path: Path) -> None:
    run = make_run(tmp_path, generation=False, models=(BERT,))
    page = html_report([run])
    assert re.search(r'<p class="tone-good">All \d+ answers of bert agree\.</p>', page)
    file = run.folder / "parity.jsonl"
    first, *rest = file.read_text(encoding="utf-8").splitlines()
    tied = json.loads(first) | {"verdict": "tie", "step": 7}
    file.write_text("\n".join([json.dumps(tied), *rest]) + "\n", encoding="utf-8")
    page = html_report([run])
    assert re.search(r'<p class="tone-unsure">All \d+ answers of bert agree, 1 of them as ties\.</p>', page)
    assert "<td>from token 8 on</td>" in page
