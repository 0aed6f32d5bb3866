"""A run's items inside a program that links the library as an app does, through C and Kotlin, read as a run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.native.apps.contents import archive_contents
from harness.results import Run, Store
from harness.validate import Verdict
from tests.mobile import test_c, test_kotlin
from tests.mobile.conftest import AppModels, Measured, harness

pytestmark = pytest.mark.compiler
programs, class_path = test_c.programs, test_kotlin.class_path
"""Fixtures: the programs in C beside the library, and the class path of those in Kotlin."""


def read(measured: Measured, records: Path) -> tuple[int, str, Run]:
    code, text = harness(
        "selftest", "read", str(records), "--run", measured.run.run_id, "--device-name", "mine", *measured.results
    )
    return code, text, Store(measured.run.folder.parent).find("latest")


@pytest.fixture(scope="module")
def from_c(programs: Path, measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of a program in C."""
    out = tmp_path_factory.mktemp("from c") / "records.jsonl"
    done = test_c.run(programs / "checks", "selftest", str(measured.orders), str(out))
    assert (done.returncode, done.stderr, done.stdout.split()[0]) == (0, "", "0")
    assert [path.name for path in out.parent.iterdir()] == ["records.jsonl"]
    return out


def test_what_an_app_answers_is_compared_stored_and_reported_like_a_run(from_c: Path, measured: Measured) -> None:
    code, text, stored = read(measured, from_c)
    assert code == 0, text
    assert text.startswith("PASS")
    ours, theirs = stored.summary(), measured.run.summary()
    assert ours is not None
    assert theirs is not None
    for name, found in theirs.workloads.items():
        again = ours.workloads[name]
        assert again.compared == found.compared > 0
        assert again.count(Verdict.EQUAL) == found.count(Verdict.EQUAL)
        assert again.timed
    manifest = stored.manifest()
    assert manifest.mode == "self-test"
    assert manifest.device["of_run"] == measured.run.run_id
    assert manifest.device["name"] == "mine"
    shown = harness("show", stored.run_id, *measured.results)[1]
    assert "inside an app" in shown
    assert "runner" not in shown.split("Facts")[1].split("model g2p")[0]
    compared = " ".join(harness("compare", measured.run.run_id, stored.run_id, *measured.results)[1].split())
    assert "another way of running: A has –, B has self-test" in compared


def test_kotlin_writes_the_same_answers(
    class_path: str, app_models: AppModels, measured: Measured, from_c: Path, tmp_path: Path
) -> None:
    out = tmp_path / "records.jsonl"
    done = test_kotlin.run(class_path, app_models.library, "ChecksKt", str(measured.orders), str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(" ", 2)[::2] == ["6", "[]\n"]

    def answers(path: Path) -> list[object]:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [record.get("outputs") or record.get("tensors") for record in records if record["record"] == "probe"]

    assert answers(out) == answers(from_c) != []


def test_records_of_another_archive_are_not_believed(from_c: Path, measured: Measured, tmp_path: Path) -> None:
    """Records of one archive are no answer to the orders of a run that measured another."""
    copied = tmp_path / "results" / measured.run.run_id
    shutil.copytree(measured.run.folder, copied)
    ours = next(iter(measured.run.manifest().variants.values())).archive_sha256
    other = "0" * 64
    for path in (*copied.glob("orders/*.json"), copied / "manifest.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(ours, other), encoding="utf-8")
    swapped = Measured(Run(copied), tmp_path / "orders.jsonl")
    assert harness("selftest", "orders", "latest", "-o", str(swapped.orders), *swapped.results)[0] == 0
    code, text, stored = read(swapped, from_c)
    assert (code, text.partition(" ")[0]) == (3, "INCONCLUSIVE"), text
    assert "archive" in text
    assert not any(entry.complete for entry in stored.manifest().orders)


def test_the_library_refuses_orders_for_another_archive(programs: Path, measured: Measured, tmp_path: Path) -> None:
    ours = next(iter(measured.run.manifest().variants.values())).archive_sha256
    orders = tmp_path / "orders.jsonl"
    orders.write_text(measured.orders.read_text(encoding="utf-8").replace(ours, "0" * 64), encoding="utf-8")
    out = tmp_path / "records.jsonl"
    done = test_c.run(programs / "checks", "selftest", str(orders), str(out))
    assert (done.returncode, done.stdout.split()[0]) == (0, "6"), done.stderr
    ends = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [end["record"] for end in ends] == ["end"] * 6
    assert all("the order is for the archive 000" in end["error"]["message"] for end in ends)
    code, text, _ = read(measured, out)
    assert (code, text.partition(" ")[0]) == (3, "INCONCLUSIVE"), text


def test_a_changed_weight_in_the_app_fails(
    programs: Path, app_models: AppModels, measured: Measured, tmp_path: Path
) -> None:
    for name in ("checks", "libcharsiug2p_mobile.so"):
        shutil.copy(programs / name, tmp_path)
    library = tmp_path / "libcharsiug2p_mobile.so"
    # The first ones are those of g2p.
    weights = next(one for one in archive_contents(app_models.archive.path) if one.name == "weights")
    content = bytearray(library.read_bytes())
    at = content.index(bytes.fromhex(weights.begins))
    # A hundred kilobytes of other weights; their numbers stay finite.
    for byte in range(at, at + 400_000, 4):
        content[byte + 2] ^= 0x40
    library.write_bytes(content)
    out = tmp_path / "records.jsonl"
    done = test_c.run(tmp_path / "checks", "selftest", str(measured.orders), str(out))
    assert done.stdout.split()[0] == "0", done.stderr
    code, text, stored = read(measured, out)
    assert (code, text.partition(" ")[0]) == (1, "FAIL"), text
    summary = stored.summary()
    assert summary is not None
    assert summary.workloads["g2p"].failed > 0
    assert summary.workloads["scaled"].failed == summary.workloads["tiny_llama"].failed == 0
