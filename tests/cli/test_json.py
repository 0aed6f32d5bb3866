"""Every command that prints a table prints one JSON document with ``--json``, which holds to its published schema.

The schemas are checked by ``jsonschema``, which nobody here wrote.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator

from harness.cli import app
from harness.cli.app import load_commands
from harness.cli.documents import documents
from harness.cli.documents.base import Document, json_schema, schema_of, to_json
from harness.cli.documents.findings import ExplanationDocument, ProfileDocument, explanation_document
from harness.cli.documents.page import page
from harness.cli.documents.runs import RunsDocument
from harness.core.cache import Cache
from harness.explain.schema import Error, Explanation, SiteRow
from harness.results import RunStatus, Store, Summary, WorkloadFacts
from harness.results.baselines import Baselines
from tests.cli.called import call
from tests.environment import python_path
from tests.results.kept import cached_run, noisy
from tests.results.samples import make_run

REPOSITORY = Path(__file__).parents[2]
WITHOUT = {"run", "bench", "lab agent", "lab demo", "lab scheduler", "lab serve"}
"""Commands that print no facts of their own: they become pytest, or run until they are ended."""
KINDS: dict[str, type[Document]] = {schema_of(kind): kind for kind in documents()}


def commands(group: typer.Typer, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command of the application with its function."""
    for info in group.registered_commands:
        assert info.callback is not None
        yield f"{path}{info.name or info.callback.__name__.replace('_', '-')}", info.callback
    for below in group.registered_groups:
        assert below.typer_instance is not None
        callback = below.typer_instance.registered_callback
        if callback is not None and below.typer_instance.info.invoke_without_command is True:
            yield f"{path}{below.name}", callback.callback
        yield from commands(below.typer_instance, f"{path}{below.name} ")


def all_commands() -> dict[str, Any]:
    load_commands()
    return dict(commands(app))


def test_every_command_has_json() -> None:
    lacking = {name for name, call in all_commands().items() if "as_json" not in inspect.signature(call).parameters}
    assert lacking <= WITHOUT
    assert {"runs", "show", "cache prune", "baseline list", "runs rm", "toolchain show"} <= set(all_commands())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_schemas_are_schemas(kind: type[Document]) -> None:
    schema = json_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == schema_of(kind)
    assert kind.__doc__
    assert not Draft202012Validator(schema).is_valid({})
    assert not Draft202012Validator(schema).is_valid([])


def checked(text: str, name: str) -> dict[str, Any]:
    """One document on standard output and nothing else; it holds to its schema, and reading it loses nothing."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert text.isascii()
    assert text.endswith("}\n")
    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    assert found["schema"] == name
    assert next(iter(found)) == "schema"
    kind = KINDS[name]
    Draft202012Validator(json_schema(kind)).validate(found)
    again = json.loads(to_json(kind.model_validate(found)))
    assert again == found
    assert json.dumps(again) == json.dumps(found), "the order of keys"
    return found


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results of two runs, an emulated one, one cut short, a damaged one, and a baseline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    results, cache = tmp_path / "results", Cache(tmp_path / "cache")
    Baselines(results).set(cached_run(results, cache, body=noisy(1e6)), "main", cache=cache)
    make_run(results, emulated=True)
    make_run(results, ended=False)
    make_run(results, wrong=("w0",))
    (results / "20200101-000000-000-aaaa").mkdir()
    (results / "baselines" / "broken.json").write_text("{")
    return results


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("harness.runs/1", ("runs",), 0),
        ("harness.run/2", ("show", "latest"), 0),
        ("harness.run/2", ("show", "latest~1"), 0),
        ("harness.run/2", ("show", "latest~2"), 0),
        ("harness.comparison/1", ("compare", "latest~3", "latest"), 0),
        ("harness.comparison/1", ("compare", "latest~2", "latest"), 0),
        ("harness.query/1", ("query", "SELECT 'NaN'::DOUBLE AS odd, NULL, 1.5::DECIMAL(9, 2), started FROM runs"), 0),
        ("harness.baselines/1", ("baseline", "list"), 0),
        ("harness.baseline/1", ("baseline", "show", "main"), 0),
        ("harness.baseline/1", ("baseline", "set", "latest~3", "--name", "main"), 0),
        ("harness.removal/1", ("baseline", "rm", "main"), 0),
        ("harness.nights/1", ("nights",), 0),
        ("harness.removal/1", ("runs", "rm", "--keep", "1", "--dry-run"), 0),
        ("harness.removal/1", ("runs", "rm", "latest", "--yes"), 0),
        ("harness.cache/1", ("cache", "show"), 0),
        ("harness.removal/1", ("cache", "prune", "--max-size", "0"), 0),
        ("harness.removal/1", ("cache", "clear"), 0),
        ("harness.files/1", ("export", "--output-dir", "history"), 0),
        ("harness.files/1", ("report", "latest", "--output", "page.html"), 0),
        ("harness.toolchains/1", ("toolchain", "show"), 0),
        ("harness.project/1", ("init", "--dry-run"), 0),
        ("harness.project/1", ("init",), 0),
        ("harness.schemas/1", ("schema",), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_documents_hold_to_their_schemas(
    kept: Path, capsys: pytest.CaptureFixture[str], name: str, arguments: tuple[str, ...], code: int
) -> None:
    done = call(capsys, *arguments, "--json")
    assert done.code == code, done.err
    checked(done.out, name)


def test_devices_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    devices = call(capsys, "devices", "--json")
    found = checked(devices.out, "harness.devices/1")["devices"]
    assert (found[0]["device"], found[-1]["device"]) == ("host", "virtual-ios")
    doctor = call(capsys, "doctor", "--json")
    assert checked(doctor.out, "harness.doctor/1")["ok"] is (doctor.code == 0)


def test_figures_are_those_of_the_tables(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = call(capsys, "runs").out.splitlines()[1:]
    rows = checked(call(capsys, "runs", "--json").out, "harness.runs/1")["runs"]
    assert [line.split()[0] for line in table] == [row["run"] for row in rows]
    assert [row["status"] for row in rows] == ["complete", "incomplete", "complete", "complete", "damaged"]
    failed, unfinished, emulated, whole, damaged = rows
    model = failed["models"][0]
    assert (model["name"], model["kind"], model["items"], model["equal"]) == ("g2p", "generation", 3, 2)
    assert f"{model['median_ns'] / 1e6:.3f}" in table[0]
    assert f"×{model['ratio']['ratio']:.3f}" in table[0]
    assert unfinished["models"][0]["no_median"] == "not timed"
    assert (emulated["models"][0]["ratio"], emulated["device"]["emulated"]) == (None, True)
    assert "emulator" in emulated["models"][0]["no_ratio"]
    assert damaged["models"] == []
    shown = checked(call(capsys, "show", whole["run"], "--json").out, "harness.run/2")
    assert shown["run"] == whole
    assert shown["figures"][0]["artifact"]["median_ns"] == whole["models"][0]["median_ns"]
    assert shown["figures"][0]["peak_bytes"] == 50_000_000


def test_a_doubtful_ratio_is_marked_beside_the_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path)
    make_run(tmp_path, others=1.5)
    make_run(tmp_path, noise=0.9)
    make_run(tmp_path, apart=True)
    where = ("--results-dir", str(tmp_path))
    apart, noisy_one, busy, quiet = (
        row["models"][0]["ratio"] for row in json.loads(call(capsys, "runs", "--json", *where).out)["runs"]
    )
    assert (quiet["together"], quiet["conclusive"], quiet["busy"]) == (True, True, None)
    assert quiet["pytorch_ns"] == pytest.approx(2e6, rel=0.1)
    assert "1.5 of 2 cores" in busy["busy"]
    assert (noisy_one["ratio"], noisy_one["conclusive"]) == (None, False)
    assert apart["together"] is False
    table = call(capsys, "runs", *where).out.splitlines()[1:]
    assert ["timed apart" in line for line in table] == [True, False, False, False]
    assert ["inconclusive" in line for line in table] == [False, True, False, False]


def test_a_run_of_a_tensor_model_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name, precision and items are listed, and different items are never pooled."""
    item = {"samples": 4, "median": 1e6, "mad": 1e3, "min": 9e5, "max": 2e6}
    facts = WorkloadFacts(
        kind="tensor",
        source="d.py",
        label="detector",
        parameters=1,
        weights_sha256="0" * 64,
        items=2,
        compare="within 0.01",
    )
    with Store(tmp_path).create(workloads={"detector": facts}, options={"precision": "int8"}) as writer:
        parity = {"items": 4, "by_verdict": {"equal": 4}, "by_subset": {}, "failures": [], "max_error": 0.1}
        by_item = {"a": item, "b": item | {"median": 3e6}}
        model = {"kind": "tensor", "parity": {"detector": parity}, "by_item": by_item}
        found = {"verdict": "pass", "reasons": [], "workloads": {"detector": model}}
        writer.summary(Summary.model_validate(found))
        writer.finish(RunStatus.COMPLETE)
    where = ("--results-dir", str(tmp_path))
    assert call(capsys, "runs", *where).out.splitlines()[1].split()[3:] == ["–", "detector", "int8", "2", "–", "–"]
    line = checked(call(capsys, "runs", "--json", *where).out, "harness.runs/1")["runs"][0]
    assert line["precision"] == "int8"
    (listed,) = line["models"]
    assert (listed["kind"], listed["items"], listed["equal"], listed["median_ns"]) == ("tensor", 2, 4, None)
    assert "unlike" in listed["no_median"]
    (figures,) = checked(call(capsys, "show", "--json", *where).out, "harness.run/2")["figures"]
    assert [(one["item"], one["median_ns"]) for one in figures["items"]] == [("a", 1e6), ("b", 3e6)]
    assert figures["artifact"] is None
    pair = checked(call(capsys, "compare", "latest", "latest", "--json", *where).out, "harness.comparison/1")
    assert pair["models"][0]["ratio"] == {"ratio": 1.0, "low": None, "high": None, "items": 2}
    assert pair["measured_together"] is False


def test_a_nightly_run_and_a_calibration(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    floors = call(capsys, "nightly", "--baseline", "main", "--calibrate", "1", "--words", "1", "--json")
    assert floors.code == 0, floors.err
    assert checked(floors.out, "harness.calibration/1")["floors"]
    nightly = call(capsys, "nightly", "--baseline", "main", "--candidate", "main", "--words", "1", "--json")
    assert nightly.code == 0, nightly.err
    found = checked(nightly.out, "harness.night/1")
    assert found["night"]["state"] == "pass"
    again = call(capsys, "nights", "latest", "--json")
    assert again.out == nightly.out
    listed = checked(call(capsys, "nights", "--json").out, "harness.nights/1")
    assert [one["state"] for one in listed["nights"]] == ["pass", "calibration"]
    assert listed["nights"][0] == found["night"]


def test_numbers_that_json_has_no_word_for_are_null() -> None:
    error = Error(largest=None, relative=float("inf"), cosine=float("nan"), snr=None, allowed=0.1, departs=True)
    row = SiteRow(function="main", call=0, index=0, kernel="k", own=error)
    explanation = Explanation(run_id="r", item="w0", variant="cache", rows=[row], archive_sha256="0" * 64)
    document = explanation_document(explanation)
    found = checked(to_json(document) + "\n", schema_of(ExplanationDocument))
    assert found["departed"] is True
    assert found["first"]["kernel"] == "k"
    assert found["explanation"]["rows"][0]["own"]["relative"] is None
    empty = ProfileDocument(run="r", models=[])
    checked(to_json(empty) + "\n", schema_of(ProfileDocument))


def test_errors_leave_standard_output_empty(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "show", "nothing", "--json")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("harness: there is no run")


def test_a_newer_harness_may_add_keys() -> None:
    document = RunsDocument(results_dir="results", stored=0, runs=[])
    newer = json.loads(to_json(document)) | {"added": 1}
    Draft202012Validator(json_schema(RunsDocument)).validate(newer)
    assert RunsDocument.model_validate(newer) == document


@pytest.mark.compiler
def test_the_smoke_archive(tmp_path: Path) -> None:
    """In a process of its own, as it loads TVM."""
    command = [sys.executable, "-m", "harness.cli", "compile-smoke", "--output-dir", str(tmp_path / "out"), "--json"]
    environment = os.environ | {"PYTHONPATH": python_path(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (file,) = checked(done.stdout, "harness.compiled/1")["files"]
    assert Path(file["path"]).stat().st_size == file["bytes"]


def test_the_page_about_json_is_of_today() -> None:
    written = (REPOSITORY / "docs/json.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m harness.cli.documents.page > docs/json.md"
