"""Runs, nightly runs and baselines as the harness stored them before version 2 of the schema: kept in ``version_1``.

What that harness printed of them stands in ``version_1_printed``; the runs of ``tests/report/golden`` are of it, too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.core.cache import Cache
from harness.devices.host import HostDevice
from harness.measure import GateVerdict
from harness.regression.nightly import NightlyRun
from harness.regression.plan import itself, kept_candidate, plan_nightly
from harness.results import Run, Store
from harness.results.baselines import Baselines
from harness.results.history import query
from harness.results.journal import write_plan
from harness.results.summarize import summarize_files
from tests.results.kept import cached_run, noisy

HERE = Path(__file__).parent
PRINTED = HERE / "version_1_printed"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    shutil.copytree(HERE / "version_1", tmp_path / "results")
    return Store(tmp_path / "results")


@pytest.fixture
def run(store: Store) -> Run:
    (run,) = store.runs()
    return run


def called(store: Store, *arguments: str) -> str:
    load_commands()
    done = CliRunner().invoke(app, [*arguments, "--results-dir", str(store.root)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def printed(name: str) -> Any:
    return json.loads((PRINTED / name).read_text(encoding="utf-8"))


def test_the_files_are_of_version_1(store: Store, run: Run) -> None:
    stored = json.loads((run.folder / "manifest.json").read_text(encoding="utf-8"))
    baseline = json.loads((store.root / "baselines/main.json").read_text(encoding="utf-8"))
    assert (stored["schema_version"], baseline["schema_version"]) == (1, 1)
    assert {"checkpoint", "words", "models"} <= stored.keys()
    assert {"variants", "models"} <= baseline.keys()


def test_its_figures_are_those_of_then(store: Store) -> None:
    shown, before = json.loads(called(store, "show", "latest", "--json")), printed("show.json")
    (now,), (then,) = shown["figures"], before["figures"]
    # What a comparison has got since then is unknown in a run of then.
    since = dict.fromkeys(("tokens", "tokens_equal", "perplexity", "expected_perplexity", "kl"))
    assert now["comparisons"] == [one | since for one in then["comparisons"]]
    for key in ("name", "variant", "accuracy", "artifact", "pytorch", "ratio", "items", "peak_bytes"):
        assert now[key] == then[key], key
    assert (now["cold_load_ns"], now["first_ns"]) == (then["cold_load_ns"], then["first_ns"])
    # All steps together have the runner's name for them now.
    renamed = {"step" if name == "steps" else name: spent for name, spent in then["parts_ns"].items()}
    assert now["parts_ns"] == renamed
    assert shown["run"] == before["run"]
    listed = json.loads(called(store, "runs", "--json"))
    assert listed["runs"] == printed("runs.json")["runs"]


def flattened(value: Any, name: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings and sequences by their path."""
    if isinstance(value, (dict, list, tuple)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: len(value)} | {k: v for key, one in inner for k, v in flattened(one, f"{name}/{key}").items()}
    return {name: value}


def close(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12, nan_ok=True) if isinstance(value, float) else value


def test_its_summary_can_be_made_again(run: Run) -> None:
    stored = run.summary()
    assert stored is not None
    again = summarize_files(run.manifest(), run)
    flat, then = flattened(again.model_dump()["workloads"]), flattened(stored.model_dump()["workloads"])
    assert flat.keys() == then.keys()
    # Intervals are sums of logarithms, whose last digits are numpy's and the processor's.
    assert flat == {name: close(value) for name, value in then.items()}
    assert (again.verdict, again.reasons) == (stored.verdict, stored.reasons)


def test_its_rows_are_in_every_table(store: Store, run: Run, tmp_path: Path) -> None:
    def ask(sql: str) -> list[tuple[Any, ...]]:
        return query(store, sql, cache=tmp_path / "c").rows

    answers = list(run.parity())
    assert ask("SELECT workload, variant, passes, item, label, subset, verdict FROM parity ORDER BY item") == [
        ("g2p", "cache", "parity", line.item, line.label, line.subset, line.verdict.value) for line in answers
    ]
    assert ask("SELECT workload, label, text FROM reference ORDER BY item") == [
        ("g2p", line.label, line.text) for line in run.reference()
    ]
    assert ask("SELECT DISTINCT workload FROM pairs") == [("g2p",)]
    (row,) = ask("SELECT sum(encoder_ns), sum(prefill_ns), sum(steps_ns), sum(steps) FROM samples")
    records = [line.record for line in run.samples() if line.record.record == "sample"]
    parts = [[record.parts[name] for record in records] for name in ("encoder", "prefill", "step")]
    assert row[:3] == tuple(sum(map(sum, part)) for part in parts)
    assert row[3] == sum(map(len, parts[2]))
    assert ask("SELECT workload, kind, label, items FROM workloads") == [("g2p", "generation", "embedded", 3)]


def test_a_nightly_run_of_then_is_shown_as_it_was(store: Store) -> None:
    shown = json.loads(called(store, "nights", "--json"))["nights"]
    # Devices of then were not emulated, which units are marked with since.
    assert not any(unit.pop("emulated") for night in shown for unit in night["units"])
    assert shown == printed("nights.json")["nights"]
    now = called(store, "nights", "latest", "--markdown", "-").splitlines(keepends=True)
    # Since then reports contain the command that makes it again.
    kept = [line for line in now if not line.startswith(("| make it again |", "| caution |"))]
    assert len(kept) == len(now) - 2
    assert "".join(kept) == (PRINTED / "night.md").read_text(encoding="utf-8")


def test_a_baseline_of_then_is_listed(store: Store) -> None:
    assert (
        json.loads(called(store, "baseline", "show", "main", "--json"))["baseline"]
        == printed("baseline.json")["baseline"]
    )


def test_a_runner_of_then_is_measured_beside_itself(store: Store, tmp_path: Path) -> None:
    """It refuses whatever is not of version 1: it looks for the order's ``models`` and each item's ``word``."""
    device = HostDevice(lock_folder=tmp_path / "locks")
    plan = plan_nightly(store.root, "main", [device], itself, warmup=0, repetitions=3)
    (unit,) = plan.units
    assert unit.a.order.schema_version == 1
    folder = store.root / "nightly" / plan.night_id
    write_plan(folder, plan)
    result = NightlyRun(folder, plan, {device.name: device}, notify=lambda _line: None).run()
    (found,) = result.units
    parity = [limit for limit in found.limits if limit.metric == "parity"]
    assert [limit.verdict for limit in parity] == [GateVerdict.PASS], result
    assert "latency" in found.cells
    assert not any("failed" in cell.cause for cell in found.cells.values())


def test_a_runner_of_today_is_judged_beside_one_of_then(store: Store, tmp_path: Path) -> None:
    """A is sent orders of version 1 and B orders of today; twice as slow is a regression."""
    cache = Cache(tmp_path / "cache")
    Baselines(store.root).set(cached_run(store.root, cache, body=noisy(1e7, 0.002)), "today", cache=cache)
    device = HostDevice(lock_folder=tmp_path / "locks")
    plan = plan_nightly(store.root, "main", [device], kept_candidate(store.root, "today"), warmup=0, repetitions=3)
    (unit,) = plan.units
    assert (unit.a.order.schema_version, unit.b.order.schema_version) == (1, 2)
    assert [item.input for item in unit.b.order.items] == ["<eng-us>: one", "<eng-us>: two"]
    folder = store.root / "nightly" / plan.night_id
    write_plan(folder, plan)
    result = NightlyRun(folder, plan, {device.name: device}, notify=lambda _line: None).run()
    assert result.verdict is GateVerdict.FAIL
    (found,) = result.units
    assert "+100" in found.cells["latency"].cause or "+99" in found.cells["latency"].cause


def test_the_kept_runner_is_whole(store: Store) -> None:
    runner = Baselines(store.root).runner("main", "cache")
    assert hashlib.sha256(runner.path.read_bytes()).hexdigest() == runner.sha256
    assert 'order["models"]' in runner.path.read_text(encoding="utf-8")
