"""From a run on a virtual phone that failed to the printed explanation: a seeded defect, told by the command line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.core.cache import Cache
from harness.devices import Unavailable
from harness.devices.selection import opened, parse_device
from harness.results import RunVerdict
from tests.broken_kernels import no_last_panel
from tests.explain.small_runs import judged, made_here

pytestmark = [pytest.mark.compiler, pytest.mark.emulator]


@pytest.mark.thorough
@pytest.mark.parametrize(("device", "which"), [("virtual-android", 0), ("virtual-ios", 1)])
def test_a_defect_in_a_run_on_a_phone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, which: int
) -> None:
    builder = made_here(monkeypatch, tmp_path / "cache")
    no_last_panel(monkeypatch)
    with opened(parse_device(device), cache=Cache(), notify=print) as phones:
        phone = phones[which]
        assert not isinstance(phone, Unavailable)
        run = judged(tmp_path / "results", phone, builder, RunVerdict.FAIL, named=device)
    page, bundle = tmp_path / "page.html", tmp_path / "failure.zip"
    arguments = ["explain", "--results-dir", str(run.folder.parent), "--html", str(page), "--bundle", str(bundle)]
    load_commands()
    done = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert done.exit_code == 1, done.output
    for line in (
        "first module that diverges: small, layers",
        "first operation that diverges: gelu (aten.gelu.default), in small",
        "one kernel computes layer_norm, linear, gelu",
        "10 of 11 calls of kernels were compared with PyTorch",
        "not compared, 1: the kernel prepares what a later kernel computes an operator of (transpose)",
    ):
        assert line in done.output
        assert line in page.read_text()
    assert f"on {phone.name.partition(' (')[0]} (" in done.stdout, "of two phones the one that the run was on"
    with zipfile.ZipFile(bundle) as inside:
        found = json.loads(inside.read("explain/small_first.json"))
        assert "10 of 11 calls of kernels were compared" in inside.read("README.md").decode()
    assert found["coverage"]["compared"] == sum(row["own"] is not None for row in found["rows"]) == 10
    assert list(found["coverage"]["uncompared"].values()) == [1]
