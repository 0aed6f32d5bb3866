"""Results that are uploaded while they are written: what a killed client leaves in the store, and who completes it."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import pytest

from harness.core.store import FileStore
from harness.core.store_errors import StoreDamaged
from harness.protocol.schema import Sample
from harness.regression.nightly import NightlyRun
from harness.regression.verdicts import judge_nightly
from harness.results import RunWriter, SampleLine, Store
from harness.results.errors import RunNotFound
from harness.results.files import being_written
from harness.results.history import query
from harness.results.journal import read_journal, write_plan
from harness.results.shared import VARIABLE, after_runs, follow, shared_store, uploader
from harness.results.shared.following import PartUploader, send_so_far
from harness.results.shared.sync import adopted, planned
from harness.results.shared.unfinished import Unfinished
from tests.cli.called import call
from tests.lab.conftest import PATIENCE, await_
from tests.lab.test_clients import GATED
from tests.lab.writers import differences, measure_nightly
from tests.nightly import FakeDevice, make_plan
from tests.plugin.project import Project
from tests.results.samples import make_run, sample

pytestmark = pytest.mark.programs

_FORKS = multiprocessing.get_context("forkserver")
OFTEN = """
import harness.results.shared.following
harness.results.shared.following.LOOK_SECONDS = 0.1
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)


def going_on(results: Path, lines: int = 3) -> RunWriter:
    """A run that goes on, with samples."""
    run = make_run(results, ended=False)
    writer = RunWriter(run.folder, run.manifest())
    order = writer.manifest.orders[0].order_id
    for at in range(lines):
        writer.sample(SampleLine(order=order, record=sample("w0", "timed", at, 1000 + at)))  # type: ignore[arg-type]
    return writer


def left_over(url: str) -> list[str]:
    folder = Path(url.removeprefix("file://"), "unfinished")
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_client_that_is_killed_while_it_measures_has_its_samples_in_the_store(tmp_path: Path, url: str) -> None:
    """``kill -9`` of pytest, behind the first sample of an order; ``harness sync`` completes what is there."""
    project, gate = Project(tmp_path / "project"), tmp_path / "gate"
    project.behave(body=GATED.format(gate=str(gate)), more=OFTEN)
    stored: list[int] = []

    def arrived() -> bool:
        runs = shared_store(url).runs()
        stored[:] = [sum(isinstance(line.record, Sample) for line in run.samples()) for run in runs]
        return any(stored)

    code, said = project.interrupted(
        *("suites", "--device", "host", "--words", "words.tsv", "--results-url", url),
        when=arrived,
        number=signal.SIGKILL,
    )
    gate.touch()
    assert code == -signal.SIGKILL, said
    assert stored == [1], said
    (there,) = shared_store(url).runs()
    (here,) = project.store.runs()
    assert there.run_id == here.run_id
    assert there.manifest().ended is None
    assert [line.record for line in there.samples()] == [line.record for line in here.samples()]
    # It is marked as incomplete where runs are listed, and has no rows yet.
    assert query(shared_store(url), "SELECT run FROM runs").rows == []
    assert left_over(url)
    plan = planned(project.store.root)
    assert plan.waiting == []
    plan.carry_out(uploader(url))
    again = planned(project.store.root)
    again.carry_out(uploader(url))
    assert [one.new for one in again.uploaded] == [False]
    assert query(shared_store(url), "SELECT run, status FROM runs").rows == [(here.run_id, "incomplete")]
    assert differences(url, project.store.root) == []
    assert left_over(url) == []


def test_a_run_that_ends_leaves_nothing_unfinished(tmp_path: Path, url: str) -> None:
    project = Project(tmp_path / "project")
    project.behave(more=OFTEN)
    done = project.suites("--results-url", url)
    assert done.returncode == 0, done.stdout
    assert f"uploaded to {url}" in done.stdout
    assert differences(url, project.store.root) == []
    assert left_over(url) == []


def test_whole_lines_go_up_once_and_what_is_torn_waits(results: Path, url: str) -> None:
    writer = going_on(results)
    lines = writer.folder / "samples.jsonl"
    whole = lines.read_bytes()
    with lines.open("ab") as file:
        file.write(b'{"torn')
    files = FileStore(url)
    first = PartUploader(files)
    assert send_so_far(first, "runs", writer.folder)
    there = shared_store(url).find(writer.run_id)
    assert (there.folder / "samples.jsonl").read_bytes() == whole
    parts = set(left_over(url))
    # Another process goes on behind what is there.
    with lines.open("ab") as file:
        file.write(b'"}\n')
    assert send_so_far(PartUploader(files), "runs", writer.folder)
    assert (shared_store(url).find(writer.run_id).folder / "samples.jsonl").read_bytes() == lines.read_bytes()
    assert len(set(left_over(url)) - parts) == 1
    assert not send_so_far(PartUploader(files), "runs", writer.folder)
    # A file that was cut, as by a resumed run, is another one.
    lines.write_bytes(whole)
    assert send_so_far(PartUploader(files), "runs", writer.folder)
    assert (shared_store(url).find(writer.run_id).folder / "samples.jsonl").read_bytes() == whole


def test_a_part_that_was_forged_is_refused(results: Path, url: str) -> None:
    writer = going_on(results)
    send_so_far(PartUploader(FileStore(url)), "runs", writer.folder)
    for path in Path(url.removeprefix("file://"), "unfinished", "parts").rglob("*"):
        if path.is_file():
            path.write_bytes(b"forged")
    with pytest.raises(StoreDamaged, match="other contents"):
        list(shared_store(url).find(writer.run_id).samples())


def test_a_run_that_is_being_written_is_left_to_its_writer(results: Path, url: str) -> None:
    writer = going_on(results)
    assert being_written(writer.folder)
    assert planned(results).waiting == [writer.run_id]
    writer.close()
    assert not being_written(writer.folder)
    assert [item.name for item in planned(results).items] == [writer.run_id]


def test_what_a_machine_that_is_gone_had_uploaded_is_adopted(
    results: Path, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = going_on(results)
    send_so_far(PartUploader(FileStore(url)), "runs", writer.folder)
    writer.close()
    listed = call(capsys, "runs", "--results-url", url)
    assert writer.run_id in listed.out
    done = call(capsys, "sync", "--adopt", writer.run_id, "--results-url", url)
    assert done.code == 0, done.err
    assert query(shared_store(url), "SELECT run, status FROM runs").rows == [(writer.run_id, "incomplete")]
    samples = query(shared_store(url), "SELECT count(*) FROM samples").rows[0][0]
    assert samples == query(Store(results), "SELECT count(*) FROM samples").rows[0][0] > 0
    with pytest.raises(RunNotFound, match="no unfinished run"):
        adopted(url, [writer.run_id])
    assert left_over(url) == []
    # The machine was not gone at all: what it has counts, and nothing is there twice.
    planned(results).carry_out(uploader(url))
    assert differences(url, results) == []


def test_a_nightly_run_that_is_killed_is_resumed(results: Path, url: str, tmp_path: Path) -> None:
    results.mkdir()
    plan = make_plan(results).model_copy(update={"facts": {"phone": {"kind": "android"}}})
    folder = results / "nightly" / plan.night_id
    write_plan(folder, plan)
    process = _FORKS.Process(target=measure_nightly, args=(str(results), plan.night_id, url, {}, 10))
    process.start()

    def journal() -> int:
        if plan.night_id not in shared_store(url).names("nightly"):
            return 0
        return len(read_journal(shared_store(url).fetched("nightly", plan.night_id)).all_pairs("phone/cache"))

    await_("five pairs are in the store", lambda: journal() == 5)
    process.kill()
    process.join(PATIENCE)
    assert shared_store(url).goes_on("nightly", plan.night_id)
    # A sync does not judge it, since it can be resumed.
    plan_of_sync = planned(results)
    plan_of_sync.carry_out(uploader(url))
    assert (plan_of_sync.waiting, plan_of_sync.uploaded, plan_of_sync.failed) == ([plan.night_id], [], {})
    assert query(shared_store(url), "SELECT count(*) FROM nights").rows == [(0,)]
    result = NightlyRun(folder, plan, {"phone": FakeDevice()}, notify=lambda _: None).run()
    judge_nightly(results, folder, result)
    for _ in range(2):
        assert after_runs(url, results, nightly_runs=[plan.night_id]) == f"uploaded to {url}"
    assert left_over(url) == []
    assert query(shared_store(url), "SELECT count(*) FROM nights").rows == [(1,)]
    here, there = (
        query(store, "SELECT count(*) FROM night_pairs").rows for store in (Store(results), shared_store(url))
    )
    assert here == there


def test_a_store_that_cannot_be_reached_costs_a_run_nothing(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENDPOINT": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setattr("harness.results.shared.following.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("harness.results.shared.following.END_SECONDS", 0.2)
    writer, notices = going_on(results), list[str]()
    follower = follow("s3://lab/away", results, notices.append, runs=[writer.run_id])
    await_("it is reported", lambda: notices)
    follower.stop()
    assert notices[0].startswith("not uploaded while it is written: the store s3://lab/away failed")
    assert len(notices) == 1


def test_what_is_unfinished_is_removed_by_a_sync_that_finds_the_run_whole(results: Path, url: str) -> None:
    """As where a client was killed between the marker of the whole run and the removal of its parts."""
    writer = going_on(results)
    writer.close()
    planned(results).carry_out(uploader(url))
    parts = PartUploader(FileStore(url))
    send_so_far(parts, "runs", writer.folder)
    assert left_over(url)
    assert not shared_store(url).goes_on("runs", writer.run_id)
    planned(results).carry_out(uploader(url))
    assert left_over(url) == []
    assert Unfinished(FileStore(url)).names("runs") == {}
