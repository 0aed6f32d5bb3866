"""A run that int8 breaks names the layers to keep wide; kept wide by the option or by its spec, the model passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.cli.documents.run import run_document
from harness.core.cache import Cache
from harness.devices import HostDevice
from harness.report import report_run, to_markdown
from harness.report.html import html_report
from harness.results import Run, RunVerdict, Store
from harness.run.builder import CachedBuilder, RunOptions
from harness.run.session import RunSession
from tests.silent import Silent
from tests.workers import work_here

pytestmark = pytest.mark.compiler

MODEL = Path(__file__).with_name("uneven_model.py")


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CachedBuilder:
    work_here(monkeypatch)
    return CachedBuilder(lambda _text: None, archives=Cache(tmp_path / "archives"))


def judged(folder: Path, builder: CachedBuilder, *keep_wide: str) -> Run:
    options = RunOptions(
        models=(str(MODEL),), precision="int8", warmup=0, repeat=1, results_dir=folder, keep_wide=keep_wide
    )
    session = RunSession(options, HostDevice(), Silent(), builder=builder)
    session.start()
    for name in ("uneven", "wider"):
        session.workloads[name].parity()
    session.finish()
    return Store(folder).find("latest")


def test_the_layers_that_cost_most_are_named_with_an_option_that_helps(tmp_path: Path, builder: CachedBuilder) -> None:
    run = judged(tmp_path / "results", builder)
    summary = run.summary()
    assert summary is not None
    assert summary.verdict is RunVerdict.FAIL
    assert summary.workloads["wider"].failed == 0, "its spec keeps the layer wide"
    (wide,) = summary.keep_wide
    assert (wide.workload, wide.layer, wide.option) == ("uneven", "uneven/second", "--keep-wide uneven/second")
    assert wide.error > 0.02
    shown = f"int8 costs most in uneven/second ({wide.error:.1%} of its results); keep wide what costs most: "
    assert shown + wide.option in to_markdown(report_run(run)).replace("\\", "")
    assert wide.option in html_report([run])
    assert run_document(run.manifest(), summary).keep_wide == [wide]
    load_commands()
    printed = CliRunner().invoke(
        app, ["show", "latest", "--results-dir", str(run.folder.parent)], env={"COLUMNS": "200"}
    )
    assert wide.option in printed.output

    # It matches a layer of one model of the two.
    again = judged(tmp_path / "wide", builder, wide.layer).summary()
    assert again is not None
    assert (again.verdict, again.keep_wide) == (RunVerdict.PASS, [])
