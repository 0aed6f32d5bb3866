"""The store: atomic, crash-safe, shared, and untrusting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.protocol.schema import Machine, Phase, Probe, Sample
from harness.results import (
    Run,
    RunDamaged,
    RunNotFound,
    RunStatus,
    RunVerdict,
    SampleLine,
    StorageFull,
    StorageUnwritable,
    Store,
)
from harness.results.summarize import summarize_run
from tests.results.samples import make_run, sample

REPOSITORY = Path(__file__).parents[2]


def python(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )


def samples(run: Run) -> list[SampleLine]:
    return [line for line in run.samples() if isinstance(line.record, Sample)]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    manifest = run.manifest()
    assert manifest.status is RunStatus.COMPLETE
    assert manifest.ended is not None
    assert manifest.orders[0].complete
    assert len(samples(run)) == 18
    assert len(list(run.reference())) == 3
    assert len(list(run.parity())) == 3
    assert (run.folder / "orders" / "latency-cache-1.json").exists()
    stored = run.summary()
    assert stored is not None
    assert stored.verdict is RunVerdict.PASS
    (run.folder / "summary.json").unlink()
    assert summarize_run(run) == stored
    assert not list(tmp_path.rglob("*partial*"))


@pytest.mark.programs
def test_a_kill_loses_at_most_the_sample_in_flight(tmp_path: Path) -> None:
    """Killed at moments of its own choosing, again and again; every line it reported as written must be there."""
    script = f"""
import pathlib
from harness.results import Store, SampleLine
from harness.protocol.schema import Phase
from tests.results.samples import sample
writer = Store(pathlib.Path({str(tmp_path)!r})).create()
for at in range(10**9):
    writer.sample(SampleLine(order="o", record=sample("w0", Phase.TIMED, at, 16)))
    print(at, flush=True)
"""
    for reports in (1, 7, 40):
        with python(script) as process:
            assert process.stdout is not None
            reported = [int(process.stdout.readline()) for _ in range(reports)]
            process.send_signal(signal.SIGKILL)
            reported += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        run = Store(tmp_path).find("latest")
        kept = [line.record.repetition for line in run.samples() if isinstance(line.record, Sample)]
        assert kept[: len(reported)] == reported
        assert len(kept) - len(reported) <= 1
        assert run.manifest().status is RunStatus.INCOMPLETE
        assert summarize_run(run).verdict is RunVerdict.INCONCLUSIVE


def test_a_torn_last_line_is_left_out_and_damage_before_it_is_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run.folder / "samples.jsonl"
    whole = path.read_bytes()
    for cut in (1, 2, 50):
        path.write_bytes(whole[:-cut])
        assert len(list(run.samples())) == whole.count(b"\n") - 1
    path.write_bytes(whole.replace(b'"order"', b'"orde"', 1))
    with pytest.raises(RunDamaged, match="line 1"):
        list(run.samples())


def test_a_run_killed_before_its_manifest_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / ".20260101-000000-000-aaaa.77").mkdir()
    assert Store(tmp_path).runs() == []


def test_a_run_without_end_is_incomplete(tmp_path: Path) -> None:
    run = make_run(tmp_path, ended=False)
    manifest = run.manifest()
    assert manifest.status is RunStatus.INCOMPLETE
    assert manifest.reason == "the run has not ended"
    summary = summarize_run(run)
    assert summary.verdict is RunVerdict.INCONCLUSIVE
    assert summary.workloads["g2p"].warm is not None
    assert summary.workloads["g2p"].warm.samples == 15


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), RunStatus.INCOMPLETE, "interrupted"),
        (HarnessError("no compiler"), RunStatus.FAILED, "ended early: no compiler"),
    ],
)
def test_leaving_early_ends_the_run(tmp_path: Path, error: BaseException, status: RunStatus, reason: str) -> None:
    with pytest.raises(type(error)), Store(tmp_path).create():
        raise error
    manifest = Store(tmp_path).find("latest").manifest()
    assert (manifest.status, manifest.reason) == (status, reason)
    assert manifest.ended is not None


def test_a_full_disk_is_a_clear_error_and_loses_nothing_written(tmp_path: Path) -> None:
    """A file size limit, which the system enforces like a full disk, in the middle of a line."""
    script = f"""
import pathlib, resource, sys
from harness.core.errors import HarnessError
from harness.results import Store, SampleLine
from harness.protocol.schema import Phase
from tests.results.samples import sample
with Store(pathlib.Path({str(tmp_path)!r})).create() as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
    try:
        for at in range(1000):
            writer.sample(SampleLine(order="o", record=sample("w0", Phase.TIMED, at, 16)))
    except HarnessError as error:
        print(at, type(error).__name__, int(error.exit_code), error)
"""
    with python(script) as process:
        out, err = process.communicate(timeout=60)
    written, name, code, *message = out.split()
    assert (name, code) == ("StorageFull", "3"), err
    assert "samples.jsonl" in " ".join(message)
    assert "--results-dir" in " ".join(message)
    run = Store(tmp_path).find("latest")
    assert len(samples(run)) == int(written) > 5
    assert (run.folder / "samples.jsonl").read_bytes().endswith(b"\n")
    assert run.manifest().status is RunStatus.INCOMPLETE


def test_no_space_left_on_the_device(tmp_path: Path) -> None:
    writer = Store(tmp_path).create()
    (writer.folder / "samples.jsonl").symlink_to("/dev/full")
    with pytest.raises(StorageFull, match="No space left on device"):
        writer.sample(SampleLine(order="o", record=sample("w0", Phase.TIMED, 0, 16)))


def test_a_results_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnwritable, match="--results-dir"):
        Store(tmp_path / "file" / "results").create()


@pytest.mark.programs
def test_many_runs_at_once_in_one_folder(tmp_path: Path) -> None:
    script = f"""
import pathlib
from harness.results import Store, SampleLine
from harness.protocol.schema import Phase
from tests.results.samples import sample
for _ in range(25):
    with Store(pathlib.Path({str(tmp_path)!r})).create() as writer:
        writer.sample(SampleLine(order=writer.run_id, record=sample("w0", Phase.TIMED, 0, 16)))
        print(writer.run_id)
"""
    processes = [python(script) for _ in range(4)]
    made = [run_id for process in processes for run_id in process.communicate(timeout=60)[0].split()]
    assert len(made) == len(set(made)) == 100
    runs = Store(tmp_path).runs()
    assert [run.run_id for run in runs] == sorted(made)
    assert all([line.order for line in run.samples()] == [run.run_id] for run in runs)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_find(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RunNotFound, match="there are no runs"):
        store.find("latest")
    for name in ("20260101-000000-000-aaaa", "20260101-000001-000-aabb", "20260202-000000-000-aaaa"):
        (tmp_path / name).mkdir()
    (tmp_path / "baselines").mkdir()
    assert store.find("latest").run_id == "20260202-000000-000-aaaa"
    assert store.find("latest~2").run_id == "20260101-000000-000-aaaa"
    assert store.find("202602").run_id == "20260202-000000-000-aaaa"
    assert store.find("20260101-000001-000-aabb").run_id == "20260101-000001-000-aabb"
    for name, message in [
        ("latest~3", "holds 3 runs"),
        ("202601", "beginning of 2 runs"),
        ("x", "20260202-000000-000-aaaa"),
    ]:
        with pytest.raises(RunNotFound, match=message):
            store.find(name)


def test_a_run_of_a_newer_harness_is_refused_by_name(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = run.folder / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 3', 1))
    with pytest.raises(RunDamaged, match="update the harness"):
        run.manifest()
    path.write_text("{")
    with pytest.raises(RunDamaged, match=r"manifest\.json cannot be read"):
        run.manifest()


def test_as_an_ordinary_user_an_unwritable_folder_is_reported(tmp_path: Path) -> None:
    """Root may write anywhere, so the test gives up its rights where it has them."""
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    drop = "os.setuid(65534)" if os.getuid() == 0 else "pass"
    script = f"""
import os, pathlib
from harness.core.errors import HarnessError
from harness.results import Store
{drop}
try:
    Store(pathlib.Path({str(locked)!r})).create()
except HarnessError as error:
    print(type(error).__name__, error)
"""
    with python(script) as process:
        out, err = process.communicate(timeout=60)
    assert out.startswith("StorageUnwritable"), err
    assert "Permission denied" in out, err


@pytest.mark.parametrize(
    "record",
    [
        '{"record":"probe","model":"g2p","items":["w0"],"outputs":[{"token_ids":[5,1],"text":"x","margins":[2.5,null],'
        '"logits":{"0":[null,1.0]}}],"tensors":null}',
        '{"record":"machine","bandwidth":{"4096":null,"8192":1.5},"flops":{"float32":null}}',
    ],
)
def test_numbers_that_were_none_are_read_as_missing(tmp_path: Path, record: str) -> None:
    """Earlier harnesses stored null where a runner had written NaN."""
    folder = tmp_path / "20250101-000000-000-abcd"
    folder.mkdir()
    (folder / "samples.jsonl").write_text(f'{{"order":"o","record":{record}}}\n')
    (line,) = Run(folder).samples()
    if isinstance(line.record, Probe):
        assert (line.record.outputs[0].margins, line.record.outputs[0].logits) == (None, None)
    else:
        assert isinstance(line.record, Machine)
        assert (line.record.bandwidth, line.record.flops) == ({8192: 1.5}, {})


def test_numbers_out_of_range_that_were_stored_are_still_read(tmp_path: Path) -> None:
    folder = tmp_path / "20250101-000000-000-abcd"
    folder.mkdir()
    sample = '"model":"g2p","items":["w0"],"phase":"timed","repetition":-1,"total_ns":%d,"encoder_ns":0'
    record = f'{{"record":"sample",{sample % 10**30},"prefill_ns":null,"step_ns":[],"outputs":[]}}'
    (folder / "samples.jsonl").write_text(f'{{"order":"o","record":{record}}}\n{{"order":"o","record":{{}}}}\n')
    lines = Run(folder).samples()
    record_read = next(lines).record
    assert isinstance(record_read, Sample)
    assert (record_read.repetition, record_read.total_ns) == (-1, 10**30)
    with pytest.raises(RunDamaged, match=r"samples\.jsonl, line 2"):
        next(lines)
