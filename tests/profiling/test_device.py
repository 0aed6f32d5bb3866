"""A whole profile on this machine: a small instrumented model, its runner, the run folder and what is shown of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli.app import app, load_commands
from harness.compiler import Archive, compile_models
from harness.compiler.observe.provenance import Provenance, read_provenance
from harness.core.cache import Cache
from harness.devices import HostDevice, RunResult
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.items import word_item
from harness.native import Runner, build_runner, inspect
from harness.profiling.groups import label
from harness.profiling.summary import summarize_profile
from harness.protocol.schema import Machine, Phase, ProfileRecord, Sample, WorkOrder
from harness.results import Store
from harness.results.schema.profile import ProfileLine
from tests.compile_requests import SMALL, g2p_request
from tests.conftest import SMALL as CHECKPOINT

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("work_is_here")]

WORDS = ("a", "Haus", "ten letter")
LAYERS = CHECKPOINT["num_decoder_layers"]


def quiet(_text: str) -> None:
    pass


@dataclass(frozen=True)
class Profiled:
    runner: Runner
    result: RunResult
    provenance: Provenance

    @property
    def lines(self) -> list[ProfileLine]:
        return [ProfileLine.of("o", True, record) for record in self.result.records]


def order(archive: Archive, repetitions: int) -> WorkOrder:
    items = [word_item(f"w{at}", "eng-us", word) for at, word in enumerate(WORDS)]
    return WorkOrder(
        order_id="o",
        archive_sha256=archive.sha256,
        workloads=[archive.metadata.generation()],
        items=items,
        repetitions=repetitions,
    )


@pytest.fixture(scope="module")
def plain(small_checkpoint: Checkpoint, user_cache: Cache) -> Runner:
    """The request of ``tests/native``, whose runner is in the cache by then."""
    request = g2p_request(small_checkpoint, **SMALL)
    return build_runner(compile_models(request, cache=user_cache, progress=quiet), cache=user_cache, progress=quiet)


@pytest.fixture(scope="module")
def profiled(small_checkpoint: Checkpoint, user_cache: Cache) -> Profiled:
    request = g2p_request(small_checkpoint, **SMALL, profile=True)
    archive = compile_models(request, cache=user_cache, progress=quiet)
    runner = build_runner(archive, cache=user_cache, progress=quiet)
    result = HostDevice().run(runner.path, order(archive, 2)).require_complete()
    return Profiled(runner, result, read_provenance(archive.folder))


def test_the_step_is_called_for_every_token_and_its_parts_for_every_layer(profiled: Profiled) -> None:
    found = summarize_profile(
        profiled.lines,
        profiled.provenance,
        workload="g2p",
        unit="word",
        variant="cache",
        precision="fp32",
        archive_sha256="0",
        emulated=False,
    )
    timed = [r for r in profiled.result.records if isinstance(r, Sample) and r.phase is Phase.TIMED]
    tokens = sum(len(sample.parts["step"]) for sample in timed)
    assert (found.samples, len(timed)) == (2 * len(WORDS), 2 * len(WORDS))
    calls = {function.name: function.calls for function in found.functions}
    assert calls == {"encoder": len(timed), "decoder_prefill": len(timed), "decoder_step": tokens}
    attending = [site for site in found.sites if label(site) in ("append_and_attend", "attend_memory")]
    assert [site.calls for site in attending] == [tokens] * 2 * LAYERS
    kernels = sum(site.total_ns for site in found.sites)
    functions = sum(function.total_ns for function in found.functions)
    assert 0 < kernels <= functions <= found.total_ns
    assert all(function.kernel_ns <= function.total_ns for function in found.functions)


def test_attention_reports_the_positions_that_it_looks_at(profiled: Profiled) -> None:
    found = summarize_profile(
        profiled.lines,
        profiled.provenance,
        workload="g2p",
        unit="word",
        variant="cache",
        precision="fp32",
        archive_sha256="0",
        emulated=False,
    )
    site = next(site for site in found.sites if label(site) == "append_and_attend")
    timed = [r for r in profiled.result.records if isinstance(r, Sample) and r.phase is Phase.TIMED]
    positions = sum(sum(range(1, len(sample.parts["step"]) + 1)) for sample in timed)
    width = CHECKPOINT["num_heads"] * CHECKPOINT["d_kv"]
    assert site.flops == 4 * width * positions


def test_the_machine_was_measured_and_every_sample_has_its_marks(profiled: Profiled) -> None:
    records = profiled.result.records
    machine = next(record for record in records if isinstance(record, Machine))
    assert len(machine.bandwidth) == 6
    assert min(*machine.bandwidth.values(), *machine.flops.values()) > 1e6
    samples = [record for record in records if isinstance(record, Sample)]
    profiles = [record for record in records if isinstance(record, ProfileRecord)]
    assert [record.items for record in profiles] == [record.items for record in samples]
    for sample, record in zip(samples, profiles, strict=True):
        times = [value for number, value in zip(record.numbers, record.values, strict=True) if number > -(2**62)]
        assert times == sorted(times)
        assert 0 <= times[0] <= times[-1]
        assert times[-1] - times[0] <= sample.total_ns


def test_a_plain_archive_has_no_marks_and_answers_the_same(plain: Runner, profiled: Profiled) -> None:
    assert b"g2p_profile_" not in plain.archive.path.read_bytes()
    assert b"g2p_profile_mark" in profiled.runner.archive.path.read_bytes()
    assert len(inspect(plain.path).registrations) == len(inspect(profiled.runner.path).registrations) == 3
    result = HostDevice().run(plain.path, order(plain.archive, 1)).require_complete()
    assert not any(isinstance(record, ProfileRecord | Machine) for record in result.records)

    def outputs(records: RunResult) -> dict[str, list[int]]:
        return {r.items[0]: r.outputs[0].token_ids for r in records.records if isinstance(r, Sample)}

    assert outputs(result) == outputs(profiled.result)
    sites = [[site.model_dump(exclude={"mark", "parts"}) for site in f.sites] for f in profiled.provenance.functions]
    others = read_provenance(plain.archive.folder).functions
    assert [[site.model_dump(exclude={"mark", "parts"}) for site in f.sites] for f in others] == sites


def test_a_stored_profile_is_shown_and_written_as_a_trace(profiled: Profiled, tmp_path: Path) -> None:
    with Store(tmp_path).create(device={"name": "host"}) as writer:
        for line in profiled.lines:
            writer.profile(line)
        found = summarize_profile(
            profiled.lines,
            profiled.provenance,
            workload="g2p",
            unit="word",
            variant="cache",
            precision="fp32",
            archive_sha256="0",
            emulated=False,
        )
        writer.profiles([found], profiled.provenance)
        run = Store(tmp_path).find("latest")
        assert run.profiles() == [found]
        assert list(run.profile_lines()) == profiled.lines
    shown = called("profile", "--results-dir", str(tmp_path), "--markdown")
    assert r"| decoder\_step: attend\_memory |" in shown.output  # Markdown, where data is escaped
    assert "| encoder encoder.attentions.0 |" in shown.output
    target = tmp_path / "trace.json"
    called("profile", "--results-dir", str(tmp_path), "--trace", str(target))
    events = json.loads(target.read_text())["traceEvents"]
    assert sum(event.get("cat") == "sample" for event in events) == len(WORDS)
    assert any(event["name"] == "attend_memory" for event in events)


def called(*arguments: str) -> Result:
    load_commands()
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result
