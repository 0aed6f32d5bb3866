"""What an emulated device runs by default, and that everybody is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness.devices import HostDevice
from harness.models.g2p.word_list import default_words
from harness.protocol.schema import Sample
from harness.pytest_plugin.options import EMULATED_TIMED, EMULATED_WORDS, add_options, announcements, run_options
from harness.report import report_run, to_markdown, verdict_text
from harness.results import Run
from harness.run.builder import RunOptions
from harness.run.session import RunSession
from tests.plugin.fake_builder import FakeBuilder
from tests.plugin.fake_devices import INSTALL, ShelfDevice
from tests.plugin.project import Project
from tests.silent import Silent

pytestmark = pytest.mark.programs


class Companioned(ShelfDevice):
    """As a virtual iPhone is: another build, of this machine's own code, runs in the app's place."""

    companion = cast(None, "llvm")


def options_for(device: HostDevice, *arguments: str) -> RunOptions:
    """What the plugin's options make of a command line."""
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    given = vars(parser.parse_known_args(["--device", device.kind, *arguments]))

    class Config:
        def getoption(self, name: str) -> Any:
            return given[name]

    return run_options(cast(pytest.Config, Config()), device)


def test_the_defaults_of_each_kind_of_device() -> None:
    real = options_for(HostDevice())
    assert (real.warmup, real.repeat, real.item_sample, real.timed_items) == (2, 5, None, None)
    emulated = ShelfDevice("emulated-one")
    smoke = options_for(emulated)
    assert (smoke.warmup, smoke.repeat) == (0, 1)
    assert (smoke.item_sample, smoke.timed_items) == (EMULATED_WORDS, EMULATED_TIMED)
    assert options_for(emulated, "--words", "words.tsv").item_sample is None
    for arguments, passes in ((["--repeat", "3"], (0, 3)), (["--warmup", "1"], (1, 1))):
        more = options_for(emulated, *arguments)
        assert (more.warmup, more.repeat) == passes
        assert more.timed_items is None, "who asks for passes gets them over all words"
    native = options_for(Companioned("emulated-phone"))
    assert (native.item_sample, native.timed_items) == (None, EMULATED_TIMED)


def test_two_shipped_words_of_each_language() -> None:
    assert 2 * len({word.language for word in default_words()}) == EMULATED_WORDS


def test_a_sample_of_the_words_is_told_everywhere(tmp_path: Path) -> None:
    words = tmp_path / "words.tsv"
    words.write_text("".join(f"{code}\t{word}\t{word}\n" for code in ("eng-us", "fra") for word in ("a", "bb", "ccc")))
    options = RunOptions(
        own={"words": words}, item_sample=4, timed_items=2, warmup=0, repeat=1, results_dir=tmp_path / "r"
    )
    session = RunSession(options, ShelfDevice("emulated-one"), Silent(), builder=FakeBuilder(tmp_path))
    session.start()
    workload = session.workloads["g2p"]
    told = " ".join(announcements(session))
    assert "4 of 6 words are run" in told
    assert "a smoke of the latency suite, 1 pass of up to 2 words" in told
    assert len(workload.parity("cache")) == 4
    timed = {item for record in workload.times().result.records if isinstance(record, Sample) for item in record.items}
    assert len(timed) == 2
    assert {item.subset for item in workload.workload.items if item.id in timed} == {"eng-us", "fra"}
    summary = session.finish()
    run = Run(session.writer.folder)
    assert "4 of 4 comparisons" not in verdict_text(run.manifest(), summary)
    assert "(4 of 6 words)" in verdict_text(run.manifest(), summary)
    facts = run.manifest().workloads["g2p"]
    assert (facts.items, facts.items_of) == (4, 6)
    text = to_markdown(report_run(run))
    assert "4 of 6 words of 2 languages" in text
    assert "A smoke of the latency suite" in text


def test_the_smoke_is_announced_and_passes(project: Project) -> None:
    project.behave(more=INSTALL)
    done = project.pytest("suites", "--device", "shelf:emulated-one", "--words", "words.tsv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "harness: emulated-one: an emulator's times mean nothing: a smoke of the latency suite" in done.stdout
    [order] = [order for order in project.store.find("latest").manifest().orders if order.purpose == "latency"]
    assert order.complete
    samples = [line for line in project.store.find("latest").samples() if line.order == order.order_id]
    assert sum(isinstance(line.record, Sample) for line in samples) == 3
