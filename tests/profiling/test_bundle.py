"""Profiles of several models in one archive, with a G2P model and without: each by its own marks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.compiler.observe.provenance import Provenance, common_module, read_provenance
from harness.devices import HostDevice
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.items import word_item
from harness.native import Runner, inspect
from harness.profiling import calls
from harness.protocol.schema import ProfileRecord, Sample, WorkItem, WorkOrder
from harness.report.html import html_report
from harness.results import Run, Store
from harness.results.schema.profile import ProfileSummary
from harness.run.builder import CachedBuilder, RunOptions
from harness.run.session import RunSession
from tests.report.html.pages import embedded
from tests.silent import Silent

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("work_is_here"), pytest.mark.thorough]

FILE = Path(__file__).with_name("two_models.py")
TENSORS = ["picture", "chain"]
OPERATORS = {"picture": {"convolution", "sigmoid", "linear"}, "chain": {"linear", "gelu"}}


def quiet(_text: str) -> None:
    pass


@dataclass(frozen=True)
class Profiled:
    """A run with a profile of each of its models."""

    session: RunSession
    summaries: dict[str, ProfileSummary]

    @property
    def plain(self) -> Runner:
        return self.session.runner("cache")

    @property
    def marked(self) -> Runner:
        return self.session.runner("cache", profile=True)

    @property
    def provenance(self) -> Provenance:
        return read_provenance(self.marked.archive.folder)

    @property
    def run(self) -> Run:
        return Store(self.session.options.results_dir).find("latest")


def profiled(options: RunOptions, folder: Path) -> Profiled:
    device = HostDevice(lock_folder=folder / "locks")
    session = RunSession(options, device, Silent(), builder=CachedBuilder(quiet))
    session.start()
    summaries = {name: session.profile(name) for name in session.model_names}
    session.finish()
    return Profiled(session, summaries)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    """Two tensor workloads and no G2P."""
    folder = tmp_path_factory.mktemp("alone")
    options = RunOptions(models=(str(FILE),), profile=True, repeat=4, results_dir=folder / "results", deadline=60)
    return profiled(options, folder)


@pytest.fixture(scope="module")
def together(small_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    """The same two beside a small G2P model."""
    folder = tmp_path_factory.mktemp("together")
    words = folder / "words.tsv"
    words.write_text("eng-us\tword\twɚd\nfra\toui\twi\n")
    options = RunOptions(
        models=("g2p", str(FILE)),
        own={"checkpoint": str(small_checkpoint.folder), "words": words, "max_output_len": 16},
        profile=True,
        repeat=4,
        results_dir=folder / "results",
        deadline=60,
    )
    return profiled(options, folder)


def test_every_archive_lists_what_its_kernels_stand_for(alone: Profiled, together: Profiled) -> None:
    g2p = [("g2p", name) for name in ("encoder", "decoder_prefill", "decoder_step")]
    tensors = [(name, name) for name in TENSORS]
    for found, functions in ((alone, tensors), (together, [*g2p, *tensors])):
        for runner in (found.plain, found.marked):
            provenance = read_provenance(runner.archive.folder)
            assert [(function.model, function.name) for function in provenance.functions] == functions
            assert runner.archive.metadata.profiled is (runner is found.marked)
            for function in provenance.functions:
                marks = [site.mark for site in function.sites]
                assert all((mark is not None) is (runner is found.marked) for mark in marks)
        assert len(inspect(found.marked.path).registrations) == len(functions)


def test_each_model_has_its_operators_and_its_time(alone: Profiled, together: Profiled) -> None:
    for found in (alone, together):
        for name in TENSORS:
            summary = found.summaries[name]
            assert (summary.workload, summary.unit) == (name, "item")
            (function,) = summary.functions
            assert (function.name, function.calls, function.total_ns) == (name, summary.samples, summary.total_ns)
            assert 0 < sum(site.total_ns for site in summary.sites) == function.kernel_ns <= function.total_ns
            assert {operator for site in summary.sites for operator in site.operators} >= OPERATORS[name]
            assert summary.machine is not None
            assert summary.overhead is not None
            planned = found.provenance.of(name).functions[0]
            assert [site.calls for site in summary.sites] == [summary.samples] * len(list(planned.leaves()))
    modules = {
        common_module([function.operators[number] for number in site.operators])
        for function in alone.provenance.of("picture").functions
        for site in function.sites
    }
    assert "3" in modules, "paths are those of the user's module: the last of four layers"
    assert {f.name for f in together.summaries["g2p"].functions} == {"encoder", "decoder_prefill", "decoder_step"}


def test_models_of_one_order_do_not_mix_their_marks(together: Profiled) -> None:
    """All of them in one process, with the same numbers for kernels of each model."""
    archive = together.marked.archive
    names = [model.name for model in archive.metadata.models]
    inputs = {
        one.name: {item.id: item.input for item in one.items}
        for one in together.session.context.workloads
        if one.kind == "tensor"
    }
    order = WorkOrder(
        order_id="all",
        archive_sha256=archive.sha256,
        workloads=[archive.metadata.generation(), *(model.workload() for model in archive.metadata.models)],
        items=[
            word_item("w", "eng-us", "word"),
            *(
                WorkItem(id=f"{name}-{item}", workload=name, input=given)
                for name in names
                for item, given in inputs[name].items()
            ),
        ],
        warmup=1,
        repetitions=2,
    )
    records = HostDevice().run(together.marked.path, order).require_complete().records
    profiles = [record for record in records if isinstance(record, ProfileRecord)]
    assert [r.workload for r in profiles] == [r.workload for r in records if isinstance(r, Sample)]
    assert {record.workload for record in profiles} == {"g2p", *names}
    numbers = {record.workload: {number for number in record.numbers if number >= 0} for record in profiles}
    assert numbers["g2p"] & numbers["picture"]
    for record in profiles:
        provenance = together.provenance.of(record.workload)
        made = list(calls(provenance, record))
        assert {call.function for call in made} == {function.name for function in provenance.functions}


def test_a_run_shows_each_models_profile(together: Profiled, tmp_path: Path) -> None:
    run = together.run
    assert [summary.workload for summary in run.profiles()] == ["g2p", *TENSORS]
    assert run.profiles() == list(together.summaries.values())
    load_commands()
    results = ["--results-dir", str(together.session.options.results_dir)]
    shown = CliRunner().invoke(app, ["profile", "--markdown", *results], catch_exceptions=False).output
    for name in TENSORS:
        assert f"Profile of {name} by module" in shown
        assert f"| {name}: between kernels |" in shown
    trace = tmp_path / "trace.json"
    assert CliRunner().invoke(app, ["profile", "--trace", str(trace), *results]).exit_code == 0
    events = json.loads(trace.read_text())["traceEvents"]
    processes = {e["pid"]: e["args"]["name"].rpartition(", ")[2] for e in events if e["name"] == "process_name"}
    assert list(processes.values()) == ["g2p", *TENSORS]
    kernels = [e for e in events if e.get("cat") == "kernel" and processes[e["pid"]] == "picture"]
    assert any("convolution" in event["name"] for event in kernels)
    page = html_report([run])
    figures = [found for found in embedded(page, "figures").values() if found["columns"].get("text") == "operators"]
    assert len(figures) == 3


def test_a_profile_of_before_there_were_several_is_read(alone: Profiled, tmp_path: Path) -> None:
    """Version 1 held one summary, of G2P, without the model's name."""
    stored = alone.summaries["chain"].model_dump(exclude={"model"}) | {"schema_version": 1}
    with Store(tmp_path).create(device={"name": "host"}) as writer:
        (writer.folder / "profile.json").write_text(json.dumps(stored))
    (summary,) = Store(tmp_path).find("latest").profiles()
    assert summary == alone.summaries["chain"].model_copy(update={"model": "g2p"})


def test_marks_leave_a_models_answers_as_they_are(alone: Profiled) -> None:
    digests: dict[str, set[str]] = {}
    for line in alone.run.profile_lines():
        if isinstance(line.record, Sample) and line.record.output_sha256:
            digests.setdefault(f"{line.record.workload} {line.record.items}", set()).add(line.record.output_sha256)
    assert len(digests) == 3
    assert all(len(found) == 1 for found in digests.values())
