"""``pytest suites --baseline``: the nightly's gate inside a run, in real pytest processes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from harness.core.cache import Cache
from harness.results import Run, RunVerdict
from harness.results.baselines import Baselines
from harness.results.nightly import find_nightly, read_nightly
from harness.results.summarize import summarize_run
from tests.plugin.project import Project
from tests.results.kept import cached_run, noisy

pytestmark = pytest.mark.programs


@pytest.fixture
def judged(project: Project) -> Project:
    """A project with the baseline ``main``."""
    cache = Cache(project.folder / "cache")
    # Larger than what any of the tests has as B.
    body = noisy(1e6) + "#" * 1000
    Baselines(project.store.root).set(cached_run(project.store.root, cache, body=body), "main", cache=cache)
    return project


def gated(run: Run) -> tuple[RunVerdict, str, str]:
    """The run's verdict, its gate's, and the verdict of the night that it names."""
    gate = run.manifest().gate
    assert gate is not None
    record = read_nightly(find_nightly(run.folder.parent, gate.night_id))
    assert record.plan.run == run.run_id
    return summarize_run(run).verdict, gate.verdict, record.state


def test_as_fast_as_the_baseline(judged: Project) -> None:
    judged.behave(body=noisy(1e6))
    done = judged.suites("-k", "latency or baseline", "--baseline", "main", "--junit-xml=junit.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    run = judged.store.find("latest")
    assert gated(run) == (RunVerdict.PASS, "pass", "pass")
    found = ElementTree.parse(judged.folder / "junit.xml").iter("property")
    properties = {one.get("name"): one.get("value") for one in found}
    assert properties["gate.verdict"] == "pass"
    assert abs(float(properties["gate.latency.change"] or "nan")) < 0.03


def test_slower_than_the_baseline_fails_with_the_figures(judged: Project) -> None:
    judged.behave(body=noisy(1.08e6))
    done = judged.suites("-k", "latency or baseline", "--baseline", "main")
    assert done.returncode == 1, done.stdout + done.stderr
    run = judged.store.find("latest")
    assert gated(run) == (RunVerdict.FAIL, "fail", "fail")
    assert "FAIL: host/cache latency" in done.stdout
    assert "when measured again" in done.stdout
    assert "would be found from +" in done.stdout
    assert "Traceback" not in done.stdout


COUNT = """
import pathlib
mark = pathlib.Path(__file__).with_name('ran')
ran = len(mark.read_text()) if mark.exists() else 0
mark.write_text('x' * (ran + 1))
"""
"""Before a runner's body: ``ran`` is how many processes of it there were."""


def by_count(factor: str) -> str:
    """The body of a runner whose level is multiplied by that expression of ``ran``."""
    return COUNT + noisy(1e6).replace("everything()", f"level *= {factor}\neverything()")


def test_too_noisy_is_exit_status_3(judged: Project) -> None:
    """B has two speeds, every other process half as fast again or as slow: as many pairs for a change as against it."""
    judged.behave(body=by_count("1.5 if ran % 2 else 1 / 1.5"))
    done = judged.suites("-k", "baseline", "--baseline", "main")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "too noisy" in done.stdout
    assert gated(judged.store.find("latest")) == (RunVerdict.INCONCLUSIVE, "inconclusive", "inconclusive")


def test_what_was_seen_once_is_a_warning(judged: Project) -> None:
    """B's first ten processes take longer and no later one: nothing that a second look confirms."""
    judged.behave(body=by_count("1.08 if ran < 10 else 1.0"))
    done = judged.suites("-k", "baseline", "--baseline", "main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GateWarning" in done.stdout
    assert "not confirmed" in done.stdout
    assert gated(judged.store.find("latest"))[1:] == ("warn", "warn")


def test_wrong_usage_is_told_before_the_first_test(judged: Project) -> None:
    unknown = judged.suites("--baseline", "none")
    assert (unknown.returncode, "there are: main" in unknown.stdout) == (2, True)
    judged.behave(more="import tests.plugin.fake_devices\n")
    emulated = judged.suites("--baseline", "main", device="shelf:emulated-one")
    assert emulated.returncode == 2, emulated.stdout
    assert "emulated, and its times are no measure of a phone's" in emulated.stdout
    other = Baselines(judged.store.root)
    kept = other.get("main")
    facts = kept.manifest.workloads["g2p"].model_copy(update={"weights_sha256": "2" * 64, "label": "retrained"})
    manifest = kept.manifest.model_copy(update={"workloads": {"g2p": facts}})
    (other.folder / "retrained.json").write_text(
        kept.model_copy(update={"name": "retrained", "manifest": manifest}).model_dump_json()
    )
    retrained = judged.suites("--baseline", "retrained")
    assert (retrained.returncode, "is of another model" in retrained.stdout) == (2, True)
    threads = judged.suites("--baseline", "main", "--threads", "2")
    assert (threads.returncode, "was measured with --threads 1" in threads.stdout) == (2, True), threads.stdout
    assert len(judged.store.runs()) == 1, "no run was made"
